"""Data sets of GluonTS: lists of what one gives, and a stand-in for its forecast."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from forecasting.interop.gluonts import from_gluonts, is_gluonts, to_gluonts
from forecasting.interop.kinds import as_pandas, like


@dataclass
class QuantileForecast:
    """As GluonTS 0.17 makes one: an array of each key, [K, h]."""

    forecast_arrays: Any
    start_date: Any
    forecast_keys: Any
    item_id: Any = None


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gluonts.model.forecast")
    module.QuantileForecast = QuantileForecast  # type: ignore[attr-defined]
    for name in ("gluonts", "gluonts.model"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "gluonts.model.forecast", module)


def _entry(start: str, freq: str, target: Any, **more: Any) -> dict[str, Any]:
    values = np.asarray(target, dtype=np.float32)
    return {"start": pd.Period(start, freq=freq), "target": values, **more}


@pytest.mark.parametrize(
    ("freq", "start", "stamps"),
    [
        ("M", "2020-01", ["2020-01-01", "2020-02-01", "2020-03-01"]),
        ("Q-DEC", "2020Q1", ["2020-01-01", "2020-04-01", "2020-07-01"]),
        ("h", "2020-01-01 05:00", [f"2020-01-01 0{h}:00" for h in (5, 6, 7)]),
        ("W-SUN", "2020-01-05", ["2019-12-30", "2020-01-06", "2020-01-13"]),
        ("30min", "2020-01-01", [f"2020-01-01 0{h}:{m}0" for h, m in ((0, 0), (0, 3), (1, 0))]),
    ],
)
def test_periods_are_stamped_by_their_beginning(freq: str, start: str, stamps: list[str]) -> None:
    table = as_pandas([_entry(start, freq, [1, 2, np.nan], item_id="a")])
    assert table["unique_id"].tolist() == ["a"] * 3
    assert list(table["ds"]) == list(pd.to_datetime(stamps))
    assert table["y"].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(table["y"].iloc[2])


def test_a_forecast_begins_after_each_series(library: None) -> None:
    dataset = [
        _entry("2020-01", "M", [1, 2, 3], item_id="b"),
        _entry("2019-01", "M", [5], item_id="a"),
    ]
    forecast = pd.DataFrame(
        {"unique_id": ["b", "b", "a", "a"], "ds": 0, "mean": [1.0, 2.0, 3.0, 4.0], "q0.9": 9.0}
    )
    one, two = like(forecast, dataset)
    assert (one.item_id, two.item_id) == ("b", "a")
    assert one.start_date == pd.Period("2020-04", freq="M")
    assert two.start_date == pd.Period("2019-02", freq="M")
    assert one.forecast_keys == ["mean", "0.9"]
    assert one.forecast_arrays.tolist() == [[1.0, 2.0], [9.0, 9.0]]
    assert two.forecast_arrays.tolist() == [[3.0, 4.0], [9.0, 9.0]]


def test_series_without_a_name_of_their_own_are_numbered() -> None:
    same = [_entry("2020-01", "M", [1, 2], item_id="a")] * 2
    assert from_gluonts(same)["unique_id"].tolist() == ["0", "0", "1", "1"]
    assert from_gluonts([_entry("2020-01", "M", [1, 2])])["unique_id"].tolist() == ["0", "0"]


def test_features_are_left_aside_and_said() -> None:
    with pytest.warns(UserWarning, match="left aside: feat_static_cat"):
        from_gluonts([_entry("2020-01", "M", [1, 2], feat_static_cat=[3])])


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(DataError, match="start = '2020-01' does not say how long"):
        from_gluonts([{"start": "2020-01", "target": [1.0]}])
    with pytest.raises(DataError, match="'x': target has 2 dimensions"):
        from_gluonts([_entry("2020-01", "M", [[1, 2]], item_id="x")])


def test_who_has_no_gluonts_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gluonts", None)
    with pytest.raises(DataError, match="gluonts is not installed"):
        to_gluonts(pd.DataFrame(), [_entry("2020-01", "M", [1])])


def test_lists_of_other_things_are_none() -> None:
    assert not any(map(is_gluonts, ([], [1], [{"start": 1}], {"start": 1, "target": 2}, None, "x")))
