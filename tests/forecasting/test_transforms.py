"""Each transform beside plain formulas, and one of a test's own through all of the package."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.config import ForecasterConfig
from forecasting.errors import ConfigError
from forecasting.transforms import FURTHEST, TRANSFORMS, Transform
from tests.forecasting.samples import forecasts_of_every_engine, make_panel, settings, with_y

FORMULAS = {
    "identity": (float, float),
    "log": (lambda y: math.log(y) if y > 0 else math.nan, math.exp),
    "log1p": (lambda y: math.log1p(y) if y > -1 else math.nan, math.expm1),
    "asinh": (math.asinh, math.sinh),
}
values = st.floats(-1e6, 1e6).filter(lambda y: y == 0.0 or abs(y) > 1e-30)


def square_root() -> Transform:
    return Transform(
        there=lambda y, xp: xp.sqrt(xp.where(y >= 0, y, xp.nan)), back=lambda t, xp: t * abs(t)
    )


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
@hypothesis_settings(deadline=None)
@given(values)
def test_a_transform_is_its_formula_in_numpy_and_in_torch(name: str, y: float) -> None:
    there, back = FORMULAS[name]
    transform, array = TRANSFORMS[name], np.array([y])
    wanted = there(y)
    tensor = transform.there(torch.from_numpy(array), torch).numpy()
    np.testing.assert_allclose(transform.forward(array), [wanted], rtol=1e-12)
    np.testing.assert_allclose(tensor, [wanted], rtol=1e-12)
    if not math.isnan(wanted):
        original = transform.back(torch.tensor([wanted], dtype=torch.float64), torch).numpy()
        np.testing.assert_allclose(original, [back(wanted)], rtol=1e-12)
        np.testing.assert_allclose(transform.inverse(np.array([wanted])), [back(wanted)])
        np.testing.assert_allclose(back(wanted), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_what_a_transform_says_of_itself_is_so(name: str) -> None:
    transform = TRANSFORMS[name]
    two = transform.inverse(np.array([20.0, 40.0]))
    assert transform.grows == (two[1] > 1000.0 * two[0])
    shifted = transform.inverse(np.array([1.5, 3.5])) / transform.inverse(np.array([1.0, 3.0]))
    assert transform.ratios == np.allclose(shifted, np.exp(0.5), rtol=1e-9)
    assert transform.reads_zero == math.isfinite(FORMULAS[name][0](0.0))
    assert np.isfinite(transform.inverse(np.array([-10.0 * FURTHEST, 10.0 * FURTHEST]))).all()


@pytest.mark.parametrize("loss", [{}, {"smape": 1.0, "mase": 1.0}])
def test_an_entry_of_the_table_is_all_that_a_new_transform_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: dict[str, float]
) -> None:
    monkeypatch.setitem(TRANSFORMS, "square_root", square_root())
    panel = make_panel([40, 30, 9], positive=True)
    config = settings(model={"transform": "square_root"}, training={"loss": loss})
    forecaster = Forecaster.train(panel, config, device="cpu")
    first, *others = forecasts_of_every_engine(forecaster, panel, tmp_path)
    assert np.isfinite(first).all()
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4)
    # What it was trained on are roots: with another transform the same numbers mean other values.
    plain = Forecaster(
        config=forecaster.config.replace(model={"transform": "identity"}),
        schema=forecaster.schema,
        networks=forecaster.networks,
    )
    assert not np.allclose(plain.predict_panel(panel).mean, forecaster.predict_panel(panel).mean)


def test_constants_read_by_their_roots_are_forecast_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TRANSFORMS, "square_root", square_root())
    panel = make_panel([40, 30])
    panel = with_y(panel, np.full(panel.rows, 49.0))
    config = settings(model={"transform": "square_root", "usual_spread": (0.0, 1e-6)})
    forecast = Forecaster.train(panel, config, device="cpu").predict_panel(panel)
    np.testing.assert_allclose(forecast.quantiles, 49.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("section", "name"), [("transform", "cubic"), ("transform", ""), ("transform", 3)]
)
def test_a_name_that_stands_in_no_table_is_refused(section: str, name: Any) -> None:
    with pytest.raises(ConfigError, match=f"model.{section} = {name!r}"):
        ForecasterConfig.parse({"horizon": 3, "model": {section: name}})


def test_the_names_that_are_there_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSFORMS, "square_root", square_root())
    with pytest.raises(ConfigError, match="'identity', 'log', 'log1p', 'asinh' or 'square_root'"):
        ForecasterConfig.parse({"horizon": 3, "model": {"transform": "cubic"}})


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMS.items() if t.grows])
def test_going_back_leaves_what_it_is_given_as_it_was(name: str) -> None:
    given = np.array([[-1e9, -1.0, np.nan], [0.0, 2.0, 1e9]])
    kept = given.copy()
    TRANSFORMS[name].inverse(given)
    np.testing.assert_array_equal(given, kept)
