"""Whole numbers that are dates or clocks are refused, and the line that is named parses them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.whole import calendar_form
from forecasting.errors import DataError

FORMS = {
    "yymm": ("MS", lambda s: int(s.strftime("%y%m"))),
    "yyww": ("W-MON", lambda s: int(s.strftime("%g%V"))),
    "yyddd": ("D", lambda s: int(s.strftime("%y%j"))),
    "yyq": ("QS", lambda s: s.year % 100 * 10 + s.quarter),
    "yyyyq": ("QS", lambda s: s.year * 10 + s.quarter),
    "yymmdd": ("D", lambda s: int(s.strftime("%y%m%d"))),
}  # fmt: skip


def table(ds: object, count: int) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(count) + 1.0})


@pytest.mark.parametrize("form", sorted(FORMS))
@given(st.integers(2001, 2025), st.integers(1, 300))
@settings(max_examples=5, deadline=None)
def test_dates_as_numbers_are_refused_and_the_cure_parses_them(
    form: str, year: int, later: int
) -> None:
    freq, write = FORMS[form]
    count = {"MS": 30, "W-MON": 110, "D": 800, "QS": 16}[freq]
    first = pd.Timestamp(year, 1, 1) + pd.Timedelta(days=later)
    true = pd.date_range(first, periods=count, freq=freq)
    df = table([write(s) for s in true], count)
    with pytest.raises(DataError, match="look like dates") as refused:
        Panel.from_frame(df)
    cure = re.search(r'df\["ds"\] = (.*), or say', str(refused.value))
    assert cure is not None
    known = {"pd": pd, "df": df}
    assert list(eval(cure[1], known)) == list(true)
    assert Panel.from_frame(df, freq="step").freq.integer


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(6, 300))
@settings(max_examples=30, deadline=None)
def test_plain_steps_stay_steps(first: int, size: int, count: int) -> None:
    steps = first + size * np.arange(count)
    assert calendar_form(steps) == ""
    if size != 10:
        assert Panel.from_frame(table(steps, count)).rows == count


@pytest.mark.parametrize("origin", ["0001-01-01", "1601-01-01", "1904-01-01", "2001-01-01"])
@pytest.mark.parametrize("unit", [1, 10, 1_000, 10_000_000])
def test_clocks_of_any_origin_are_no_steps(origin: str, unit: int) -> None:
    hours = pd.date_range("2024-01-10", periods=50, freq="h").as_unit("us")
    since = pd.Timestamp(origin).as_unit("us")
    numbers = [int((h - since) // pd.Timedelta("1s")) * unit for h in hours]
    with pytest.raises(DataError, match=r"time|dates"):
        Panel.from_frame(table(numbers, 50))
    assert Panel.from_frame(table(numbers, 50), freq=f"{3600 * unit}step").rows == 50
