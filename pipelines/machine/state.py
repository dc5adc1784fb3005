"""Where Gatecast keeps its state, and the quiet environment every command runs in.

Imports nothing heavy: the command line loads this file before anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from forecasting.errors import GatecastError

HOME_VARIABLE = "GATECAST_HOME"
CORES_VARIABLE = "GATECAST_CORES"  # of a process that shares the machine with its like: its part
LOCK_WAIT_SECONDS = 60.0

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # A server that passes an upload on to its store answers late.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    # Threads that spin while they wait take the cores away from the one they wait for: training
    # beside another busy process took 20 times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def quiet() -> None:
    """Switch telemetry off and cap the time lost to a dead server; what the user set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        os.environ.setdefault("OTEL_SDK_DISABLED", "true")


def keep_apart(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let no Python that is started from here import what lies in the user's folder.

    A folder of theirs called `forecasting` would be taken for ours. Where this code is a source
    tree that is not installed, its folder is named, so that children find what their parent is.
    """
    environment.setdefault("PYTHONSAFEPATH", "1")
    root = Path(__file__).resolve().parents[2]
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    if (root / "pyproject.toml").is_file() and str(root) not in paths:
        environment["PYTHONPATH"] = os.pathsep.join([str(root), *paths])


def home() -> Path:
    """Absolute folder of all local state: ``$GATECAST_HOME`` or ``./.gatecast``."""
    folder = Path(os.environ.get(HOME_VARIABLE, ".gatecast")).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatecastError(
            f"cannot create the state folder {folder}: {error.strerror}; "
            f"set {HOME_VARIABLE} to a folder you may write to"
        ) from error
    return folder


@contextmanager
def locked(name: str, *, wait: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold a lock between processes of this machine.

    Parameters
    ----------
    name
        What is locked; becomes a file below ``locks/`` in the state folder.
    wait
        Seconds to wait for another holder before giving up with a `GatecastError`.
    """
    from filelock import FileLock, Timeout

    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    folder = home() / "locks"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{safe}.lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise GatecastError(
            f"another gatecast process has held {name!r} for {wait:.0f} s; wait for it to end"
        ) from error
    try:
        yield
    finally:
        lock.release()


def cores() -> int:
    """Cores this process may use."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    part = os.environ.get(CORES_VARIABLE, "")
    return min(count, int(part)) if part.isdecimal() and int(part) else count
