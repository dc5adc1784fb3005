"""Clocks, blocks and the description of the machine, for the workers of `speed.py`.

Imports nothing but the standard library: a peer's interpreter runs it too.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

BLOCKS = 5


class Blocks:
    """Times blocks of steps: call once after every step.

    The first ``warm`` steps are left out; then `BLOCKS` blocks of ``size`` steps are timed, by the
    clock on the wall and in seconds of CPU. ``done`` when they are.
    """

    def __init__(self, size: int, *, warm: int = 2) -> None:
        self.size, self.warm, self.steps = size, warm, 0
        # Where the first block begins, and where each block ends, by both clocks.
        self.ends: list[tuple[float, float]] = []

    @property
    def total(self) -> int:
        return self.warm + BLOCKS * self.size

    @property
    def done(self) -> bool:
        return self.steps >= self.total

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.steps += 1
        counted = self.steps - self.warm
        if self.steps > self.total or counted < 0 or counted % self.size:
            return
        self.ends.append((time.perf_counter(), time.process_time()))

    def result(self, windows: int) -> dict[str, Any]:
        """Medians per step, and windows per second of both clocks."""
        wall, cpu = (
            [(end[k] - begin[k]) / self.size for begin, end in pairwise(self.ends)]
            for k in range(2)
        )
        wall_s, cpu_s = statistics.median(wall), statistics.median(cpu)
        return {
            "step_wall_s": wall_s,
            "step_cpu_s": cpu_s,
            "windows_per_wall_s": windows / wall_s,
            "windows_per_cpu_s": windows / cpu_s,
            "blocks_wall_s": wall,
            "blocks_cpu_s": cpu,
            "steps_per_block": self.size,
        }


def timed(call: Callable[[], Any], repeats: int = BLOCKS) -> dict[str, Any]:
    """Medians of some repeats of a call, after one that is not counted."""
    call()
    wall, cpu = [], []
    for _ in range(repeats):
        began = (time.perf_counter(), time.process_time())
        call()
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    return {"wall_s": statistics.median(wall), "cpu_s": statistics.median(cpu), "repeats": repeats,
            "all_wall_s": wall, "all_cpu_s": cpu}  # fmt: skip


def peak_mb() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions(*names: str) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores and memory; no name of a host."""
    import os

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gb": round(memory, 1),
            "system": platform.system(), "load_before": round(os.getloadavg()[0], 2)}  # fmt: skip


def answer(result: dict[str, Any]) -> None:
    """Hands a worker's result to `speed.py`: the last line of its output."""
    sys.stdout.flush()
    print("\nRESULT " + json.dumps(result), flush=True)
