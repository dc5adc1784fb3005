"""Windows of a batch shared out among the cores, a thread each.

Torch shares out single operations. Those of a recurrence are many and small: what their threads
wait for each other costs a good part of what the second core gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")

# Windows times hidden size of a share. Smaller ones take longer than torch's own way of sharing.
LEAST_WORK = 128 * 128


def threads_sleep() -> bool:
    """Whether torch's threads sleep while they wait, as under the command line.

    They leave the cores to others then, but must be woken for every operation; threads that spin,
    which is what torch does by itself, are at hand at once.
    """
    return os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def shares(windows: int, size: int) -> list[slice]:
    """Slices of a batch of ``windows``, one per thread that torch may use, or one for all.

    Each holds at least `LEAST_WORK` windows times hidden ``size``.
    """
    count = max(min(torch.get_num_threads(), windows * size // LEAST_WORK), 1)
    bounds = [windows * k // count for k in range(count + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def each_on_a_core(work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """What ``work`` makes of every item, in their order; each in a thread of its own.

    Nothing is recorded for autograd. What ``work`` raises is raised here, and the number of
    torch's threads is what it was.
    """
    if len(items) == 1:
        return [work(items[0])]

    def alone(item: Item) -> Found:
        # A new thread records gradients unless told otherwise.
        with torch.no_grad():
            return work(item)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        others = [_pool().submit(alone, item) for item in items[1:]]
        return [alone(items[0]), *(other.result() for other in others)]
    finally:
        torch.set_num_threads(threads)


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def settle(threads: int) -> None:
    """Give the thread that this is called in so many of torch's threads, whatever others set."""
    # Asked first, torch does not overwrite it later with what was set last in any thread.
    torch.get_num_threads()
    torch.set_num_threads(threads)


@cache
def _pool() -> ThreadPoolExecutor:
    """For every caller of this process: several members may be in training."""
    return ThreadPoolExecutor(cores(), "gatecast-share", initializer=settle, initargs=(1,))


# A forked process has none of its parent's threads; not every system can fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
