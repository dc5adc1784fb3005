"""Numbers that count time: read where their dates and steps are believed, else asked about."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
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
    assert re.search(r"2020-01-09.*1904, 2024-01-10", said)
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
    assert "from 2001 they would begin at 2020-02-03" in said
    recent = [int(s.timestamp()) for s in pd.date_range("2026-01-01", periods=30, freq="h")]
    assert "counted" not in read(recent).report.to_dict()["facts"]["reading"]


def test_days_of_a_spreadsheet_a_hundred_apart_are_dates_of_another_form() -> None:
    numbers = [31218 + 100 * k for k in range(13)]
    with pytest.raises(DataError, match=r"100 apart.*%m%d%y"):
        read(numbers)
