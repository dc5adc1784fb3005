"""Parts of a time in the header or in a column of their own are no series, nor are their rows."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult, MappingError

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
LONG = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
# Headers of a row's parts, the stamps of rows, and the step of the cells.
MATRICES = {
    "months": (MONTHS, "YS", "%Y", "MS"),
    "long months": (LONG, "YS", "%Y", "MS"),
    "numbers of months": ([str(m) for m in range(1, 13)], "YS", "%Y", "MS"),
    "M01": ([f"M{m:02}" for m in range(1, 13)], "YS", "%Y", "MS"),
    "quarters": (["Q1", "Q2", "Q3", "Q4"], "YS", "%Y", "QS"),
    "1Q": (["1Q", "2Q", "3Q", "4Q"], "YS", "%Y", "QS"),
    "days": ([str(d) for d in range(1, 32)], "MS", "%Y-%m", "D"),
    "hours from 0": ([str(h) for h in range(24)], "D", "%Y-%m-%d", "h"),
    "hours from 1": ([f"H{h}" for h in range(1, 25)], "D", "%Y-%m-%d", "h"),
    "HE01": ([f"HE{h:02}" for h in range(1, 25)], "D", "%Y%m%d", "h"),
    "clocks": ([f"{h:02}:{m:02}" for h in range(24) for m in (0, 30)], "D", "%Y/%m/%d", "30min"),
    "slots": ([str(k) for k in range(1, 97)], "D", "%Y-%m-%d", "15min"),
}


def matrix(form: str, rows: int, stations: int) -> tuple[str, pd.Series]:
    """A calendar as text, and its values by stamp as they are."""
    header, step, pattern, freq = MATRICES[form]
    bases = pd.date_range("2009-01-01", periods=rows, freq=step)
    end = bases[-1] + pd.tseries.frequencies.to_offset(step)
    stamps = pd.date_range(bases[0], end, freq=freq, inclusive="left")
    values = pd.Series(np.arange(len(stamps)) * 7 % 50 + 3.5, stamps)
    names = ["station"] * (stations > 0) + ["year" if step == "YS" else "date"]
    lines = [",".join([*names, *header])]
    for k in range(max(stations, 1)):
        for base in bases:
            own = values[(values.index >= base) & (values.index < base + bases.freq)]
            cells = [str(v + 100 * k) for v in own] + [""] * (len(header) - len(own))
            lines.append(",".join([f"s{k}"] * (stations > 0) + [base.strftime(pattern), *cells]))
    return "\n".join(lines) + "\n", values


@pytest.mark.parametrize("form", MATRICES)
@given(rows=st.integers(5, 30), stations=st.sampled_from([0, 2, 3]))
@settings(DRAWN, max_examples=2)
def test_a_calendar_is_refused_and_its_proposal_reads_every_cell(
    form: str, rows: int, stations: int, mend: Mend
) -> None:
    text, values = matrix(form, rows, stations)
    with pytest.raises(MappingError, match="layout: calendar") as raised:
        mend(text)
    result = mend(text, **yaml.safe_load(raised.value.proposal)["data"])
    assert len(result.clean.ids) == max(stations, 1)
    for k, (_, own) in enumerate(result.frame.groupby("unique_id", sort=False)):
        pd.testing.assert_series_equal(
            own.set_index("ds")["y"], values + 100 * k, check_names=False, check_freq=False,
            check_index_type=False,
        )  # fmt: skip
    with pytest.raises(MappingError, match="layout: calendar"):
        mend(pd.read_csv(io.StringIO(text)))


def test_columns_of_a_calendar_that_are_none_of_its_parts_are_left_aside(mend: Mend) -> None:
    text, values = matrix("months", 9, 2)
    head, *lines = text.splitlines()
    text = "\n".join([f"{head},Annual,J-D", *(f"{line},77,78" for line in lines)])
    result = mend(text, layout="calendar", id="station", ds="year")
    assert len(result.frame) == 2 * len(values)
    assert result.report.to_dict()["facts"]["columns left aside"] == ["Annual", "J-D"]


def test_a_value_on_a_day_that_does_not_exist_is_a_finding(mend: Mend) -> None:
    text, values = matrix("days", 5, 0)
    lines = text.splitlines()
    assert lines[2].startswith("2009-02")
    lines[2] = lines[2].removesuffix(",,,") + ",,5,"
    result = mend("\n".join(lines), layout="calendar", ds="date", series="s")
    assert len(result.frame) == len(values)
    findings = {f["code"]: f for f in result.report.to_dict()["findings"]}
    assert findings["unreadable_stamp"]["count"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,Jan,Feb,Mar\n2024-01-05,1,2,3\n2024-01-06,1,2,3\n", "are no parts of the rows"),
        ("date,north,south\n2024-01-05,1,2\n", "no columns side by side"),
        ("year,Jan,Feb,Mär,Apr\n2020,1,2,3,4\n2021,1,2,3,4\n", "in German"),
        ("n,Jan,Feb,Mar\n1,1,2,3\n2,1,2,3\n3,1,2,3\n", "plain steps"),
    ],
)
def test_what_is_no_calendar_is_refused_as_one(text: str, said: str, mend: Mend) -> None:
    with pytest.raises(DataError, match=said):
        mend(text, layout="calendar", series="s")


def test_a_calendar_of_foreign_months_names_the_language(mend: Mend) -> None:
    head = "Jahr,Jan,Feb,Mär,Apr,Mai,Jun,Jul,Aug,Sep,Okt,Nov,Dez\n"
    rows = "".join(
        f"{y},{','.join(str(y % m + 1) for m in range(1, 13))}\n" for y in range(2001, 2012)
    )
    with pytest.raises(DataError, match=r"German.*mär as Mar"):
        mend(head + rows)
    english = head.replace("Mär", "Mar").replace("Mai", "May").replace("Okt", "Oct")
    result = mend(english.replace("Dez", "Dec") + rows, layout="calendar", series="s")
    assert str(result.clean.freq.alias) == "MS"


@pytest.mark.parametrize("stamps", ["2010 … 2021", "2024-01-10 … 2024-01-21"])
def test_a_calendar_turned_over_is_refused_and_its_cure_cures(stamps: str, mend: Mend) -> None:
    yearly = stamps.startswith("2010")
    name, rows = ("month", MONTHS) if yearly else ("hour", [str(h) for h in range(24)])
    columns = (
        [str(y) for y in range(2010, 2022)] if yearly else [f"2024-01-{d}" for d in range(10, 22)]
    )
    values = np.arange(len(rows) * len(columns)).reshape(len(columns), len(rows)) % 37 + 0.5
    frame = pd.DataFrame(values.T, columns=columns)
    frame.insert(0, name, rows)
    with pytest.raises(DataError, match="turn the table") as raised:
        mend(frame.to_csv(index=False))
    message = str(raised.value)
    turn = re.search(r"in pandas (frame\..*?reset_index\(\))", message)
    assert turn is not None
    given = yaml.safe_load(re.findall(r"data: (\{.*?\})", message)[0])
    turned = eval(turn[1], {"frame": frame})
    np.testing.assert_array_equal(mend(turned, **given).frame["y"], values.ravel())
    own = yaml.safe_load(re.findall(r"data: (\{.*?\})", message)[1])
    assert len(mend(frame.to_csv(index=False), **own).clean.ids) == len(rows)


QUARTERS = pd.date_range("2004-01-01", periods=40, freq="QS")
MONTHLY = pd.date_range("2004-01-01", periods=50, freq="MS")
WEEKS = pd.date_range("2020-01-06", periods=150, freq="W-MON")
HOURS = pd.date_range("2024-01-10", periods=200, freq="h")
DAYS = pd.date_range("2023-11-10", periods=200, freq="D")
# Columns of a stamp and of its parts.
PARTED = {
    "Q1": (QUARTERS, {"year": "%Y", "quarter": lambda d: f"Q{d.quarter}"}),
    "quarters as numbers": (QUARTERS, {"year": "%Y", "quarter": lambda d: str(d.quarter)}),
    "a column without a name of time": (QUARTERS, {"year": "%Y", "x": lambda d: f"Q{d.quarter}"}),
    "Jan": (MONTHLY, {"year": "%Y", "month": "%b"}),
    "January": (MONTHLY, {"year": "%Y", "month": "%B"}),
    "M01": (MONTHLY, {"year": "%Y", "period": "M%m"}),
    "months as numbers": (MONTHLY, {"year": "%Y", "month": lambda d: str(d.month)}),
    "month before year": (MONTHLY, {"month": "%m", "year": "%Y"}),
    "W01": (WEEKS, {"year": "%G", "week": "W%V"}),
    "weeks as numbers": (WEEKS, {"year": "%G", "week": lambda d: str(d.week)}),
    "hours as numbers": (HOURS, {"date": "%Y-%m-%d", "hour": lambda d: str(d.hour)}),
    "compact days and hours": (HOURS, {"date": "%Y%m%d", "hour": lambda d: str(d.hour)}),
    "year, month, day": (
        DAYS,
        {"year": "%Y", "month": lambda d: str(d.month), "day": lambda d: str(d.day)},
    ),
    "day, month, year": (
        DAYS,
        {"day": lambda d: str(d.day), "month": lambda d: str(d.month), "year": "%Y"},
    ),
}


def parted(form: str, stations: int) -> tuple[str, pd.DatetimeIndex]:
    stamps, columns = PARTED[form]
    frame = pd.DataFrame(
        {n: stamps.strftime(c) if isinstance(c, str) else stamps.map(c) for n, c in columns.items()}
    )
    frame["sales"] = np.arange(len(stamps)) % 23 + 0.5
    if stations:
        frame = pd.concat(
            [frame.assign(sales=frame["sales"] + 100 * k, store=f"s{k}") for k in range(stations)]
        )
    return frame.to_csv(index=False), stamps


@pytest.mark.parametrize("form", PARTED)
@pytest.mark.parametrize("stations", [0, 3])
def test_a_part_of_the_stamp_is_no_series_and_the_proposal_joins_it(
    form: str, stations: int, mend: Mend
) -> None:
    text, stamps = parted(form, stations)
    with pytest.raises(MappingError, match="in a column of its own") as raised:
        mend(text)
    result = mend(text, **yaml.safe_load(raised.value.proposal)["data"])
    assert len(result.clean.ids) == max(stations, 1)
    for k, (_, own) in enumerate(result.frame.groupby("unique_id", sort=False)):
        np.testing.assert_array_equal(own["ds"], stamps.to_numpy())
        np.testing.assert_array_equal(own["y"], np.arange(len(stamps)) % 23 + 0.5 + 100 * k)


@pytest.mark.parametrize("typed", [True, False])
def test_typed_days_and_their_hours_are_one_stamp(typed: bool, mend: Mend) -> None:
    days = HOURS.normalize() if typed else HOURS.date
    frame = pd.DataFrame({"date": days, "hour": HOURS.hour, "load": np.arange(len(HOURS))})
    with pytest.raises(MappingError, match="in a column of its own") as raised:
        mend(frame)
    result = mend(frame, **yaml.safe_load(raised.value.proposal)["data"])
    np.testing.assert_array_equal(result.frame["ds"], HOURS.to_numpy())


def test_annual_averages_among_months_are_left_out_by_the_proposal(mend: Mend) -> None:
    rows = [f"{y},M{m:02},{y % 7 + m}" for y in range(2010, 2016) for m in range(1, 14)]
    text = "\n".join(["year,period,y", *rows])
    with pytest.raises(MappingError, match="drop_lines") as raised:
        mend(text)
    result = mend(text, **yaml.safe_load(raised.value.proposal)["data"])
    assert len(result.frame) == 72
    assert result.frame["y"].max() <= 6 + 12


@pytest.mark.parametrize(
    "parts",
    [
        [f"H{h}" for h in range(1, 25)],
        ["H1", "H2"],
        ["Winter", "Spring", "Summer", "Autumn"],
        ["I", "II", "III", "IV"],
        ["Jan-Mar", "Apr-Jun", "Jul-Sep", "Oct-Dec"],
        ["first", "second", "third", "fourth"],
        [f"{h:02}:00-{h + 1:02}:00" for h in range(24)],
        ["morning", "evening", "night"],
    ],
)
def test_parts_of_any_spelling_are_never_taken_for_series(parts: list[str], mend: Mend) -> None:
    daily = len(parts) in (3, 24)
    bases = [f"2024-01-{d}" for d in range(10, 31)] if daily else list(range(2000, 2020))
    name = {24: "hour", 2: "half", 3: "shift"}.get(
        len(parts), "season" if "Winter" in parts else "quarter"
    )
    rows = [f"{b},{p},{i + k}" for i, b in enumerate(bases) for k, p in enumerate(parts)]
    text = "\n".join([f"{'date' if daily else 'year'},{name},y", *rows])
    with pytest.raises(DataError, match=f"in a column of its own.*if each {name} is a series"):
        mend(text)
    own = mend(text, id=name, ds="date" if daily else "year", y="y")
    assert len(own.clean.ids) == len(parts)


def test_hours_beside_plain_names_are_not_dropped_as_duplicates(mend: Mend) -> None:
    rows = [f"a;{d.date()};{d.hour};{int(d.hour == 7)}" for d in HOURS]
    text = "\n".join(["unique_id;ds;hour;y", *rows])
    with pytest.raises(MappingError, match="the hour of the stamps") as raised:
        mend(text)
    result = mend(text, **yaml.safe_load(raised.value.proposal)["data"])
    assert len(result.frame) == len(HOURS)


@given(
    word=st.sampled_from(["S", "M", "D", "H", "P", "W", "store ", "unit-", "T"]),
    count=st.integers(2, 9),
    column=st.sampled_from(["store", "machine", "site", "line", "who"]),
)
@DRAWN
def test_names_of_series_that_look_like_parts_stay_series(
    word: str, count: int, column: str, mend: Mend
) -> None:
    rows = [f"2024-01-{d:02},{word}{k},{d + k}" for k in range(1, count + 1) for d in range(1, 29)]
    result = mend("\n".join([f"date,{column},sales", *rows]))
    assert len(result.clean.ids) == count


def test_years_as_names_beside_real_stamps_stay_names(mend: Mend) -> None:
    months = pd.date_range("2020-01-01", periods=24, freq="MS").strftime("%Y-%m")
    rows = [f"{y},{','.join(str(y % 7 + k) for k in range(24))}" for y in range(2010, 2016)]
    result = mend("\n".join([f"model_year,{','.join(months)}", *rows]))
    assert result.clean.ids.tolist() == [str(y) for y in range(2010, 2016)]
    rows = [f"{y},2024-01-{d:02},{d + y % 7}" for y in range(2010, 2016) for d in range(1, 29)]
    text = "\n".join(["model_year,date,sold", *rows])
    assert len(mend(text, id="model_year", ds="date", y="sold").clean.ids) == 6


@pytest.mark.parametrize("ids", [["1001", "1002", "2999"], ["A1", "A2", "A3"], ["17", "18", "99"]])
def test_codes_of_products_beside_numbered_columns_stay_series(ids: list[str], mend: Mend) -> None:
    rows = [f"{i},{','.join(str(k + 2) for k in range(12))}" for i in ids]
    text = "\n".join([f"sku,{','.join(str(k) for k in range(1, 13))}", *rows])
    assert mend(text).clean.ids.tolist() == ids


def test_stores_side_by_side_are_proposed_as_a_wide_table(mend: Mend) -> None:
    head = "date," + ",".join(f"store_{k}" for k in range(1, 46))
    rows = [f"2024-01-{d:02},{','.join(str(k + d) for k in range(45))}" for d in range(1, 29)]
    with pytest.raises(MappingError, match="layout: wide") as raised:
        mend("\n".join([head, *rows]))
    assert "layout: wide" in raised.value.proposal
    result = mend("\n".join([head, *rows]), **yaml.safe_load(raised.value.proposal)["data"])
    assert len(result.clean.ids) == 45


def test_a_weekday_beside_whole_dates_is_no_part_of_the_stamp(mend: Mend) -> None:
    days = pd.date_range("2024-01-01", periods=30)
    rows = [f"{d.date()},{d:%a},{d.day}" for d in days]
    with pytest.raises(MappingError, match="cannot be told for sure"):
        mend("\n".join(["date,weekday,store,sales", *(f"{r[:14]},a{r[14:]}" for r in rows)]))
    result = mend("\n".join(["ds,weekday,unique_id,y", *(f"{r[:14]},a{r[14:]}" for r in rows)]))
    assert len(result.frame) == 30


def test_a_week_and_a_day_of_24_are_no_midnight(mend: Mend) -> None:
    rows = [f"2024;{w};{w}" for w in range(1, 53)]
    given = {"ds": ["year", "week"], "series": "s", "y": "y", "stamps": {"formats": "%G %V"}}
    assert len(mend("\n".join(["year;week;y", *rows]), **given).frame) == 52
    rows = [f"2024-01-10 {h};{h}" for h in range(1, 25)]
    frame = mend("\n".join(["ds;y", *rows]), series="s").frame
    assert frame["ds"].iloc[-1] == pd.Timestamp("2024-01-11")


def test_numbered_covariates_beside_values_make_no_calendar(mend: Mend) -> None:
    lags = ",".join(f"lag_{k}" for k in range(1, 8))
    rows = [
        f"a,2024-01-{d:02},{d + 0.5},{','.join(str(d + k) for k in range(7))}" for d in range(1, 29)
    ]
    with pytest.raises(MappingError, match="cannot be told") as raised:
        mend("\n".join([f"shop,date,sold,{lags}", *rows]))
    assert raised.value.roles == {"id": ["shop"], "ds": "date", "y": "sold"}


def test_months_of_another_language_in_a_column_are_named_with_their_language(mend: Mend) -> None:
    names = (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
    )
    rows = [f"{y},{m},{y % 7 + 1}" for y in range(2010, 2016) for m in names.split()]
    with pytest.raises(DataError, match=r"in Spanish.*enero as Jan"):
        mend("\n".join(["year,month,y", *rows]))


def test_a_row_per_year_and_month_has_a_stamp_of_both(mend: Mend) -> None:
    text, values = matrix("days", 15, 0)
    split = text.replace("date,", "year,month,")
    split = re.sub(r"(?m)^(\d{4})-(\d\d),", r"\1,\2,", split)
    with pytest.raises(MappingError, match=r"ds: \[year, month\]") as raised:
        mend(split)
    result = mend(split, **yaml.safe_load(raised.value.proposal)["data"])
    np.testing.assert_array_equal(result.frame["y"], values)
    np.testing.assert_array_equal(result.frame["ds"], values.index.to_numpy())


@pytest.mark.parametrize("name", ["month", "Monat", "weekday"])
def test_rows_of_months_without_their_year_are_refused(name: str, mend: Mend) -> None:
    rows = [f"{m},{','.join(str(m + d) for d in range(31))}" for m in range(1, 8)]
    text = "\n".join([f"{name},{','.join(str(d) for d in range(1, 32))}", *rows])
    with pytest.raises(DataError, match="without the stamp it belongs to") as raised:
        mend(text)
    own = yaml.safe_load(re.findall(r"data: (\{.*?\})", str(raised.value))[0])
    assert len(mend(text, **own).clean.ids) == 7


def test_fiscal_periods_in_the_header_are_no_series_by_default(mend: Mend) -> None:
    head = "fiscal_year," + ",".join(f"P{m}" for m in range(1, 13))
    rows = [f"{y},{','.join(str(y % m + 1) for m in range(1, 13))}" for y in range(2010, 2022)]
    with pytest.raises(DataError, match="name a period each, which lies in no such stamp"):
        mend("\n".join([head, *rows]))


@pytest.mark.parametrize("first", [2, 4, 7, 10])
def test_columns_that_begin_with_another_month_are_years_of_another_kind(
    first: int, mend: Mend
) -> None:
    months = [pd.Timestamp(2020, (first - 1 + k) % 12 + 1, 1).strftime("%b") for k in range(12)]
    rows = [f"{y},{','.join(str(y % 50 + k) for k in range(12))}" for y in range(2010, 2016)]
    text = "\n".join([f"year,{','.join(months)}", *rows]) + "\n"
    with pytest.raises(DataError, match=f"run from {months[0]} to {months[-1]}"):
        mend(text, layout="calendar", ds="year", series="a")
    with pytest.raises(DataError, match="begin in another month than January"):
        mend(text.replace("year", "FY", 1), layout="calendar", ds="FY", series="a")
