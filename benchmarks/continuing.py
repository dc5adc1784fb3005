"""Going on from a trained forecaster beside training anew: delivery after delivery.

GATECAST_DATA=../data python benchmarks/continuing.py --report docs/continuing.md

The end of each set's training part arrives in twelve pieces. With each one forecaster is trained
anew on all that is there, one goes on from where it stood, and one stays as it was at first; all
forecast the rows to come. The test parts of the sets are not touched.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from forecasting import plotting
from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.errors import GatecastError
from forecasting.evaluation.bootstrap import paired_bootstrap
from forecasting.forecaster import Forecaster
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import load

BEGIN, END = "<!-- continuing:begin -->", "<!-- continuing:end -->"
TRAINING: dict[str, Any] = {"threads": 1, "max_steps": 200, "start": "none"}
LEVELS = (0.1, 0.5, 0.9)
WAYS = ("trained anew", "carried on", "as at first")
SEED = 7


class Case(NamedTuple):
    """What arrives: of which set, in pieces of how many rows."""

    title: str
    name: str
    piece: int


CASES = (
    Case("a year of months", "aus_retail", 1),
    Case("m3_monthly", "m3_monthly", 3),
    Case("nn5_daily", "nn5_daily", 14),
    Case("m4_weekly", "m4_weekly", 13),
    Case("m4_hourly", "m4_hourly", 24),
    Case("orange_juice", "orange_juice", 2),
)


@dataclass
class Told:
    """What came of one case: seconds of CPU, errors [rounds, N] and coverage of each way."""

    rows: int
    seconds: dict[str, list[float]] = field(default_factory=lambda: {w: [] for w in WAYS})
    errors: dict[str, list[Array]] = field(default_factory=lambda: {w: [] for w in WAYS})
    inside: dict[str, list[float]] = field(default_factory=lambda: {w: [] for w in WAYS})

    def of(self, way: str, last: int = 0) -> Array:
        """[N] mean error of each series, over the last rounds or all."""
        return np.asarray(np.nanmean(np.stack(self.errors[way][-last:]), axis=0))

    def ratio(self, way: str, last: int = 0) -> float:
        """Mean error over that of training anew."""
        return float(np.nanmean(self.of(way, last)) / np.nanmean(self.of(WAYS[0], last)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=[case.title for case in CASES])
    parser.add_argument("--series", type=int, default=20, help="of each set, drawn at random")
    parser.add_argument("--pieces", type=int, default=12)
    parser.add_argument("--report", type=Path, help="write the table into this page")
    parser.add_argument("--picture", type=Path, help="draw the rounds into this file")
    options = parser.parse_args()
    console, found = Console(), {}
    try:
        for case in (c for c in CASES if c.title in options.cases):
            found[case.title] = _played(case, options.series, options.pieces)
            console.print(*_row(case, found[case.title]), style="dim")
            # A run takes an hour: what is there is kept.
            _keep(found, options.report, options.picture)
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    console.print(_table(found), markup=False)
    return 0


def _keep(found: dict[str, Told], report: Path | None, picture: Path | None) -> None:
    if report:
        write_markdown(report, _table(found), begin=BEGIN, end=END)
    if picture:
        _draw(found, picture)


def _played(case: Case, series: int, pieces: int) -> Told:
    """All rounds of one case."""
    (task, *_) = load(case.name)
    panel, horizon, season = task.train, task.horizon, task.about.season
    first = pieces * case.piece + horizon
    enough = np.flatnonzero(panel.lengths >= first + max(2 * season, 3 * horizon))
    chosen = np.random.default_rng(SEED).permutation(enough)[:series]
    panel = panel.select(np.sort(chosen))
    settings = ForecasterConfig(horizon=horizon, season=season).replace(training=TRAINING)
    carried = fixed = Forecaster.train(panel.truncate(first), settings, device="cpu")
    told = Told(panel.rows)
    for piece in range(1, pieces + 1):
        back = first - piece * case.piece
        known = panel.truncate(back)
        began = time.process_time()
        anew = Forecaster.train(known, settings.replace(training={"seed": piece}), device="cpu")
        between = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            carried = carried.carry_on(known, unseen=case.piece, device="cpu")
        ended = time.process_time()
        told.seconds[WAYS[0]].append(between - began)
        told.seconds[WAYS[1]].append(ended - between)
        for way, one in zip(WAYS, (anew, carried, fixed), strict=True):
            error, share = _errors(one, known, panel.after(back, horizon), season)
            told.errors[way].append(error)
            told.inside[way].append(share)
    return told


def _errors(one: Forecaster, known: Panel, actual: Array, season: int) -> tuple[Array, float]:
    """[N] MASE of the median for each series, and the share within the 80 % interval."""
    forecast = one.predict_panel(known, quantiles=LEVELS).whole()
    scale = mase_scale(known.y, known.offsets, season)
    low, middle, high = (forecast.quantiles[:, :, k] for k in range(3))
    seen = ~np.isnan(actual)
    off = np.where(seen, np.abs(actual - middle), np.nan)
    share = float(((actual >= low) & (actual <= high))[seen].mean())
    return np.nanmean(off, axis=1) / scale, share


def _row(case: Case, told: Told) -> list[str]:
    anew, carried = told.of(WAYS[0]), told.of(WAYS[1])
    unit = float(np.nanmean(anew))
    _, low, high = paired_bootstrap(carried, anew)
    third = max(len(told.errors[WAYS[0]]) // 3, 1)
    share = sum(told.seconds[WAYS[1]]) / sum(told.seconds[WAYS[0]])
    cover = " / ".join(f"{np.mean(told.inside[way]):.2f}" for way in WAYS[:2])
    return [
        case.title,
        f"{len(anew)} × {case.piece}",
        f"{100 * share:.0f} %",
        f"{told.ratio(WAYS[1]):.3f}",
        f"{1 + low / unit:.3f} to {1 + high / unit:.3f}",
        f"{told.ratio(WAYS[1], third):.3f}",
        f"{told.ratio(WAYS[2]):.3f}",
        cover,
    ]


def _table(found: dict[str, Told]) -> str:
    head = ["set", "series × rows a piece", "CPU", "error", "its 95 % interval", "last third",
            "not trained on", "80 % cover, anew / carried"]  # fmt: skip
    lines = [_row(case, found[case.title]) for case in CASES if case.title in found]
    table = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"


def _draw(found: dict[str, Told], path: Path) -> None:
    """Error of the carried-on forecaster over that of one trained anew, round by round."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
    for colour, (title, told) in zip(plotting.CYCLE, found.items(), strict=False):
        ratio = [
            float(np.nanmean(a) / np.nanmean(b))
            for a, b in zip(told.errors[WAYS[1]], told.errors[WAYS[0]], strict=True)
        ]
        axes.plot(np.arange(1, len(ratio) + 1), ratio, marker="o", markersize=3,
                  label=title, color=colour)  # fmt: skip
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("delivery")
    axes.set_ylabel("error: carried on over trained anew")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
