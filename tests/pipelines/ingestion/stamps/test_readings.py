"""Stamps that can be read in several ways: the true ones come out, or a refusal names both."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest
from pipelines.ingestion.stamps.readings import fit_of

ORDERS = {
    "day": "%d{0}%m{0}%Y", "month": "%m{0}%d{0}%Y", "short day": "%d{0}%m{0}%y",
    "short month": "%m{0}%d{0}%y", "short year": "%y{0}%m{0}%d",
}  # fmt: skip


def table(texts: list[str], series: int = 2) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {"unique_id": f"s{k}", "ds": texts, "y": 100.0 + np.arange(len(texts)) % 7 + k}
        )
        for k in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


def read(frame: pd.DataFrame, **config: object) -> IngestResult:
    return ingest(DataConfig.parse(config), source=frame)


def attempt(frame: pd.DataFrame) -> tuple[IngestResult | None, str]:
    try:
        return read(frame), ""
    except DataError as error:
        return None, str(error)


def stamps(result: IngestResult) -> list[pd.Timestamp]:
    frame = result.frame
    return list(frame.loc[frame["unique_id"] == "s0", "ds"])


@given(
    order=st.sampled_from(sorted(ORDERS)),
    mark=st.sampled_from("/.-"),
    step=st.sampled_from(["MS", "QS", "2MS", "YS", "D", "W-MON", "B"]),
    day=st.integers(1, 12),
    first=st.dates(pd.Timestamp("2001-01-01").date(), pd.Timestamp("2029-12-31").date()),
    count=st.integers(8, 60),
    clock=st.sampled_from(["", " 00:00", " 06:30:00"]),
)
@settings(max_examples=25, deadline=None)
def test_dates_in_any_order_are_read_as_they_are_or_refused(
    order: str, mark: str, step: str, day: int, first: object, count: int, clock: str
) -> None:
    """Never other stamps, never more rows."""
    true = pd.date_range(pd.Timestamp(str(first)), periods=count, freq=step)
    if step[-1] == "S":
        true = true + pd.Timedelta(days=day - 1)
    assume("short" not in order or true[-1].year < 2069)  # 69 is 1969
    texts = [stamp.strftime(ORDERS[order].format(mark)) + clock for stamp in true]
    result, refusal = attempt(table(texts))
    if result is None and "two digits of its year" in refusal:
        assert "short" in order
        assert true[-1].year > pd.Timestamp.now().year + 20
        assert "stamps.latest" in refusal
        return
    if result is None:
        # Both readings are named, and what settles them.
        assert re.search(r"is \d{4}-\d\d-\d\d read .* first and \d{4}-\d\d-\d\d read", refusal)
        assert "stamps." in refusal
        return
    if clock.strip() and clock != " 00:00":
        true = true + pd.Timedelta(hours=6, minutes=30)
    assert stamps(result) == list(true)


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("step", ["MS", "QS", "D", "W-SUN"])
@pytest.mark.parametrize("mark", ["/", "."])
def test_long_tables_are_never_refused(order: str, step: str, mark: str) -> None:
    count = {"MS": 60, "QS": 20, "D": 400, "W-SUN": 260}[step]
    true = pd.date_range("2019-01-01", periods=count, freq=step)
    result = read(table([t.strftime(ORDERS[order].format(mark)) for t in true]))
    assert stamps(result) == list(true)


def test_the_report_says_which_reading_was_chosen_and_why() -> None:
    months = pd.date_range("2019-01-01", periods=60, freq="MS")
    by_calendar = read(table([f"{m:%d/%m/%Y}" for m in months])).report.to_dict()["facts"]
    assert by_calendar["reading"].startswith("day first: 60 stamps at step MS")
    assert "month first" in by_calendar["reading"]
    days = pd.date_range("2024-01-01", periods=60)
    by_numbers = read(table([f"{d:%d/%m/%Y}" for d in days])).report.to_dict()["facts"]
    assert by_numbers["reading"] == (
        "day first: read so, 60 distinct stamps are dates, month first 24"
    )


@pytest.mark.parametrize(("freq", "month"), [("D", 1), ("MS", 12)])
def test_a_given_step_settles_what_may_be_both(freq: str, month: int) -> None:
    texts = [f"{i + 1:02}/01/2024" for i in range(12)]
    with pytest.raises(DataError, match=r"day first.*month first.*stamps\.day_first"):
        read(table(texts))
    assert stamps(read(table(texts), freq=freq))[-1].month == month
    assert stamps(read(table(texts), stamps={"day_first": freq == "D"}))[-1].month == month


@pytest.mark.parametrize("write", [str, int, float, lambda v: f"{v}.0"])
@pytest.mark.parametrize(
    ("form", "step"), [("%Y%m", "MS"), ("%Y%m%d", "D"), ("%Y%m%d", "MS"), ("quarter", "QS")]
)
def test_numbers_that_are_dates_are_dates(write: type, form: str, step: str) -> None:
    true = pd.date_range("2021-10-01", periods=30, freq=step)
    if form == "quarter":
        numbers = [10 * t.year + t.quarter for t in true]
    else:
        numbers = [int(t.strftime(form)) for t in true]
    result = read(table([write(n) for n in numbers]))
    assert stamps(result) == list(true)
    assert len(result.frame) == 60


@pytest.mark.parametrize("form", ["%G%V", "%Y%j"])
@pytest.mark.parametrize("write", [str, int])
def test_numbers_that_may_be_dates_are_refused_with_the_cure(form: str, write: type) -> None:
    true = pd.date_range("2021-06-07", periods=60, freq="W-MON" if form == "%G%V" else "D")
    frame = table([write(t.strftime(form)) for t in true])
    with pytest.raises(DataError, match=re.escape(form) + ".*freq: step"):
        read(frame)
    assert stamps(read(frame, stamps={"formats": [form]})) == list(true)
    steps = read(table([write(int(t.strftime(form)) * 0 + 202201 + i) for i, t in enumerate(true)]),
                 freq="step")  # fmt: skip
    assert len(steps.frame) == 120


@given(st.integers(1, 10**7), st.integers(20, 200))
@settings(max_examples=60, deadline=None)
def test_counted_steps_stay_steps_or_are_refused(first: int, count: int) -> None:
    result, refusal = attempt(table(list(range(first, first + count))))
    if result is None:
        assert "freq: step" in refusal
        return
    assert len(result.frame) == 2 * count
    got = stamps(result)
    if isinstance(got[0], pd.Timestamp):
        assert re.fullmatch(r"\d{4}|\d{5}|\d{6}|\d{8}", str(first))
    else:
        assert got == list(range(first, first + count))


@pytest.mark.parametrize("form", ["{0}/{1:02}", "{0}-{1:02}", "FY{0}", "{0}/{2}", "FY {0}/{1:02}"])
def test_financial_years_are_years(form: str) -> None:
    """As months, 2008/09 would be September and 2009/10 October of the year after."""
    texts = [form.format(y, (y + 1) % 100, y + 1) for y in range(2000, 2012)]
    assert [s.year for s in stamps(read(table(texts)))] == list(range(2000, 2012))


def test_months_written_as_year_and_month_stay_months() -> None:
    true = pd.date_range("2008-09-01", periods=40, freq="MS")
    for form in ("%Y-%m", "%Y/%m"):
        assert stamps(read(table([t.strftime(form) for t in true]))) == list(true)


def test_a_table_that_would_grow_is_refused_and_a_given_step_is_heeded() -> None:
    """Days of which all series together know three weeks of every half a year."""
    days = pd.date_range("2020-01-01", periods=720)
    frame = table([str(day.date()) for i, day in enumerate(days) if i % 180 < 20])
    with pytest.raises(DataError, match=r"would grow 7\.\d times .* freq: D"):
        read(frame)
    assert len(read(frame, freq="D").frame) == 2 * 560
    assert len(read(frame, stamps={"most_growth": 10.0}).frame) == 2 * 560


def test_series_with_holes_of_their_own_are_read() -> None:
    """A shop's days without a sale are not in its table; together the shops know every day."""
    rng, days = np.random.default_rng(1), pd.date_range("2022-01-01", periods=200)
    parts = []
    for shop in range(12):
        sold = np.sort(rng.choice(200, 120, replace=False))
        parts.append(pd.DataFrame({"unique_id": f"s{shop}", "ds": days[sold], "y": 1.0}))
    result = read(pd.concat(parts, ignore_index=True))
    assert result.freq == "D"


