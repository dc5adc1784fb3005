"""Draws docs/images/library-plot.png: what `Forecaster.plot` gives for the passengers of airlines.

python -m docs.draw_library
"""

from __future__ import annotations

from pathlib import Path

from forecasting import Forecaster, datasets

PICTURE = Path(__file__).with_name("images") / "library-plot.png"


def main() -> None:
    """Fit on all but the last two years, and draw the forecast of them."""
    passengers = datasets.load("air_passengers")
    known = passengers[passengers["ds"] < "1959"]
    forecaster = Forecaster.fit(known, horizon=24)
    print(forecaster.summary())
    forecaster.plot(known, title="Passengers of airlines").savefig(PICTURE)


if __name__ == "__main__":
    main()
