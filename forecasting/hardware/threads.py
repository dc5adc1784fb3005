"""How many of the machine's cores a training takes, and how many a single operation is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from forecasting.hardware.allocation import kept_memory
from forecasting.hardware.shares import cores
from forecasting.resolved import Resolved

# Windows of a batch times hidden size from which on it pays to share out every operation of a step.
WORTH_WAKING = 256 * 64


@contextmanager
def threads_of(config: Resolved) -> Iterator[None]:
    """Within it torch has as many threads as the settings say, and freed memory is kept.

    Left open, as many as torch has been given (every core, unless the user said otherwise).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(config.training.threads or min(before, cores()))
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def worthwhile_threads(windows: int, hidden: int) -> Iterator[None]:
    """Within it one thread, where several would cost more than they give.

    Threads that sleep would have to be woken for every small operation; threads that spin instead
    take cores from others, and beside a busy neighbour wait for each other ten times as long as
    they work.
    """
    threads = torch.get_num_threads()
    if windows * hidden < WORTH_WAKING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
