"""Every row of the table of stamps in docs/ingestion.md, run: what is read how, refused when."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
D, MS, QS, YS, H, HS = (
    pd.date_range(first, periods=40, freq=freq)
    for first, freq in (
        ("2024-01-10", "D"), ("2019-01-01", "MS"), ("2010-01-01", "QS"), ("1970-01-01", "YS"),
        ("2024-01-10", "h"), ("2005-01-01", "2QS"),
    )
)  # fmt: skip
LONG = pd.date_range("1995-01-01", periods=80, freq="MS")
EXCHANGED = [d.replace(day=d.month, month=d.day) if d.day <= 12 else d for d in
             pd.date_range("2024-01-01", periods=60)]  # fmt: skip
TWICE = sorted([*MS, *(MS + pd.Timedelta(days=14))])
TOTALS = [t for d in MS for t in (f"{d:%Y-%m}", *([str(d.year)] * (d.month == 12)))]
HALF = [f"{d:%Y-%m-%d} {d.hour % 12 or 12}:00{' PM' * (d.hour > 11)}" for d in H]
LATE = pd.date_range("2014-01-01", periods=110, freq="MS")
WORK = pd.date_range("2020-05-18", periods=40, freq="B")
BME = pd.date_range("2019-01-01", periods=40, freq="BME")
# By what a row of the table begins with: stamps and texts that are read so, and texts refused.
ROWS: dict[str, tuple[Any, list[str], list[str]]] = {
    "`2024-01-31`": (D, [str(d.date()) for d in D], []),
    "`31/01/2024`": (
        D, [f"{d:%d/%m/%Y}" for d in D], [f"{i + 1:02}/01/2024" for i in range(12)]
    ),
    "`1 January 2024`": (MS, [f"{d:%m.%Y}" for d in MS], ["1 Januar 2024"] * 9),
    "`Jan-22`": (MS, [f"{d:%b-%y}" for d in MS], [f"Jan-{k:02}" for k in range(1, 32)]),
    "two digits": (D, [f"{d:%d/%m/%y}" for d in D], [f"{k}/01/60" for k in range(13, 31)]),
    "`2001`": (MS, [f"{d:%y%m}" for d in MS], [str(200100 + k) for k in range(1, 13)]),
    "dates of which": (None, [], [str(d.date()) for d in EXCHANGED]),
    "`12 AM`": (H, [f"{d:%Y-%m-%d %I %p}" for d in H], ["1 AM", "2 AM", "3 AM", "4 AM"]),
    "the 1st": (
        TWICE, [str(d.date()) for d in TWICE],
        [str((d + pd.Timedelta(days=k)).date()) for d in MS for k in (0, 9, 19)],
    ),
    "`012019`": (LONG, [f"{d:%m%Y}" for d in LONG], [f"{d:%m%Y}" for d in MS]),
    "totals": (None, [], TOTALS),
    "`1:00 PM`": (None, [], HALF),
    "`2022-12*`": (MS, [f"{d:%Y-%m}" + "*" * (d > MS[-3]) for d in MS], []),
    "`2024/1`": (None, [], [f"{d.year}/{d.quarter}" for d in QS]),
    "`2005H1`": (HS, [f"{d.year}H{1 + d.month // 7}" for d in HS], []),
    "the last or": (
        BME, [str(d.date()) for d in BME],
        [str((d - pd.Timedelta(days=int(d == BME[11]))).date()) for d in BME],
    ),
    "`2022-Q1`": (
        QS, [f"{d.year}-Q{d.quarter}" for d in QS], ["20221", "20222", "20223", "20224"]
    ),
    "`202201`": (MS, [f"{d:%Y%m}.0" for d in MS], []),
    "`20240131`": (H, [f"{d:%Y%m%d%H}" for d in H], []),
    "`31012024`": (D, [f"{int(f'{d:%d%m%Y}')}" for d in D], [f"{k:02}{k:02}2020" for k in (1, 2)]),
    "`202202`": (None, [], [f"{d.year}0{d.quarter}" for d in QS]),
    "other whole": (None, [], [f"{int(f'{d:%m%y}')}" for d in LONG]),
    "`1811`": (None, [], [str(k) for k in range(1811, 1823)]),
    "a number among": (D, [*(str(d.date()) for d in D), "7"], []),
    "`202253`": (None, [], [f"{d:%Y%j}" for d in D]),
    "`2022/23`": (YS, [f"{d.year}/{(d.year + 1) % 100:02}" for d in YS], []),
    "`1990`": (YS, [str(d.year) for d in YS], []),
    "counts of days": (
        LATE, [str((d - pd.Timestamp(0)).days) for d in LATE],
        [str((d - pd.Timestamp("1900-01-01")).days) for d in LATE],
    ),
    "days before 1983": (
        WORK, [str((d - pd.Timestamp(0)).days) for d in WORK], [str(21_915 + k) for k in range(30)]
    ),
    "whole numbers that may": (
        range(737_791, 737_831), [str(k) for k in range(737_791, 737_831)], []
    ),
    "whole numbers that leave out": ([], [], [str(3000 + k + 2 * (k // 5)) for k in range(40)]),
    "Unix time": (
        D, [str((d - pd.Timestamp("1899-12-30")).days) for d in D],
        [str(19_421 + k) for k in range(30)],
    ),
    "weeks of which": (
        None, [], [f"{year}w{week}" for year in (2019, 2020, 2021) for week in range(1, 53)]
    ),
}  # fmt: skip


def csv(texts: list[str]) -> str:
    return "unique_id,ds,y\n" + "".join(f"a,{t},{100 + k % 7}.5\n" for k, t in enumerate(texts))


def rows_of(root: Path) -> list[str]:
    text = (root / "docs" / "ingestion.md").read_text(encoding="utf-8")
    table = text.split("## Stamps\n")[1].split("|---|---|---|\n")[1].split("\n\n")[0]
    return re.findall(r"^\| (.+)$", table, re.M)


def test_every_row_of_the_table_is_run(root: Path) -> None:
    # Stamps in several columns are run in test_parts, formats that are given in test_epochs, and
    # readings that would move rows in test_numbered.
    apart = (
        "several columns", "`fiscal_year`", "the year of the calendar", "numbers 1 …",
        "`days since 1960-01-01`", "numbers or texts of several readings",
    )  # fmt: skip
    rows = [row for row in rows_of(root) if not row.startswith(apart)]
    for row in rows:
        assert sum(row.startswith(begin) for begin in ROWS) == 1, row
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize("begin", sorted(ROWS))
def test_a_row_of_the_table_is_true(begin: str, mend: Mend) -> None:
    true, texts, refused = ROWS[begin]
    if texts:
        result = mend(csv(texts))
        assert list(result.frame["ds"]) == list(true)
        assert result.report.to_dict()["facts"]["stamps"]
    if refused:
        with pytest.raises(DataError):
            mend(csv(refused))
