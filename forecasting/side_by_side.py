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

from forecasting.epochs import OnEpoch, StoppedError

Found = TypeVar("Found")
Row = dict[str, Any]
# Of a number, where its rows go, and what is set once nobody wants the outcome.
Work = Callable[[int, OnEpoch, threading.Event], Found]


def side_by_side(
    work: Work[Found],
    numbers: Sequence[int],
    record: OnEpoch,
    device: torch.device,
    go_on: Callable[[BaseException], bool],
) -> list[Found | BaseException]:
    """What ``work`` makes of every number, or the error it ended with, in their order.

    Torch's threads are dealt out evenly. ``record`` is called in the caller's thread, row by row.
    An error that does not let the others ``go_on``, and one of ``record``, stops them all at their
    next step and is raised when they have; of several, the first number's.
    """
    stop = threading.Event()
    if len(numbers) == 1:
        try:
            return [work(numbers[0], record, stop)]
        except Exception as error:
            if not go_on(error):
                raise
            return [error]
    threads = torch.get_num_threads()
    rows: SimpleQueue[Row | Future[Found]] = SimpleQueue()

    def alone(number: int) -> Found:
        with _stream(device):
            return work(number, rows.put, stop)

    share = max(threads // len(numbers), 1)
    pool = ThreadPoolExecutor(
        len(numbers), "gatecast-member", initializer=torch.set_num_threads, initargs=(share,)
    )
    try:
        with pool:
            futures = [pool.submit(alone, number) for number in numbers]
            for future in futures:
                future.add_done_callback(rows.put)
            try:
                _attend(rows, len(futures), record, stop, go_on)
            except BaseException:
                stop.set()
                raise
    finally:
        # Threads begun from now on would have a member's share.
        torch.set_num_threads(threads)
    ended = [future.exception() or future.result() for future in futures]
    for outcome in ended:
        if isinstance(outcome, StoppedError) or not isinstance(outcome, BaseException):
            continue
        if not go_on(outcome):
            raise outcome
    return ended


def _attend(
    rows: SimpleQueue[Row | Future[Found]],
    running: int,
    record: OnEpoch,
    stop: threading.Event,
    go_on: Callable[[BaseException], bool],
) -> None:
    """Hand rows on as they come, until every member has ended."""
    while running:
        told = rows.get()
        if not isinstance(told, Future):
            record(told)
            continue
        running -= 1
        error = told.exception()
        if error is not None and not go_on(error):
            stop.set()


def _stream(device: torch.device) -> AbstractContextManager[Any]:
    """A stream of this thread's own on a GPU, which begins where the data is ready."""
    if device.type != "cuda":
        return nullcontext()
    if device.index is not None:
        torch.cuda.set_device(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.default_stream(device))
    return torch.cuda.stream(stream)
