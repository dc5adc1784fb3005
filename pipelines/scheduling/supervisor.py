"""The supervisor: Prefect's server and one worker of this machine, started again when they die.

`gatecast schedule` starts it in the background (``python -m pipelines.scheduling.supervisor``);
what runs when is Prefect's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

from forecasting.errors import GatecastError
from pipelines.machine.files import write_text
from pipelines.machine.processes import stop
from pipelines.machine.state import HOME_VARIABLE, home, quiet
from pipelines.scheduling.server import (
    POLL_SECONDS,
    POOL,
    READY_SECONDS,
    STOP_SECONDS,
    Address,
    alive,
    environment,
    folder,
    healthy,
    need_prefect,
    password,
    shared_server,
)

HOST = "127.0.0.1"
PORTS = range(4200, 4300)  # Prefect's own first, so that its command line finds the server
TAKE_UP_ATTEMPTS, TAKE_UP_PAUSE = 5, 3.0
LONGEST_PAUSE = 60.0  # between restarts of a process that keeps dying
LARGEST_LOG = 5_000_000  # bytes; the older half of the log is one file further
LIMIT_VARIABLE = "GATECAST_SCHEDULE_LIMIT"


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
    need_prefect()
    lock = FileLock(folder() / "supervisor.lock")
    try:
        # A moment's patience: whoever asks `supervised` holds the lock for a blink.
        lock.acquire(timeout=1)
    except Timeout:
        print("a scheduler is already running here")
        return 0
    try:
        write_text(str(os.getpid()), folder() / "supervisor.pid", private=True)
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
            write_text(json.dumps({"url": address.url}), folder() / "server.json", private=True)
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
        code = "from pipelines.scheduling.catch_up import take_up; take_up()"
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
        address = Address(f"http://{HOST}:{port}/api", password())
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
        variables = {k: os.environ.get(k, v) for k, v in settings.items()} | environment(address)
        self.server = self._start(
            "server", ["server", "start", "--host", HOST, "--port", str(port)], variables
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
        write_text(str(process.pid), folder() / f"{name}.pid", private=True)
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
            if process is not None:
                stop(process, STOP_SECONDS)
        self.worker = self.server = None


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


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _free_port() -> int:
    """The port used last, if it is free, so that the address of the UI stays; else the next."""
    first = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        record = json.loads((folder() / "server.json").read_text())
        first = [int(record["url"].split(":")[2].split("/")[0])]
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


def _log(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), text, flush=True)


if __name__ == "__main__":
    sys.exit(supervise(limit=int(os.environ.get(LIMIT_VARIABLE, "1"))))
