"""Cutoffs as people type them: ISO dates, and nothing that may be read in two ways."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.forecasts.cutoffs import Past, read_stamp

DAYS = st.dates(pd.Timestamp("1950-01-01").date(), pd.Timestamp("2090-12-31").date())


def panel(freq: str) -> Panel:
    ds = pd.date_range("2020-01-01", periods=40, freq=freq)
    return Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0}), freq=freq)


@given(day=DAYS, freq=st.sampled_from(["h", "D", "W", "MS", "YS"]))
def test_a_day_is_known_to_its_end_however_iso_writes_it(day: pd.Timestamp, freq: str) -> None:
    end = np.datetime64(day, "us") + np.timedelta64(1, "D") - np.timedelta64(1, "us")
    week = "{}-W{:02d}-{}".format(*day.isocalendar())
    whole = (f"{day:%Y-%m-%d}", f"{day:%Y%m%d}", f" {day:%Y-%m-%d} ", week, week.replace("-", ""))
    for text in whole:
        assert read_stamp(text, panel(freq)) == end
    for text in (f"{day:%Y-%m-%d}T06:30", f"{day:%Y-%m-%d} 06:30:00"):
        assert read_stamp(text, panel(freq)) == np.datetime64(day, "us") + np.timedelta64(390, "m")


@given(day=DAYS, form=st.sampled_from(["%d.%m.%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%y-%m-%d"]))
def test_another_order_of_day_and_month_is_refused_with_the_way_to_write_it(
    day: pd.Timestamp, form: str
) -> None:
    with pytest.raises(DataError, match="write it as 2024-01-31"):
        read_stamp(day.strftime(form), panel("D"))


@pytest.mark.parametrize(
    "text", ["now", "today", "2024-13", "2024-02-30", "24", "2024-W", "2024-W05", "2024W05", ""]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is no date"):
        read_stamp(text, panel("D"))


@given(
    rows=st.integers(2, 90),
    first=st.integers(-5, 95),
    more=st.integers(0, 95),
    freq=st.sampled_from(["6h", "D", "W-MON", "MS"]),
    short=st.booleans(),
)
def test_a_backfill_takes_every_stamp_from_the_first_day_to_the_end_of_the_last(
    rows: int, first: int, more: int, freq: str, short: bool
) -> None:
    ds = pd.date_range("2020-01-06", periods=rows, freq=freq)
    own = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0}), freq=freq)
    form = "%Y-%m" if short else "%Y-%m-%d"
    begin, end = (ds[0] + pd.Timedelta(days=days) for days in (first, first + more))
    low, high = begin.strftime(form), end.strftime(form)
    wanted = [stamp for stamp in ds if low <= stamp.strftime(form) <= high]
    if not wanted:
        with pytest.raises(DataError):
            Past(low, high).cutoffs(own)
        return
    assert pd.DatetimeIndex(Past(low, high).cutoffs(own)).tolist() == wanted
    assert pd.DatetimeIndex(Past.as_of(high).cutoffs(own)).tolist() == [wanted[-1]]
