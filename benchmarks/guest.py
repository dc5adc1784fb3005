"""How a small training behaves beside busy neighbours: a good guest takes its fair share of time.

``python -m benchmarks.guest`` fits 30 quarterly series in a plain Python process, alone and beside
processes that only count, with torch's threads as they come and with OMP_NUM_THREADS=1. Of p busy
processes and one training on c cores each gets min(1, c / (p + 1)) of a core: the last column is
the time by the clock over that of the same training alone with such a share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUSY = "while True: pass"
THREADS = (None, "1")  # of OMP_NUM_THREADS; None: not set
FIT = """
import sys, time, warnings
import numpy as np, pandas as pd
from forecasting import Forecaster
warnings.simplefilter("ignore")
draw, t, parts = np.random.default_rng(0), np.arange(60), []
for i in range(int(sys.argv[2])):
    wave = 1.0 + 0.2 * np.sin(2 * np.pi * (t + i) / 4)
    y = 100.0 * np.exp(0.01 * t) * wave * np.exp(draw.normal(0, 0.03, 60))
    ds = pd.date_range("2005-01-01", periods=60, freq="QS")
    parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": y}))
training = {"start": "none", "max_steps": int(sys.argv[1])}
wall, cpu = time.perf_counter(), time.process_time()
Forecaster.fit(pd.concat(parts), horizon=8, config={"training": training}, device="cpu")
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def fit(steps: int, threads: str | None, series: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processors, of one training in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment["PYTHONPATH"] = str(ROOT)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = threads
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(steps), str(series)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def beside(neighbours: int, steps: int, threads: str | None, series: int) -> tuple[float, float]:
    """The same while so many processes keep a core busy each."""
    with ExitStack() as stack:
        for _ in range(neighbours):
            busy = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        return fit(steps, threads, series)


def main() -> None:
    """Measure in turns, and print a table."""
    parser = argparse.ArgumentParser(description="a training beside busy neighbours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    parser.add_argument("--series", type=int, default=30)
    parser.add_argument("--most", type=int, default=2, help="busy neighbours")
    asked = parser.parse_args()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    cases = [(n, threads) for threads in THREADS for n in range(asked.most + 1)]
    found: dict[tuple[int, str | None], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(asked.rounds):
        for case in cases:
            found[case].append(beside(case[0], asked.steps, case[1], asked.series))
    print("| OMP_NUM_THREADS | busy neighbours | s by the clock | s of CPU | over its fair share |")
    print("|---|---:|---:|---:|---:|")
    for neighbours, threads in cases:
        wall, cpu = (
            statistics.median(each) for each in zip(*found[neighbours, threads], strict=True)
        )
        alone = statistics.median(w for w, _ in found[0, threads])
        expected = max(1.0, (neighbours + 1) / cores) * alone
        name = threads or "not set"
        print(f"| {name} | {neighbours} | {wall:.1f} | {cpu:.1f} | {wall / expected:.2f} |")


if __name__ == "__main__":
    main()
