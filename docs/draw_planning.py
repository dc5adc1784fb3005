"""Draws docs/images/calendar.png and looking-back.png: a holiday ahead, and what was said before.

python -m docs.draw_planning
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from forecasting import Forecaster, datasets, plotting

IMAGES = Path(__file__).with_name("images")
CUT, LAST = "2024-12-16", "2025-01-08"
TRAINING = {"threads": 1, "max_steps": 300, "validation": "none"}


def sales() -> pd.DataFrame:
    """Made-up daily sales of six shops, shut on Bavaria's holidays, busy on the days before."""
    import holidays

    rng = np.random.default_rng(4)
    days = pd.date_range("2022-01-01", LAST)
    off = pd.Series(days.date).isin(set(holidays.country_holidays("DE", "BY", range(2022, 2026))))
    busy = off.shift(-1, fill_value=False) & ~off
    week = 1.0 + 0.3 * np.sin(2 * np.pi * days.day_of_week.to_numpy() / 7)
    shape = week * np.where(off, 0.15, np.where(busy, 1.5, 1.0))
    tables = [
        pd.DataFrame({"unique_id": f"shop {k}", "ds": days,
                      "y": 100 * (k + 1) * shape * rng.lognormal(0, 0.06, len(days))})
        for k in range(6)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def draw_calendar() -> None:
    """One shop over Christmas: forecast with a calendar, without one, and what came."""
    table = sales()
    known, horizon = table[table["ds"] < CUT], int((table["ds"] >= CUT).sum() / 6)
    calendar = {"country": "DE", "subdivision": "BY", "before": 1}
    ways: dict[str, dict[str, Any]] = {"with the calendar": {"calendar": calendar}, "without": {}}
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(8.0, 3.4), layout="constrained")
        axes = figure.add_subplot()
        one = table[(table["unique_id"] == "shop 2") & (table["ds"] >= "2024-12-01")]
        axes.plot(one["ds"], one["y"], color=plotting.INK, linewidth=1.0, label="what came")
        for (label, options), colour in zip(ways.items(), plotting.CYCLE, strict=False):
            config = {"training": TRAINING, **options}
            made = Forecaster.fit(known, horizon=horizon, config=config, verbose=False)
            said = made.predict(known)
            said = said[said["unique_id"] == "shop 2"]
            axes.plot(said["ds"], said["q0.5"], color=colour, label=label, linewidth=1.6)
            if options:
                axes.fill_between(said["ds"], said["q0.1"], said["q0.9"], color=colour, alpha=0.2)
        axes.axvline(pd.Timestamp(CUT), color=plotting.QUIET, linewidth=0.8)
        axes.set_title("Christmas and Epiphany in Bavaria, forecast from 15 December")
        axes.legend(ncols=3, loc="upper left")
        axes.set_ylim(0, None)
        figure.savefig(IMAGES / "calendar.png")


def draw_looking_back() -> None:
    """What a forecaster says from every sixth month, beside what happened."""
    passengers = datasets.load("air_passengers")
    made = Forecaster.fit(passengers[passengers["ds"] < "1957"], horizon=12, verbose=False)
    past = made.historical(passengers, every=6, last=8)
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(8.0, 3.4), layout="constrained")
        axes = figure.add_subplot()
        shown = passengers[passengers["ds"] >= "1955"]
        axes.plot(shown["ds"], shown["y"], color=plotting.INK, linewidth=1.0, label="what happened")
        for number, (_, said) in enumerate(past.groupby("cutoff")):
            colour = plotting.CYCLE[number % 3]
            axes.fill_between(said["ds"], said["q0.1"], said["q0.9"], color=colour, alpha=0.15)
            axes.plot(said["ds"], said["q0.5"], color=colour, linewidth=1.2)
        axes.set_title("What was said from every sixth month (trained on rows up to 1956)")
        axes.legend(loc="upper left")
        figure.savefig(IMAGES / "looking-back.png")


if __name__ == "__main__":
    draw_calendar()
    draw_looking_back()