@given(st.sampled_from(["D", "W-MON", "MS", "ME", "QS", "h", "15min", "B"]), st.integers(6, 80))
@settings(max_examples=60, deadline=None)
def test_a_whole_calendar_step_leaves_no_hole(alias: str, count: int) -> None:
    values = pd.date_range("2020-01-31", periods=count, freq=alias).to_numpy()
    fit = fit_of(values.astype("datetime64[us]").astype(np.int64))
    assert fit.growth == 1.0
    given_step = fit_of(values.astype("datetime64[us]").astype(np.int64), Frequency.parse(alias))
    assert given_step.growth == 1.0


@pytest.mark.parametrize("prefix", ["FY", "X", "sales_", "Y"])
@pytest.mark.parametrize("descending", [False, True])
def test_years_in_a_header_are_years_whatever_stands_before_them(
    prefix: str, descending: bool
) -> None:
    years = list(range(2010, 2021))[:: -1 if descending else 1]
    wide = pd.DataFrame({"id": ["a", "b"], **{f"{prefix}{y}": [y * 1.0, y + 0.5] for y in years}})
    result, refusal = attempt(wide)
    if result is None:
        # A header that is not told to hold stamps is asked about, not counted as steps.
        assert descending
        assert "layout: rows" in refusal
        result = read(wide, layout="rows", id="id")
    frame = result.frame
    first = frame[frame["unique_id"] == "a"].sort_values("ds")
    assert [s.year for s in first["ds"]] == list(range(2010, 2021))
    assert list(first["y"]) == [float(y) for y in range(2010, 2021)]


@pytest.mark.parametrize(
    "numbers",
    [
        [y * 10 + h for y in range(2014, 2024) for h in (1, 2)],
        [y * 10 + h for y in range(2005, 2020) for h in (1, 2, 3)],
        [20191 + k for k in range(9)],
        [int(f"{d:02}012020") for d in range(1, 29)],
    ],
)
def test_numbers_of_an_unknown_form_are_refused(numbers: list[int]) -> None:
    result, refusal = attempt(table([str(n) for n in numbers]))
    assert result is None
    assert "step" in refusal


def test_a_forgotten_id_column_is_noticed_however_many_rows_share_a_stamp() -> None:
    months = pd.date_range("2020-01-01", periods=24, freq="MS")
    rows = [(r, m, k * 1.0) for r in "ab" for k in range(30) for m in months]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"])
    with pytest.raises(DataError, match="is a column of the id forgotten"):
        read(frame)


def test_half_of_a_small_table_is_never_dropped() -> None:
    days = [str(d.date()) for d in pd.date_range("2022-01-01", periods=10)]
    marked = [d if i < 5 else f"{d} draft" for i, d in enumerate(days)]
    with pytest.raises(DataError, match="cannot be read as a time stamp"):
        read(table(marked, 1))
    nameless = table(days, 10)
    nameless.loc[::2, "unique_id"] = None
    with pytest.raises(DataError, match="names no series"):
        read(nameless)
