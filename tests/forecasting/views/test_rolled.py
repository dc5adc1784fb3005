"""Tables of a backtest come in the kind of the table given; the numbers are the backtest's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from forecasting.data.panel import Panel
from forecasting.evaluation.backtest import Backtest, backtest
from forecasting.evaluation.baselines import naive
from forecasting.views.rolled import Rolled
from tests.forecasting.samples import seasonal_frame

FRAME = seasonal_frame(2, rows=40).assign(
    unique_id=lambda f: f["unique_id"].map({"s0": 10, "s1": 7})
)
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def found() -> Backtest:
    models = {"naive": partial(naive, horizon=3, levels=LEVELS)}
    return backtest(Panel.from_frame(FRAME), models, horizon=3, season=7, windows=2, levels=LEVELS)


@pytest.mark.parametrize("kind", [pl.from_pandas, pa.Table.from_pandas, pd.DataFrame])
def test_every_table_comes_in_the_kind_given(found: Backtest, kind: Any) -> None:
    given = kind(FRAME)
    rolled = Rolled.of(found, given)
    for name in ("table", "scores", "by_step", "by_series", "by_cutoff"):
        part, own = getattr(rolled, name), getattr(found, name)
        part, own = (p if name == "table" else p() for p in (part, own))
        assert type(part) is type(given)
        as_frame = part if isinstance(part, pd.DataFrame) else part.to_pandas()
        if own.index.name is not None and not isinstance(part, pd.DataFrame):
            own = own.reset_index()
        if "unique_id" in own:
            own = own.assign(unique_id=own["unique_id"].astype("int64"))
        pd.testing.assert_frame_equal(as_frame, own, check_dtype=False)
    assert set(pd.Series(rolled.table["unique_id"].to_numpy())) == {10, 7}


def test_the_facts_of_the_backtest_are_kept(found: Backtest) -> None:
    rolled = Rolled.of(found, FRAME)
    assert rolled.models == ["naive"]
    assert rolled.coverage("naive", 80) == found.coverage("naive", 80)
