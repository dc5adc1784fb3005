"""Seasons found by values alone: how often rightly, how often where there is none, and how fast.

python benchmarks/season.py
GATECAST_DATA=../data python benchmarks/season.py --draws 0 --public --report docs/models.md
python benchmarks/season.py --brief

Planted seasons and series without any are drawn anew from seeds. Public sets are read with whole
numbers for stamps, and only the histories before their test parts; what is found is judged by
the MASE of seasonal naive and Naive2 on the last rows of those histories.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from forecasting.arrays import Array, Float
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.data.seasons import find_seasons
from forecasting.errors import GatecastError
from forecasting.evaluation.baselines import fill_missing, naive2_arrays, naive_arrays
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import DATA_VARIABLE, Task, inside, load, registry

BEGIN, END = "<!-- season:begin -->", "<!-- season:end -->"
Maker = Callable[[np.random.Generator, int, int], Float]


def _shocks(rng: np.random.Generator, count: int, size: int) -> Float:
    return rng.normal(size=(count, size))


def _inertia(share: float) -> Maker:
    def made(rng: np.random.Generator, count: int, size: int) -> Float:
        y = rng.normal(size=(count, size + 50))
        for step in range(1, size + 50):
            y[:, step] += share * y[:, step - 1]
        return y[:, 50:]

    return made


def _steps(rng: np.random.Generator, count: int, size: int) -> Float:
    at = rng.integers(1, size, (count, 3))
    height = rng.normal(0, 5, (count, 3))
    jumps = (np.arange(size) >= at[:, :, None]) * height[:, :, None]
    return np.asarray(jumps.sum(axis=1) + rng.normal(size=(count, size)))


def _growth(rng: np.random.Generator, count: int, size: int) -> Float:
    rate = rng.uniform(0, 3.0 / size, (count, 1))
    return np.asarray(100 * np.exp(rate * np.arange(size) + 0.05 * rng.normal(size=(count, size))))


# Series that hold no season: [count, size] by a generator.
WITHOUT: Mapping[str, Maker] = {
    "white noise": _shocks,
    "random walks": lambda rng, n, size: np.cumsum(_shocks(rng, n, size), axis=1),
    "walks of one shock for all": lambda rng, n, size: np.cumsum(
        _shocks(rng, 1, size) + 0.3 * _shocks(rng, n, size), axis=1
    ),
    "walks of heavy tails": lambda rng, n, size: np.cumsum(rng.standard_t(2, (n, size)), axis=1),
    "walks that drift smoothly": lambda rng, n, size: np.cumsum(
        np.cumsum(0.2 * _shocks(rng, n, size), axis=1) + _shocks(rng, n, size), axis=1
    ),
    "AR(1), 0.5": _inertia(0.5),
    "AR(1), 0.9": _inertia(0.9),
    "AR(1), -0.5": _inertia(-0.5),
    "trends": lambda rng, n, size: 0.3 * np.arange(size) + _shocks(rng, n, size),
    "exponential growth": _growth,
    "step changes": _steps,
    "counts with zeros": lambda rng, n, size: rng.poisson(0.7, (n, size)).astype(float),
}
# Series, and rows of each.
SHAPES = ((1, 24), (1, 60), (1, 300), (1, 1500), (10, 40), (60, 100), (150, 30))


def false_alarms(maker: Maker, count: int, size: int, draws: int) -> float:
    """Share of panels without a season in which one is found."""
    rng = np.random.default_rng([count, size])
    return float(
        np.mean([bool(find_seasons(panel(maker(rng, count, size)))) for _ in range(draws)])
    )


def panel(rows: Sequence[Array] | Array) -> Panel:
    """Series with whole numbers for stamps."""
    sizes = np.array([len(y) for y in rows])
    ids = [f"s{i}" for i in range(len(rows))]
    start = np.zeros(len(rows), np.int64)
    return Panel.from_arrays(ids, np.concatenate(list(rows)), sizes, start, "step")


def planted(
    rng: np.random.Generator,
    period: int,
    times: float,
    count: int,
    noise: float = 0.5,
    trend: float = 0.02,
    gaps: float = 0.0,
    smooth: bool = False,
    multiplied: bool = False,
) -> list[Float]:
    """Series with a season of any shape, or a smooth one, of deviation 1.

    Parameters
    ----------
    times : seasons that a series holds. noise : deviation. trend : a step. gaps : share missing.
    """
    if smooth:
        angle = 2 * np.pi * np.arange(period) / period
        pattern = np.sin(angle + rng.uniform(0, 6)) + 0.3 * np.sin(2 * angle + rng.uniform(0, 6))
    else:
        pattern = rng.normal(size=period)
    pattern = (pattern - pattern.mean()) / max(float(pattern.std()), 1e-9)
    out = []
    for _ in range(count):
        size = int(period * times) + int(rng.integers(0, max(period // 2, 1)))
        steps = np.arange(size)
        wave = pattern[steps % period] * rng.uniform(0.6, 1.4)
        rest = noise * rng.normal(size=size) + np.cumsum(
            rng.normal(size=size)
        ) * 0.5 * noise / np.sqrt(period)
        y = wave + rest + trend * steps
        if multiplied:
            y = 100 * np.exp(0.1 * (wave + rest) + 0.2 * trend * steps)
        y[rng.random(size) < gaps] = np.nan
        out.append(y)
    return out


PERIODS = (2, 3, 4, 5, 6, 7, 12, 13, 24, 26, 30, 48, 52, 60, 90, 96, 144, 168, 288, 336, 365, 400)
# Periods that are shown together.
BANDS = ((2, 3), (4, 13), (24, 60), (90, 400))
PUBLIC_HEAD = (
    "set",
    "stamps say",
    "found",
    "in series",
    "seasonal naive, stamps",
    "seasonal naive, found",
    "Naive2, stamps",
    "Naive2, found",
    "seconds",
)
# What a planted season is drawn with.
WITH: Mapping[str, dict[str, object]] = {
    "one series, ten seasons": {"times": 10, "count": 1},
    "one series, five seasons, little noise": {"times": 5, "count": 1, "noise": 0.3},
    "one series, four seasons, smooth": {"times": 4, "count": 1, "noise": 0.15, "smooth": True},
    "twenty series, four seasons": {"times": 4, "count": 20},
    "twenty series, four seasons, smooth": {"times": 4, "count": 20, "noise": 0.3, "smooth": True},
    "twenty series, five seasons, a tenth missing": {"times": 5, "count": 20, "gaps": 0.1},
    "ten series, six seasons, as noisy as seasonal": {"times": 6, "count": 10, "noise": 1.0},
    "ten series, five seasons, strong trend": {"times": 5, "count": 10, "trend": 0.5},
    "ten series, five seasons, multiplied": {"times": 5, "count": 10, "multiplied": True},
}


def hits(draw: dict[str, object], period: int, draws: int) -> tuple[float, dict[int, int]]:
    """Share of panels in which a planted season is found, and what was found instead."""
    found, other = 0, {}
    for seed in range(draws):
        rng = np.random.default_rng([period, seed])
        seasons = find_seasons(panel(planted(rng, period, **draw)))  # type: ignore[arg-type]
        first = seasons[0].period if seasons else 0
        found += first == period
        if first != period:
            other[first] = other.get(first, 0) + 1
    return found / draws, other


def _stamped(task: Task) -> tuple[int, ...]:
    """The seasons that stamps would say; of sets without stamps, the one of their kind."""
    seasons = Frequency.parse(task.about.frequency).seasons
    return seasons or ((task.about.season,) if task.about.season > 1 else ())


def _held_back(task: Task, season: int, unit: int) -> tuple[float, float]:
    """MASE of seasonal naive and Naive2 of a season, on the last rows of the history."""
    asked = inside(task)
    errors: list[Float] = []
    for forecast in (naive_arrays, naive2_arrays):
        history = asked.full.truncate(asked.horizon)
        y = fill_missing(history.y, history.offsets, season)
        mean = forecast(y, history.offsets, asked.horizon, season, (0.5,)).mean
        scale = mase_scale(history.y, history.offsets, unit)
        actual = asked.full.after(asked.horizon, asked.horizon)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.abs(mean - actual) / scale[:, None]
        errors.append(scaled[np.isfinite(scaled)])
    return float(errors[0].mean()), float(errors[1].mean())


def public(names: Sequence[str]) -> list[list[str]]:
    """Per public set: what stamps say, what is found without them, and what either is worth."""
    out = []
    for name in names:
        task = load(name)[0]
        history = task.train
        # Only values and lengths are read, so that stamps say nothing.
        began = time.perf_counter()
        found = find_seasons(history)
        seconds = time.perf_counter() - began
        stamped = _stamped(task)
        unit = task.about.measure_season
        day = history.freq.season if history.freq.seasons else next(iter(stamped), 1)
        main = found[0].period if found else 1
        by_stamps, by_values = _held_back(task, day, unit), _held_back(task, main, unit)
        shown = " and ".join(str(s.period) for s in found) or "none"
        share = f"{found[0].series:,} of {found[0].asked:,}" if found else ""
        says = " and ".join(map(str, stamped)) or "none"
        row = [name, says, shown, share]
        row += [f"{a:.3f}" for a in (by_stamps[0], by_values[0], by_stamps[1], by_values[1])]
        out.append([*row, f"{seconds:.1f}"])
    return out


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def alarms(draws: int, shapes: Sequence[tuple[int, int]] = SHAPES) -> str:
    """Table of false alarms in per cent of panels."""
    rows = []
    for name, maker in WITHOUT.items():
        shares = [false_alarms(maker, n, size, draws) for n, size in shapes]
        rows.append([name, *[f"{100 * share:.1f} %" for share in shares]])
    return _table(["no season", *[f"{n} × {size}" for n, size in shapes]], rows)


def plants(draws: int, periods: Sequence[int] = PERIODS) -> str:
    """Table of planted seasons that were found, in per cent of panels."""
    groups = [[p for p in periods if low <= p <= high] for low, high in BANDS]
    rows = []
    for name, draw in WITH.items():
        shares = [[hits(draw, p, draws)[0] for p in group] for group in groups]
        rows.append([name, *[f"{100 * np.mean(s):.0f} %" if s else "" for s in shares]])
    return _table(["planted", *[f"{low} to {high}" for low, high in BANDS]], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--draws", type=int, default=100, help="panels for each cell; 0: no made-up series"
    )
    parser.add_argument("--brief", action="store_true", help="few draws, few shapes")
    parser.add_argument("--public", nargs="*", help="public sets; none named: all")
    parser.add_argument("--report", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    console, parts = Console(), []
    if options.public is not None and not os.environ.get(DATA_VARIABLE):
        print(f"--public reads the folder that {DATA_VARIABLE} names: set it", file=sys.stderr)
        return 2
    draws = 2 if options.brief else options.draws
    if draws:
        parts.append(alarms(draws, SHAPES[:2] if options.brief else SHAPES))
        few = draws if options.brief else max(draws // 10, 2)
        parts.append(plants(few, (4, 12) if options.brief else PERIODS))
    try:
        if options.public is not None:
            rows = public(options.public or list(registry()))
            parts.append(_table(PUBLIC_HEAD, rows))
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = "\n".join(parts)
    console.print(text, markup=False, soft_wrap=True)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
