"""Prefect on this machine: where its server answers, and how it is started and stopped.

The server listens on the loopback address and asks for a password that is made once and kept
readable by the owner only: whoever can write to a scheduler can run code. `prefect_supervisor` is
the process that keeps server and worker running.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forecasting.errors import GatecastError, MissingGroupError
from pipelines.machine.files import write_text
from pipelines.machine.state import HOME_VARIABLE, home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "gatecast"
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
SHARED_SECONDS = 5.0  # a busy server is asked again for so long
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Address:
    """Where a server answers."""

    url: str
    auth: str | None = None

    @property
    def ui(self) -> str:
        """Address of Prefect's pages."""
        return self.url.removesuffix("/api")


def shared_server() -> Address | None:
    """The server the environment names, if any: then none is started here."""
    url = os.environ.get("PREFECT_API_URL")
    return Address(url, os.environ.get("PREFECT_API_AUTH_STRING")) if url else None


def folder() -> Path:
    """State of the local server: ``prefect/`` below the state folder, for the owner only."""
    path = home() / "prefect"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def running() -> Address | None:
    """The local server, when it answers."""
    try:
        record = json.loads((folder() / "server.json").read_text())
        address = Address(record["url"], password())
    except (OSError, ValueError, KeyError):
        return None
    return address if healthy(address) else None


def healthy(address: Address) -> bool:
    """Whether a Prefect server answers there and takes our password: another's does not."""
    request = urllib.request.Request(f"{address.url}/admin/version")
    if address.auth:
        token = base64.b64encode(address.auth.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def ensure() -> Address:
    """The shared server where one is named; else the local one, started if need be.

    Raises
    ------
    GatecastError
        With the end of the log, when the server does not come up.
    """
    shared = shared_server()
    if shared is not None:
        deadline = time.monotonic() + SHARED_SECONDS
        while not healthy(shared) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if time.monotonic() >= deadline:
            raise GatecastError(
                f"no Prefect server answers at {shared.url}: start it, set "
                "PREFECT_API_AUTH_STRING if it asks for a password, or unset PREFECT_API_URL to "
                "use a local one"
            )
        return shared
    address = running()
    if address is not None and supervised():
        return address
    need_prefect()
    log = folder() / "supervisor.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.scheduling.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env=os.environ | {HOME_VARIABLE: str(home())},
        )
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        address = running()
        if address is not None and supervised():
            return address
        # A second supervisor that finds the first one at work ends with success.
        if process.poll() not in (None, 0):
            break
        time.sleep(POLL_SECONDS)
    raise GatecastError(f"the scheduler's server did not start; {log} ends with: {_tail(log)}")


def supervised() -> bool:
    """Whether a supervisor of this state folder is alive."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder() / "supervisor.lock", timeout=0):
            return False
    except Timeout:
        return True


def stop() -> bool:
    """End the supervisor with its server and worker; whether there was one.

    A run under way is interrupted; it is taken up again when the scheduler is next started.
    """
    if not supervised():
        return False
    try:
        pid = int((folder() / "supervisor.pid").read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError) as error:
        raise GatecastError(f"the scheduler cannot be stopped: {error}") from error
    deadline = time.monotonic() + 2 * STOP_SECONDS
    while time.monotonic() < deadline:
        if not supervised() and not alive(pid, "pipelines"):
            return True
        time.sleep(POLL_SECONDS)
    raise GatecastError(f"the scheduler (process {pid}) did not stop within {2 * STOP_SECONDS} s")


def environment(address: Address) -> dict[str, str]:
    """What a client of `address` needs to have set."""
    values = {"PREFECT_API_URL": address.url}
    if address.auth:
        values["PREFECT_API_AUTH_STRING"] = address.auth
    if shared_server() is None:
        values["PREFECT_HOME"] = str(folder())
    return values


@contextlib.contextmanager
def connected(address: Address | None = None) -> Iterator[Address]:
    """Point this process's Prefect client at `address`; by default at `ensure`'s server."""
    address = address or ensure()
    os.environ.setdefault("PREFECT_HOME", str(folder()))
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        temporary_settings,
    )

    with temporary_settings(
        {PREFECT_API_URL: address.url, PREFECT_API_AUTH_STRING: address.auth or None}
    ):
        yield address


def client_of() -> SyncPrefectClient:
    """A client of the server that `connected`, or the environment, names."""
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


def alive(pid: int, command: str = "") -> bool:
    """Whether a process runs whose NUL-separated command line contains `command`."""
    try:
        return command in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return False


def need_prefect() -> None:
    """A `MissingGroupError` with what to do where Prefect is not installed."""
    import importlib.util

    if importlib.util.find_spec("prefect") is None:
        raise MissingGroupError(
            "schedule",
            "scheduling needs Prefect, which is not installed: pip install 'gatecast[schedule]'; "
            "without it, let cron run `gatecast train CONFIG`",
        )


def password() -> str:
    """``user:password`` of the local server, made at the first call."""
    path = folder() / "auth"
    if not path.exists():
        write_text(f"gatecast:{secrets.token_urlsafe(24)}", path, private=True)
    return path.read_text().strip()


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "nothing"
