"""Months with a year of two digits or four, days without a year, and the century of two digits."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest
from tests.pipelines.ingestion.samples import attempt, read

MONTHS = (
    "%m.%Y", "%Y.%m", "%m-%Y", "%Y %m", "%b %y", "%b '%y", "%b%y", "%b%Y", "%Y%b", "%B %y", "%y-%b",
    "%b. %Y", "%B, %Y", "%b/%Y", "M%m %Y", "%Y-M%m", "%m/%y", "%m-%y", "%b-%y",
)  # fmt: skip


@given(st.sampled_from(MONTHS), st.integers(2001, 2035), st.integers(1, 12), st.integers(14, 60))
@settings(max_examples=25, deadline=None)
def test_months_are_those_they_are_or_both_readings_are_named(
    form: str, year: int, month: int, count: int
) -> None:
    true = pd.date_range(f"{year}-{month:02}-01", periods=count, freq="MS")
    texts = [stamp.strftime(form) for stamp in true]
    result, refusal = attempt(texts)
    if result is None:
        assert "%y" in form
        assert "without a year" in refusal
        assert 'stamps.formats: ["month"]' in refusal
        return
    assert list(result.frame["ds"]) == list(true)
    assert result.freq == "MS"


@pytest.mark.parametrize("form", ["%b-%d", "%d-%b", "%b %d", "%m/%d", "%d/%m"])
@pytest.mark.parametrize("count", [12, 31, 90, 200])
def test_days_without_a_year_are_never_months(form: str, count: int) -> None:
    days = pd.date_range("2024-01-01", periods=count)
    with pytest.raises(DataError, match=r"without a year.*ds: \[year, date\]"):
        read([day.strftime(form) for day in days])


def test_days_of_one_month_may_be_told_to_be_years() -> None:
    texts = [f"Jan-{k:02}" for k in range(1, 32)]
    with pytest.raises(DataError, match=r"2001-01.*days without a year"):
        read(texts)
    assert list(read(texts, stamps={"formats": ["month"]}).frame["ds"].dt.year)[-1] == 2031


def test_a_year_of_its_own_column_makes_days_of_them() -> None:
    days = pd.date_range("2023-12-01", periods=60)
    frame = pd.DataFrame({"unique_id": "a", "year": days.strftime("%Y"), "y": 1.0})
    frame["day"] = days.strftime("%m-%d")
    result = ingest(
        DataConfig.parse({"ds": ["year", "day"], "stamps": {"formats": ["%Y %m-%d"]}}), source=frame
    )
    assert list(result.frame["ds"]) == list(days)


@pytest.mark.parametrize("form", ["%d/%m/%y", "%b-%y", "%y-%m-%d", "%d-%b-%y"])
def test_two_digits_far_ahead_are_asked_about(form: str) -> None:
    true = pd.date_range("1955-01-13", periods=240, freq="MS")
    texts = [stamp.strftime(form) for stamp in true]
    with pytest.raises(DataError, match=r"2055 or 1955.*stamps\.latest"):
        read(texts)
    assert list(read(texts, stamps={"latest": "2030-12-31"}).frame["ds"]) == list(true)
    late = [stamp.strftime(form) for stamp in pd.date_range("2050-02-01", periods=30, freq="MS")]
    ahead = read(late, stamps={"latest": "2099-12-31"}).frame["ds"]
    assert ahead.iloc[0] == pd.Timestamp("2050-02-01")


def test_the_zero_of_october_is_put_back_or_asked_for(mend: Callable[..., IngestResult]) -> None:
    months = pd.date_range("2019-01-01", periods=48, freq="MS")
    rows = [f"a,{m:%Y.%m},{k}.5" for k, m in enumerate(months)]
    lost = [row.replace(".10,", ".1,") for row in rows]
    for table in (rows, lost):
        result = mend("unique_id,ds,y\n" + "\n".join(table) + "\n")
        assert list(result.frame["ds"]) == list(months)
    bare = [f"a,{m.year}.{m.month},{k}.5".replace(".10,", ".1,") for k, m in enumerate(months)]
    with pytest.raises(DataError, match="January or October"):
        mend("unique_id,ds,y\n" + "\n".join(bare) + "\n")
    fractions = [f"a,{2019 + k / 12:.4f},{k}.5" for k in range(48)]
    with pytest.raises(DataError, match="year with a fraction"):
        mend("unique_id,ds,y\n" + "\n".join(fractions) + "\n")


def test_months_in_the_header_of_a_table_are_stamps(mend: Callable[..., IngestResult]) -> None:
    months = pd.date_range("2019-01-01", periods=30, freq="MS")
    head = "id," + ",".join(m.strftime("%b %y") for m in months)
    text = head + "".join(f"\n{s}," + ",".join(f"{k}.5" for k in range(30)) for s in "ab") + "\n"
    result = mend(text)
    assert list(result.frame["ds"][:30]) == list(months)


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("%m/%d/%Y %I:%M %p", str), ("%m/%d/%Y %I%p", str), ("%Y-%m-%d %I %p", str.lower),
        ("%Y-%m-%d %I:%M%p", str), ("%d.%m.%Y %I:%M %p", lambda t: t.replace("M", ".M.")),
        ("%a, %d %b %Y %H:%M", str), ("%A %B %d, %Y %I %p", str),
    ],
)  # fmt: skip
def test_hours_of_half_a_day(form: str, change: Callable[[str], str]) -> None:
    hours = pd.date_range("2024-01-10", periods=100, freq="h")
    assert list(read([change(h.strftime(form)) for h in hours]).frame["ds"]) == list(hours)


def test_hours_without_a_date_are_told_what_they_lack() -> None:
    with pytest.raises(DataError, match=r"time of day without a date.*ds: \[date, hour\]"):
        read([f"{h or 12} {p}" for p in ("AM", "PM") for h in range(12)])


def test_ordinals_and_sept() -> None:
    days = pd.date_range("2023-08-20", periods=40)
    ends = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
    texts = [f"{d.day}{ends.get(d.day, 'th')} {d:%b} {d.year}".replace("Sep", "Sept") for d in days]
    assert list(read(texts).frame["ds"]) == list(days)
