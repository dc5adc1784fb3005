"""How much memory there is for a command."""

from __future__ import annotations

import contextlib
from pathlib import Path


def usable() -> int:
    """Bytes that may be used: what is available on this machine, or left of a container's limit."""
    limits = [4 << 30]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits = [next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))]
    with contextlib.suppress(OSError, ValueError, KeyError):
        # A container may be allowed less than the machine has.
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        held = dict(x.split() for x in (group / "memory.stat").read_text().splitlines())
        limits.append(limit - int(held["anon"]))
    return max(min(limits), 1 << 20)
