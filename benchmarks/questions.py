"""What people ask of a forecast: is the answer right, and what does it cost?

GATECAST_DATA=../data python -m benchmarks.questions --report docs/questions.md
GATECAST_DATA=../data python -m benchmarks.questions nn5_daily --models models
python -m benchmarks.questions --planning --report docs/questions.md
python benchmarks/questions.py --brief

Anomalies: a forecaster is trained on the first two thirds of each history; the last third is
judged, as it is (false alarms) and with a spike, a shift of the level and a dropout planted
(recall). The peers' thresholds are set to alarm at the rate asked for on the very points judged,
which none of them could know: their recall is the best they could have at that rate.

Explanations: time beside a forecast's, what the parts lack to the median, and a deletion test
beside sampled Shapley values (Castro, Gómez & Tejada 2009) of as many network calls.

Scenarios and kept series: what they take over HTTP, beside plain requests (`planning.py`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.deletion import POINTS, deletion
from benchmarks.planning import planning
from forecasting import Forecaster, Predictor
from forecasting.arrays import Array, Float
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from forecasting.prediction.anomalies.watch import watch
from forecasting.prediction.why.explain import explain
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import DATA_VARIABLE, load

BEGIN, END = "<!-- questions:begin -->", "<!-- questions:end -->"
PLANNING = "<!-- planning:begin -->", "<!-- planning:end -->"
SETS = (
    "m4_hourly", "m4_weekly", "m4_monthly_sample", "m4_quarterly_sample", "m4_yearly_sample",
    "m1_monthly", "m3_monthly", "nn5_daily", "etth1", "aus_retail",
)  # fmt: skip
RATE = 0.01
# Series trained on and, every second of them, judged; rows of the longest; steps of training.
SERIES, ROWS, STEPS = 120, 6000, 250
# Points judged of a series at most, and of a set, and points before them that scores are learned
# from.
JUDGED, IN_ALL, LEARNED = 200, 8000, 150
# Size of what is planted, in spreads of the noise; steps of a dropout, and to find a shift in.
SIZE, DROPPED, SHIFT_WITHIN = 6.0, 3, 3
EXPLAINED = 20
Score = Callable[[Panel, int], Float]


@dataclass(frozen=True)
class Case:
    """A set: what is trained on, what is judged, and how many rows of each series that is."""

    name: str
    train: Panel
    judged: Panel
    config: ForecasterConfig


def public_case(name: str) -> Case:
    """A public set, its histories whole; what is judged lies in the last third."""
    task = load(name)[0]
    full = task.full
    full = full.select(np.arange(0, len(full), max(1, len(full) // SERIES))[:SERIES]).tail(ROWS)
    train = full.truncate(full.lengths // 3)
    season = task.about.season if task.about.season > 1 else None
    config = ForecasterConfig.parse(
        {
            "horizon": min(task.horizon, 24),
            "freq": train.freq.alias,
            "season": season,
            "training": {"threads": 1, "max_steps": STEPS},
        }
    )
    # The first of each two told how heavy the tails of scores are; these did not.
    others = full.select(np.arange(1, len(full), 2))
    enough = int(np.argmax(np.append(np.cumsum(tails(others)), IN_ALL) >= IN_ALL)) + 1
    return Case(name, train, others.select(np.arange(min(enough, len(others)))), config)


def made_case() -> Case:
    """A season of seven and noise, small enough to be trained on in a moment."""
    rng, rows = np.random.default_rng(0), 120
    y = 100.0 + 10.0 * np.sin(2 * np.pi * np.arange(rows) / 7) + rng.normal(size=(8, rows))
    start = np.zeros(8, np.int64)
    full = Panel.from_arrays(
        [f"s{i}" for i in range(8)], y.ravel(), np.full(8, rows), start, "step"
    )
    config = ForecasterConfig.parse(
        {
            "horizon": 2, "season": 7, "freq": "step",
            "model": {"hidden_size": 8, "layers": 1},
            "training": {"threads": 1, "max_steps": 3, "validation": "none", "start": "none"},
        }
    )  # fmt: skip
    return Case("made up", full.truncate(rows // 3), full, config)


def forecaster_of(case: Case, models: Path | None) -> Forecaster:
    """Trained on the case; kept in, and taken from, a folder of models."""
    folder = None if models is None else models / case.name
    if folder is not None and folder.is_dir():
        return Forecaster.load(folder)
    made = Forecaster.train(case.train, case.config)
    if folder is not None:
        made.save(folder)
    return made


# -- anomalies -----------------------------------------------------------------------------


def tails(panel: Panel) -> Array:
    """[N] rows of each series that are judged."""
    return np.minimum(panel.lengths // 3, JUDGED)


def judged_rows(panel: Panel) -> Array:
    """[T] which rows of a panel are judged."""
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    return np.asarray(position >= (panel.lengths - tails(panel))[panel.series])


def noise_of(panel: Panel, season: int) -> Float:
    """[N] the spread of what is new in each step: of seasonal differences, robustly."""
    out = np.empty(len(panel))
    for i in range(len(panel)):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        lag = season if len(y) > 3 * season else 1
        moved = np.abs(y[lag:] - y[:-lag])
        spread = float(np.nanmedian(moved)) / 0.6745 / np.sqrt(2.0)
        out[i] = max(spread, 1e-3 * float(np.nanmean(np.abs(y))))
    return out


def planted(panel: Panel, kind: str, season: int, seed: int) -> tuple[Panel, list[Array]]:
    """The panel with an accident in the judged part of each series, and the rows to find it at."""
    rng, y = np.random.default_rng(seed), panel.y.copy()
    size, found = SIZE * noise_of(panel, season), []
    low = float(np.nanmin(panel.y))
    for i, width in enumerate(tails(panel).tolist()):
        end = int(panel.offsets[i + 1])
        at = end - width + int(rng.integers(0, max(width - SHIFT_WITHIN, 1)))
        moved = size[i] * rng.choice([-1.0, 1.0])
        if low > 0.0 and y[at] + moved <= 0.0:
            moved = size[i]
        if kind == "spike":
            y[at] += moved
            found.append(np.array([at]))
        elif kind == "shift":
            y[at:end] += moved
            found.append(np.arange(at, at + SHIFT_WITHIN))
        else:
            # What is left when a sensor or a shop fails.
            y[at : at + DROPPED] = min(0.05 * y[at], y[at] - size[i]) if low <= 0 else 0.05 * y[at]
            found.append(np.arange(at, at + DROPPED))
    return replace(panel, y=y), found


def seasonal_naive(panel: Panel, season: int) -> Float:
    """[T] how far each value lies from that of a season before, in spreads of those before it."""
    return _residuals(panel, season, lambda y, lag: y[lag:] - y[:-lag])


def moving_z(panel: Panel, season: int) -> Float:
    """[T] z-scores about the mean of the values before, of up to two seasons."""
    width = max(2 * season, 12)
    out = np.full(panel.rows, np.nan)
    for i in range(len(panel)):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        for t in range(8, len(y)):
            past = y[max(t - width, 0) : t]
            spread = np.nanstd(past)
            out[panel.offsets[i] + t] = abs(y[t] - np.nanmean(past)) / max(spread, 1e-12)
    return out


def iqr(panel: Panel, season: int) -> Float:
    """[T] distance from the quartiles of the values before at the same place in the season."""
    out = np.full(panel.rows, np.nan)
    for i in range(len(panel)):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        lag = season if len(y) > 6 * season else 1
        for t in range(max(8, 4 * lag), len(y)):
            past = y[t - lag :: -lag][:24]
            past = past[~np.isnan(past)]
            if len(past) >= 4:
                low, high = np.percentile(past, [25, 75])
                away = max(low - y[t], y[t] - high)
                out[panel.offsets[i] + t] = away / max(high - low, 1e-12)
    return out


def _residuals(panel: Panel, season: int, residual: Callable[[Array, int], Array]) -> Float:
    out = np.full(panel.rows, np.nan)
    for i in range(len(panel)):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        lag = season if len(y) > 3 * season else 1
        off = np.abs(residual(y, lag))
        for t in range(8, len(off)):
            out[panel.offsets[i] + lag + t] = off[t] / max(np.nanmedian(off[:t]), 1e-12)
    return out


PEERS: Mapping[str, Score] = {
    "seasonal naive": seasonal_naive,
    "z-score": moving_z,
    "IQR": iqr,
}
KINDS = ("spike", "shift", "dropout")
HEAD = [
    "set", "points", "alarms, 1 % asked", "p below 5 %",
    *(f"{kind}: ours / {' / '.join(PEERS)}" for kind in KINDS), "points/s",
]  # fmt: skip


def ours(engine: Any, panel: Panel) -> Array:
    """[T] p-values, NaN where nothing was judged."""
    found, _ = watch(engine, panel, RATE, last=int(tails(panel).max()) + LEARNED)
    out = np.full(panel.rows, np.nan)
    ends, sizes = panel.offsets[1:], found.sizes
    rows = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    out[np.concatenate(rows)] = found.chance
    return out


def anomalies(case: Case, engine: Any) -> list[str]:
    """One row of the table."""
    panel, season = case.judged.begun(), engine.config.season
    late = judged_rows(panel)
    began = time.perf_counter()
    clean = ours(engine, panel)
    seconds = time.perf_counter() - began
    judged = late & ~np.isnan(clean)
    at_one, at_five = ((clean[judged] < rate).mean() for rate in (RATE, 0.05))
    limits = {}
    for name, score in PEERS.items():
        scores = score(panel, season)
        limits[name] = float(np.nanquantile(scores[late], 1.0 - RATE))
    recalls = []
    for seed, kind in enumerate(KINDS):
        damaged, found = planted(panel, kind, season, seed)
        alarms = {"ours": ours(engine, damaged) < RATE}
        for name, score in PEERS.items():
            alarms[name] = score(damaged, season) > limits[name]
        shares = [np.mean([odd[rows].any() for rows in found]) for odd in alarms.values()]
        recalls.append(" / ".join(f"{100 * share:.0f} %" for share in shares))
    each = int(np.minimum(panel.lengths, tails(panel).max() + LEARNED).sum()) / seconds
    return [
        case.name, f"{int(judged.sum()):,}", f"{100 * at_one:.2f} %",
        f"{100 * at_five:.1f} %", *recalls, f"{each:,.0f}",
    ]  # fmt: skip


# -- explanations --------------------------------------------------------------------------


def median_seconds(work: Callable[[], Any], runs: int) -> float:
    """Of a call, once warm."""
    work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def costs(engine: Forecaster, served: Predictor, panel: Panel, runs: int) -> list[list[str]]:
    """Rows of time beside a forecast's, and of what parts lack to the median."""
    one = panel.select(np.arange(1))
    frame = one.to_frame()
    members = served.members()
    rows = []
    plain = median_seconds(lambda: served.predict_panel(one, quantiles=(0.5,)), runs)
    from_table = median_seconds(lambda: served.predict(frame, quantiles=[0.5]), runs)
    for points in (8, 16, POINTS):
        taken = median_seconds(
            lambda points=points: explain(served, members, one, points=points), runs
        )
        table = median_seconds(lambda points=points: served.explain(frame, points=points), runs)
        rows += [
            [f"explain, {points} points, beside a forecast: arrays", f"{1e3 * taken:.1f} ms",
             f"{1e3 * plain:.2f} ms", f"{taken / plain:.0f}"],
            ["same, a table in and out", f"{1e3 * table:.1f} ms", f"{1e3 * from_table:.1f} ms",
             f"{table / from_table:.1f}"],
        ]  # fmt: skip
    found = explain(served, members, panel)
    lacks = np.abs(found.parts.sum(axis=2) - found.median).max() / np.abs(found.median).max()
    theirs = explain(engine, engine.members(), panel)
    apart = np.abs(found.parts - theirs.parts).max() / np.abs(found.median).max()
    exact = explain(served, members, panel, points=128)
    off = np.abs(found.parts - exact.parts).max() / np.abs(found.median).max()
    rows.append(["parts less the median, share of it", f"{lacks:.0e}", "", ""])
    rows.append(["with torch and without, share of the median", f"{apart:.0e}", "", ""])
    rows.append(["16 points beside 128, share of the median", f"{off:.0e}", "", ""])
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def explanations(case: Case, engine: Forecaster, runs: int, count: int) -> list[list[str]]:
    """All rows about explanations, of one model."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        served = Predictor.load(engine.save(Path(scratch) / "bundle"))
        panel = case.judged.select(np.arange(min(count, len(case.judged))))
        return [*costs(engine, served, panel, runs), *deletion(engine, panel, count)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", help="public sets; none named: all ten")
    parser.add_argument("--brief", action="store_true", help="one made-up set, a tiny network")
    parser.add_argument("--models", type=Path, help="folder that trained models are kept in")
    parser.add_argument("--why", default="m3_monthly", help="the set whose model is explained")
    parser.add_argument("--report", type=Path, help="write the tables into this page")
    parser.add_argument("--planning", action="store_true", help="scenarios and kept series alone")
    options = parser.parse_args()
    console = Console()
    if options.planning:
        _tell(console, _planning(options.brief), options.report, PLANNING)
        return 0
    if not options.brief and not os.environ.get(DATA_VARIABLE):
        print(f"the sets lie in the folder that {DATA_VARIABLE} names: set it", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, why = [], []
    try:
        names = ["made up"] if options.brief else options.sets or list(SETS)
        for name in names:
            case = made_case() if options.brief else public_case(name)
            engine = forecaster_of(case, options.models)
            rows.append(anomalies(case, engine))
            console.print(" | ".join(rows[-1]), markup=False, soft_wrap=True, style="dim")
            if name == options.why or options.brief or (options.sets and not why):
                why = explanations(
                    case, engine, 3 if options.brief else 30, 2 if options.brief else EXPLAINED
                )
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = table(HEAD, rows) + "\n" + table(["explanations", "ours", "beside", "ratio"], why)
    _tell(console, text, options.report, (BEGIN, END))
    if options.brief:
        _tell(console, _planning(options.brief), options.report, PLANNING)
    return 0


def _planning(brief: bool) -> str:
    return table(["over HTTP, p50", "ours", "beside", "ratio"], planning(brief))


def _tell(console: Console, text: str, report: Path | None, ends: tuple[str, str]) -> None:
    console.print(text, markup=False, soft_wrap=True)
    if report:
        write_markdown(report, text, begin=ends[0], end=ends[1])


if __name__ == "__main__":
    sys.exit(main())
