"""What a model can forecast of a panel, and what is said of covariates it does not know so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.prediction.checks import beyond_training, unfamiliar
from forecasting.schema import Covariate, Schema
from forecasting.training.schemas import fitted_schema
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
    assert unfamiliar(panel) == []


QUICK: dict[str, Any] = {
    "model": {"hidden_size": 4, "layers": 1, "calendar": False},
    "training": {"max_steps": 2, "start": "none", "threads": 1},
}


def weather(rows: int, names: Sequence[Any] = ("rain", "sun"), begin: int = 0) -> pd.DataFrame:
    """One series with a category and a flag known ahead."""
    steps = np.arange(begin, begin + rows)
    return pd.DataFrame(
        {
            "unique_id": "a",
            "ds": steps,
            "y": 10.0 + steps % 7,
            "weather": np.array(names, object)[steps % len(names)],
            "promo": (steps % 5 == 0).astype(float),
        }
    )


@pytest.fixture(scope="module")
def told_ahead() -> Forecaster:
    return Forecaster.fit(
        weather(60), horizon=3, future=["weather", "promo"], config=QUICK, device="cpu"
    )


def ahead(**columns: Any) -> pd.DataFrame:
    return weather(3, begin=60).drop(columns="y").assign(**columns)


@pytest.mark.parametrize("strange", ["snow", "Rain", " rain", "", 3.5, True])
def test_a_category_that_training_never_saw_is_said(told_ahead: Forecaster, strange: Any) -> None:
    names = ["rain", strange, "sun"]
    with pytest.warns(UserWarning, match="'weather' holds '.*', which no row of the training"):
        told_ahead.predict(weather(60), future=ahead(weather=names))
    history = weather(60).assign(weather=[*weather(60)["weather"][:-1], strange])
    with pytest.warns(UserWarning, match="'weather' holds"):
        told_ahead.predict(history, future=ahead())
    # The same through a panel that was made without the forecaster's schema, as batches are.
    frame = pd.concat([weather(60), ahead(weather=names)])
    panel = Panel.from_frame(frame, future=["weather", "promo"])
    with pytest.warns(UserWarning, match="'weather' holds"):
        told_ahead.predict_panel(panel)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("where", [(0, 1, 2), (1,), (2,)])
def test_a_category_that_is_not_given_ahead_is_refused_as_a_number_is(
    told_ahead: Forecaster, missing: Any, where: tuple[int, ...]
) -> None:
    for column in ("weather", "promo"):
        given = ahead()[column].astype(object).to_numpy(copy=True)
        given[list(where)] = missing if column == "weather" else np.nan
        what = f"known-future covariate '{column}' is not given for step {where[0] + 1} of 3"
        with pytest.raises(DataError, match=what):
            told_ahead.predict(weather(60), future=ahead(**{column: given}))


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_category_that_is_missing_in_the_past_is_an_unknown_one(
    told_ahead: Forecaster, missing: Any
) -> None:
    given = weather(60)
    gap = given.assign(weather=[*given["weather"][:30], missing, *given["weather"][31:]])
    unknown = given.assign(weather=[*given["weather"][:30], "other", *given["weather"][31:]])
    found = told_ahead.predict(gap, future=ahead())
    with pytest.warns(UserWarning, match="'other'"):
        expected = told_ahead.predict(unknown, future=ahead())
    pd.testing.assert_frame_equal(found, expected)
    Forecaster.fit(gap, horizon=3, future=["weather", "promo"], config=QUICK, device="cpu")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(-5.0, 5.0))
def test_what_lies_beyond_training_by_more_than_its_width_is_told(
    low: float, width: float, at: float
) -> None:
    # Narrower than this it is taken for a covariate that never moved.
    assume(width > 1e-6 * abs(low))
    seen = Covariate(name="x", role="past", mean=low, std=width, low=low, high=low + width)
    inside = -0.99 <= at <= 1.99
    if inside or at < -1.01 or at > 2.01:
        assert bool(beyond_training(np.array([low + at * width]), seen)[0]) is not inside
    assert not beyond_training(np.array([np.nan]), seen).any()
    unsaid = seen.replace(low=None, high=None)
    assert not beyond_training(np.array([low + at * width]), unsaid).any()


def test_a_number_far_beyond_training_is_said(told_ahead: Forecaster) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told_ahead.predict(weather(60), future=ahead(promo=[1.0, 0.0, 2.0]))
    with pytest.warns(UserWarning, match="'promo' lay within 0 to 1 in training and is now 100"):
        told_ahead.predict(weather(60), future=ahead(promo=[1.0, 100.0, 0.0]))


@pytest.mark.parametrize("levels", [(0.9999999,), (1e-9, 0.5), (0.12345671, 0.12345672)])
def test_levels_that_six_digits_do_not_tell_apart_are_refused(
    told_ahead: Forecaster, levels: tuple[float, ...]
) -> None:
    if levels[0] == 1e-9:
        told_ahead.predict(weather(60), future=ahead(), quantiles=levels)
        return
    with pytest.raises(DataError, match="six digits of a level"):
        told_ahead.predict(weather(60), future=ahead(), quantiles=levels)
