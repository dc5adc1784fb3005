"""Draws docs/images/why.png, odd.png and scenarios.png: answers of forecasters.

python -m docs.draw_questions
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
    draw_scenarios()


def shops() -> pd.DataFrame:
    """Eight made-up shops whose sales rise with promotions and fall with prices, day by day."""
    draw, days = np.random.default_rng(0), pd.date_range("2023-01-02", periods=420)
    parts = []
    for k in range(8):
        promotion = (draw.random(420) < 0.25).astype(float)
        price = 10 + draw.choice([-1.0, 0.0, 1.0], 60).repeat(7)
        week = 1 + 0.3 * (days.day_of_week >= 5)
        level = 80 + 10 * k + 30 * promotion - 6 * (price - 10)
        y = (level * week + draw.normal(0, 6, 420)).round()
        one = {"unique_id": f"shop {k + 1}", "ds": days, "y": y}
        parts.append(pd.DataFrame({**one, "promotion": promotion, "price": price}))
    return pd.concat(parts, ignore_index=True)


def draw_scenarios() -> None:
    """Two plans for the last fortnight of the shops, beside what was planned."""
    sales = shops()
    ahead = sales["ds"] >= sales["ds"].max() - pd.Timedelta(days=13)
    known = sales.loc[ahead, ["unique_id", "ds", "promotion", "price"]]
    forecaster = Forecaster.fit(sales[~ahead], horizon=14, future=["promotion", "price"])
    plan = forecaster.scenarios(
        sales[~ahead],
        {
            "no promotion": {"promotion": 0},
            "promotion in the second week": {"promotion": [0] * 7 + [1] * 7},
            "dearer by 1": known.drop(columns="promotion").assign(price=known["price"] + 1),
        },
        future=known.assign(promotion=0.0).assign(
            promotion=lambda f: (f.groupby("unique_id").cumcount() < 4).astype(float)
        ),
    )
    figure = plan.plot("shop 3", title="Shop 3: promoted on four days, and what if not")
    figure.savefig(IMAGES / "scenarios.png")


if __name__ == "__main__":
    main()
