"""What a model can forecast of a panel, and what is said of covariates that never moved."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.config import Covariate, Schema
from forecasting.data.panel import Panel
from forecasting.training.fit import fitted_schema
from forecasting.windows.prediction import standardise


def table(price: float, rows: int = 60) -> pd.DataFrame:
    steps = np.arange(rows)
    return pd.DataFrame(
        {"unique_id": "a", "ds": steps, "y": 10 + np.sin(steps / 2), "price": price}
    )


@given(
    st.floats(-1e9, 1e9).map(lambda v: round(v, 2)) | st.floats(-1e3, 1e3),
    st.integers(2, 400),
)
@settings(max_examples=60)
def test_a_column_of_one_value_stands_still_whatever_it_is(value: float, rows: int) -> None:
    """The mean of equal values is off by rounding, and so is their deviation."""
    panel = Panel.from_frame(table(value, rows), past=["price"])
    (covariate,) = fitted_schema(panel).past
    assert covariate.std == 0.0
    values, mask = standardise(np.array([[value], [value + 1e6], [np.nan]]), (covariate,))
    assert not values.any()
    np.testing.assert_array_equal(mask, [[1.0], [1.0], [0.0]])


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e3))
def test_a_column_that_moves_is_standardised(centre: float, spread: float) -> None:
    moving = Covariate(name="x", role="past", mean=centre, std=spread)
    values, _ = standardise(np.array([[centre + spread], [centre - 2 * spread]]), (moving,))
    np.testing.assert_allclose(values[:, 0], [1.0, -2.0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("role", ["past", "future"])
def test_the_first_move_of_a_covariate_is_said_and_changes_nothing(role: str) -> None:
    config = {
        "model": {"hidden_size": 4, "layers": 1, "calendar": False},
        "training": {"max_steps": 2, "start": "none", "threads": 1},
    }
    named = {role: ["price"]}
    forecaster = Forecaster.fit(table(0.3), horizon=3, config=config, device="cpu", **named)
    ahead = {"future": table(0.3, 63).iloc[60:].drop(columns="y")} if role == "future" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        still = forecaster.predict(table(0.3), **ahead)
    moved = table(0.3)
    moved.loc[55:, "price"] = 0.25
    with pytest.warns(UserWarning, match="covariate 'price' was 0.3 in all of the training data"):
        forecast = forecaster.predict(moved, **ahead)
    pd.testing.assert_frame_equal(forecast, still)


def test_a_schema_of_moving_columns_says_nothing() -> None:
    schema = Schema(covariates=(Covariate(name="price", role="past", mean=0.3, std=0.1),))
    panel = Panel.from_frame(table(5.0), schema=schema)
    from forecasting.prediction.checks import first_moves

    assert first_moves(panel, schema) == []
