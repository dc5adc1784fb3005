"""Classical forecasts beside a network's: what is made of them, wherever they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasting.classical.pool import MEMBERS, classical
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.parts import CLASSICAL
from forecasting.prediction.predictor import Predictor
from forecasting.resolved import Resolved
from forecasting.training.defaults import resolve
from tests.forecasting.samples import make_panel, settings

LEVELS = (0.1, 0.5, 0.9)
WEIGHTS = {"theta": 0.4, "damped": 0.3, "seasonal": 0.2, "drift": 0.1}
ROWS = 30


def pooled(panel: Panel, **model: Any) -> Forecaster:
    values = {"blend": 1.0, "pool": WEIGHTS, "pool_rows": ROWS, **model}
    return Forecaster.train(panel, settings(season=4, model=values), device="cpu")


def positive(lengths: list[int], missing: float = 0.05) -> Panel:
    panel = make_panel(lengths, missing=missing)
    return replace(panel, y=np.abs(panel.y) + 5.0)


def test_every_classical_forecast_is_one_that_settings_know() -> None:
    assert MEMBERS.keys() == CLASSICAL.keys()


@pytest.mark.parametrize("transform", ["identity", "log"])
def test_the_whole_share_is_the_weighted_mean_of_the_pool_on_what_it_reads(transform: str) -> None:
    """In the units that the network reads, of rows beyond the network's window too."""
    panel = positive([60, 25, 12])
    forecaster = pooled(panel, transform=transform)
    assert forecaster.context == ROWS > forecaster.geometry.rows
    told = classical(panel.y, panel.offsets, 4, 3, tuple(WEIGHTS), ROWS)
    there = np.log if transform == "log" else np.asarray
    expected = sum(w * there(t) for w, t in zip(WEIGHTS.values(), told, strict=True))
    found = forecaster.predict_panel(panel, quantiles=LEVELS).quantiles[..., 1]
    np.testing.assert_allclose(there(found), expected, rtol=1e-5)
    cut = forecaster.predict_panel(panel.tail(forecaster.context), quantiles=LEVELS)
    np.testing.assert_array_equal(cut.quantiles[..., 1], found)


def test_a_share_moves_the_median_and_keeps_the_spread() -> None:
    panel = positive([30, 40])
    none, half, whole = (
        pooled(panel, blend=share).predict_panel(panel, quantiles=LEVELS).quantiles
        for share in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(half, (none + whole) / 2.0, atol=1e-6)
    np.testing.assert_allclose(np.diff(whole), np.diff(none), rtol=1e-5)


@pytest.mark.parametrize("transform", ["identity", "log"])
def test_a_pool_is_served_alike_by_torch_onnx_and_a_state(tmp_path: Path, transform: str) -> None:
    panel = positive([12, 70, 25])
    forecaster = pooled(panel, transform=transform)
    expected = forecaster.predict_panel(panel, quantiles=LEVELS).quantiles
    served = Predictor.load(forecaster.save(tmp_path / "pool"))
    assert served.config.model.pool == WEIGHTS
    np.testing.assert_allclose(
        served.predict_panel(panel, quantiles=LEVELS).quantiles, expected, rtol=1e-5
    )
    # Its memory goes back further than a window: only the median is the pool's alone.
    frame = forecaster.predict(state=forecaster.encode(panel), quantiles=LEVELS)
    np.testing.assert_allclose(frame["q0.5"], expected[..., 1].ravel(), rtol=1e-5)


def test_a_bundle_that_names_no_pool_goes_on_with_a_windows_theta() -> None:
    panel = positive([60, 25])
    forecaster = pooled(panel)
    values = forecaster.config.model_dump(mode="json")
    for key in ("pool", "pool_rows"):
        del values["model"][key]
    forecaster.config = Resolved.plainest(ForecasterConfig.parse(values))
    plain = pooled(panel, pool={})
    assert forecaster.context == forecaster.geometry.rows
    a, b = (f.predict_panel(panel, quantiles=LEVELS).quantiles for f in (forecaster, plain))
    np.testing.assert_array_equal(a, b)


def test_a_line_that_falls_below_what_logs_can_read_stays_positive_and_near() -> None:
    panel = positive([24] * 3, missing=0.0)
    falling = replace(panel, y=np.tile(np.linspace(50.0, 0.5, 24), 3))
    found = pooled(falling, transform="log").predict_panel(falling, quantiles=LEVELS)
    assert not found.problems
    median = found.quantiles[..., 1]
    assert np.isfinite(median).all()
    assert (median > 0.0).all()
    assert (median < 5.0).all()


@pytest.mark.parametrize("y", [np.zeros(24), np.full(24, 3.0), np.r_[[np.nan] * 23, 4.0]], ids=str)
def test_odd_series_are_forecast_near_what_was_seen(y: np.ndarray) -> None:
    panel = make_panel([24, 24])
    panel = replace(panel, y=np.concatenate([y, panel.y[24:]]))
    found = pooled(panel, blend=0.5).predict_panel(panel, quantiles=LEVELS)
    assert not found.problems
    assert np.isfinite(found.quantiles).all()


def test_short_histories_get_a_pool_and_others_none() -> None:
    def chosen(panel: Panel, season: int, **model: Any) -> Any:
        asked = ForecasterConfig.parse({"horizon": 3, "season": season, "model": model})
        return resolve(asked, panel).model

    short = make_panel([40] * 4)
    assert chosen(short, 4).pool == dict.fromkeys(CLASSICAL, 0.25)
    assert chosen(short, 4).pool_rows == 100
    assert chosen(short, 12).pool_rows == 240
    assert set(chosen(short, 1).pool) == {"theta", "damped", "drift"}
    assert chosen(short, 4, pool={"drift": 1.0}).pool == {"drift": 1.0}
    assert chosen(make_panel([700]), 4).pool == {}
    assert chosen(short, 4, head="negative_binomial").pool == {}


@pytest.mark.parametrize(
    ("pool", "says"), [({"theta": 0.5}, "sum 1, not 0.5"), ({"holt": 1.0}, "pool.holt")]
)
def test_weights_that_are_none_are_refused(pool: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings(model={"pool": pool})
