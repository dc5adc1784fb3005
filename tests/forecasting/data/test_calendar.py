"""Frequencies: every alias, stamps as pandas makes them, seasons, the calendar's waves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.calendar import (
    Frequency,
    calendar_features,
    calendar_names,
    phase,
    wall_clock,
)
from forecasting.data.steps import infer_frequency
from forecasting.errors import DataError

# alias given, alias shown, main season
ALIASES = [
    ("min", "min", 1440),
    ("5min", "5min", 288),
    ("15min", "15min", 96),
    ("30min", "30min", 48),
    ("T", "min", 1440),
    ("h", "h", 24),
    ("H", "h", 24),
    ("60min", "h", 24),
    ("4h", "4h", 6),
    ("24h", "D", 7),
    ("D", "D", 7),
    ("B", "B", 5),
    ("W-MON", "W-MON", 52),
    ("w-sun", "W-SUN", 52),
    ("W", "7D", 52),
    ("2W-TUE", "2W-TUE", 1),
    ("MS", "MS", 12),
    ("ME", "ME", 12),
    ("M", "ME", 12),
    ("2MS", "2MS", 6),
    ("QS", "QS", 4),
    ("QE-DEC", "QE-DEC", 4),
    ("Q", "QE", 4),
    ("YS", "YS", 1),
    ("YE-DEC", "YE-DEC", 1),
    ("A", "YE", 1),
    ("daily", "D", 7),
    ("monthly", "MS", 12),
    ("step", "step", 1),
    ("1", "step", 1),
    ("10step", "10step", 1),
]
PANDAS = ["min", "15min", "30min", "h", "4h", "D", "B", "W-MON", "W-SUN", "MS", "ME", "QS-JAN",
          "QE-DEC", "QS-FEB", "YS-JAN", "YE-DEC", "2h", "2D", "2MS"]  # fmt: skip
ANCHORS = ["QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC", "YE-JUN", "QE-JAN", "YS-APR"]


@pytest.mark.parametrize(("given_alias", "shown", "season"), ALIASES)
def test_every_alias_is_read_and_written(given_alias: str, shown: str, season: int) -> None:
    freq = Frequency.parse(given_alias)
    assert (freq.alias, freq.season) == (shown, season)
    assert Frequency.parse(freq.alias) == freq
    assert Frequency.parse(freq) is freq


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1h", "0h", "1.5h", "h-MON", "W-FOO", "MS-JAN", "QE-FOO", "BMX", "None", "h h", "m",
     "11", "21", "2", "10 parsecs"],
)  # fmt: skip
def test_what_is_no_frequency_is_refused_with_help(text: str) -> None:
    with pytest.raises(DataError, match="use a pandas alias such as"):
        Frequency.parse(text)


@pytest.mark.parametrize("alias", PANDAS)
def test_stamps_are_those_of_pandas(alias: str) -> None:
    expected = pd.date_range("2023-01-31", periods=60, freq=alias).to_numpy("datetime64[us]")
    freq = Frequency.parse(alias)
    stamps = freq.stamps(expected[[0, 7]], np.array([0, -7]), 60)
    np.testing.assert_array_equal(stamps[0], expected)
    np.testing.assert_array_equal(stamps[1], expected)
    steps = freq.steps_between(expected[0], expected)
    np.testing.assert_array_equal(steps, np.arange(60))


@pytest.mark.parametrize("alias", PANDAS)
def test_the_frequency_is_told_from_stamps(alias: str) -> None:
    stamps = pd.date_range("2023-01-02", periods=40, freq=alias).to_numpy("datetime64[us]")
    two = np.concatenate([stamps, stamps[3:20]])
    found = infer_frequency(two, np.array([0, 40, 57]))
    assert found.same_step(Frequency.parse(alias))


@pytest.mark.parametrize("alias", ["18MS", "2YE-DEC", "5YS-JAN", "10YS-JUL", "400D"])
def test_steps_of_more_than_a_year_are_told(alias: str) -> None:
    stamps = pd.date_range("1900-01-01", periods=14, freq=alias)
    found = infer_frequency(stamps.to_numpy("datetime64[us]"), np.array([0, 14]))
    assert list(pd.date_range(stamps[0], periods=14, freq=found.alias)) == list(stamps)


@pytest.mark.parametrize("alias", ANCHORS)
def test_the_anchor_is_told_as_pandas_names_it(alias: str) -> None:
    stamps = pd.date_range("2020-01-01", periods=12, freq=alias)
    found = infer_frequency(stamps.to_numpy("datetime64[us]"), np.array([0, 12]))
    again = pd.date_range(stamps[0], periods=12, freq=found.alias)
    assert list(again) == list(stamps)


def test_the_frequency_is_told_in_spite_of_gaps() -> None:
    stamps = pd.date_range("2023-01-01", periods=100, freq="h").to_numpy("datetime64[us]")
    keep = np.delete(np.arange(100), [3, 10, 11, 12, 40, 77])
    assert infer_frequency(stamps[keep], np.array([0, 94])).alias == "h"
    steps = np.array([5, 6, 7, 9, 10, 20])
    assert infer_frequency(steps, np.array([0, 6])).alias == "step"


def test_one_row_per_series_tells_no_frequency() -> None:
    stamps = pd.date_range("2023-01-01", periods=3, freq="h").to_numpy("datetime64[us]")
    with pytest.raises(DataError, match="name it with freq"):
        infer_frequency(stamps, np.array([0, 1, 2, 3]))


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*PANDAS, "step", "3step"]),
    st.integers(-400, 400),
    st.integers(-400, 400),
)
def test_moving_twice_is_moving_once(alias: str, a: int, b: int) -> None:
    freq = Frequency.parse(alias)
    start = (
        np.array([7])
        if freq.integer
        else freq.stamps(
            pd.date_range("2023-01-31", periods=1, freq=alias).to_numpy("datetime64[us]"), 0, 1
        )[0]
    )
    moved = freq.shift(start, a + b)
    np.testing.assert_array_equal(freq.shift(freq.shift(start, a), b), moved)
    assert freq.steps_between(start, moved)[0] == a + b


@pytest.mark.parametrize("day", [15, 28, 29, 30])
def test_any_day_of_the_month_can_carry_a_monthly_series(day: int) -> None:
    start = np.array([np.datetime64(f"2023-01-{day:02d}", "us")])
    freq = Frequency.parse("MS")
    stamps = freq.stamps(start, 0, 25)[0]
    assert (np.diff(stamps.astype("datetime64[M]").astype(int)) == 1).all()
    np.testing.assert_array_equal(freq.steps_between(start, stamps), np.arange(25))


@pytest.mark.parametrize(
    ("alias", "waves"),
    [
        ("h", {"year", "week", "day"}),
        ("D", {"year", "week"}),
        ("W-MON", {"year"}),
        ("MS", {"year"}),
        ("YS", set()),
        ("step", set()),
    ],
)
def test_calendar_features_are_those_the_frequency_can_see(alias: str, waves: set[str]) -> None:
    freq = Frequency.parse(alias)
    names = calendar_names(freq)
    assert {n.split("_")[0] for n in names} - {"weekend"} == waves
    if not names:
        return
    start = pd.date_range("2023-01-02", periods=1, freq=alias).to_numpy("datetime64[us]")
    features = calendar_features(freq.stamps(start, 0, 500), freq)
    assert features.shape == (1, 500, len(names))
    assert features.dtype == np.float32
    assert np.abs(features).max() <= 1.0
    assert (features.std(axis=(0, 1)) > 0).all()


def test_the_day_wave_follows_the_wall_clock_through_a_change_of_time() -> None:
    freq = Frequency.parse("h")
    utc = pd.date_range("2024-03-30", periods=72, freq="h")
    features = calendar_features(utc.to_numpy("datetime64[us]"), freq, "Europe/Berlin")
    hour = utc.tz_localize("UTC").tz_convert("Europe/Berlin").hour.to_numpy()
    column = calendar_names(freq).index("day_sin1")
    np.testing.assert_allclose(features[:, column], np.sin(2 * np.pi * hour / 24), atol=1e-6)
    assert hour[0] == 1
    assert hour[48] == 2


def test_the_wall_clock_without_a_zone_is_the_stamp_itself() -> None:
    stamps = pd.date_range("2024-03-30", periods=3, freq="h").to_numpy("datetime64[us]")
    assert wall_clock(stamps, None) is stamps


@pytest.mark.parametrize("alias", ["15min", "h", "D", "B", "W-MON", "MS", "step"])
def test_the_phase_moves_by_one_per_step_and_agrees_between_series(alias: str) -> None:
    freq = Frequency.parse(alias)
    first = np.array([12]) if freq.integer else pd.date_range(
        "2023-01-02", periods=1, freq=alias).to_numpy("datetime64[us]")  # fmt: skip
    stamps = freq.stamps(first, -50, 150)[0]
    found = phase(stamps, freq, 7)
    np.testing.assert_array_equal(found, (found[0] + np.arange(150)) % 7)
    assert found.min() >= 0


def test_a_monday_at_midnight_and_a_january_are_phase_zero() -> None:
    monday = np.array([np.datetime64("2024-01-01T00:00", "us")])
    assert phase(monday, Frequency.parse("h"), 24)[0] == 0
    assert phase(monday, Frequency.parse("h"), 168)[0] == 0
    assert phase(monday, Frequency.parse("MS"), 12)[0] == 0
    local = np.array([np.datetime64("2024-05-31T22:00", "us")])
    assert phase(local, Frequency.parse("h"), 24, "Europe/Berlin")[0] == 0
