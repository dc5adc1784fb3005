"""How many of the machine's cores a training takes, and how many a single operation is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from forecasting.hardware.allocation import kept_memory
from forecasting.hardware.shares import cores, threads_sleep
from forecasting.resolved import Resolved

# Windows of a batch times hidden size from which on it pays to wake sleeping threads for every
# operation of a step.
WORTH_WAKING = 256 * 64


@contextmanager
def threads_of(config: Resolved) -> Iterator[None]:
    """Within it torch has as many threads as the settings say, and freed memory is kept."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.training.threads or cores())
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def worthwhile_threads(windows: int, hidden: int) -> Iterator[None]:
    """Within it one thread, where to wake several would cost more than they give."""
    threads = torch.get_num_threads()
    if threads_sleep() and windows * hidden < WORTH_WAKING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
