"""Open times beside a walk through every step, and series that have no closed ones, end to end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.grids.openings import closed_days, parsed

QUICK = {"training": {"max_steps": 3, "validation": "none", "threads": 1, "start": "none"}}
RULES = (
    "D[MON-SAT]",
    "D[MON-FRI; closed 2024-01-01 2024-05-01]",
    "h[MON-FRI 09:00-17:00; SAT 10:00-14:00]",
    "30min[MON-SUN 08:00-20:30; closed 2024-02-02]",
    "h[MON-SUN]",
)


def walked(rule: str, days: int) -> np.ndarray:
    """Every open stamp from the first of January 2024 on, found by looking at each step."""
    opening = parsed(rule)
    step = np.timedelta64(opening.size, "us")
    stamps = np.arange(np.datetime64("2024-01-01", "us"), np.datetime64("2024-01-01") + days, step)
    kept = []
    for stamp in stamps:
        day = stamp.astype("datetime64[D]")
        weekday = (int(day.astype(np.int64)) + 3) % 7
        slot = int((stamp - day).astype(np.int64)) // opening.size
        per_day = len(opening.open) // 7
        if opening.open[weekday * per_day + slot] and day not in opening.closed:
            kept.append(stamp)
    return np.array(kept)


@pytest.mark.parametrize("rule", RULES)
def test_open_steps_are_those_that_a_walk_finds(rule: str) -> None:
    freq, stamps = Frequency.parse(rule), walked(rule, 60)
    first = np.broadcast_to(stamps[0], stamps.shape)
    steps = np.arange(len(stamps))
    assert np.array_equal(freq.shift(first, steps), stamps)
    assert np.array_equal(freq.steps_between(first, stamps), steps)
    assert np.array_equal(freq.shift(stamps[::-1], -steps[::-1]), first)


@examples(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(RULES),
    begin=st.datetimes(pd.Timestamp("1980-01-01"), pd.Timestamp("2060-01-01")),
    steps=st.integers(-3000, 3000),
)
def test_steps_there_and_back_are_the_same(rule: str, begin: object, steps: int) -> None:
    freq = Frequency.parse(rule)
    start = freq.shift(np.array([np.datetime64(begin, "us")]), 0)  # type: ignore[call-overload]
    later = freq.shift(start, steps)
    assert freq.steps_between(start, later).tolist() == [steps]
    assert np.array_equal(freq.shift(later, -steps), start)
    assert Frequency.parse(freq.alias) == freq


@pytest.mark.parametrize(
    ("rule", "seasons"),
    [("D[MON-SAT]", (6,)), ("h[MON-FRI 09:00-17:00]", (8, 40)), (RULES[2], (44,))],
)
def test_a_day_and_a_week_are_counted_in_open_steps(rule: str, seasons: tuple[int, ...]) -> None:
    assert Frequency.parse(rule).seasons == seasons


@pytest.mark.parametrize("rule", [RULES[0], RULES[1], RULES[2]])
def test_closed_time_is_neither_forecast_nor_counted(rule: str) -> None:
    stamps = walked(rule, 70)
    known, ahead = stamps[:-6], stamps[-6:]
    y = 5.0 + np.sin(np.arange(len(known)))
    frame = pd.DataFrame({"unique_id": "a", "ds": known, "y": y})
    panel = Panel.from_frame(frame, freq=rule)
    assert panel.rows == len(known)
    assert not np.isnan(panel.y).any()
    made = Forecaster.fit(frame, horizon=6, freq=rule, config=QUICK, verbose=False)
    assert made.predict(frame)["ds"].to_numpy().astype("datetime64[us]").tolist() == ahead.tolist()


def test_closed_days_are_added_where_they_would_be_open() -> None:
    days = np.array(["2024-12-25", "2024-12-28", "2024-12-26"], "datetime64[D]")
    rule = closed_days("D[MON-FRI; closed 2024-01-01]", days)
    assert rule == "D[MON-FRI; closed 2024-01-01 2024-12-25 2024-12-26]"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("D[MON-QQQ]", "tells no days and hours"),
        ("h[SUN-MON]", "must rise"),
        ("h[MON 09:30-12:00]", "be whole steps"),
        ("7h[MON-SUN]", "must go into a day"),
        ("D[]", "never open"),
        ("D[MON-FRI; closed soon]", "closed days are written 2024-12-25"),
    ],
)
def test_open_times_that_mean_nothing_are_refused(rule: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Frequency.parse(rule)


def test_a_row_in_closed_time_is_refused_and_instants_are_too() -> None:
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": pd.to_datetime(["2024-01-06", "2024-01-07"]), "y": [1.0, 2.0]}
    )
    with pytest.raises(DataError, match=r"2024-01-07.* does not lie on the grid"):
        Panel.from_frame(frame, freq="D[MON-SAT]")
    hours = frame.assign(ds=frame["ds"].dt.tz_localize("Europe/Berlin"))
    with pytest.raises(DataError, match="counts the hours of a place"):
        Panel.from_frame(hours, freq="h[MON-SUN 09:00-17:00]")
