"""Rows that stand again: repetitions are dropped, events of one each are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(value=st.sampled_from([1.0, 2.5, -1.0]), most=st.integers(2, 5), seed=st.integers(0, 99))
@DRAWN
def test_events_of_one_each_are_not_dropped_as_repetitions(
    value: float, most: int, seed: int, tidy: pd.DataFrame, mend: Mend
) -> None:
    times = np.random.default_rng(seed).integers(1, most + 1, len(tidy))
    times[:40] = most
    events = tidy.loc[tidy.index.repeat(times)].assign(y=value)
    for table in (events, events.to_csv(index=False)):
        with pytest.raises(DataError, match=r"added up, not dropped: df\.groupby.*identical: drop"):
            mend(table)
    assert (mend(events, duplicates={"identical": "drop"}).frame["y"] == value).all()
    summed = events.groupby(["unique_id", "ds"], as_index=False)["y"].sum()
    assert np.allclose(mend(summed).frame["y"], value * times)


@given(share=st.floats(0.05, 1), seed=st.integers(0, 99), zeros=st.booleans())
@DRAWN
def test_deliveries_that_overlap_are_repetitions(
    share: float, seed: int, zeros: bool, tidy: pd.DataFrame, mend: Mend
) -> None:
    tidy = tidy.assign(y=tidy["y"].where(tidy.index % 3 == 0, 0.0)) if zeros else tidy
    again = tidy.groupby("unique_id").tail(max(int(40 * share), 1))
    result = mend(pd.concat([tidy, again]).sample(frac=1, random_state=seed))
    assert np.allclose(result.frame["y"], tidy["y"])
