"""Draws docs/images/paths.png: joint paths of sales, and what they add up to.

python -m docs.draw_paths
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.dates as dates
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from forecasting import Forecaster, datasets
from forecasting.paths.drawn import Drawn
from forecasting.plotting import ACCENT, ACTUAL, INK, QUIET, STYLE

PICTURE = Path(__file__).with_name("images") / "paths.png"
STEPS, SHOWN = 12, 12


def main() -> None:
    """Fit on all but the last year of the passengers, and draw paths and totals of that year."""
    passengers = datasets.load("air_passengers")
    known = passengers[passengers["ds"] < "1960"]
    came = passengers[passengers["ds"] >= "1960"]["y"].to_numpy()
    drawn = Forecaster.fit(known, horizon=STEPS).paths(known, 1_000)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _paths(left, known, drawn, came)
        _totals(right, drawn, came)
        figure.savefig(PICTURE)


def _paths(axes: object, known: object, drawn: Drawn, came: np.ndarray) -> None:
    history = known.tail(24)
    stamps = drawn.paths.forecast.stamps()[0]
    values = drawn.paths.values[0]
    axes.plot(history["ds"], history["y"], color=INK, lw=1.2)
    for k in range(SHOWN):
        axes.plot(stamps, values[:, k], color=ACCENT, lw=0.8, alpha=0.6)
    axes.plot(stamps, came, color=ACTUAL, lw=1.4)
    axes.annotate("what came", (stamps[-1], came[-1]), color=ACTUAL, ha="right", va="top",
                  textcoords="offset points", xytext=(0, -40))  # fmt: skip
    axes.annotate(f"{SHOWN} of the paths", (stamps[4], values[4, :SHOWN].max()), color=ACCENT,
                  ha="right", textcoords="offset points", xytext=(-2, 10))  # fmt: skip
    axes.set_title("Joint paths of a year of passengers, thousands")
    axes.xaxis.set_major_locator(dates.YearLocator())
    axes.xaxis.set_major_formatter(dates.DateFormatter("%Y"))


def _totals(axes: object, drawn: Drawn, came: np.ndarray) -> None:
    rising = np.sort(drawn.paths.values[0], axis=-1)
    shuffled = np.random.default_rng(0).permuted(rising, axis=-1)
    kinds = (("independent", shuffled, QUIET), ("joint paths", drawn.paths.values[0], ACCENT),
             ("equal", rising, INK))  # fmt: skip
    for place, (name, values, colour) in enumerate(kinds):
        low, middle, high = np.quantile(values.sum(axis=0), [0.1, 0.5, 0.9], method="hazen")
        axes.plot([low, high], [place, place], color=colour, lw=6, solid_capstyle="butt", alpha=0.8)
        axes.plot(middle, place, "o", color="white", ms=4)
        axes.annotate(name, (low, place), color=colour, ha="right", va="center",
                      textcoords="offset points", xytext=(-6, 0))  # fmt: skip
    axes.axvline(came.sum(), color=ACTUAL, lw=1.4)
    axes.annotate("what came", (came.sum(), 2.6), color=ACTUAL, ha="left",
                  textcoords="offset points", xytext=(4, 0))  # fmt: skip
    axes.set_ylim(-0.6, 3.0)
    axes.margins(x=0.25)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.set_title("80 % intervals of the year's total")


if __name__ == "__main__":
    main()
