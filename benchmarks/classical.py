"""The classical forecasts beside statsforecast's fits of the same models, and their speed.

GATECAST_DATA=../data python -m benchmarks.classical m3_monthly m1_yearly --series 100
python -m benchmarks.classical --speed 48000

Scored inside the histories: MASE of both, and by how much ours is off theirs. The speed is of all
forecasts of a pool, 18 steps ahead, on made-up monthly series of the lengths of M4's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from forecasting.arrays import Array
from forecasting.classical.pool import LONGEST_SEASON, MEMBERS, classical
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.errors import GatecastError
from forecasting.evaluation.baselines import fill_missing
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import inside, load

STEPS, SEASON = 18, 12
HEAD = ["set", "forecast", "ours", "statsforecast", "difference"]
BEGIN, END = "<!-- classical:begin -->", "<!-- classical:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--series", type=int, default=100, help="at most, of each set")
    parser.add_argument("--speed", type=int, default=0, help="series to forecast on the clock")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path, help="write the table into this page")
    options = parser.parse_args()
    console = Console()
    table = [HEAD, ["---", "---", "---:", "---:", "---:"]]
    try:
        for name in options.sets:
            table += agreement(name, options.series)
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"
    if options.sets:
        console.print(text, markup=False)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    if options.speed:
        wall, busy = speed(options.speed, options.threads)
        console.print(
            f"{options.speed} series x {STEPS} steps, {options.threads} threads: "
            f"{wall:.1f} s, {busy:.1f} s of cores"
        )
    return 0


def agreement(name: str, series: int) -> list[list[str]]:
    """A row for each model: set, name, MASE here, in statsforecast, and the difference."""
    (whole, *_) = load(name)
    task = inside(whole)
    kept = np.sort(np.random.default_rng(0).permutation(len(task.full))[:series])
    task = replace(task, full=task.full.select(kept))
    back, season = int(task.origins[-1]), task.about.season
    known, actual = task.full.truncate(back), task.full.after(back, task.horizon)
    scale = mase_scale(known.y, known.offsets, task.about.measure_season)

    def mase(forecast: Array) -> float:
        error = np.abs(actual - forecast).mean(axis=1) / scale
        return float(error[np.isfinite(error)].mean())

    lines = []
    for label, model in _peers(season).items():
        (ours,) = classical(known.y, known.offsets, season, task.horizon, [label])
        a, b = mase(ours), mase(_theirs(model, known, season, task.horizon))
        lines.append([name, label, f"{a:.3f}", f"{b:.3f}", f"{a / b - 1.0:+.1%}"])
    return lines


def _peers(season: int) -> dict[str, Callable[[bool], Any]]:
    """Of statsforecast: for positive series or not, the models that ours are."""
    from statsforecast import models

    peers: dict[str, Callable[[bool], Any]] = {
        "theta": lambda _: models.OptimizedTheta(season_length=season),
    }
    if season == 1:
        peers["damped"] = lambda _: models.AutoETS(model="AAN", damped=True)
    elif season <= LONGEST_SEASON:
        peers["seasonal"] = lambda positive: models.AutoETS(
            season_length=season, model="ZAZ" if positive else "AAA", damped=True
        )
    return peers


def _theirs(model: Callable[[bool], Any], panel: Panel, season: int, horizon: int) -> Array:
    """[N, H] a model fitted to one series after the other; its last value where it fails."""
    y = fill_missing(panel.y, panel.offsets, season)
    out = []
    for begin, end in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        own = y[begin:end][~np.isnan(y[begin:end])]
        try:
            told = model(bool((own > 0).all())).forecast(y=own, h=horizon)["mean"]
        except Exception:
            # It has many ways to fail on short and constant series.
            told = np.full(horizon, own[-1])
        out.append(told)
    return np.stack(out)


def speed(count: int, threads: int) -> tuple[float, float]:
    """Seconds for all forecasts of ``count`` series: on the clock, and of all cores together."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.2, 0.6, count).astype(np.int64), 42, 1000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.arange(offsets[-1])
    season = 10.0 * np.sin(2.0 * np.pi * steps / SEASON)
    level = 100.0 + rng.normal(0.0, 0.1, len(steps)).cumsum()
    y = np.abs(level + season + rng.normal(size=len(steps))) + 1.0
    bounds = np.linspace(0, count, max(threads, count // 1024) + 1).astype(np.int64)

    def part(k: int) -> Array:
        first, last = bounds[k], bounds[k + 1]
        own = y[offsets[first] : offsets[last]]
        rows = 20 * SEASON
        cut = offsets[first : last + 1] - offsets[first]
        return classical(own, cut, SEASON, STEPS, tuple(MEMBERS), rows)

    begin, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(len(bounds) - 1)))
    return time.perf_counter() - begin, time.process_time() - busy


if __name__ == "__main__":
    sys.exit(main())
