"""Tasks in processes of this machine, which share its cores out among them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.machine.processes import stop
from pipelines.machine.say import Say, silent
from pipelines.machine.state import cores, keep_apart
from pipelines.spread.carrying import RETRIES, Listener, LostError, Retrying, call_of, packed
from pipelines.spread.parcel import pack
from pipelines.spread.task import Task
from pipelines.spread.worker import read_frame, write_frame

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

ENDING_SECONDS = 5.0


class Processes(Retrying):
    """So many workers, each with its part of the cores, started as tasks ask for them.

    A task whose worker was killed is done again by another, from what it had kept.
    """

    advice = ", perhaps for want of memory; give the same command with fewer --workers"

    def __init__(self, workers: int, *, retries: int = RETRIES, say: Say = silent) -> None:
        self.workers, self.retries, self.say = workers, retries, say
        self.threads = max(cores() // workers, 1)
        self._folder = tempfile.TemporaryDirectory(prefix="gatecast-shared-")
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()

    def share(self, value: Panel | Path) -> Shared:
        """A file of it that every worker reads once."""
        key, data = packed(value)
        handle, name = tempfile.mkstemp(dir=self._folder.name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return Shared(key, Path(name))

    def _done(self, task: Task) -> dict[str, Any]:
        """Does a task in an idle worker."""
        worker = self._taken()
        assert worker.stdin is not None
        assert worker.stdout is not None
        call = call_of(task, [one.key for one in task.shared], threads=self.threads)
        paths = [str(one.path) for one in task.shared]
        listener = Listener(task)
        try:
            write_frame(worker.stdin, pack({"call": call, "paths": paths}))
            while (message := read_frame(worker.stdout)) is not None:
                try:
                    answer = listener.hear(message)
                except BaseException:
                    # An error of the task's own leaves its worker at hand; one of who listens
                    # leaves a worker in the middle of its work, which nobody waits for.
                    if listener.ended:
                        self._give_back(worker)
                    else:
                        stop(worker, ENDING_SECONDS)
                    raise
                if answer is not None:
                    self._give_back(worker)
                    return answer
        except OSError:
            pass
        stop(worker, ENDING_SECONDS)
        raise LostError

    def _taken(self) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._closed:
                raise LostError
            if self._idle:
                return self._idle.pop()
            environment = dict(os.environ) | {"OMP_NUM_THREADS": str(self.threads)}
            keep_apart(environment)
            worker = subprocess.Popen(
                [sys.executable, "-m", "pipelines.spread.worker", self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
            self._all.append(worker)
            return worker

    def _give_back(self, worker: subprocess.Popen[bytes]) -> None:
        with self._guard:
            self._idle.append(worker)

    def close(self) -> None:
        """Ends every worker, in the middle of its work too."""
        with self._guard:
            self._closed = True
        for worker in self._all:
            stop(worker, ENDING_SECONDS)
            for pipe in (worker.stdin, worker.stdout):
                # One that was killed did not read what still waits in its pipe.
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
        self._folder.cleanup()


class Shared:
    """A file that is there as long as somebody may ask for it."""

    def __init__(self, key: str, path: Path) -> None:
        self.key, self.path = key, path
        weakref.finalize(self, path.unlink, missing_ok=True)
