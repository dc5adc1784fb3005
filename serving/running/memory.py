"""Gives memory back after requests that needed much of it."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from typing import Final

# Bodies above this leave more behind than the allocators should keep.
MUCH: Final = 4 << 20
# Long enough for the answer to have been sent, and for a burst to be over.
PAUSE_SECONDS: Final = 2.0


class Memory:
    """Asks the allocators to return what they hold unused, once after a burst."""

    def __init__(self) -> None:
        self._due = False

    def release_soon(self) -> None:
        """Release after a pause, beside the event loop."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._start)

    def _start(self) -> None:
        self._due = False
        asyncio.get_running_loop().run_in_executor(None, release)


def release() -> None:
    """Return unused memory to the system: Arrow's pool, and the C library's where it can."""
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
