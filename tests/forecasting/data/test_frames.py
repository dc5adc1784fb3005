"""Stamps that the library does not guess at, and steps that it tells apart."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError


def panel(ds: object, freq: str | None = None) -> Panel:
    count = len(list(ds))  # type: ignore[call-overload]
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(count) + 1.0})
    return Panel.from_frame(table, freq=freq)


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%b-%y", "%B %Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y"]
)
def test_text_that_is_not_iso_is_refused_with_the_cure(form: str) -> None:
    texts = [t.strftime(form) for t in pd.date_range("2022-01-01", periods=36, freq="MS")]
    with pytest.raises(DataError, match=r"ds = '.*' is text, but not in ISO 8601.*pd.to_datetime"):
        panel(texts)
    parsed = panel(pd.to_datetime(pd.Series(texts), format=form))
    assert (parsed.freq.alias, parsed.rows) == ("MS", 36)


@given(
    step=st.sampled_from(["D", "MS", "h", "15min", "W-MON", "QS", "s"]),
    form=st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    count=st.integers(8, 40),
)
@settings(max_examples=40, deadline=None)
def test_iso_text_is_read_as_the_stamps_it_names(step: str, form: str, count: int) -> None:
    true = pd.date_range("2023-11-06", periods=count, freq=step)
    read, typed = panel([t.strftime(form) for t in true]), panel(true)
    assert read.rows == count
    np.testing.assert_array_equal(read.last, typed.last)


@pytest.mark.parametrize("form", ["%Y%m", "%Y%m%d"])
@pytest.mark.parametrize("kind", [int, float])
def test_integers_that_are_dates_are_refused_unless_they_are_said_to_be_steps(
    form: str, kind: type
) -> None:
    true = pd.date_range("2022-01-01", periods=12, freq="MS" if form == "%Y%m" else "D")
    numbers = [kind(t.strftime(form)) for t in true]
    with pytest.raises(DataError, match=f'look like dates.*{form}.*freq="step"'):
        panel(numbers)
    assert panel(numbers, freq="step").rows == 12


@given(st.integers(-(10**6), 10**9), st.integers(13, 60), st.integers(1, 5))
def test_plain_steps_are_steps(first: int, count: int, size: int) -> None:
    numbers = list(range(first, first + count * size, size))
    months = first >= 170_001 and numbers[-1] < 220_000
    days = first >= 17_000_101 and numbers[-1] < 22_001_231
    if not months and not days:
        assert panel(numbers).rows == count


@pytest.mark.parametrize(
    ("alias", "count", "expected"),
    [
        ("28D", 39, "4W-MON"),
        ("14D", 30, "2W-MON"),
        ("MS", 30, "MS"),
        ("ME", 30, "ME"),
        ("QS-JAN", 12, "QS-JAN"),
        ("YS", 9, "YS-JAN"),
        ("2MS", 20, "2MS"),
        ("30D", 30, "30D"),
        ("B", 7, "B"),
        ("D", 5, "D"),
    ],
)
def test_steps_near_a_month_are_told_apart(alias: str, count: int, expected: str) -> None:
    start = "2020-01-06" if alias[-1] in "DB" else "2020-01-01"
    assert panel(pd.date_range(start, periods=count, freq=alias)).freq.alias == expected


@pytest.mark.parametrize("day", [5, 15, 28])
def test_months_on_any_day_are_months(day: int) -> None:
    stamps = pd.date_range("2020-01-01", periods=30, freq="MS") + pd.Timedelta(days=day - 1)
    made = panel(stamps)
    assert (made.freq.alias, made.rows) == ("MS", 30)


def test_stamps_far_apart_speak_for_another_step() -> None:
    """Months read with day and month exchanged are days, twelve in each January."""
    wrong = pd.to_datetime([f"{y}-01-{m:02}" for y in range(2019, 2024) for m in range(1, 13)])
    with pytest.raises(DataError, match=r"60 distinct stamps .* among 1,473 steps of freq = D"):
        panel(wrong)
    assert panel(wrong, freq="D").rows == 1473


@pytest.mark.parametrize(
    ("numbers", "cure"),
    [
        ([y * 100 + w for y in (2019, 2020) for w in range(1, 53)], "%G%V%u"),
        ([y * 1000 + d for y in (2019, 2020) for d in range(1, 366)], "%Y%j"),
        ([2020010100 + k for k in range(24)], "%Y%m%d%H"),
        ([1577836800 + 86400 * k for k in range(60)], 'unit="s"'),
        ([1577836800000 + 3600000 * k for k in range(60)], 'unit="ms"'),
        ([k * 1_000_000 + 12020 for k in range(1, 29)], "1000000step"),
    ],
)
def test_other_numbers_that_are_dates_are_refused_with_the_cure(
    numbers: list[int], cure: str
) -> None:
    with pytest.raises(DataError, match=r".*" + re.escape(cure)):
        panel(numbers)
    if "unit" not in cure:
        size = "1000000step" if "step" in cure else "step"
        assert panel(numbers, freq=size).rows >= len(numbers)


def test_numbers_among_dates_and_numbers_too_large_are_refused() -> None:
    import datetime

    mixed = np.array([datetime.date(2020, 1, 1), 20200201], dtype=object)
    with pytest.raises(DataError, match="row 1: ds = 20200201 is a number among dates"):
        panel(mixed)
    with pytest.raises(DataError, match="too large for steps"):
        panel(np.arange(40, dtype="uint64") + np.uint64(2**62 + 5))


def test_eight_quarters_written_as_months_are_not_sixteen_months() -> None:
    texts = [f"{y}-{q:02}" for y in (2019, 2020) for q in range(1, 5)]
    with pytest.raises(DataError, match="16 steps of freq = MS"):
        panel(texts)
