"""Where an experiment's tasks are done, and how several are asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pipelines.config import SpreadConfig
from pipelines.machine.say import Say, silent
from pipelines.spread.processes import Processes
from pipelines.spread.task import Here, Place

Found = TypeVar("Found")


@contextmanager
def open_place(settings: SpreadConfig, say: Say = silent) -> Iterator[Place]:
    """Where tasks are done: on Ray, in processes, or here; closed at the end.

    Raises
    ------
    MissingGroupError, GatecastError : no Ray, or no cluster.
    """
    place: Place
    if settings.ray is not None:
        from pipelines.spread.on_ray import OnRay

        place = OnRay(
            settings.ray,
            workers=settings.workers,
            cpus=settings.cpus,
            gpus=settings.gpus,
            retries=settings.retries,
            say=say,
        )
        say(f"on Ray at {settings.ray}: {place.workers} tasks at the same time")
    elif (settings.workers or 1) > 1:
        workers = Processes(settings.workers or 1, retries=settings.retries, say=say)
        say(f"{workers.workers} processes of {workers.threads} thread(s)")
        place = workers
    else:
        place = Here()
    try:
        yield place
    finally:
        place.close()


def each(place: Place, calls: Iterable[Callable[[], Found]]) -> Iterator[Found]:
    """What calls give, in their order, as many at once as a place has workers.

    Calls are taken as they are needed, and no more than twice the workers wait to be fetched, so
    that neither need fit into memory. An error ends it: calls that were not begun are not.
    """
    if place.workers == 1:
        for call in calls:
            yield call()
        return
    workers = place.workers
    pool = ThreadPoolExecutor(workers, "gatecast-task")
    waiting: list[Future[Found]] = []
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) >= 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    except BaseException:
        for future in waiting:
            future.cancel()
        # Their tasks would be waited for otherwise: nobody wants them any more.
        place.close()
        raise
    finally:
        pool.shutdown()
