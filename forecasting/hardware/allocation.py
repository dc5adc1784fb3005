"""Keeps freed memory for the next step.

By default glibc hands large blocks back to the system as soon as they are freed, and every training
step takes the same ones again, page by page: a third of an LSTM's training time on a CPU.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from forecasting.hardware.switches import Switch

# Of glibc's malloc.h: parameters of mallopt.
TRIM_THRESHOLD = -1
TOP_PAD = -2
MMAP_THRESHOLD = -3
MMAP_MAX = -4
# What a process that frees large blocks arrives at by itself, in bytes: glibc raises the threshold
# of its own mappings as they are freed, up to 32 MB, and trims at twice that. Once a parameter was
# set it stops doing so, and from its first defaults on every array above 128 kB would be mapped
# anew for the rest of the process.
SETTLED = {
    MMAP_MAX: 65_536,
    MMAP_THRESHOLD: 32 << 20,
    TRIM_THRESHOLD: 64 << 20,
    TOP_PAD: 128 << 10,
}
# A thread's heaps, of 64 MB each, are kept when empty if the padding is larger than they are.
KEEP = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 256 << 20, MMAP_MAX: 0}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, freed blocks stay with the process; after it, what is free goes back.

    A setting of the whole process; does nothing where the C library is not glibc.
    """
    with _KEPT.at(True):
        yield


@contextmanager
def _kept(_: bool) -> Iterator[None]:
    libc = _glibc()
    if libc is None:
        yield
        return
    for parameter, value in KEEP.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in SETTLED.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


_KEPT = Switch(_kept, any)
