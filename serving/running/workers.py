"""Several workers under one parent, which listens for nothing: signals and pipes are all it has.

BentoML's supervisor takes commands from a TCP port without a password; this one has no port.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Final

from prometheus_client import multiprocess
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

EXIT_SECONDS: Final = 10.0  # beyond the grace that requests under way have
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"


class Workers(Multiprocess):
    """Starts workers, starts those anew that die, and ends all of them with itself."""

    def __init__(self, config: Any, sockets: list[Any], grace: float) -> None:
        super().__init__(config, sockets)
        self.grace = grace
        # Of this service alone: two services of one user count apart.
        self.folder = tempfile.mkdtemp(prefix="gatecast-metrics-")
        os.environ[METRICS] = self.folder

    def run(self) -> None:
        """Serve until stopped."""
        try:
            super().run()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died, and what their gauges said with them."""
        for process in self.processes:
            process.ping = partial(answers, process)  # type: ignore[method-assign]
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            if pid is not None:
                multiprocess.mark_process_dead(pid, self.folder)  # type: ignore[no-untyped-call]

    def join_all(self) -> None:
        """Wait for the workers as long as they may take, and no longer."""
        end = time.monotonic() + self.grace + EXIT_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, end - time.monotonic()))
            if process.process.is_alive():
                process.process.kill()
                process.process.join()

    @property
    def failed(self) -> bool:
        """Whether a worker could not start."""
        return any(process.exitcode not in (0, -15, -9) for process in self.processes)


def answers(process: Process, timeout: float = 5) -> bool:
    """Whether a worker shows a sign of life within ``timeout`` seconds.

    uvicorn's own `ping` waits to the end for one that dies while it is asked.
    """
    try:
        process.parent_conn.send(b"ping")
        ready = wait([process.parent_conn, process.process.sentinel], timeout)
        if process.parent_conn in ready:
            process.parent_conn.recv()
        return process.parent_conn in ready
    except (OSError, EOFError):
        return False
