"""Histories that are not what they seem are said, whichever way a forecast is asked for."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.strides import CLOSED
from forecasting.errors import heard
from forecasting.forecaster import Forecaster
from forecasting.prediction.odd import Odd, odd_histories, said_of
from forecasting.zero.predictor import Zero
from tests.forecasting.samples import MIXES, settings, untrained

POSITIVE = {"nonnegative": True}


def table(y: list[float], *, start: str = "2024-01-01", freq: str = "D") -> pd.DataFrame:
    return pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range(start, periods=len(y), freq=freq), "y": y}
    )


def codes(
    frame: pd.DataFrame, freq: str = "D", **model: object
) -> list[tuple[str, dict[str, object]]]:
    panel = Panel.from_frame(frame, freq=freq)
    found = odd_histories(panel, settings(freq=freq, model={**POSITIVE, **model}))
    return [(odd.code, odd.where) for odd in found]


@given(
    st.sampled_from([-999.0, -9999.0, 9999.0, 99999.0, 32767.0]),
    st.sets(st.integers(0, 29), min_size=1, max_size=6),
)
@hypothesis_settings(max_examples=30, deadline=None)
def test_a_code_for_missing_is_said_and_its_rows_are_counted(code: float, rows: set[int]) -> None:
    y = 50.0 + np.arange(30.0) % 7
    assert codes(table(y.tolist())) == []
    y[list(rows)] = code
    assert codes(table(y.tolist())) == [
        ("code_for_missing", {"column": "y", "value": code, "rows": len(rows)})
    ]


@given(st.floats(-90.0, -0.5), st.integers(0, 29))
@hypothesis_settings(max_examples=20, deadline=None)
def test_what_falls_below_zero_is_said_where_training_never_did(value: float, row: int) -> None:
    y = 50.0 + np.arange(30.0) % 7
    y[row] = value
    [(code, where)] = codes(table(y.tolist()))
    assert (code, where["value"]) == ("below_zero", value)
    assert codes(table(y.tolist()), nonnegative=False) == []
    # Logs refuse it as a problem of the series.
    assert codes(table(y.tolist()), transform="log") == []


@given(st.sets(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 6), st.integers(3, 6))
@hypothesis_settings(max_examples=30, deadline=None)
def test_weekdays_that_never_have_a_value_are_said_where_training_had_them(
    left_out: set[int], begin: int, weeks: int
) -> None:
    frame = table([50.0] * 7 * weeks, start=f"2024-01-{1 + begin:02d}")
    frame = frame[~frame["ds"].dt.day_of_week.isin(left_out)]
    [(code, where)] = [one for one in codes(frame) if one[0] != "open_end"]
    assert code == "closed"
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    assert where["when"] == days[min(left_out)]
    assert codes(frame, strides=(CLOSED,)) == []


@given(st.integers(1, 12), st.integers(3, 6))
@hypothesis_settings(max_examples=20, deadline=None)
def test_hours_that_never_have_a_value_are_said(closing: int, days: int) -> None:
    frame = table([50.0] * 24 * days, freq="h")
    frame = frame[frame["ds"].dt.hour < 24 - closing]
    [(code, where)] = [one for one in codes(frame, "h") if one[0] != "open_end"]
    assert (code, where["when"]) == ("closed", f"{24 - closing:02d}:00")


@given(st.integers(0, 20), st.floats(0.05, 0.4))
@hypothesis_settings(max_examples=20, deadline=None)
def test_gaps_of_chance_close_no_day(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    y = np.where(draw.random(140) < share, np.nan, 50.0)
    y[[0, -1]] = 50.0
    assert codes(table(y.tolist())) == []


@given(st.integers(1, 9))
@hypothesis_settings(max_examples=9, deadline=None)
def test_ends_without_values_are_said_unless_something_is_known_ahead(rows: int) -> None:
    frame = table([50.0] * 20 + [np.nan] * rows)
    assert codes(frame) == [("open_end", {"column": "y", "rows": rows})]
    panel = replace(Panel.from_frame(frame, freq="D"), schema=MIXES["future"])
    assert odd_histories(panel, settings(model=POSITIVE)) == []


def test_each_kind_is_said_once_with_its_first_series() -> None:
    found = [
        Odd(1, "open_end", {"column": "y", "rows": 2}),
        Odd(0, "code_for_missing", {"column": "y", "value": -999.0, "rows": 3}),
        Odd(2, "open_end", {"column": "y", "rows": 5}),
    ]
    first, second = said_of(found, np.array(["x", "y", "z"], dtype=object))
    assert first.startswith("series 'x': y holds -999 in 3 rows")
    assert second.startswith("series 'y': it ends without y (2 rows)")
    assert second.endswith("(2 series are so)")


def test_every_way_to_ask_with_a_table_says_it() -> None:
    model = untrained(settings(model=POSITIVE))
    frame = table([50.0 + k % 7 for k in range(29)] + [9999.0])
    asked = (
        lambda: model.predict(frame),
        lambda: model.paths(frame, 10),
        lambda: model.historical(frame, last=1),
        lambda: model.update(model.encode(frame[:-1]), frame[-1:]),
        lambda: Zero.load().predict(frame, 3),
    )
    for ask in asked:
        with pytest.warns(UserWarning, match="y holds 9999"):
            ask()
    with heard() as notes, warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(frame)
    assert len(notes) == 1


def test_what_training_had_is_kept_and_not_said() -> None:
    """A panel with a shop that is closed on Sundays trains a model that knows such shops."""
    frame = table([50.0 + k % 5 for k in range(70)])
    shop = frame[frame["ds"].dt.day_of_week != 6].assign(unique_id="b")
    config = settings().model_dump(exclude={"freq", "season"})
    config["model"]["strides"] = None
    both = pd.concat([frame, shop])
    model = Forecaster.fit(both, horizon=3, freq="D", config=config, verbose=False)
    assert model.config.model.strides == (CLOSED,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(both)


@given(st.integers(0, 4), st.integers(6, 12))
@hypothesis_settings(max_examples=15, deadline=None)
def test_one_weekend_left_out_of_working_days_is_said(begin: int, count: int) -> None:
    stamps = pd.bdate_range(f"2024-01-{1 + begin:02d}", periods=count)
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 50.0})
    weekend = (stamps[-1] - stamps[0]).days >= count
    assert [code for code, _ in codes(frame)] == ["closed"] * weekend
    assert codes(table([float("nan")] * 30)) == []


def test_the_network_without_training_says_what_it_leaves_aside() -> None:
    frame = table([50.0 + k % 7 for k in range(30)]).assign(promo=1)
    twin = frame.assign(unique_id="A")
    with heard() as notes:
        Zero.load().predict(pd.concat([frame, twin]), 2)
    assert [note.split(":")[0] for note in notes] == [
        "columns left aside",
        "series 'a' and 'A' differ in blanks or capitals only",
    ]
