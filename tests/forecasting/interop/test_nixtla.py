"""Forecasts with the columns of Nixtla's libraries, read by one of them."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from forecasting.errors import DataError
from forecasting.interop.nixtla import to_nixtla

FORECAST = pd.DataFrame(
    {
        "unique_id": ["a", "a", "b", "b"],
        "ds": [1, 2, 1, 2],
        "mean": [9.0, 9.0, 9.0, 9.0],
        "q0.025": [0.0, 0.0, 0.0, 0.0],
        "q0.1": [1.0, 1.0, 1.0, 1.0],
        "q0.5": [2.0, 3.0, 4.0, 5.0],
        "q0.9": [6.0, 6.0, 6.0, 6.0],
        "q0.975": [7.0, 7.0, 7.0, 7.0],
    }
)


def test_levels_become_intervals() -> None:
    table = to_nixtla(FORECAST, "Ours")
    ends = ["Ours-lo-95", "Ours-lo-80", "Ours-hi-80", "Ours-hi-95"]
    assert sorted(table.columns) == sorted(["unique_id", "ds", "Ours", *ends])
    assert table["Ours"].tolist() == [2, 3, 4, 5]
    assert table[ends].iloc[0].tolist() == [0, 1, 6, 7]
    polars = to_nixtla(pl.from_pandas(FORECAST))
    assert isinstance(polars, pl.DataFrame)
    assert polars["Gatecast"].to_list() == [2, 3, 4, 5]


def test_without_a_median_the_mean_is_the_forecast() -> None:
    assert to_nixtla(FORECAST.drop(columns="q0.5"))["Gatecast"].tolist() == [9] * 4


def test_an_end_without_the_other_is_refused() -> None:
    with pytest.raises(DataError, match=r"q0.1 has no counterpart q0.9"):
        to_nixtla(FORECAST.drop(columns="q0.9"))


def test_their_measures_read_it() -> None:
    losses = pytest.importorskip("utilsforecast.losses", reason="Nixtla's measures")
    evaluate = pytest.importorskip("utilsforecast.evaluation").evaluate
    table = to_nixtla(FORECAST).assign(y=[2.0, 5.0, 8.0, 5.0])
    measures = [losses.mae, losses.coverage]
    found = evaluate(table, metrics=measures, models=["Gatecast"], level=[80])
    by = found.set_index(["unique_id", "metric"])["Gatecast"]
    assert by["a", "mae"] == 1.0
    assert by["b", "mae"] == 2.0
    assert by["b", "coverage_level80"] == 0.5
