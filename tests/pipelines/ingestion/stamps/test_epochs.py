"""Numbers that count time: read where their dates and steps are believed, else asked about."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
from tests.pipelines.ingestion.samples import attempt, read

UNIX = {"epoch_s": "1s", "epoch_ms": "1ms", "epoch_us": "1us", "epoch_ns": "1ns"}
HUNDRED = {"ticks": "0001-01-01", "filetime": "1601-01-01"}


def hundreds(stamps: pd.DatetimeIndex, origin: str) -> list[int]:
    since = pd.Timestamp(origin).as_unit("us")
    return [int((s.as_unit("us") - since) // pd.Timedelta("1us")) * 10 for s in stamps]


@given(
    st.sampled_from(sorted(HUNDRED)),
    st.sampled_from(["1s", "30s", "1min", "7min", "15min", "h", "7h", "D", "W-MON", "MS"]),
    st.dates(pd.Timestamp("1985-01-01").date(), pd.Timestamp("2025-12-31").date()),
    st.sampled_from([int, str]),
)
@settings(max_examples=15, deadline=None)
def test_ticks_and_file_times_are_asked_about_and_the_cure_cures(
    kind: str, freq: str, first: object, write: type
) -> None:
    true = pd.date_range(str(first), periods=30, freq=freq)
    numbers = [write(n) for n in hundreds(true, HUNDRED[kind])]
    with pytest.raises(DataError, match=rf'stamps\.formats: .*\["{kind}"\]'):
        read(numbers)
    found = read(numbers, stamps={"formats": [kind]}).frame["ds"]
    assert list(found.dt.tz_localize(None)) == list(true)


@given(
    st.sampled_from(sorted(UNIX)),
    st.sampled_from(["1min", "15min", "h", "D", "W-MON", "MS"]),
    st.dates(pd.Timestamp("1984-01-01").date(), pd.Timestamp("2025-12-31").date()),
    st.sampled_from([int, str]),
)
@settings(max_examples=15, deadline=None)
def test_unix_time_is_read_as_before_and_said(
    kind: str, freq: str, first: object, write: type
) -> None:
    true = pd.date_range(str(first), periods=30, freq=freq)
    numbers = [write((s - pd.Timestamp(0)) // pd.Timedelta(UNIX[kind])) for s in true]
    result = read(numbers)
    assert list(result.frame["ds"].dt.tz_localize(None)) == list(true)
    assert str(true[0].date()) in result.report.to_dict()["facts"]["reading"]


@given(st.integers(0, 19), st.integers(28, 200))
@settings(max_examples=10, deadline=None)
def test_modified_julian_days_are_never_days_of_a_spreadsheet(ago: int, count: int) -> None:
    true = pd.date_range(f"{pd.Timestamp.now().year - ago}-03-05", periods=count)
    days = [(s - pd.Timestamp("1858-11-17")).days for s in true]
    result, refusal = attempt(days)
    assert result is None
    assert "spreadsheet" in refusal
    cure = '["mjd"]'
    assert cure in refusal
    assert list(read(days, stamps={"formats": ["mjd"]}).frame["ds"]) == list(true)


@pytest.mark.parametrize("unit", [10, 1_000_000_000])
def test_a_count_of_another_unit_is_no_unix_time(unit: int) -> None:
    """Tenths of a second, and seconds since 1900, as network clocks count them."""
    hours = pd.date_range("2024-01-10", periods=60, freq="h")
    since = pd.Timestamp(0) if unit == 10 else pd.Timestamp("1900-01-01")
    factor = 10 if unit == 10 else 1
    numbers = [int((h - since) // pd.Timedelta("1s")) * factor for h in hours]
    with pytest.raises(DataError, match=r"freq"):
        read(numbers)
    found = read(numbers, freq=f"{numbers[1] - numbers[0]}step").frame["ds"]
    assert list(found) == numbers


def test_days_of_old_macs_are_said_and_their_format_reads_them() -> None:
    true = pd.date_range("2024-01-10", periods=40)
    numbers = [(s - pd.Timestamp("1904-01-01")).days for s in true]
    found = read(numbers)
    said = found.report.to_dict()["facts"]["reading"]
    assert re.search(r"2020-01-09.*2024-01-10 as days of a spreadsheet, counted from 1904", said)
    assert list(read(numbers, stamps={"formats": ["excel_1904"]}).frame["ds"]) == list(true)


def test_days_before_1970_in_milliseconds_are_read_when_told() -> None:
    true = pd.date_range("1949-01-01", periods=144, freq="MS")
    numbers = [(s - pd.Timestamp(0)) // pd.Timedelta("1ms") for s in true]
    with pytest.raises(DataError, match="Unix time"):
        read(numbers)
    found = read(numbers, stamps={"formats": ["epoch_ms"]}).frame["ds"]
    assert list(found.dt.tz_localize(None)) == list(true)


@given(
    st.dates(pd.Timestamp("2001-01-01").date(), pd.Timestamp("2025-12-31").date()),
    st.integers(3, 60),
    st.sampled_from(["15min", "h", "6h"]),
)
@settings(max_examples=20, deadline=None)
def test_minutes_of_short_years_are_no_unix_time(first: object, count: int, freq: str) -> None:
    true = pd.date_range(str(first), periods=count, freq=freq)
    result, why = attempt([int(s.strftime("%y%m%d%H%M")) for s in true])
    if result is None:
        assert "stamps.formats" in why or "freq" in why
    else:
        assert list(result.frame["ds"]) == list(true)


def test_old_unix_time_names_the_origins_of_other_programs() -> None:
    true = pd.date_range("2020-02-03", periods=30, freq="6h")
    numbers = [int((s - pd.Timestamp("2001-01-01")).total_seconds()) for s in true]
    said = read(numbers).report.to_dict()["facts"]["reading"]
    assert "1989-02-02" in said
    assert 'at 2020-02-03 as seconds since 2001-01-01, stamps.formats: ["seconds' in said
    assert list(read(numbers, stamps={"formats": ["seconds since 2001-01-01"]}).frame["ds"]) == [
        *true
    ]
    recent = [int(s.timestamp()) for s in pd.date_range("2026-01-01", periods=30, freq="h")]
    assert "2001" not in read(recent).report.to_dict()["facts"]["reading"]


def test_days_of_a_spreadsheet_a_hundred_apart_are_dates_of_another_form() -> None:
    numbers = [31218 + 100 * k for k in range(13)]
    with pytest.raises(DataError, match=r"100 apart.*%m%d%y"):
        read(numbers)


# What programs count, from where: dates that the count begins at in all of a program's tables.
PROGRAMS = {
    "days since 1960-01-01": "D", "seconds since 1960-01-01": "s", "excel_1904": "D", "excel": "D",
    "epoch_d": "D", "milliseconds since 1960-01-01": "ms", "seconds since 1904-01-01": "s",
    "seconds since 2001-01-01": "s", "hours since 1900-01-01": "h",
    "minutes since 1970-01-01": "min", "days since 0000-12-31": "D", "days since -4713-11-24": "D",
    "days since 1900-01-01": "D",
}  # fmt: skip
SPREADSHEETS = {"excel": "1899-12-30", "excel_1904": "1904-01-01", "epoch_d": "1970-01-01"}


def counted(true: pd.DatetimeIndex, kind: str) -> list[int]:
    origin = SPREADSHEETS.get(kind, kind.rpartition(" ")[2])
    since = np.datetime64(origin, "us").astype(np.int64)
    unit = int(pd.Timedelta(1, PROGRAMS[kind]) / pd.Timedelta("1us"))
    return [int(v) for v in (true.as_unit("us").asi8 - since) // unit]


@given(
    st.sampled_from(sorted(PROGRAMS)),
    st.sampled_from(["h", "D", "B", "W-WED", "MS", "ME"]),
    st.dates(pd.Timestamp("2005-01-01").date(), pd.Timestamp("2020-12-31").date()),
    st.integers(12, 70),
    st.sampled_from(["date", "t"]),
    st.sampled_from([int, str]),
)
@settings(max_examples=120, deadline=None)
def test_no_count_of_a_program_is_read_wrongly_without_a_word(
    kind: str, freq: str, first: object, count: int, column: str, write: type
) -> None:
    """Read as it is meant; else the report names its date; else the refusal names its format."""
    true = pd.date_range(str(first), periods=count, freq="D" if freq == "h" else freq)
    numbers = [write(n) for n in counted(true, kind)]
    frame = pd.DataFrame({"unique_id": "a", column: numbers, "y": np.arange(count) + 0.5})
    try:
        result = ingest(DataConfig.parse({"ds": column}), source=frame)
    except DataError as error:
        assert "stamps.formats" in str(error)  # noqa: PT017
    else:
        stamps = result.frame["ds"]
        right = stamps.dtype.kind == "M" and list(stamps.dt.tz_localize(None)) == list(true)
        said = " ".join(result.report.notes)
        assert right or str(true[0].date()) in said
    told = ingest(DataConfig.parse({"ds": column, "stamps": {"formats": [kind]}}), source=frame)
    assert set(true) <= set(told.frame["ds"].dt.tz_localize(None))


@pytest.mark.parametrize(
    ("kind", "freq", "first"),
    [("epoch_d", "MS", "2014-01-01"), ("excel", "MS", "2014-01-01"),
     ("excel_1904", "B", "2016-01-04"), ("excel", "B", "2016-01-04"),
     ("seconds since 2001-01-01", "ME", "2014-01-31"),
     ("seconds since 1960-01-01", "B", "2008-01-07")],
)  # fmt: skip
def test_the_calendar_tells_from_where_numbers_count(kind: str, freq: str, first: str) -> None:
    true = pd.date_range(first, periods=110, freq=freq)
    assert list(read(counted(true, kind)).frame["ds"].dt.tz_localize(None)) == list(true)


def test_a_count_from_no_date_and_one_too_far_are_refused() -> None:
    with pytest.raises(DataError, match=r"'days since 1960-13-01' counts from no date"):
        read([21915, 21916, 21917], stamps={"formats": ["days since 1960-13-01"]})
    with pytest.raises(DataError, match="cannot be read as a time stamp"):
        read([10**17, 10**17 + 1, 10**17 + 2], stamps={"formats": ["days since 1960-01-01"]})
