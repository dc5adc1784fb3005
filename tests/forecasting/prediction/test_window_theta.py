from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from forecasting.prediction.reading import bounds_of
from forecasting.prediction.window_theta import ALPHAS, DRIFT, MOST_BEGINS, MOST_ROWS, window_theta
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


def slow_pattern(y: np.ndarray, season: int) -> np.ndarray:
    """Of one series, NaN where nothing is observed: place by place, shrunk by its own noise."""
    rows, half = len(y), season // 2
    first = int(np.flatnonzero(~np.isnan(y))[0])
    if season == 1 or rows < 2 * season:
        return np.zeros(season)
    places: list[list[float]] = [[] for _ in range(season)]
    for t in range(first + half, rows - half):
        near = list(range(t - half, t + half + 1))
        weights = [0.5 if season % 2 == 0 and k in (near[0], near[-1]) else 1.0 for k in near]
        held = [(w, y[k]) for w, k in zip(weights, near, strict=True) if not np.isnan(y[k])]
        often = sum(w for w, _ in held)
        if not np.isnan(y[t]) and often > 0.75 * season:
            places[t % season].append(y[t] - sum(w * v for w, v in held) / often)
    count = sum(map(len, places))
    if not all(places) or count <= season:
        return np.zeros(season)
    means = np.array([np.mean(p) for p in places])
    noise = sum(((np.array(p) - np.mean(p)) ** 2).sum() for p in places) / max(count - season, 1)
    pattern = means - means.mean()
    power = max((pattern**2).sum() / (season - 1), 1e-300)
    return pattern * np.clip(1.0 - noise / (count / season) / power, 0.0, 1.0)


def slow_theta(y: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """One series, NaN where nothing is observed, as the module's docstring says it."""
    seen = np.flatnonzero(~np.isnan(y))
    pattern = slow_pattern(y, season)
    y = y - pattern[np.arange(len(y)) % season]
    slope = DRIFT * np.polyfit(seen, y[seen], 1)[0] if len(seen) > 1 else 0.0
    best = (np.inf, 0.0)
    for alpha in ALPHAS:
        level, total, shown = y[seen[0]], 0.0, y[seen[0]]
        for t in range(seen[0] + 1, len(y)):
            # What is missing repeats what was seen last, about the drift.
            shown = shown + slope if np.isnan(y[t]) else y[t]
            error = shown - (level + slope)
            total += 0.0 if np.isnan(y[t]) else error**2
            level = level + slope + alpha * error
        # Of constants that err alike the first, whatever rounding makes of them.
        if total < best[0] * (1.0 - 1e-12):
            best = (total, level)
    ahead = np.arange(1, horizon + 1)
    return best[1] + slope * ahead + pattern[(len(y) - 1 + ahead) % season]


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(2, 60),
    st.integers(1, 5),
    st.sampled_from([1, 2, 4, 7, 12]),
    st.sampled_from(["whole", "short", "holes", "mixed"]),
)
def test_it_equals_a_plain_loop_whatever_is_missing(
    seed: int, rows: int, count: int, season: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(count, rows)).cumsum(axis=1) + 3.0 * np.sin(np.arange(rows))
    mask = np.ones_like(y)
    for k in range(count):
        if kind == "short" or (kind == "mixed" and k % 2):
            mask[k, : rng.integers(0, rows)] = 0.0
        if kind == "holes" or (kind == "mixed" and k % 3 == 1):
            mask[k, rng.random(rows) < 0.2] = 0.0
        mask[k, -1] = 1.0
    found = window_theta(y * mask, mask, season, 4)
    expected = [
        slow_theta(np.where(m > 0, v, np.nan), season, 4) for v, m in zip(y, mask, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_windows_longer_than_matrices_are_kept_for_are_forecast_alike() -> None:
    y = np.random.default_rng(3).normal(size=(2, MOST_ROWS + 5)).cumsum(axis=1)
    found = window_theta(y, np.ones_like(y), 7, 9)
    np.testing.assert_allclose(found, [slow_theta(row, 7, 9) for row in y], rtol=1e-7, atol=1e-7)


def test_windows_of_many_lengths_are_forecast_alike() -> None:
    count = MOST_BEGINS + 5
    y = np.random.default_rng(4).normal(size=(count, 60)).cumsum(axis=1)
    mask = (np.arange(60) >= np.arange(count)[:, None]).astype(float)
    expected = [slow_theta(np.where(m > 0, v, np.nan), 4, 3) for v, m in zip(y, mask, strict=True)]
    np.testing.assert_allclose(window_theta(y * mask, mask, 4, 3), expected, rtol=1e-7, atol=1e-7)


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
