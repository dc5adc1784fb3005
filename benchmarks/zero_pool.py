"""Whether `gatecast-zero` is worth a place among the classical forecasts, at the ends of histories.

GATECAST_DATA=../data python -m benchmarks.zero_pool
GATECAST_DATA=../data python -m benchmarks.zero_pool nn5_daily m1_monthly --report docs/zero.md

Of sets that the network has not read, whole (at most `MOST` series) and in draws of few series: the
pool's median with and without it. Weights are learned an origin earlier, as
`forecasting.selection.shares` learns them: a bag of what errs least together, drawn towards equal
weights where few forecasts are known. No test part is touched.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.classical.pool import MEMBERS, classical
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from forecasting.selection.shares import LIKE_A_RULE, PICKS
from forecasting.zero.predictor import FOLDER, Zero
from forecasting.zero.ways import ends
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import Task, inside, load

SETS = (
    "m3_monthly", "m1_monthly", "m1_quarterly", "m1_yearly", "aus_retail", "nn5_daily",
    "orange_juice", "etth1",
)  # fmt: skip
# Series of a whole set, at most; and draws of so many series each.
MOST = 120
DRAWS = {1: 12, 10: 4, 50: 2}
# Rows that the classical forecasts read, and rows that a history has beside two horizons.
ROWS, LEAST = 1_000, 8
BEGIN, END = "<!-- pool:begin -->", "<!-- pool:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of weights and card")
    parser.add_argument("--report", type=Path, help="write the table into this page")
    options = parser.parse_args()
    try:
        zero = Zero.load(options.weights)
        lines = [line(zero, inside(load(name)[0])) for name in options.sets]
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = table(lines)
    print(text)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    return 0


def line(zero: Zero, task: Task) -> tuple[str, dict[int, list[float]]]:
    """Of one set the pool's error with zero over that without it, by number of series."""
    panel, actual = next((panel, np.asarray(y)) for panel, y, _ in task.rounds())
    long = np.flatnonzero(panel.lengths >= 2 * task.horizon + LEAST)
    draw = np.random.default_rng(0)
    found: dict[int, list[float]] = {}
    for size, times in {MOST: 1, **DRAWS}.items():
        if size < len(long) or size == MOST:
            for _ in range(times):
                some = np.sort(draw.choice(long, min(size, len(long)), replace=False))
                ratio = gain(zero, task, panel.select(some), actual[some])
                if np.isfinite(ratio):
                    found.setdefault(size, []).append(ratio)
    print(task.name, {k: _geometric_of(v) for k, v in found.items()}, file=sys.stderr, flush=True)
    return task.about.name, found


def gain(zero: Zero, task: Task, panel: Panel, actual: Float) -> float:
    """Error of the pool's median with zero over that without it; NaN where none is known."""
    horizon, season = task.horizon, task.about.season
    measure = task.about.measure_season
    history = ends(panel, int(panel.lengths.max()))
    away = np.abs(history[:, measure:] - history[:, :-measure])
    told = np.isfinite(away)
    scale = np.where(told, away, 0.0).sum(axis=1) / np.maximum(told.sum(axis=1), 1)
    earlier = panel.truncate(horizon)
    then = _forecasts(zero, earlier, season, horizon)
    now = _forecasts(zero, panel, season, horizon)
    usable = (scale > 0) & np.isfinite(then).all(axis=(0, 2)) & np.isfinite(now).all(axis=(0, 2))
    if not usable.any():
        return float("nan")
    then, now, scale = then[:, usable], now[:, usable], scale[usable, None]
    came, comes = history[usable, -horizon:], actual[usable]
    errors = []
    for members in (len(MEMBERS), len(MEMBERS) + 1):
        chosen = weights(then[:members], came, scale)
        errors.append(_error(chosen, now[:members], comes, scale))
    return errors[1] / errors[0]


def weights(forecasts: Float, actual: Float, scale: Float) -> Float:
    """[K] weights of forecasts [K, N, H] by what came, as `weights_of_pool` draws them."""
    count = len(forecasts)
    bag = np.zeros(count)
    for size in range(1, PICKS + 1):
        tried = [_error((bag + one) / size, forecasts, actual, scale) for one in np.eye(count)]
        bag[int(np.argmin(tried))] += 1.0
    trust = len(actual) / (len(actual) + LIKE_A_RULE)
    return np.asarray(trust * bag / PICKS + (1.0 - trust) / count)


def table(lines: list[tuple[str, dict[int, list[float]]]]) -> str:
    """Ratios by set and number of series, and their means."""
    sizes = sorted([*DRAWS, MOST])
    head = ["set", *(f"{n} series" for n in sizes[:-1]), f"all, at most {MOST}"]
    rows = [head, ["---", *["---:"] * len(sizes)]]
    for name, found in lines:
        rows.append([name, *(_geometric_of(found[n]) if n in found else "" for n in sizes)])
    means = [[float(_geometric_of(f[n])) for _, f in lines if n in f] for n in sizes]
    rows.append(["mean", *(_geometric_of(each) if each else "" for each in means)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _forecasts(zero: Zero, panel: Panel, season: int, horizon: int) -> Float:
    """[K + 1, N, H] medians of the classical forecasts, and of zero last."""
    made = classical(panel.y, panel.offsets, season, horizon, list(MEMBERS), ROWS)
    found = zero.predict_panel(panel, horizon, quantiles=(0.5,))
    own = np.full((1, len(panel), horizon), np.nan)
    place = {name: k for k, name in enumerate(panel.ids)}
    own[0, [place[name] for name in found.ids]] = found.quantiles[..., 0]
    return np.concatenate([made, own])


def _error(chosen: Array, forecasts: Float, actual: Float, scale: Float) -> float:
    """Mean absolute scaled error of a weighted mean."""
    return float(np.nanmean(np.abs(np.tensordot(chosen, forecasts, axes=1) - actual) / scale))


def _geometric_of(ratios: list[float]) -> str:
    return f"{np.exp(np.log(ratios).mean()):.3f}"


if __name__ == "__main__":
    sys.exit(main())
