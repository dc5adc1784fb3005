"""Whole numbers that are dates or clocks are refused, and the line that is named parses them."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.whole import calendar_form
from forecasting.errors import DataError, heard
from forecasting.schema import Schema

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


COUNTS = {
    ("D", "1960-01-01"): "days since 1960", ("D", "1970-01-01"): "days since 1970",
    ("D", "1899-12-30"): "a spreadsheet", ("D", "1904-01-01"): "old Macs",
    ("h", "1970-01-01"): "hours since 1970", ("h", "1900-01-01"): "hours since 1900",
    ("min", "1970-01-01"): "minutes since 1970",
}  # fmt: skip


@given(
    st.sampled_from(sorted(COUNTS)),
    st.dates(pd.Timestamp("2003-01-01").date(), pd.Timestamp("2025-06-30").date()),
    st.integers(2, 60),
)
@settings(max_examples=60, deadline=None)
def test_counts_of_time_are_warned_of_and_the_line_that_is_named_parses_them(
    count: tuple[str, str], first: object, length: int
) -> None:
    unit, origin = count
    true = pd.date_range(str(first), periods=length, freq=unit if unit != "min" else "7min")
    numbers = (true - pd.Timestamp(origin)) // pd.Timedelta(1, unit)
    df = table(numbers, length)
    with pytest.warns(UserWarning, match="plain steps; if they count time") as caught:
        Panel.from_frame(df)
    said = str(caught[0].message)
    line = f'pd.to_datetime(df["ds"], unit="{unit}", origin="{origin}")'
    assert f"{true[0].date()} as {COUNTS[count]}" in said or COUNTS[count] in said
    assert line in said
    assert list(eval(line, {"pd": pd, "df": df})) == list(true)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Panel.from_frame(df, freq=Panel.from_frame(table(range(length), length)).freq.alias
                         if unit != "min" else "7step")  # fmt: skip


def test_small_numbers_and_those_of_no_time_are_steps_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for first in (0, 1, 500, 9_000, 80_000, 100_000, 2_000_000, 900_000_000):
            Panel.from_frame(table(range(first, first + 30), 30))


def test_unix_time_is_refused_with_the_dates_it_gives_and_those_from_1960() -> None:
    true = pd.date_range("2022-01-01", periods=48, freq="h")
    seconds = (true - pd.Timestamp("1960-01-01")) // pd.Timedelta("1s")
    df = table(seconds, 48)
    with pytest.raises(DataError, match=r"2032-01-02 to 2032-01-03 \(counted from 1960, .*2022-0"):
        Panel.from_frame(df)
    parsed = pd.to_datetime(df["ds"], unit="s", origin="1960-01-01")
    assert list(parsed) == list(true)


@given(st.sampled_from(sorted(FORMS)), st.integers(2019, 2023), st.integers(14, 30))
@settings(max_examples=15, deadline=None)
def test_dates_that_a_trained_model_would_count_are_said(form: str, year: int, count: int) -> None:
    alias, written = FORMS[form]
    stamps = pd.date_range(f"{year}-09-20", periods=count, freq=alias)
    frame = table([written(s) for s in stamps], count)
    refused = ""
    try:
        Panel.from_frame(frame)
    except DataError as error:
        refused = str(error)
    with heard() as notes:
        Panel.from_frame(frame, freq="step", schema=Schema())
    dates = "look like dates" in refused or "as steps they would leave holes" in refused
    assert [note for note in notes if "this model counts steps" in note] == notes
    assert len(notes) == dates
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Panel.from_frame(frame, freq="step")
        Panel.from_frame(table(np.arange(count) + 45_000, count), freq="step", schema=Schema())
