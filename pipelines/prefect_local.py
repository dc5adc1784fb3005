"""Prefect on this machine: its server on SQLite and one worker, kept running for the user.

`python -m pipelines.prefect_local` is the supervisor that `gatecast schedule` starts in the
background. It only starts the two processes and starts them again when they die; what runs when
is Prefect's business. The server listens on the loopback address and asks for a password that is
made once and kept readable by the owner only: whoever can write to a scheduler can run code.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from forecasting.errors import GatecastError
from pipelines.state import HOME_VARIABLE, home, quiet

POOL = "gatecast"
HOST = "127.0.0.1"
PORTS = range(4200, 4300)  # Prefect's own first, so that its command line finds the server
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
TAKE_UP_ATTEMPTS, TAKE_UP_PAUSE = 5, 3.0
SHARED_SECONDS = 5.0  # a busy server is asked again for so long
POLL_SECONDS = 0.2
LONGEST_PAUSE = 60.0  # between restarts of a process that keeps dying
LARGEST_LOG = 5_000_000  # bytes; the older half of the log is one file further
LIMIT_VARIABLE = "GATECAST_SCHEDULE_LIMIT"


@dataclass(frozen=True)
class Address:
    """Where a server answers."""

    url: str
    auth: str | None = None

    @property
    def ui(self) -> str:
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
        known = json.loads((folder() / "server.json").read_text())
        address = Address(known["url"], _password())
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
    found = running()
    if found is not None and supervised():
        return found
    _need_prefect()
    log = folder() / "supervisor.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.prefect_local"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env=os.environ | {HOME_VARIABLE: str(home())},
        )
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = running()
        if found is not None and supervised():
            return found
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


def supervise(*, limit: int = 1) -> int:
    """Keep server and worker running until SIGTERM or SIGINT; the exit status.

    With ``PREFECT_API_URL`` set only the worker is run, against that server.

    Parameters
    ----------
    limit
        Runs at a time.
    """
    from filelock import FileLock, Timeout

    quiet()
    _need_prefect()
    lock = FileLock(folder() / "supervisor.lock")
    try:
        # A moment's patience: whoever asks `supervised` holds the lock for a blink.
        lock.acquire(timeout=1)
    except Timeout:
        print("a scheduler is already running here")
        return 0
    try:
        _write_private(folder() / "supervisor.pid", str(os.getpid()))
        return _Supervisor(limit).run()
    finally:
        lock.release()


class _Supervisor:
    """The two processes, and when each may be started again."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stopping = False
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = 1.0
        _end_orphans()
        try:
            while not self._asked_to_stop():
                began = time.monotonic()
                if self._up():
                    self._watch()
                if self._asked_to_stop():
                    break
                self._end()
                lasted = time.monotonic() - began
                pause = 1.0 if lasted > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
                _log(f"starting again in {pause:.0f} s")
                self._sleep(pause)
        finally:
            self._end()
        return 0

    def _asked_to_stop(self) -> bool:
        return self.stopping

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _up(self) -> bool:
        """Start server and worker; whether the server answered in time."""
        address = shared_server() or self._start_server()
        deadline = time.monotonic() + READY_SECONDS
        while not healthy(address):
            dead = self.server is not None and self.server.poll() is not None
            if self.stopping or dead or time.monotonic() > deadline:
                _log("the server did not start; see server.log")
                return False
            time.sleep(POLL_SECONDS)
        if self.server is not None:
            _write_private(folder() / "server.json", json.dumps({"url": address.url}))
            self._take_up(address)
        self.worker = self._start(
            "worker",
            ["worker", "start", "--pool", POOL, "--type", "process", "--limit", str(self.limit)],
            {"PREFECT_WORKER_QUERY_SECONDS": "5", **environment(address)},
        )
        _log(f"ready: {address.ui}")
        return True

    def _take_up(self, address: Address) -> None:
        """Put what an outage cut off back into the queue."""
        code = "from pipelines.schedule import take_up; take_up()"
        for _ in range(TAKE_UP_ATTEMPTS):
            result = subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | environment(address),
                capture_output=True,
                text=True,
                check=False,
            )
            if result.stdout.strip():
                _log(result.stdout.strip())
            if result.returncode == 0 or self.stopping:
                return
            # A server that has just begun, with what an outage left to tidy, may answer 500.
            self._sleep(TAKE_UP_PAUSE)
        _log(f"what the outage cut off was not queued again: {_last_line(result.stderr)}")

    def _start_server(self) -> Address:
        port = _free_port()
        address = Address(f"http://{HOST}:{port}/api", _password())
        settings = {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder()}/prefect.db",
            "PREFECT_SERVER_API_AUTH_STRING": address.auth or "",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address.ui,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            # Kept on disk, or a restart of the server would cut off the run under way.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
        }
        kept = {k: os.environ.get(k, v) for k, v in settings.items()} | environment(address)
        self.server = self._start(
            "server", ["server", "start", "--host", HOST, "--port", str(port)], kept
        )
        return address

    def _start(
        self, name: str, arguments: list[str], settings: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        log = folder() / f"{name}.log"
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env=os.environ | {HOME_VARIABLE: str(home())} | settings,
            )
        _write_private(folder() / f"{name}.pid", str(process.pid))
        return process

    def _watch(self) -> None:
        """Until one of the processes has ended, or the end is asked for."""
        while not self.stopping:
            for name, process in (("server", self.server), ("worker", self.worker)):
                if process is not None and process.poll() is not None:
                    _log(f"the {name} ended with status {process.returncode}")
                    return
            time.sleep(POLL_SECONDS)

    def _end(self) -> None:
        """The worker first, so that it can still tell the server how its runs ended."""
        for process in (self.worker, self.server):
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.worker = self.server = None


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


def _end_orphans() -> None:
    """End server and worker of a supervisor that was killed; two servers must not share a file."""
    for name in ("worker", "server"):
        try:
            pid = int((folder() / f"{name}.pid").read_text())
        except (OSError, ValueError):
            continue
        if alive(pid, f"prefect\0{name}\0start"):
            _log(f"ending the {name} of an earlier scheduler, process {pid}")
            _signal(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while alive(pid) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            _signal(pid, signal.SIGKILL)


def alive(pid: int, command: str = "") -> bool:
    """Whether a process runs whose NUL-separated command line contains `command`."""
    try:
        return command in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _need_prefect() -> None:
    import importlib.util

    if importlib.util.find_spec("prefect") is None:
        raise GatecastError(
            "scheduling needs Prefect, which is not installed: pip install 'gatecast[schedule]'; "
            "without it, let cron run `gatecast train CONFIG`"
        )


def _password() -> str:
    path = folder() / "auth"
    if not path.exists():
        _write_private(path, f"gatecast:{secrets.token_urlsafe(24)}")
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write(text)
    scratch.replace(path)


def _free_port() -> int:
    """The port used last, if it is free, so that the address of the UI stays; else the next."""
    first = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = json.loads((folder() / "server.json").read_text())
        first = [int(known["url"].split(":")[2].split("/")[0])]
    for port in (*first, *PORTS, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise GatecastError(f"no free port on {HOST}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "nothing"


def _log(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), text, flush=True)


if __name__ == "__main__":
    sys.exit(supervise(limit=int(os.environ.get(LIMIT_VARIABLE, "1"))))
