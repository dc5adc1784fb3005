"""Business days at the ends of months: named, with the line that moves them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.steps import business_ends
from forecasting.data.tables.warned import say_open_ends
from forecasting.errors import DataError
from forecasting.evaluation.baselines import naive
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


@given(st.lists(st.integers(1, 31), min_size=1, max_size=3), st.integers(2018, 2024),
       st.integers(1, 12), st.sampled_from([1, 3, 6]))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_series_of_a_panel_goes_on_on_its_own_day_of_the_month(
    days: list[int], year: int, month: int, size: int
) -> None:
    """February takes the 28th for the 30th of nobody but whose it is."""

    def stamps(day: int, begin: int, count: int) -> list[pd.Timestamp]:
        months = [pd.Period(f"{year}-{month:02d}", "M") + size * k for k in range(begin, count)]
        return [pd.Timestamp(m.year, m.month, min(day, m.days_in_month)) for m in months]

    parts = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": stamps(day, 0, 9), "y": np.arange(9.0)})
        for k, day in enumerate(days)
    ]
    try:
        panel = Panel.from_frame(pd.concat(parts))
    except DataError:
        # Series that begin on days that a short month cut cannot be told apart, and are refused.
        assert len(set(days)) > 1
        return
    forecast = naive(panel, 6)
    assert forecast.ids.tolist() == [f"s{k}" for k in range(len(days))]
    for own, day in zip(forecast.stamps(), days, strict=True):
        assert [pd.Timestamp(stamp) for stamp in own] == stamps(day, 9, 15)
