"""Weeks counted 52 a year from the first of January are no weeks of ISO 8601."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.stamps.weeks import refuse_52

Weeks = list[tuple[int, int]]
# As people write a year and its week, with what of the config reads them, and the cure.
FORMS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "w": (lambda y, w: {"ds": f"{y}w{w}"}, {"ds": "ds"}, "week"),
    "-W": (lambda y, w: {"ds": f"{y}-W{w:02d}"}, {"ds": "ds"}, "week"),
    "number": (lambda y, w: {"week": y * 100 + w}, {"ds": "week"}, "%G%V"),
    "parts": (lambda y, w: {"year": y, "week": w}, {"ds": ["year", "week"]}, "%G %V"),
}


def read(form: str, weeks: Weeks, **more: Any) -> Any:
    written, config, _ = FORMS[form]
    frame = pd.DataFrame([written(*week) for week in weeks])
    frame["y"] = 50.0 + np.arange(len(weeks)) % 7
    return ingest(DataConfig.parse({**config, "y": "y", "series": "a", **more}), source=frame)


def iso(first: str, count: int) -> Weeks:
    stamps = pd.date_range(first, periods=count, freq="W-MON")
    return [tuple(stamp.isocalendar()[:2]) for stamp in stamps]


@given(
    st.sampled_from(sorted(FORMS)),
    st.sampled_from([2004, 2009, 2015, 2020]),
    st.integers(0, 2),
    st.integers(1, 2),
)
@settings(max_examples=25, deadline=None)
def test_a_long_year_without_its_week_53_is_refused_and_the_cure_reads_it(
    form: str, long: int, before: int, after: int
) -> None:
    weeks = [(y, w) for y in range(long - before, long + after + 1) for w in range(1, 53)]
    with pytest.raises(DataError, match=f"{long} has a week 53 by ISO 8601.*Stata"):
        read(form, weeks)
    cured = read(form, weeks, stamps={"formats": [FORMS[form][2]]})
    assert cured.clean.freq.alias == "W-MON"


@given(st.sampled_from(sorted(FORMS)), st.integers(0, 300), st.integers(120, 300))
@settings(max_examples=15, deadline=None)
def test_weeks_of_iso_8601_are_read(form: str, first: int, count: int) -> None:
    start = pd.Timestamp("2014-01-06") + pd.Timedelta(weeks=first)
    found = read(form, iso(str(start.date()), count))
    assert len(found.frame) == count
    assert found.frame["ds"].iloc[0] == start


def test_two_weeks_apart_and_weeks_lost_by_chance_are_no_other_count() -> None:
    weeks = pd.date_range("2018-01-01", periods=260, freq="W-MON").to_numpy()
    stamps = weeks.astype("datetime64[us]").astype(np.int64)
    refuse_52(stamps[::2], "ds", "")
    # 2020-12-28 begins week 53: with it goes the one before.
    late = np.datetime64("2020-12-28", "us").astype(np.int64)
    refuse_52(stamps[(stamps != late) & (stamps != late - 7 * 86_400_000_000)], "ds", "")
    refuse_52(stamps[:0], "ds", "")
    with pytest.raises(DataError, match="2020 has a week 53"):
        refuse_52(stamps[stamps != late], "ds", "")


def test_a_row_per_year_with_52_weeks_wants_a_column_of_week_53() -> None:
    columns = {f"W{w}": 50.0 + w % 7 for w in range(1, 53)}
    frame = pd.DataFrame([{"year": year, **columns} for year in range(2018, 2023)])
    config = DataConfig.parse({"layout": "calendar", "ds": "year", "series": "a"})
    with pytest.raises(DataError, match=r"2020 has a week 53.*add a column of week 53"):
        ingest(config, source=frame)
    found = ingest(config, source=frame.assign(W53=[np.nan, np.nan, 51.0, np.nan, np.nan]))
    assert len(found.frame) == 261
