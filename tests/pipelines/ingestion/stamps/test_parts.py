"""Stamps in several columns: each part is what its column says, or the table is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Part = Callable[[pd.Timestamp], object]
# Names of columns, what stands in them, and the step.
COLUMNS: list[tuple[str, dict[str, Part]]] = [
    ("QS", {"year": lambda s: s.year, "quarter": lambda s: s.quarter}),
    ("QS", {"Year": lambda s: s.year, "Qtr": lambda s: f"Q{s.quarter}"}),
    ("2QS", {"year": lambda s: s.year, "half": lambda s: 1 + s.month // 7}),
    ("MS", {"year": lambda s: s.year, "month": lambda s: s.month}),
    ("MS", {"month": lambda s: s.strftime("%b"), "year": lambda s: s.year}),
    ("W-MON", {"year": lambda s: s.isocalendar()[0], "week": lambda s: s.isocalendar()[1]}),
    ("W-MON", {"Jahr": lambda s: s.isocalendar()[0], "KW": lambda s: s.isocalendar()[1]}),
    ("D", {"year": lambda s: s.year, "month": lambda s: s.month, "day": lambda s: s.day}),
    ("D", {"day": lambda s: s.day, "month": lambda s: s.month_name(), "year": lambda s: s.year}),
    ("D", {"year": lambda s: s.year, "doy": lambda s: s.dayofyear}),
    ("h", {"date": lambda s: s.strftime("%Y%m%d"), "hour": lambda s: s.hour}),
    ("h", {"date": lambda s: s.date(), "hour": lambda s: f"{s.hour:02}"}),
    ("15min", {"date": lambda s: s.date(), "time": lambda s: s.strftime("%H%M")}),
    ("h", {"date": lambda s: s.date(), "time": lambda s: int(s.strftime("%H%M"))}),
    ("30min", {"date": lambda s: s.date(), "period": lambda s: 1 + s.hour * 2 + s.minute // 30}),
    ("15min", {"day": lambda s: s.date(), "slot": lambda s: s.hour * 4 + s.minute // 15}),
    ("h", {
        "y": lambda s: s.year, "m": lambda s: s.month, "d": lambda s: s.day, "h": lambda s: s.hour
    }),
]  # fmt: skip


def joined(parts: dict[str, list[object]], **config: object) -> IngestResult:
    count = len(next(iter(parts.values())))
    frame = pd.DataFrame({**parts, "value": [1.5 + k % 5 for k in range(count)]})
    settings = {"ds": list(parts), "y": "value", "series": "a", **config}
    return ingest(DataConfig.parse(settings), source=frame)


@pytest.mark.parametrize("which", range(len(COLUMNS)))
@given(st.integers(100, 200), st.integers(2001, 2022))
@settings(max_examples=2, deadline=None)
def test_parts_are_what_their_columns_say(which: int, count: int, year: int) -> None:
    freq, columns = COLUMNS[which]
    true = pd.date_range(f"{year}-01-01", periods=count, freq=freq)
    result = joined({name: [part(s) for s in true] for name, part in columns.items()})
    assert list(result.frame["ds"]) == list(true)


def test_twelve_weeks_are_no_months() -> None:
    found = joined({"year": [2024] * 12, "week": list(range(1, 13))}).frame["ds"]
    assert list(found) == list(pd.date_range("2024-01-01", periods=12, freq="W-MON"))


def test_hours_to_24_end_theirs_and_are_moved_when_told() -> None:
    true = pd.date_range("2024-01-10", periods=96, freq="h")
    parts = {"date": [str(s.date()) for s in true], "hour": [s.hour + 1 for s in true]}
    result = joined(parts)
    assert "24 is the midnight that follows" in " ".join(result.report.notes)
    assert list(result.frame["ds"]) == list(true + pd.Timedelta("1h"))
    assert list(joined(parts, stamps={"label": "end"}).frame["ds"]) == list(true)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"year": [2024] * 5, "quarter": [1, 2, 3, 4, 5]}, "'5' is no quarter"),
        ({"year": [2024] * 3, "week": [1, 2, 60]}, "'60' is no week"),
        ({"date": ["2024-01-10"] * 50, "period": list(range(1, 51))}, "07:15"),
        ({"year": [2024] * 3, "month": [1, 2, 13], "day": [1, 1, 1]}, "'13' is no month"),
    ],
)
def test_parts_that_are_none_are_named(parts: dict[str, list[object]], why: str) -> None:
    with pytest.raises(DataError, match=why):
        joined(parts)


def test_formats_that_are_given_read_the_parts_joined() -> None:
    true = pd.date_range("2024-01-01", periods=40)
    parts = {"year": [s.year for s in true], "day": [s.strftime("%m-%d") for s in true]}
    found = joined(parts, stamps={"formats": ["%Y %m-%d"]})
    assert list(found.frame["ds"]) == list(true)


def of_series(parts: dict[str, Any], true: pd.DatetimeIndex, **config: Any) -> Any:
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, **parts, "y": np.arange(len(true)) * 1.5 + k})
        for k, name in enumerate("ab")
    )
    return ingest(DataConfig.parse({"ds": list(parts), **config}), source=frame).frame


@pytest.mark.parametrize("name", ["fy", "FY", "fiscal_year", "Fin Year", "Geschäftsjahr", "season"])
@pytest.mark.parametrize("part", ["month", "quarter"])
def test_years_that_begin_elsewhere_by_their_name_are_refused(name: str, part: str) -> None:
    true = pd.date_range("2019-01-01", periods=24, freq="MS" if part == "month" else "QS")
    parts = {name: true.year + (true.month >= 4), part: getattr(true, part)}
    with pytest.raises(DataError, match="begin in another month than January"):
        of_series(parts, true)
    if part == "month":
        same = of_series({name: true.year, part: true.month}, true, stamps={"formats": ["%Y %m"]})
        assert list(same["ds"][:24]) == list(true)


@given(
    st.integers(2, 12),
    st.integers(13, 60),
    st.booleans(),
    st.sampled_from(["%b", "%B", "%m", "M%m"]),
)
@settings(max_examples=25, deadline=None)
def test_months_that_follow_by_row_under_years_that_do_not_are_refused(
    begin: int, count: int, newest: bool, form: str
) -> None:
    true = pd.date_range("2015-03-01", periods=count, freq="MS")
    true = true[::-1] if newest else true
    months = true.strftime(form)
    moved = (true.month >= begin).astype(int)
    inside = len(set(zip(true.year + moved, true.month, strict=True))) == count
    right = of_series({"year": true.year, "month": months}, true)
    assert sorted(right["ds"][:count]) == sorted(true)
    if inside and moved.min() < moved.max() and 1 in true.month[1:-1]:
        with pytest.raises(DataError, match=r"(years that begin elsewhere|freq|grow)"):
            of_series({"year": true.year + moved, "month": months}, true)


@given(st.dates(pd.Timestamp("2004-01-05").date(), pd.Timestamp("2020-12-28").date()))
@settings(max_examples=20, deadline=None)
def test_weeks_beside_the_year_of_the_calendar_are_never_thrown_together(first: object) -> None:
    true = pd.date_range(str(first), periods=160, freq="W-MON")
    iso = true.isocalendar()
    right = of_series({"year": iso["year"].to_numpy(), "week": iso["week"].to_numpy()}, true)
    assert list(right["ds"][:160]) == list(true)
    parts = {"year": true.year, "week": iso["week"].to_numpy()}
    if len(set(zip(parts["year"], parts["week"], strict=True))) < 160:
        with pytest.raises(DataError, match="turn of the year"):
            of_series(parts, true)


def test_a_week_53_where_there_is_none_is_refused() -> None:
    true = pd.date_range("2024-01-01", periods=70, freq="W-MON")
    with pytest.raises(DataError, match="2024 has no week 53 by ISO 8601"):
        of_series({"year": true.year, "week": true.strftime("%W").astype(int)}, true)


@given(
    st.sampled_from(["p", "x", "period", "per", "no", "code"]), st.integers(24, 90),
    st.integers(2001, 2020), st.integers(0, 11),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_numbers_of_periods_are_months_and_that_is_said(
    name: str, count: int, year: int, month: int
) -> None:
    true = pd.date_range(f"{year}-{month + 1:02d}-01", periods=count, freq="MS")
    result = joined({"year": [s.year for s in true], name: [s.month for s in true]})
    assert list(result.frame["ds"]) == list(true)
    said = f"in column {name} are months of the calendar, 1 its January; where year begins in"
    assert any(said in note for note in result.report.notes)


@given(st.integers(5, 11), st.sampled_from(["x", "period"]), st.integers(3, 8))
@settings(max_examples=10, deadline=None)
def test_parts_of_which_no_year_has_twelve_are_no_months(last: int, name: str, years: int) -> None:
    rows = [(2010 + y, k) for y in range(years) for k in range(1, last + 1)]
    parts = {"year": [y for y, _ in rows], name: [k for _, k in rows]}
    with pytest.raises(DataError, match=rf"ends with {last}, as parts of years do"):
        joined(parts)
    assert joined(parts, stamps={"formats": ["month"]}, freq="MS").freq == "MS"


@pytest.mark.parametrize("name", ["day", "hour", "weekday", "tag", "minute"])
def test_a_year_and_a_day_or_an_hour_are_no_month(name: str) -> None:
    rows = [(2015 + y, k) for y in range(4) for k in range(1, 8)]
    with pytest.raises(DataError, match="the month is in no column"):
        joined({"year": [y for y, _ in rows], name: [k for _, k in rows]})


@pytest.mark.parametrize("form", ["P{}", "P{:02d}", "Per {}", "AP{}", "{:03d}"])
def test_periods_with_a_mark_of_theirs_are_refused(form: str) -> None:
    rows = [(2015 + y, form.format(k)) for y in range(4) for k in range(1, 13)]
    with pytest.raises(DataError, match="cannot be read as a time stamp"):
        joined({"year": [y for y, _ in rows], "x": [k for _, k in rows]})
