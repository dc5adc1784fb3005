"""What a million forecasts cost: ``python -m benchmarks.cost --price 0.05``.

Measured: seconds of processor time of one core that the demo's model takes for a series, asked one
by one as the service computes a lone request, and by thousands as a batch does. Assumed, and
printed: the price of a core for an hour, and which share of bought time is used. Not in it: HTTP
and reading JSON (`benchmarks/serving.py` has their share), storage, and what is there whether it
forecasts or not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.servers import HORIZON, MODEL, POINTS, histories, train
from forecasting.data.panel import Panel
from forecasting.prediction.predictor import Predictor

BATCH = 2_000
REPEATS = 5
MILLION, HOUR = 1_000_000, 3_600.0


def panel(count: int) -> Panel:
    """Series like the demo's."""
    y = histories(count)
    ids = [f"s{i}" for i in range(count)]
    return Panel.from_arrays(
        ids, y.ravel(), np.full(count, POINTS), np.ones(count, dtype=np.int64), "step"
    )


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of processor time."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return float(np.median(taken))


def cost(per_series: float, price: float, used: float) -> float:
    """Of a million forecasts, in the unit of the price of a core's hour."""
    return MILLION * per_series / HOUR * price / used


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--price", type=float, default=0.05, help="of one core for one hour")
    parser.add_argument("--used", type=float, default=0.4, help="share of bought time that is used")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor.load(train(Path(folder) / "bundle"), threads=1)
        lone, many = panel(1), panel(BATCH)
        measured = {
            "one by one": seconds(lambda: predictor.predict_panel(lone), 200),
            f"by {BATCH:,}": seconds(lambda: predictor.predict_panel(many)) / BATCH,
        }
    print(f"{MODEL}: {POINTS} points, {HORIZON} steps; a core costs {given.price:g} an hour, "
          f"and {given.used:.0%} of it are used\n")  # fmt: skip
    print("| asked | ms of a core | series/s of a core | a million cost |")
    print("|---|---|---|---|")
    for name, each in measured.items():
        price = cost(each, given.price, given.used)
        print(f"| {name} | {each * 1e3:.3f} | {1 / each:,.0f} | {price:.3f} |")


if __name__ == "__main__":
    main()
