"""Paths of tables: in the kind that was given, with totals by any column of the static table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.paths.totals import TotalError
from tests.forecasting.samples import make_panel, settings, untrained


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return untrained(settings(horizon=4))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_panel([30, 30, 30], horizon=4).to_frame()


STATIC = pd.DataFrame(
    {"unique_id": ["s0", "s1", "s2"], "region": ["n", "s", "n"], "size": [1, 2, 2]}
)


def test_a_table_of_paths_comes_in_the_kind_of_the_table_given(
    forecaster: Forecaster, table: pd.DataFrame
) -> None:
    drawn = forecaster.paths(table, 20, seed=5)
    assert len(drawn) == 3
    assert drawn.table.shape == (3 * 4 * 20, 4)
    other = forecaster.paths(pl.from_pandas(table), 20, seed=5)
    assert isinstance(other.table, pl.DataFrame)
    np.testing.assert_array_equal(other.table["y"].to_numpy(), drawn.table["y"].to_numpy())
    assert isinstance(other.totals(steps=2), pl.DataFrame)


def test_totals_by_columns_of_the_static_table(forecaster: Forecaster, table: pd.DataFrame) -> None:
    drawn = forecaster.paths(table, 20, static=STATIC)
    found = drawn.totals(steps=4, by="region")
    assert found.unique_id.tolist() == ["n", "s"]
    values = drawn.paths.values.sum(axis=1)
    low = np.quantile(values[[0, 2]].sum(axis=0), 0.1, method="hazen")
    assert found["q0.1"].iloc[0] == pytest.approx(low)
    assert drawn.totals(by=["region", "size"]).unique_id.unique().tolist() == ["n/1", "s/2", "n/2"]
    assert drawn.totals(by=[]).unique_id.unique().tolist() == ["total"]
    plain = forecaster.predict(table)
    np.testing.assert_allclose(drawn.totals(steps=1)["mean"], plain["mean"].iloc[::4], rtol=1e-6)


def test_numbers_as_ids_come_back_as_numbers(forecaster: Forecaster, table: pd.DataFrame) -> None:
    numbered = table.assign(unique_id=table.unique_id.str[1:].astype(int))
    drawn = forecaster.paths(numbered, 5)
    assert drawn.table.unique_id.unique().tolist() == [0, 1, 2]
    assert drawn.totals(steps=2).unique_id.tolist() == [0, 1, 2]


def test_what_cannot_be_drawn_or_added_up_is_said(
    forecaster: Forecaster, table: pd.DataFrame
) -> None:
    drawn = forecaster.paths(table, 5)
    with pytest.raises(TotalError, match=r"by.0: 'region' is no static column .* there are: none"):
        drawn.totals(by="region")
    with pytest.raises(TotalError, match="names neither steps nor by nor groups"):
        drawn.totals()
    with pytest.raises(DataError, match="df must be a table"):
        forecaster.paths([1, 2])
    blank = table.assign(y=table.y.where(table.unique_id != "s1"))
    with pytest.raises(DataError, match="1 of 3 series cannot be forecast"):
        forecaster.paths(blank, 5)
