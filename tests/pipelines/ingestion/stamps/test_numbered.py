"""Numbers with two digits of a year: read where the calendar bears it out, else named."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
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
    with pytest.raises(DataError, match=r"since 19[67]0.*%y%j.*freq: step"):
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


@given(
    st.sampled_from([str, int, float]),
    st.sampled_from(["%d%m%Y", "%m%d%Y"]),
    st.sampled_from(["D", "B", "W-MON", "MS", "ME"]),
    st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2020-12-31").date()),
    st.integers(3, 60),
)
@settings(max_examples=40, deadline=None)
def test_years_behind_days_and_months_are_read_or_named(
    write: type, form: str, freq: str, first: object, count: int
) -> None:
    """1012024 and 31122024, which as plain steps would be thrown together."""
    true = pd.date_range(str(first), periods=count, freq=freq)
    numbers = [write(int(stamp.strftime(form))) for stamp in true]
    result, why = attempt(numbers)
    if result is None:
        assert "stamps.formats" in why or "freq" in why
    else:
        assert list(result.frame.dropna(subset="y")["ds"]) == list(true)


@given(
    st.sampled_from(["%m%y", "%y%m", "%m%d%y", "%d%m%y", "%y%m%d", "1%y%m%d", "1%y%j", "%y%m%d%H"]),
    st.sampled_from(["MS", "ME", "QS", "6h"]),
    st.dates(pd.Timestamp("2001-01-01").date(), pd.Timestamp("2020-12-31").date()),
    st.integers(3, 40),
)
@settings(max_examples=40, deadline=None)
def test_no_row_is_moved_onto_another_whatever_the_numbers_are(
    form: str, freq: str, first: object, count: int
) -> None:
    true = pd.date_range(str(first), periods=count, freq=freq)
    numbers = [int(stamp.strftime(form)) for stamp in true]
    if len(set(numbers)) < count:
        return
    result, why = attempt(numbers)
    if result is None:
        assert why
        return
    known = result.frame.dropna(subset="y")["ds"]
    begins = list(true.to_period("M").to_timestamp()) if "%d" not in form else []
    assert list(known) in (list(true), begins, sorted(numbers)), result.report.summary


def test_a_guess_that_moves_rows_onto_others_is_refused_with_its_cure() -> None:
    numbers = [102, 402, 701, 702, 1001, 1002]
    with pytest.raises(DataError, match=r"none leaves the rows where they are.*freq: step"):
        read(numbers)
    months = read(numbers, stamps={"formats": ["%y%m"]}, freq="MS").frame.dropna(subset="y")
    assert [f"{s:%y%m}".lstrip("0") for s in months["ds"]] == [str(n) for n in numbers]
    assert list(read(numbers, freq="step").frame.dropna(subset="y")["ds"]) == numbers


@given(
    st.sampled_from(["1982-01-01", "1990-01-01", "2000-01-01", "2010-01-01"]),
    st.sampled_from(["B", "MS", "ME", "QS", "YS"]),
    st.dates(pd.Timestamp("2015-01-01").date(), pd.Timestamp("2022-12-31").date()),
    st.integers(12, 60),
)
@settings(max_examples=30, deadline=None)
def test_days_counted_from_anywhere_are_no_steps_without_a_word(
    origin: str, freq: str, first: object, count: int
) -> None:
    true = pd.date_range(str(first), periods=count, freq=freq)
    days = [int(n) for n in (true - pd.Timestamp(origin)).days]
    result, why = attempt(days)
    if result is None:
        assert "stamps.formats" in why or "freq" in why
    else:
        assert list(result.frame.dropna(subset="y")["ds"]) == list(true)
    steps = pd.DataFrame({"unique_id": "a", "ds": days, "y": [1.0] * count})
    with pytest.raises(DataError, match=r"freq=|df\["):
        Panel.from_frame(steps)
    assert Panel.from_frame(steps, freq="step").freq.integer
    told = read(days, stamps={"formats": [f"days since {origin}"]})
    assert list(told.frame.dropna(subset="y")["ds"]) == list(true)


@pytest.mark.parametrize("name", ["month", "Quarter", "date", "day"])
def test_large_steps_in_a_column_of_time_are_said(name: str) -> None:
    for first, said in ((720, True), (1, False)):
        frame = pd.DataFrame({name: range(first, first + 30), "y": range(30)})
        result = ingest(DataConfig.parse({"ds": name, "y": "y", "series": "a"}), source=frame)
        assert result.freq == "step"
        assert said == any("are plain steps" in note for note in result.report.notes)


def test_numbers_beside_their_steps_are_moved_when_that_is_asked_for() -> None:
    numbers = [0, 10, 20, 31, 40, 50]
    with pytest.raises(DataError, match=r"31 and 0 more.*freq: step, or freq: 10step"):
        read(numbers)
    assert list(read(numbers, freq="10step").frame["ds"]) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("numbers", [[93, 94, 101, 102], [1210, 1211, 1212, 1301]])
def test_a_few_numbers_without_a_hole_as_dates_are_asked_about(numbers: list[int]) -> None:
    with pytest.raises(DataError, match="leave holes as steps"):
        read(numbers)
    assert len(read(numbers, freq="step").frame) == numbers[-1] - numbers[0] + 1
    assert len(read([5, 6, 7, 11]).frame) == 7


def test_quarters_with_a_zero_before_them_are_no_months() -> None:
    numbers = [202202, 202203, 202204, 202301, 202302]
    with pytest.raises(DataError, match=r'\["quarter"\] or \["%Y%m"\]'):
        read(numbers)
    quarters = list(pd.date_range("2022-04-01", periods=5, freq="QS"))
    assert list(read(numbers, stamps={"formats": ["quarter"]}).frame["ds"]) == quarters
    assert read(numbers, stamps={"formats": ["%Y%m"]}).frame["ds"].iloc[0].month == 2


@given(st.dates(pd.Timestamp("2012-01-02").date(), pd.Timestamp("2025-06-30").date()))
@settings(max_examples=20, deadline=None)
def test_business_days_counted_in_days_are_no_days_of_short_years(first: object) -> None:
    true = pd.bdate_range(str(first), periods=12)
    for origin in ("1970-01-01", "1899-12-30"):
        numbers = [(stamp - pd.Timestamp(origin)).days for stamp in true]
        result, why = attempt(numbers)
        if result is None:
            assert "stamps.formats" in why
        else:
            assert list(result.frame["ds"]) == list(true)


def test_years_all_of_long_ago_may_be_weeks() -> None:
    with pytest.raises(DataError, match=r'\["year"\] or \["%g%V"\]'):
        read([1811, 1812, 1813])
    assert read([1811, 1812, 1813], stamps={"formats": ["%g%V"]}).freq == "W-MON"
    assert read(list(range(1871, 1971))).freq == "YS-JAN"


@pytest.mark.parametrize("name", ["weekday", "day_of_week", "DOW", "Wochentag", "week day no"])
def test_days_of_a_week_alone_are_no_stamps(name: str) -> None:
    frame = pd.DataFrame({"unique_id": "a", name: range(1, 8), "y": range(7)})
    with pytest.raises(DataError, match="days of a week, without the week"):
        ingest(DataConfig.parse({"ds": name}), source=frame)
    assert len(
        ingest(DataConfig.parse({"ds": "t"}), source=frame.rename(columns={name: "t"})).frame
    )
