"""Business days at the ends of months: named, with the line that moves them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.steps import business_ends
from forecasting.data.tables.warned import say_open_ends
from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
from tests.pipelines.ingestion.samples import read


@given(
    st.sampled_from([("BME", "last", "ME"), ("BMS", "first", "MS"), ("BQE", "last", "QE")]),
    st.integers(2001, 2020), st.integers(24, 80),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_business_days_of_months_are_a_step_and_those_of_quarters_have_a_cure(
    case: tuple[str, str, str], year: int, count: int
) -> None:
    freq, which, cured = case
    stamps = pd.date_range(f"{year}-01-01", periods=count, freq=freq)
    assert business_ends(stamps.to_numpy().astype("datetime64[us]")) == which
    df = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(count) + 1.0})
    moved = (
        df["ds"] + pd.offsets.MonthEnd(0) if which == "last"
        else df["ds"].dt.to_period("M").dt.to_timestamp()
    )  # fmt: skip
    if freq == "BQE":
        with pytest.raises(DataError, match=f"the {which} business day") as refused:
            Panel.from_frame(df)
        assert "MonthEnd(0)" in str(refused.value)
    else:
        assert Panel.from_frame(df).freq.alias == freq
        assert list(read(stamps).frame["ds"]) == list(stamps)
    assert Panel.from_frame(df.assign(ds=moved)).freq.alias.startswith(cured)
    assert list(read(stamps, freq=cured).frame["ds"]) == list(moved)


@pytest.mark.parametrize("freq", ["D", "B", "W-MON", "MS", "ME", "QS", "QE", "YS", "28D", "h"])
def test_other_steps_are_none_of_them(freq: str) -> None:
    stamps = pd.date_range("2015-01-01", periods=60, freq=freq).to_numpy()
    assert business_ends(stamps.astype("datetime64[us]")) == ""


def test_ends_without_y_are_warned_of() -> None:
    offsets = np.array([0, 3, 6, 8])
    y = np.array([1.0, 2.0, 3.0, 1.0, np.nan, np.nan, np.nan, np.nan])
    with pytest.warns(UserWarning, match=r"1 series, such as 'b', end with rows without y"):
        say_open_ends(y, offsets, np.array(["a", "b", "c"], dtype=object))


# Stamps of one step, each series on a phase of its own.
PHASES = st.one_of(
    st.lists(st.sampled_from([f"W-{d}" for d in ("MON", "TUE", "FRI", "SAT", "SUN")]),
             min_size=2, max_size=4).map(lambda kinds: [(k, 0) for k in kinds]),
    st.lists(st.integers(0, 59), min_size=2, max_size=4).map(lambda m: [("h", k) for k in m]),
    st.lists(st.integers(0, 27), min_size=2, max_size=4).map(
        lambda days: [("MS", 1_440 * d) for d in days]
    ),
    st.lists(st.sampled_from(["MS", "ME"]), min_size=2, max_size=4).map(
        lambda kinds: [(k, 0) for k in kinds]
    ),
)  # fmt: skip


@given(PHASES, st.integers(0, 11), st.integers(12, 40))
@settings(max_examples=60, deadline=None)
def test_each_series_keeps_the_phase_it_has_or_two_are_named(
    phases: list[tuple[str, int]], month: int, count: int
) -> None:
    """No grid of one series invents rows in another, or moves its stamps."""
    parts = []
    for k, (freq, minutes) in enumerate(phases):
        ds = pd.date_range(f"2021-{month + 1:02d}-01", periods=count, freq=freq)
        ds = ds + pd.Timedelta(minutes, "min")
        parts.append(pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": np.arange(count) + 1.0}))
    df = pd.concat(parts, ignore_index=True)
    ends = {freq for freq, _ in phases} == {"MS", "ME"}
    try:
        panel = Panel.from_frame(df)
    except DataError as error:
        # Ends of months cannot be told from the 28th or 30th where a series begins with one.
        assert ends
        assert month in (1, 3, 5, 8, 10)
        assert "which series 's" in str(error)  # noqa: PT017
    else:
        stamps = panel.freq.stamps(panel.start, 0, count)
        assert panel.rows == len(df)
        assert np.array_equal(stamps.ravel(), df["ds"].to_numpy().astype("datetime64[us]"))
    try:
        frame = ingest(DataConfig(), source=df).frame
    except DataError as error:
        assert ends
        assert "series keep different steps" in str(error)  # noqa: PT017
    else:
        assert list(frame["ds"]) == list(df["ds"])
        assert list(frame["y"]) == list(df["y"])


def test_half_months_beside_months_are_two_steps() -> None:
    halves, months = (pd.date_range("2021-01-01", "2022-12-31", freq=f) for f in ("SMS", "MS"))
    df = pd.concat(
        [pd.DataFrame({"unique_id": i, "ds": d, "y": 1.0 + np.arange(len(d))})
         for i, d in (("a", halves), ("b", months), ("c", halves))]
    )  # fmt: skip
    for read_it in (Panel.from_frame, lambda t: ingest(DataConfig(), source=t)):
        with pytest.raises(DataError, match=r"'a' two days of each month, 'b' one: forecast them"):
            read_it(df)
    assert Panel.from_frame(df, freq="SMS").freq.alias == "SMS"


@given(st.integers(1, 30), st.integers(1, 30), st.integers(2018, 2024))
@settings(max_examples=60, deadline=None)
def test_a_day_that_february_takes_for_another_is_warned_of(one: int, two: int, year: int) -> None:
    """Of series on several late days of their months the latest is taken, and that is said."""

    def series(name: str, day: int, begin: str, end: str) -> pd.DataFrame:
        months = pd.period_range(begin, end, freq="M")
        ds = [pd.Timestamp(m.year, m.month, min(day, m.days_in_month)) for m in months]
        return pd.DataFrame({"unique_id": name, "ds": ds, "y": np.arange(float(len(ds)))})

    members = (("a", one), ("b", two))
    table = pd.concat([series(*member, f"{year - 1}-05", f"{year}-01") for member in members])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        panel = Panel.from_frame(table)
        start, freq = panel.following()
    stamps = freq.stamps(start, 0, 3)
    wrong = []
    for name, day, given_stamps in zip("ab", (one, two), stamps, strict=True):
        months = pd.period_range(f"{year}-02", periods=3, freq="M")
        right = [pd.Timestamp(m.year, m.month, min(day, m.days_in_month)) for m in months]
        if [pd.Timestamp(stamp) for stamp in given_stamps] != right:
            wrong.append(name)
    said = [str(w.message) for w in heard if "of its months" in str(w.message)]
    assert bool(said) == bool(wrong)
    assert all(f"series {name!r} keeps to day" in said[0] for name in wrong[:1])
