"""Series of Darts, by a stand-in with the parts of its TimeSeries that are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from forecasting.interop.darts import from_darts, is_darts, to_darts
from forecasting.interop.kinds import as_pandas, is_foreign, like


class TimeSeries:
    """As Darts 0.48 has it: values [T, C, S], a time index, names of components."""

    def __init__(self, times: Any, values: Any, columns: Any) -> None:
        self.time_index, self.components = times, pd.Index(columns)
        self.cube = np.asarray(values, dtype=np.float64).reshape(len(times), len(columns), -1)

    @classmethod
    def from_times_and_values(cls, times: Any, values: Any, columns: Any = None) -> TimeSeries:
        if isinstance(times, pd.DatetimeIndex):
            assert times.freq is not None
        return cls(times, values, columns)

    @property
    def freq(self) -> Any:
        return self.time_index.freq if hasattr(self.time_index, "freq") else self.time_index.step

    @property
    def n_samples(self) -> int:
        return int(self.cube.shape[2])

    def values(self, copy: bool = True) -> Any:
        return self.cube[:, :, 0]


TimeSeries.__module__ = "darts.timeseries"
MONTHS = pd.date_range("2020-01-01", periods=6, freq="MS")


def _forecast(series: Any, steps: int = 2) -> pd.DataFrame:
    """The last value again, a step later each; the mean above it."""
    table = from_darts(series)
    parts = []
    for name, part in table.groupby("unique_id", sort=False):
        last, gap = part["ds"].iloc[-1], part["ds"].iloc[-1] - part["ds"].iloc[-2]
        ds = pd.date_range(last, periods=steps + 1, freq="MS")[1:]
        if not isinstance(last, pd.Timestamp):
            ds = last + gap * np.arange(1, steps + 1)  # type: ignore[assignment]
        y = part["y"].iloc[-1]
        parts.append(
            pd.DataFrame({"unique_id": name, "ds": ds, "mean": y + 1, "q0.1": y - 1, "q0.975": y})
        )
    return pd.concat(parts, ignore_index=True)


def test_one_series_becomes_a_table_and_its_forecast_a_series() -> None:
    series = TimeSeries(MONTHS, np.arange(6.0), ["sales"])
    table = as_pandas(series)
    assert table["unique_id"].unique().tolist() == ["sales"]
    assert table["y"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (table["ds"] == MONTHS).all()
    back = like(_forecast(series), series)
    assert list(back.components) == ["sales_mean", "sales_q0.100", "sales_q0.975"]
    assert list(back.time_index) == [pd.Timestamp("2020-07-01"), pd.Timestamp("2020-08-01")]
    assert back.time_index.freq == MONTHS.freq
    assert back.values().tolist() == [[6, 4, 5], [6, 4, 5]]


def test_components_of_many_series_keep_apart_and_their_order() -> None:
    several = [
        TimeSeries(MONTHS, np.arange(12.0).reshape(6, 2), ["y", "z"]),
        TimeSeries(pd.RangeIndex(3, 15, 3), 50.0 + np.arange(4.0), ["y"]),
    ]
    table = from_darts(several[:1])
    assert table["unique_id"].unique().tolist() == ["y", "z"]
    assert table.loc[table["unique_id"] == "z", "y"].tolist() == [1, 3, 5, 7, 9, 11]
    again = [several[0], TimeSeries(MONTHS, 50.0 + np.arange(6.0), ["y"])]
    assert from_darts(again)["unique_id"].unique().tolist() == ["0 y", "0 z", "1 y"]
    back = to_darts(_forecast(again), again)
    assert [list(b.components)[::3] for b in back] == [["y_mean", "z_mean"], ["y_mean"]]
    assert back[0].values()[0].tolist() == [11, 9, 10, 12, 10, 11]
    assert back[1].values()[0].tolist() == [56, 54, 55]


def test_whole_numbers_for_stamps_go_on_in_their_step() -> None:
    series = TimeSeries(pd.RangeIndex(3, 15, 3), np.arange(4.0), ["y"])
    back = to_darts(_forecast(series), series)
    assert back.time_index.equals(pd.RangeIndex(15, 21, 3))


def test_samples_are_no_history() -> None:
    with pytest.raises(DataError, match="3 samples"):
        from_darts(TimeSeries(MONTHS, np.zeros((6, 1, 3)), ["y"]))


def test_only_its_own_class_is_taken_for_one() -> None:
    own = TimeSeries(MONTHS, np.arange(6.0), ["y"])
    other = type("TimeSeries", (), {"__module__": "elsewhere"})()
    assert is_darts(own)
    assert is_foreign([own, own])
    assert not any(map(is_darts, ([], other, [own, other], pd.DataFrame(), None)))
