"""Series of one value: their intervals are as wide as others of the panel move, and said."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.windows.conditioning import UNKNOWN_SHARE
from forecasting.zero.constants import LEVELS
from forecasting.zero.still import SIGMA, Usual, about_one_value
from forecasting.zero.ways import ROWS


def table(**series: list[float]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y})
        for name, y in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


@given(
    value=st.floats(1e-6, 1e9),
    sign=st.sampled_from([1.0, -1.0]),
    count=st.integers(1, 60),
    share=st.floats(1e-3, 1.0),
    horizon=st.integers(1, 30),
)
def test_one_value_has_the_usual_spread_and_a_standstill_less_of_it(
    value: float, sign: float, count: int, share: float, horizon: int
) -> None:
    panel = Panel.from_frame(table(x=[sign * value] * count), freq="step")
    found = about_one_value(panel, Usual(share), horizon)[0]
    assert found.shape == (horizon, len(LEVELS))
    assert (np.diff(found, axis=1) >= 0).all()
    away = found - sign * value
    np.testing.assert_allclose(away, -away[:, ::-1], rtol=1e-9, atol=1e-9 * value)
    width = away[:, -1]
    # Further ahead it is no likelier to stand where it stood.
    assert (np.diff(width) >= -1e-12 * value).all()
    whole = 1.959964 * SIGMA * share * value
    assert (width <= whole * (1 + 1e-6)).all()
    if count == 1:
        np.testing.assert_allclose(width, whole, rtol=1e-6)
    # The chance of a move by then, from the frequency that m equal neighbours leave open.
    moved = np.arange(1, horizon + 1) / (count - 1 + np.arange(1, horizon + 1))
    np.testing.assert_array_equal(width[moved <= 2 * LEVELS[0]], 0.0)
    assert (width[moved > 2 * LEVELS[0] + 1e-6] > 0.0).all()


@hypothesis_settings(max_examples=8)
@given(
    values=st.lists(st.floats(0.5, 1e6), min_size=1, max_size=3),
    count=st.integers(1, 6),
    others=st.integers(0, 3),
)
def test_whatever_stands_still_is_said_and_has_an_interval(
    values: list[float], count: int, others: int
) -> None:
    draw = np.random.default_rng(others)
    still = {f"still{k}": [v] * count for k, v in enumerate(values)}
    moving = {
        f"other{k}": (100 + 20 * draw.standard_normal(60)).clip(1).tolist() for k in range(others)
    }
    with pytest.warns(UserWarning, match="does not say how far it moves"):
        found = Forecaster.zero().predict(
            table(**still, **moving), 4, freq="step", quantiles=[0.05, 0.95]
        )
    width = (found["q0.95"] - found["q0.05"]).to_numpy().reshape(-1, 4)[: len(values)]
    level = found["mean"].to_numpy().reshape(-1, 4)[: len(values)]
    assert (width > 0).all()
    if count == 1 and not others:
        wanted = 2 * 1.644854 * SIGMA * UNKNOWN_SHARE * np.array(values)
        np.testing.assert_allclose(width, np.repeat(wanted[:, None], 4, axis=1), rtol=1e-5)
    assert (level > 0).all()


def test_nothing_is_said_where_every_series_moves_and_zeros_stay_zeros() -> None:
    moving = [1.0, 3.0, 2.0, 5.0] * 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Forecaster.zero().predict(table(x=moving), 3, freq="step")
    with pytest.warns(UserWarning, match="'closed'"):
        found = Forecaster.zero().predict(table(x=moving, closed=[0.0] * 36), 3, freq="step")
    closed = found[found["unique_id"] == "closed"]
    assert (closed.drop(columns=["unique_id", "ds"]) == 0.0).all(axis=None)


def test_parts_of_a_panel_are_forecast_as_the_whole() -> None:
    zero = Forecaster.zero()
    panel = Panel.from_frame(table(a=[5.0], b=[1.0, 3.0, 2.0, 5.0] * 5, c=[9.0, 9.0]), freq="step")
    whole = zero.predict_panel(panel, 3)
    way, usual = zero.way_of(panel, 3), Usual.of(panel)
    parts = [
        zero.predict_panel(panel.select(np.array([k])), 3, way=way, usual=usual)
        for k in range(len(panel))
    ]
    np.testing.assert_allclose(
        np.concatenate([part.quantiles for part in parts]), whole.quantiles, rtol=1e-5
    )


@pytest.mark.parametrize("before", [[1e6] * 5, list(100.0 + np.sin(np.arange(200.0)))])
def test_what_stood_still_for_all_that_is_read_is_forecast_where_it_stands(
    before: list[float],
) -> None:
    found = Forecaster.zero().predict(table(x=[*before, *[50.0] * (ROWS + 10)]), 3, freq="step")
    values = found[["mean", "q0.1", "q0.5", "q0.9"]].to_numpy()
    np.testing.assert_allclose(values, 50.0, rtol=1e-12)
