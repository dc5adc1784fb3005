"""Processes started for the user: the forecast service and MLflow's pages.

The service is another program (``python -m serving``); it and the pipelines meet in the registry.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from forecasting.errors import GatecastError
from pipelines.machine.processes import stop
from pipelines.machine.state import home
from pipelines.tracking.store import connect, default_uri, on_a_server

START_SECONDS = 60.0
STOP_SECONDS = 40.0  # the service takes up to 30 to finish the requests under way
POLL_SECONDS = 0.05


def command(
    models: Sequence[str],
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    alias: str | None = None,
    shadow: str | None = None,
    canary: float | None = None,
) -> list[str]:
    """Command line of the forecast service; what is None is left to its variables."""
    named = [part for model in models for part in ("--model", model)]
    options = {
        "--host": host,
        "--port": port,
        "--workers": workers,
        "--alias": alias,
        "--shadow": shadow,
        "--canary": canary,
    }
    chosen = [str(p) for option, v in options.items() if v is not None for p in (option, v)]
    return [sys.executable, "-m", "serving", *named, *chosen]


def ui_command_line(host: str, port: int) -> list[str]:
    """Command line of MLflow's server on the local store, which is made when there is none."""
    uri = default_uri()
    if on_a_server(uri):
        raise GatecastError(f"MLflow already runs as a server: open {uri} in a browser")
    connect(uri)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri),
        *("--default-artifact-root", (home() / "artifacts").as_uri()),
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]


def free_port(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def pick_port(host: str, wanted: int) -> int:
    """The wanted port, or a free one where it is taken."""
    if wanted and free_port(host, wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    arguments: Sequence[str], ready: str, *, name: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is up when the block begins and gone when it ends.

    Parameters
    ----------
    ready
        URL that answers 200 once it is up.
    name
        Of its log file in the state folder.

    Raises
    ------
    GatecastError
        It stopped, or was not up in time; with the last line it wrote.
    """
    log = home() / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        # A group of its own: Ctrl-C reaches this process, which then stops the other in order.
        process = subprocess.Popen(
            list(arguments), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(process, ready, name, log)
        yield process
    finally:
        stop(process, STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], ready: str, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GatecastError(f"the {name} did not start: {_last_line(log)}")
        if _answers(ready):
            return
        time.sleep(POLL_SECONDS)
    raise GatecastError(f"the {name} was not ready in {START_SECONDS:.0f} s; its log: {log}")


def _answers(url: str) -> bool:
    # No proxy stands between a machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    text = lines[-1].strip().removeprefix("gatecast: ") if lines else "it wrote nothing"
    return f"{text} (log: {log})"
