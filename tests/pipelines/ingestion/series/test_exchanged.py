"""Dates whose day and month a spreadsheet has exchanged are told by the order of their rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from tests.pipelines.ingestion.samples import read

DAYS = pd.date_range("2023-01-01", periods=731)


def exchanged(day: pd.Timestamp) -> pd.Timestamp:
    return day.replace(day=day.month, month=day.day) if day.day <= 12 else day


def american(day: pd.Timestamp) -> str:
    return f"{day.month}/{day.day}/{day.year}"


WRITTEN: dict[str, Callable[[pd.Timestamp], str]] = {
    "dates": lambda d: str(exchanged(d).date()),
    "dates and text": lambda d: str(exchanged(d).date()) if d.day <= 12 else american(d),
    "padded and not": lambda d: exchanged(d).strftime("%m/%d/%Y") if d.day <= 12 else american(d),
    "with a time": lambda d: str(exchanged(d)) if d.day <= 12 else american(d),
}


@pytest.mark.parametrize("written", sorted(WRITTEN))
@pytest.mark.parametrize("rows", [DAYS, DAYS[::-1], DAYS[::7], DAYS[:120]])
def test_an_exchange_is_refused_with_the_cure(written: str, rows: pd.DatetimeIndex) -> None:
    with pytest.raises(DataError, match="export it once more"):
        read([WRITTEN[written](day) for day in rows])


def test_a_table_sorted_after_the_exchange_is_told_by_its_two_forms() -> None:
    dates = sorted(str(exchanged(d).date()) for d in DAYS if d.day <= 12)
    with pytest.raises(DataError, match="those up to the 12th are written otherwise"):
        read(dates + [american(d) for d in DAYS if d.day > 12])


def test_months_that_became_days_of_january_are_told_by_their_holes() -> None:
    months = pd.date_range("2021-01-01", periods=36, freq="MS")
    with pytest.raises(DataError, match=r"day and month.*exchanged.*step MS"):
        read([f"{m.year}-01-{m.month:02}" for m in months])


@given(st.integers(0, 2**32 - 1), st.sampled_from(["iso", "american", "halves"]))
@settings(max_examples=12, deadline=None)
def test_rows_in_any_order_are_no_exchange(seed: int, written: str) -> None:
    rows = np.random.default_rng(seed).permutation(len(DAYS))
    write = {"iso": lambda d: str(d.date()), "american": american}.get(written)
    texts = [
        (write or (american if k % 2 else lambda d: str(d.date())))(DAYS[i])
        for k, i in enumerate(rows)
    ]
    assert list(read(texts).frame["ds"]) == list(DAYS)


def test_what_two_forms_say_alike_is_read() -> None:
    texts = [f"{d:%m/%d/%Y}" if d.day <= 12 else american(d) for d in DAYS]
    assert list(read(texts).frame["ds"]) == list(DAYS)
