"""Tasks on a Ray cluster. Nothing here is loaded unless Ray is asked for.

Ray serialises what it carries by pickle, within the cluster that its token guards: all that we hand
it are a function of this module, by its name, and bytes (`carrying`).
"""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError, GatecastError, need
from pipelines.machine.say import Say, silent
from pipelines.machine.state import cores, keep_apart, quiet
from pipelines.spread.carrying import (
    RETRIES,
    Listener,
    LostError,
    Retrying,
    Worker,
    call_of,
    packed,
)
from pipelines.spread.task import Task

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

LOCAL = "local"  # an address: a cluster that is started here, and ends with the command
ANSWER_SECONDS = 10.0


@dataclass
class Shared:
    """Something in Ray's store, by a name of its content; ``value`` puts it there again."""

    key: str
    value: Panel | Path
    reference: Any


class OnRay(Retrying):
    """A cluster's workers, each task with its part of the cores and GPUs.

    A task whose worker or node was lost is done again elsewhere, from what it had kept; that comes
    to this side as it is written, so no disk needs to be shared for it.

    Parameters
    ----------
    address : ``local``, ``auto`` (the cluster that this machine is a node of) or ``HOST:PORT``.
    workers : tasks at the same time; None: as many as the cluster holds.
    cpus, gpus : of a task, as parts or multiples of one.

    Raises
    ------
    MissingGroupError : Ray is not installed. GatecastError : no cluster answers there.
    """

    advice = (
        "; `ray status` tells of the nodes, and the same command goes on from what was finished"
    )

    def __init__(
        self,
        address: str,
        *,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        retries: int = RETRIES,
        say: Say = silent,
    ) -> None:
        need("--ray", "ray")
        self.asked, self.cpus, self.gpus, self.retries = workers, cpus, gpus, retries
        self.say = say
        self._own = _connected(address)
        self._going: set[Any] = set()
        self._guard = threading.Lock()
        import ray

        self._ray, self._carried = ray, ray.remote(carried)

    @property
    def workers(self) -> int:
        """As many tasks as the cluster's cores and GPUs hold now."""
        there = self._ray.cluster_resources()
        fitting = int(there.get("CPU", 0.0) / self.cpus + 1e-9)
        if self.gpus:
            fitting = min(fitting, int(there.get("GPU", 0.0) / self.gpus + 1e-9))
        if not fitting:
            raise GatecastError(
                f"the cluster has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, "
                f"too few for one task of {self.cpus:g} and {self.gpus:g}: lower spread.cpus or "
                "spread.gpus, or add a node"
            )
        return min(fitting, self.asked or fitting)

    def share(self, value: Panel | Path) -> Shared:
        """It in Ray's store, from where every node fetches it once."""
        key, data = packed(value)
        return Shared(key, value, self._ray.put(data))

    def _lost(self, task: Task) -> None:
        for one in task.shared:
            # The node may have held the only copy.
            one.reference = self._ray.put(packed(one.value).data)

    def _done(self, task: Task) -> dict[str, Any]:
        """Does a task wherever there is room."""
        ray, listener = self._ray, Listener(task)
        threads = max(int(self.cpus), 1)
        call = call_of(task, [one.key for one in task.shared], threads=threads, gpus=self.gpus)
        work = self._carried.options(
            num_returns="streaming",
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=0,
            name=task.name,
        )
        going: Any = work.remote(call, *(one.reference for one in task.shared))
        with self._guard:
            self._going.add(going)
        try:
            for reference in going:
                answer = listener.hear(ray.get(reference))
                if answer is not None:
                    return answer
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ray.exceptions.RayError):
                raise LostError(type(error.cause).__name__) from error
            raise GatecastError(
                f"{task.name}: a worker could not begin: {_first(error.cause)}; every node needs "
                "the Gatecast of who asks, on the path of its Python"
            ) from error
        except ray.exceptions.RayError as error:
            raise LostError(type(error).__name__) from error
        finally:
            with self._guard:
                self._going.discard(going)
        raise LostError("its answer did not come")

    def close(self) -> None:
        """Ends what is under way, and the cluster where it was started here."""
        self._closed = True
        with self._guard:
            going = list(self._going)
        for one in going:
            self._ray.cancel(one, force=True)
        if self._own:
            self._ray.shutdown()


def carried(call: bytes, *shared: bytes) -> Iterator[bytes]:
    """What a worker of Ray's does: the messages of a call, as they are made."""
    messages: SimpleQueue[bytes | None] = SimpleQueue()

    def work() -> None:
        try:
            _worker().carry_out(call, [partial(bytes, data) for data in shared], messages.put)
        finally:
            messages.put(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while (message := messages.get()) is not None:
        yield message
    thread.join()


@cache
def _worker() -> Worker:
    scratch = tempfile.mkdtemp(prefix="gatecast-worker-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return Worker(Path(scratch))


def _connected(address: str) -> bool:
    """Whether a connection was made here; one that is there already is used, and left."""
    import ray

    if ray.is_initialized():
        return False
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray {address}: this kind of address hands on no rows of a training as they come; "
            "give the command on a node of the cluster, with --ray auto or HOST:6379"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            # Ray itself goes on trying for minutes.
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except OSError as error:
            raise _no_cluster(address, error) from error
    quiet()
    keep_apart()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"num_cpus": cores(), "include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise _no_cluster(address, error) from error
    return True


def _no_cluster(address: str, error: Exception) -> GatecastError:
    return GatecastError(
        f"--ray {address}: no cluster answers there ({_first(error)}); `ray start --head` "
        "starts one, its token must be the same on every machine, and --ray local needs none"
    )


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
