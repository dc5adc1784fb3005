"""Work that may never end, in threads that no lock, no loop and no end of the process waits for.

The threads of an executor are joined when Python ends, so one that hangs keeps the process alive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def started(work: Callable[[], T], name: str) -> Future[T]:
    """The result to come of work in a thread of its own."""
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """The result of work; `TimeoutError` leaves it to itself."""
    return started(work, name).result(timeout=seconds)


async def beside(work: Callable[[], T], name: str) -> T:
    """The result of work, awaited; cancelling leaves it to itself."""
    return await asyncio.wrap_future(started(work, name))
