from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from forecasting.prediction.reading import bounds_of
from forecasting.prediction.theta import ALPHAS, DRIFT, window_theta
from tests.forecasting.samples import asked, make_panel, settings

LEVELS = (0.1, 0.5, 0.9)


def plain_theta(y: np.ndarray, horizon: int) -> np.ndarray:
    """One series without season or holes, one step after the other."""
    steps = np.arange(len(y))
    slope = DRIFT * np.polyfit(steps, y, 1)[0] if len(y) > 1 else 0.0
    best = (np.inf, 0.0)
    for alpha in ALPHAS:
        level, total = y[0], 0.0
        for value in y[1:]:
            error = value - (level + slope)
            total += error**2
            level = level + slope + alpha * error
        best = min(best, (total, level), key=lambda pair: pair[0])
    return best[1] + slope * np.arange(1, horizon + 1)


@pytest.mark.parametrize("length", [2, 3, 17, 64])
@pytest.mark.parametrize("count", [5, 20])
def test_it_equals_a_plain_loop_where_there_is_no_season(count: int, length: int) -> None:
    rng = np.random.default_rng(length)
    y = rng.normal(size=(count, length)).cumsum(axis=1)
    found = window_theta(y, np.ones_like(y), 1, 4)
    np.testing.assert_allclose(found, [plain_theta(row, 4) for row in y], rtol=1e-8, atol=1e-8)


def test_padding_on_the_left_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(3, 40)).cumsum(axis=1)
    padded = np.concatenate([np.full((3, 20), 99.0), y], axis=1)
    mask = np.concatenate([np.zeros((3, 20)), np.ones((3, 40))], axis=1)
    for season in (1, 4):
        np.testing.assert_allclose(
            window_theta(padded, mask, season, 5),
            window_theta(y, np.ones_like(y), season, 5),
            atol=1e-9,
        )


def test_a_season_is_carried_on_in_phase() -> None:
    steps = np.arange(65)
    wave = np.sin(2 * np.pi * steps / 12)
    found = window_theta(wave[None, :53], np.ones((1, 53)), 12, 12)
    np.testing.assert_allclose(found[0], wave[53:], atol=0.05)


def test_noise_without_a_season_gets_next_to_none() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=(200, 48))
    found = window_theta(y, np.ones_like(y), 12, 12)
    assert found.std(axis=1).mean() < 0.25, "the noise of four values' mean would be 0.5"


@pytest.mark.parametrize("season", [1, 4])
def test_nothing_one_value_or_no_change_gives_a_level(season: int) -> None:
    y = np.array([[0.0] * 12, [0.0] * 11 + [3.0], [7.0] * 12])
    mask = np.array([[0.0] * 12, [0.0] * 11 + [1.0], [1.0] * 12])
    found = window_theta(y, mask, season, 3)
    np.testing.assert_allclose(found, [[0.0] * 3, [3.0] * 3, [7.0] * 3], atol=1e-9)


def blended(panel: Panel, blend: float) -> Forecaster:
    return Forecaster.train(
        panel, settings(model={"blend": blend, "transform": "log"}), device="cpu"
    )


def positive(lengths: list[int]) -> Panel:
    panel = make_panel(lengths, missing=0.05)
    return replace(panel, y=np.abs(panel.y) + 5.0)


def test_a_blend_moves_the_median_by_its_share_and_keeps_the_spread() -> None:
    panel = positive([30, 40])
    network, half, all_theta = (blended(panel, share) for share in (0.0, 0.5, 1.0))
    logs = [np.log(f.predict_panel(panel, quantiles=LEVELS).quantiles) for f in
            (network, half, all_theta)]  # fmt: skip
    np.testing.assert_allclose(logs[1], (logs[0] + logs[2]) / 2.0, atol=1e-6)


def test_a_blend_is_served_alike_by_torch_onnx_and_a_state(tmp_path: Path) -> None:
    panel = positive([12, 40, 25])
    forecaster = blended(panel, 1.0)
    expected = forecaster.predict_panel(panel, quantiles=LEVELS).quantiles
    served = Predictor.load(forecaster.save(tmp_path / "blend"))
    np.testing.assert_allclose(
        served.predict_panel(panel, quantiles=LEVELS).quantiles, expected, rtol=1e-5
    )
    # Its memory goes back further than a window: only the median is Theta's alone.
    frame = forecaster.predict(state=forecaster.encode(panel), quantiles=LEVELS)
    np.testing.assert_allclose(frame["q0.5"], expected[..., 1].ravel(), rtol=1e-5)


def test_validation_takes_theta_where_it_is_exact_and_leaves_it_where_it_misleads() -> None:
    steps = np.arange(60.0)
    panel = make_panel([60] * 15)
    line = replace(panel, y=np.tile(1000.0 + 3.0 * steps, 15))
    open_settings = asked(
        training={"validation": "holdout", "max_steps": 1}, season=1, model={"blend": None}
    )
    flat = replace(panel, y=np.tile(np.where(steps % 2 == 0, 10.0, 1000.0), 15))
    chosen = [
        Forecaster.train(p, open_settings, device="cpu").config.model.blend for p in (line, flat)
    ]
    assert chosen[0] > 0.0


def test_counts_cannot_be_blended() -> None:
    with pytest.raises(ConfigError, match=r"model\.blend = 0\.5"):
        settings(model={"head": "negative_binomial", "blend": 0.5})


def test_far_quantiles_in_logs_stay_within_a_range_of_what_was_seen() -> None:
    y = np.array([[0.0] * 2 + [1.0, 3.0, 2.0, 1.5, 2.5, 1.0, 3.0, 2.0], [1.0] * 10])
    mask = np.ones_like(y)
    mask[0, :2] = 0.0
    wild = np.array([-50.0, 2.0, 50.0])[None, None].repeat(2, 0)
    low, high = bounds_of(y, mask)
    bounded = np.clip(wild, low[:, None, None], high[:, None, None])
    np.testing.assert_allclose(bounded[0, 0], [-1.0, 2.0, 5.0])
    np.testing.assert_allclose(bounded[1, 0], wild[1, 0], err_msg="no range, no bound")
