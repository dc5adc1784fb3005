"""What of a panel its training cannot use is refused, or said."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.errors import DataError
from forecasting.training.checks import refuse_no_counts, say_unreached, say_unread
from tests.forecasting.samples import make_panel, settings

QUICK: dict[str, Any] = {
    "model": {"hidden_size": 4, "layers": 1, "calendar": False},
    "training": {"max_steps": 2, "start": "none", "threads": 1},
}


def table(y: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a", "ds": np.arange(len(y)), "y": y})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([5.0, -30.0, -30.0], r"cannot read 40 values below 0 of 60, .*'a'.* are refused when"),
        ([5.0, 0.0, 7.0], r"cannot read 20 values of 0 of 60, .*forecast by how often they come"),
        ([5.0, 0.0, -1.0], r"cannot read 20 values of 0 and 20 values below 0 of 60"),
    ],
)
def test_logs_of_values_that_have_none_are_said_when_they_are_trained(
    values: list[float], words: str
) -> None:
    config = {**QUICK, "model": {**QUICK["model"], "transform": "log"}}
    with pytest.warns(UserWarning, match=words):
        Forecaster.fit(table(values * 20), horizon=3, config=config, device="cpu")


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(["log", "log1p", "asinh", "identity"]),
    st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.5, 3.0, np.nan]), min_size=3, max_size=12),
)
def test_what_a_transform_cannot_read_is_counted(transform: str, values: list[float]) -> None:
    panel = make_panel([len(values)])
    panel.y[:] = values
    config = settings(model={"transform": transform})
    least = {"log": 0.0, "log1p": -1.0}.get(transform, -np.inf)
    unread = [v for v in values if v <= least]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        say_unread(panel, config)
    assert len(said) == bool(unread)
    if unread:
        zeros, below = unread.count(0.0), len(unread) - unread.count(0.0)
        text = str(said[0].message)
        assert (f"{zeros} values of 0" in text) == bool(zeros)
        assert (f"{below} values below 0" in text) == bool(below)


@pytest.mark.parametrize(("rows", "horizon"), [(10, 24), (3, 3), (10, 10)])
def test_steps_that_no_history_reaches_are_said(rows: int, horizon: int) -> None:
    with pytest.warns(UserWarning, match=f"none shows what comes after step {rows - 1} of horizon"):
        say_unreached(make_panel([rows, 2]), settings(horizon=horizon))
    with pytest.warns(UserWarning, match="longest series has 10 rows"):
        Forecaster.fit(table([5.0, 7.0] * 5), horizon=24, config=QUICK, device="cpu")


@pytest.mark.parametrize(("rows", "horizon"), [(10, 9), (4, 3), (1, 5)])
def test_steps_that_a_history_reaches_are_not(rows: int, horizon: int) -> None:
    """Nor is anything said where there is a single row: nothing at all can be learned from it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_unreached(make_panel([rows, 1]), settings(horizon=horizon))


def test_a_count_below_zero_is_refused_by_name() -> None:
    panel = make_panel([5, 5])
    panel.y[:] = 2.0
    counts = settings(model={"head": "negative_binomial"})
    refuse_no_counts(panel, counts)
    panel.y[7] = -1.0
    refuse_no_counts(panel, settings())
    with pytest.raises(DataError, match=r"series 's1' has y = -1.*forecasts counts, from 0 up"):
        refuse_no_counts(panel, counts)
