"""Five made-up tables of kinds that people have, none laid out as Gatecast likes it best."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd


def surgery(folder: Path) -> Path:
    """Visits a day of three surgeries: semicolons, German days and decimals, Windows letters."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2022-01-03", periods=420, freq="D")
    lines = ["Tag;Praxis;Besuche"]
    for name, level in (("Süd", 60), ("Nord", 45), ("Köln", 80)):
        for day in days:
            mean = (
                level
                * (1.0 if day.day_of_week < 5 else 0.45)
                * (1 + 0.1 * np.sin(day.day_of_year / 58))
            )
            visits = f"{rng.normal(mean, 3):.1f}".replace(".", ",")
            lines.append(f"{day:%d.%m.%Y};{name};{visits}")
    path = folder / "surgery.csv"
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
    return path


def bicycles(folder: Path) -> Path:
    """Bicycles an hour past two counters, with the temperature: Parquet."""
    rng = np.random.default_rng(2)
    hours = pd.date_range("2024-05-01", periods=24 * 40, freq="h")
    parts = []
    for name, level in (("bridge", 90.0), ("park", 40.0)):
        hour = hours.hour.to_numpy()
        warmth = 14 + 6 * np.sin((hour - 9) / 24 * 2 * np.pi) + rng.normal(0, 1, len(hours))
        rush = np.exp(-((hour - 8) ** 2) / 6) + np.exp(-((hour - 17) ** 2) / 8)
        week = np.where(hours.dayofweek < 5, 1.0, 0.5)
        count = rng.poisson(level * week * (0.1 + rush) * (0.6 + warmth / 40))
        parts.append(
            pd.DataFrame({"counter": name, "hour": hours, "bikes": count, "temperature": warmth})
        )
    path = folder / "bicycles.parquet"
    pd.concat(parts).to_parquet(path, index=False)
    return path


def warehouse(folder: Path) -> Path:
    """Pallets a month of eight products: one row per product, one column per month."""
    rng = np.random.default_rng(3)
    months = pd.period_range("2018-01", periods=72, freq="M")
    t = np.arange(72)
    rows = {
        f"article-{n:03d}": np.round(
            (40 + 9 * n) * (1 + 0.25 * np.sin((t + n) / 12 * 2 * np.pi)) * (1 + t / 300)
            + rng.normal(0, 4, 72)
        ).astype(int)
        for n in range(8)
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[str(m) for m in months])
    path = folder / "warehouse.csv"
    table.to_csv(path, index_label="article")
    return path


def calls(folder: Path) -> Path:
    """Calls a day of one hotline, newest first, thousands with commas, days left out: gzip."""
    rng = np.random.default_rng(4)
    days = pd.date_range("2023-01-01", periods=500, freq="D")
    mean = np.where(days.dayofweek < 5, 2400, 900) + 2 * np.arange(500)
    lines = [
        f'{day:%Y-%m-%d},"{int(rng.normal(level, 90)):,}"'
        for day, level in zip(days, mean, strict=True)
        if rng.random() > 0.03
    ]
    path = folder / "calls.csv.gz"
    path.write_bytes(gzip.compress(("date,calls\n" + "\n".join(lines[::-1]) + "\n").encode()))
    return path


def harvest(folder: Path) -> Path:
    """Tonnes a quarter of four regions: tabs, quarters as text, and some values missing."""
    rng = np.random.default_rng(5)
    lines = ["region\tquarter\ttonnes"]
    for place, region in enumerate(("coast", "hills", "plain", "valley")):
        for n in range(64):
            tonnes = (
                (120 + 30 * place) * (1 + 0.5 * np.sin(n / 4 * 2 * np.pi)) + rng.normal(0, 6) + n
            )
            value = "NA" if rng.random() < 0.03 else f"{tonnes:.2f}"
            lines.append(f"{region}\t{2008 + n // 4}-Q{n % 4 + 1}\t{value}")
    path = folder / "harvest.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


TABLES: Final[Mapping[str, Callable[[Path], Path]]] = {
    one.__name__: one for one in (surgery, bicycles, warehouse, calls, harvest)
}
