"""Numbers with two digits of a year: read where the calendar bears it out, else named."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from tests.pipelines.ingestion.samples import attempt, read


@given(
    st.sampled_from([str, int]),
    st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2030-12-31").date()),
    st.integers(14, 90),
)
@settings(max_examples=60, deadline=None)
def test_years_of_two_digits_and_their_months(write: type, first: object, count: int) -> None:
    true = pd.date_range(pd.Timestamp(str(first)).replace(day=1), periods=count, freq="MS")
    result = read([write(stamp.strftime("%y%m")) for stamp in true])
    assert list(result.frame["ds"]) == list(true)


@given(
    st.sampled_from(["%y%m%d", "%d%m%y", "%m%d%y"]),
    st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2030-12-31").date()),
    st.integers(8, 200),
)
@settings(max_examples=60, deadline=None)
def test_six_digits_are_the_days_they_are_or_refused(form: str, first: object, count: int) -> None:
    true = pd.date_range(str(first), periods=count)
    result, refusal = attempt([stamp.strftime(form) for stamp in true])
    if result is None:
        assert "stamps.formats" in refusal or "freq" in refusal
        return
    assert list(result.frame["ds"]) == list(true)


@pytest.mark.parametrize("write", [str, int])
def test_years_stay_years(write: type) -> None:
    for first, count in ((2001, 12), (1990, 30), (2005, 8), (1995, 18)):
        years = list(read([write(first + k) for k in range(count)]).frame["ds"].dt.year)
        assert years == list(range(first, first + count))
    months = read([write(v) for v in [*range(2001, 2013), 2101]]).frame["ds"]
    assert months.iloc[-1] == pd.Timestamp("2021-01-01")


def test_zeros_that_a_number_lost_are_put_back() -> None:
    days = pd.date_range("2020-01-01", periods=60)
    numbers = [int(day.strftime("%d%m%Y")) for day in days]
    assert list(read(numbers, stamps={"formats": ["%d%m%Y"]}).frame["ds"]) == list(days)


def test_both_readings_are_named() -> None:
    with pytest.raises(DataError, match=r'\["%y%m%d"\] or \["%Y%m"\].*freq: step'):
        read([str(200100 + k) for k in range(1, 13)])
    with pytest.raises(DataError, match=r"%y%m.*freq: step"):
        read(list(range(1501, 1513)))


@pytest.mark.parametrize("first", [19_421, 23_064])
def test_old_days_of_a_spreadsheet_are_asked_about(first: int) -> None:
    numbers = list(range(first, first + 30))
    with pytest.raises(DataError, match=r"since 1970.*%y%j.*freq: step"):
        read(numbers)
    assert read(numbers, stamps={"formats": ["excel"]}).frame["ds"].iloc[0].year < 1983
    assert read(list(range(45_000, 45_030))).frame["ds"].iloc[0] == pd.Timestamp("2023-03-15")


@given(
    st.sampled_from([str, int]),
    st.dates(pd.Timestamp("1985-01-01").date(), pd.Timestamp("2022-12-31").date()),
    st.integers(14, 90),
)
@settings(max_examples=60, deadline=None)
def test_months_before_their_years_are_those_or_both_readings_are_named(
    write: type, first: object, count: int
) -> None:
    true = pd.date_range(pd.Timestamp(str(first)).replace(day=1), periods=count, freq="MS")
    numbers = [write(stamp.strftime("%m%Y")) for stamp in true]
    result, why = attempt(numbers)
    if result is None:
        assert "%m%Y" in why
    else:
        assert list(result.frame["ds"]) == list(true)
    asked = read(numbers, stamps={"formats": ["%m%Y"]})
    assert list(asked.frame["ds"]) == list(true)
