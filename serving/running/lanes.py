"""Work beside the event loop, in two lanes: what is small never waits behind what is large."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")

SMALL_SECONDS: Final = 0.1  # estimated; more goes to the lane for large work
HUGE_SECONDS: Final = 2.0  # estimated; only one piece of more is under way at a time
THREADS: Final = 2  # of each lane


@dataclass(order=True)
class _Waiting:
    due: float
    place: int
    huge: bool = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    done: asyncio.Future[Any] = field(compare=False)


class Lanes:
    """Two pools of threads. Large work goes by its arrival plus its estimated seconds.

    So the shorter of two that wait goes first, and the longer is not put off for ever.
    """

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(THREADS, thread_name_prefix="small")
        self._large = ThreadPoolExecutor(THREADS, thread_name_prefix="large")
        self._queue: list[_Waiting] = []
        self._place = 0
        self._running = self._huge = 0

    async def run(self, work: Callable[[], T], seconds: float = 0.0) -> T:
        """The result of ``work``, which is estimated to take so many seconds."""
        loop = asyncio.get_running_loop()
        if seconds <= SMALL_SECONDS:
            return await loop.run_in_executor(self._small, work)
        self._place += 1
        waiting = _Waiting(
            loop.time() + seconds, self._place, seconds > HUGE_SECONDS, work, loop.create_future()
        )
        heapq.heappush(self._queue, waiting)
        self._start(loop)
        result: T = await waiting.done
        return result

    def close(self) -> None:
        """Begin no other work; what is under way ends by itself, or with the process."""
        self._small.shutdown(wait=False, cancel_futures=True)
        self._large.shutdown(wait=False, cancel_futures=True)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        later = []
        while self._queue and self._running < THREADS:
            waiting = heapq.heappop(self._queue)
            if waiting.done.done():
                continue
            if waiting.huge and self._huge:
                later.append(waiting)
                continue
            self._begin(loop, waiting)
        for waiting in later:
            heapq.heappush(self._queue, waiting)

    def _begin(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting) -> None:
        self._running += 1
        self._huge += waiting.huge

        def finish(result: asyncio.Future[Any]) -> None:
            self._running -= 1
            self._huge -= waiting.huge
            error = None if result.cancelled() else result.exception()
            if not waiting.done.done():
                if result.cancelled():
                    waiting.done.cancel()
                elif error is not None:
                    waiting.done.set_exception(error)
                else:
                    waiting.done.set_result(result.result())
            self._start(loop)

        loop.run_in_executor(self._large, waiting.work).add_done_callback(finish)
