"""Tables of different kinds, as people bring them, each with what is to be seen in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Kind:
    """How a table is written into a folder, and what `init` must see."""

    write: Callable[[Path], Path]
    series: int
    freq: str
    horizon: int
    covariates: dict[str, str | None] = field(default_factory=dict)
    missing: int = 0


def shops(folder: Path) -> Path:
    """Days of three shops: promotions known ahead, footfall only afterwards, the kind of each."""
    rng = np.random.default_rng(1)
    parts = []
    for shop, kind in (("north", "city"), ("south", "town"), ("west", "town")):
        promo, price = rng.integers(0, 2, 200), (10 + rng.normal(0, 0.3, 200)).round(2)
        sold = (
            100 + 20 * np.sin(2 * np.pi * np.arange(200) / 7) + 30 * promo + rng.normal(0, 5, 200)
        )
        sold = np.where(np.arange(200) < 190, sold.round(1), np.nan)
        parts.append(
            pd.DataFrame(
                {
                    "shop": shop,
                    "day": pd.date_range("2022-01-01", periods=200),
                    "sold": sold,
                    "promo": promo,
                    "price": price,
                    "footfall": (3 * sold).round(),
                    "kind": kind,
                    "remark": "",
                }
            )
        )
    pd.concat(parts).to_csv(folder / "shops.csv", index=False)
    return folder / "shops.csv"


def load(folder: Path) -> Path:
    """Hours with a hole, in German: semicolons, decimal commas, day first."""
    rng = np.random.default_rng(2)
    ds = pd.date_range("2024-01-01", periods=24 * 20, freq="h")
    values = 50 + 10 * np.sin(2 * np.pi * np.arange(len(ds)) / 24) + rng.normal(0, 1, len(ds))
    texts = [f"{v:.2f}".replace(".", ",") for v in values]
    frame = pd.DataFrame({"Zeit": ds.strftime("%d.%m.%Y %H:%M"), "Last": texts})
    frame.drop(index=range(200, 220)).to_csv(folder / "load.csv", sep=";", index=False)
    return folder / "load.csv"


def regions(folder: Path) -> Path:
    """Quarters in rows, a column per region."""
    rng = np.random.default_rng(3)
    quarters = pd.period_range("2010Q1", periods=48, freq="Q").astype(str)
    base = 100 + np.arange(48) + 8 * np.sin(np.pi / 2 * np.arange(48))
    columns = {f"region {k}": (base + 5 * k + rng.normal(0, 2, 48)).round(1) for k in range(4)}
    pd.DataFrame({"quarter": quarters, **columns}).to_csv(folder / "regions.csv", index=False)
    return folder / "regions.csv"


def town(folder: Path) -> Path:
    """One short series of years."""
    rng = np.random.default_rng(4)
    people = (1000 + 20 * np.arange(34) + rng.normal(0, 8, 34)).round()
    pd.DataFrame({"year": range(1990, 2024), "people": people}).to_csv(
        folder / "town.csv", index=False
    )
    return folder / "town.csv"


def parts(folder: Path) -> Path:
    """Counts by week, in Parquet."""
    rng = np.random.default_rng(5)
    ds = pd.date_range("2021-01-04", periods=100, freq="W-MON")
    frames = [
        pd.DataFrame({"item": f"i{k}", "week": ds, "n": rng.poisson(1.5, 100)}) for k in range(8)
    ]
    pd.concat(frames).to_parquet(folder / "parts.parquet", index=False)
    return folder / "parts.parquet"


def calendar(folder: Path) -> Path:
    """A year per row and its months in the header."""
    rng = np.random.default_rng(6)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(12) / 12) + rng.normal(0, 3, (8, 12))
    frame = pd.DataFrame(values.round(1), columns=months)
    frame.insert(0, "Year", range(2015, 2023))
    frame.to_csv(folder / "calendar.csv", index=False)
    return folder / "calendar.csv"


OF_SHOPS: dict[str, Any] = {
    "promo": "future", "price": "future", "footfall": "past", "kind": "static", "remark": None,
}  # fmt: skip
KINDS = {
    "shops": Kind(shops, 3, "D", 10, OF_SHOPS, 30),
    "load": Kind(load, 1, "h", 24, missing=20),
    "regions": Kind(regions, 4, "QS-JAN", 4),
    "town": Kind(town, 1, "YS-JAN", 5),
    "parts": Kind(parts, 8, "W-MON", 8),
    "calendar": Kind(calendar, 1, "MS", 12),
}
