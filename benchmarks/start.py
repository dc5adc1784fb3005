"""How long a process takes before it does anything: imports, the command, a saved model.

python benchmarks/start.py
python benchmarks/start.py --rounds 15 --report docs/speed.md
python benchmarks/start.py --rounds 1

Each round starts every process once, so that a busy moment of the machine meets all of them. A
ratio is the median over the rounds of a process's seconds over those of `import numpy` in the same
round. On a busy machine seconds of the CPU tell what an idle one would take; on an idle one both
are alike. How long the service takes from its start to ready is a row of benchmarks/serving.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console

from pipelines.benchmark.report import write_markdown

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- start:begin -->", "<!-- start:end -->"
YARDSTICK = "`import numpy`"
Times = dict[str, list[tuple[float, float]]]
# One forecast from a saved model, as a process of its own.
FORECAST = """
import sys
from forecasting import Predictor
from forecasting.prediction.example import example_panel
model = Predictor.load(sys.argv[1])
model.predict_panel(example_panel(model, 1))
assert "torch" not in sys.modules
"""
# What a process is told to do, and the seconds it is to take at most.
PROCESSES: dict[str, tuple[list[str], float | None]] = {
    YARDSTICK: (["-c", "import numpy"], None),
    "`import forecasting`": (["-c", "import forecasting"], 0.3),
    "`from forecasting import Forecaster`": (["-c", "from forecasting import Forecaster"], None),
    "`import torch`, which that needs": (["-c", "import torch"], None),
    "`gatecast --help`": (["-m", "pipelines.cli", "--help"], 0.5),
    "`gatecast doctor`": (["-m", "pipelines.cli", "doctor"], 0.5),
    "open a saved model and forecast once": (
        ["-c", FORECAST, str(ROOT / "tests" / "bundles" / "format-1")],
        1.0,
    ),
}


def seconds(arguments: list[str], home: Path) -> tuple[float, float]:
    """Seconds of a Python process from its start to its end, on the wall and of the CPU."""
    environment = {**os.environ, "GATECAST_HOME": str(home), "PYTHONPATH": str(ROOT)}
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    taken, after = time.perf_counter() - began, os.times()
    worked = sum(after[2:4]) - sum(before[2:4])
    return taken, worked


def measured(rounds: int) -> Times:
    """Of every process in every round; of several, after one that fills the disk's cache."""
    times: Times = {name: [] for name in PROCESSES}
    with tempfile.TemporaryDirectory(prefix="gatecast-start-") as folder:
        unseen = int(rounds > 1)
        for turn in range(unseen + rounds):
            for name, (arguments, _) in PROCESSES.items():
                taken = seconds(arguments, Path(folder))
                if turn >= unseen:
                    times[name].append(taken)
    return times


def table(times: Times) -> list[str]:
    """Markdown: the medians, the ratio to the yardstick's, and the goal."""
    lines = [
        "| process | seconds | of the CPU | over `import numpy` | goal |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, both in times.items():
        taken, worked = (list(part) for part in zip(*both, strict=True))
        ratio = median(a / b[0] for a, b in zip(taken, times[YARDSTICK], strict=True))
        goal = PROCESSES[name][1]
        lines.append(
            f"| {name} | {median(taken):.2f} | {median(worked):.2f} | {ratio:.1f} | "
            f"{'' if goal is None else f'≤ {goal:g} s'} |"
        )
    return lines


def main() -> int:
    """Measure, print, and write into a page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often each process starts")
    parser.add_argument("--report", type=Path, help="a page with the marks of this table")
    options = parser.parse_args()
    lines = table(measured(options.rounds))
    if options.report:
        write_markdown(options.report, "\n".join([*lines, ""]), begin=BEGIN, end=END)
    Console(width=200, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
