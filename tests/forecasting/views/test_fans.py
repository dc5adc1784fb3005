"""Pictures show the series asked for, with the history and forecast that they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.evaluation.baselines import seasonal_naive
from forecasting.views.fans import chosen, fans
from tests.forecasting.samples import seasonal_frame

PANEL = Panel.from_frame(seasonal_frame(5, rows=60))
LEVELS = (0.1, 0.5, 0.9)


def _forecast(panel: Panel, steps: int = 7) -> Forecast:
    return seasonal_naive(panel, steps, season=7, levels=LEVELS)


@pytest.mark.parametrize(
    ("series", "names"),
    [
        (2, ["s0", "s1"]),
        (99, ["s0", "s1", "s2", "s3", "s4"]),
        ("s3", ["s3"]),
        (["s4", "s1"], ["s4", "s1"]),
        (np.array(["s2"], dtype=object), ["s2"]),
    ],
)
def test_series_are_the_first_or_those_named(series: Any, names: list[str]) -> None:
    assert list(chosen(PANEL, series).ids) == names


def test_numbers_name_series_as_they_do_in_a_table() -> None:
    frame = seasonal_frame(2, rows=20).assign(
        unique_id=lambda f: f["unique_id"].str[1:].astype(int)
    )
    panel = Panel.from_frame(frame)
    assert list(chosen(panel, [1]).ids) == ["1"]
    assert list(chosen(panel, np.array([1.0])).ids) == ["1"]


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ("s33", r"no series 's33' among 5.*did you mean 's3'"),
        (0, "holds 1 to 24 series"),
        ([], "holds 1 to 24 series"),
        (["s0"] * 25, "holds 1 to 24 series"),
    ],
)
def test_what_cannot_be_drawn_is_refused(series: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        chosen(PANEL, series)


def test_a_fan_is_the_end_of_its_history_and_its_forecast() -> None:
    part = chosen(PANEL, ["s3", "s1"])
    forecast = _forecast(part)
    drawn = fans(part, forecast, season=7)
    assert [fan.title for fan in drawn] == ["s3", "s1"]
    frame = seasonal_frame(5, rows=60)
    for fan, values in zip(drawn, forecast.quantiles, strict=True):
        own = frame[frame["unique_id"] == fan.title].tail(28)
        np.testing.assert_array_equal(fan.history_y, own["y"])
        assert (pd.DatetimeIndex(fan.history_ds) == pd.DatetimeIndex(own["ds"])).all()
        assert pd.Timestamp(fan.ds[0]) == own["ds"].iloc[-1] + pd.Timedelta(days=1)
        np.testing.assert_array_equal(fan.quantiles, values)


def test_hours_are_drawn_by_the_clock_of_their_zone() -> None:
    ds = pd.date_range("2024-07-01", periods=48, freq="h", tz="Europe/Berlin")
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(48.0)}))
    (fan,) = fans(panel, _forecast(panel), season=7)
    assert fan.history_ds[-1] == np.datetime64("2024-07-02T23:00")
    assert fan.ds[0] == np.datetime64("2024-07-03T00:00")


def test_whole_numbers_are_drawn_as_they_are() -> None:
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": range(9), "y": range(9)}))
    (fan,) = fans(panel, _forecast(panel, 2), season=1)
    assert fan.history_ds.tolist()[-1] == 8
    assert fan.ds.tolist() == [9, 10]
