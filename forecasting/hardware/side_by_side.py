"""Work on several members at once, a thread each.

Small products of a recurrence gain little from a second core, whole trainings gain all of it. On a
GPU each member has a stream of its own, so that the kernels of one fill what another leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from forecasting.hardware.shares import settle

Found = TypeVar("Found")
Row = dict[str, Any]
# Called with each row of a training's history as it is made.
OnEpoch = Callable[[Row], None]
# Of a number, where its rows go, and what is set once nobody wants the outcome.
Work = Callable[[int, OnEpoch, threading.Event], Found]


class StoppedError(Exception):
    """Training ended because that of another member failed, or nobody wants it any more."""


def side_by_side(
    work: Work[Found],
    numbers: Sequence[int],
    record: OnEpoch,
    device: torch.device,
    go_on: Callable[[BaseException], bool],
) -> list[Found | Exception]:
    """What ``work`` makes of every number, or the error it ended with, in their order.

    Torch's threads are dealt out evenly. ``record`` is called in the caller's thread, row by row.
    An error that does not let the others ``go_on``, and one of ``record``, stops them all at their
    next step and is raised when they have; of several, the first number's.
    """
    stop = threading.Event()

    def ended(number: int, tell: OnEpoch) -> Found | Exception:
        try:
            return work(number, tell, stop)
        except Exception as error:
            if not go_on(error):
                raise
            # What its frames hold, a batch and all that was made of it, is wanted no more.
            error.__context__ = None
            return error.with_traceback(None)

    if len(numbers) == 1:
        return [ended(numbers[0], record)]
    threads, ready = torch.get_num_threads(), _current_stream(device)
    rows: SimpleQueue[Row | Future[Found | Exception]] = SimpleQueue()

    def alone(number: int) -> Found | Exception:
        with _stream(device, ready):
            return ended(number, rows.put)

    share = max(threads // len(numbers), 1)
    pool = ThreadPoolExecutor(
        len(numbers), "gatecast-member", initializer=settle, initargs=(share,)
    )
    futures: list[Future[Found | Exception]] = []
    try:
        with pool:
            try:
                for number in numbers:
                    futures.append(pool.submit(alone, number))
                    futures[-1].add_done_callback(rows.put)
                _attend(rows, len(futures), record, stop)
            except BaseException:
                stop.set()
                raise
    finally:
        # Threads begun from now on would have a member's share.
        torch.set_num_threads(threads)
    failures = [error for future in futures if (error := future.exception()) is not None]
    for failure in failures:
        if not isinstance(failure, StoppedError):
            raise failure
    return [future.result() for future in futures]


def _attend(
    rows: SimpleQueue[Row | Future[Found | Exception]],
    running: int,
    record: OnEpoch,
    stop: threading.Event,
) -> None:
    """Hand rows on as they come, until every member has ended."""
    while running:
        item = rows.get()
        if not isinstance(item, Future):
            record(item)
            continue
        running -= 1
        if item.exception() is not None:
            stop.set()


def _current_stream(device: torch.device) -> Any:
    return torch.cuda.current_stream(device) if device.type == "cuda" else None


def _stream(device: torch.device, ready: Any) -> AbstractContextManager[Any]:
    """A stream of this thread's own on a GPU, which begins where that of the data is ``ready``."""
    if device.type != "cuda":
        return nullcontext()
    if device.index is not None:
        torch.cuda.set_device(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(ready)
    return torch.cuda.stream(stream)
