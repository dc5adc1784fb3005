"""Draws docs/images/why.png and docs/images/odd.png: answers of one forecaster each.

python -m docs.draw_questions
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from forecasting import Forecaster, datasets

IMAGES = Path(__file__).with_name("images")


def main() -> None:
    """Explain a year of the airlines' passengers; plant accidents in two series, and find them."""
    passengers = datasets.load("air_passengers")
    forecaster = Forecaster.fit(passengers, horizon=12)
    why = forecaster.why(passengers)
    why.plot(title="Why a year of the airlines' passengers").savefig(IMAGES / "why.png")
    damaged = passengers.copy()
    damaged.loc[damaged["ds"] == "1955-03-01", "y"] *= 1.25
    damaged.loc[damaged["ds"] == "1958-10-01", "y"] *= 0.7
    parts = [damaged.assign(unique_id="two accidents planted")]
    moved = passengers.copy()
    moved.loc[moved["ds"] >= "1957-06-01", "y"] *= 0.75
    parts.append(moved.assign(unique_id="a quarter lost from June 1957 on"))
    watch = forecaster.watch(pd.concat(parts))
    watch.plot(title="Passengers of airlines, and what was expected").savefig(IMAGES / "odd.png")


if __name__ == "__main__":
    main()
