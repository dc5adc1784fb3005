from __future__ import annotations

import numpy as np
import pytest

from forecasting.classical.block import Block
from forecasting.classical.seasonal import adjusted
from forecasting.classical.smoothing import ENOUGH_FOR_TREND, damped, seasonal, trend_of
from tests.forecasting.classical.samples import restless

LENGTHS = [30, 44, 9, 17]


def plain_damped(
    y: np.ndarray, alpha: float, beta: float, phi: float, level: float, slope: float
) -> tuple[np.ndarray, float, float]:
    """Errors, last level and slope of one series, one step after the other."""
    errors = []
    for value in y:
        ahead = level + phi * slope
        errors.append(value - ahead)
        level, slope = ahead + alpha * errors[-1], phi * slope + beta * errors[-1]
    return np.array(errors), level, slope


def test_smoothing_equals_a_plain_loop_from_the_best_beginning() -> None:
    block = Block.of(*restless(LENGTHS, 4), 4)
    rng = np.random.default_rng(1)
    alpha, share, phi = rng.uniform([[0.1]] * 3, [[0.9], [0.9], [0.99]], (3, len(LENGTHS)))
    found = trend_of(block, alpha, share, phi)
    for k, length in enumerate(block.lengths):
        y, constants = block.y[:length, k], (alpha[k], alpha[k] * share[k], phi[k])

        def errors(level: float, slope: float, y=y, constants=constants) -> np.ndarray:
            return plain_damped(y, *constants, level, slope)[0]

        # Errors are linear in the beginning: least squares finds the best.
        base = errors(0.0, 0.0)
        ways = np.stack([base - errors(1.0, 0.0), base - errors(0.0, 1.0)], axis=1)
        best, _, _, _ = np.linalg.lstsq(ways, base)
        assert found.errors[k] <= (errors(*best) ** 2).sum() * (1.0 + 1e-6)
        error, level, slope = plain_damped(y, *constants, found.first[k], found.first_slope[k])
        np.testing.assert_allclose(found.errors[k], (error**2).sum(), rtol=1e-6)
        np.testing.assert_allclose([found.level[k], found.slope[k]], [level, slope], atol=1e-9)
        ahead = [level + slope * sum(phi[k] ** i for i in range(1, h + 1)) for h in (1, 2, 3)]
        np.testing.assert_allclose(found.forecast(3)[:, k], ahead)


def test_a_fit_errs_little_more_than_the_best_of_a_fine_grid() -> None:
    block = Block.of(*restless([60] * 5, 4), 1)
    found = damped(block)
    fine = [
        trend_of(block, *(np.full(5, v) for v in (alpha, share, phi))).errors
        for alpha in np.linspace(0.01, 0.99, 15)
        for share in np.linspace(0.01, 0.99, 12)
        for phi in np.linspace(0.8, 0.98, 4)
    ]
    assert (found.errors < 1.01 * np.min(fine, axis=0)).all()


def test_a_straight_line_goes_on_and_few_values_have_no_trend() -> None:
    line = np.arange(30.0)
    found = damped(Block.of(np.concatenate([line, line[:5]]), np.array([0, 30, 35]), 1))
    ahead = found.forecast(2) * [29.0, 4.0]
    assert 29.0 < ahead[0, 0] < 30.1
    assert ENOUGH_FOR_TREND == 6
    assert ahead[0, 1] == ahead[1, 1], "five values"


def plain_season(
    y: np.ndarray,
    constants: tuple[float, float, float, float],
    beginning: tuple[float, float, np.ndarray],
    ratios: bool,
) -> tuple[float, np.ndarray]:
    """Squared errors of one series and its forecast of a season, one step after the other."""
    alpha, beta, phi, gamma = constants
    level, slope, index = beginning[0], beginning[1], beginning[2].copy()
    total, m = 0.0, len(index)
    for t, value in enumerate(y):
        ahead = level + phi * slope
        if ratios:
            error = value - ahead * index[t % m]
            moved = error / index[t % m]
            index[t % m] += gamma * error / ahead
        else:
            error = moved = value - ahead - index[t % m]
            index[t % m] += gamma * error
        level, slope = ahead + alpha * moved, phi * slope + beta * moved
        total += error**2
    trend = [level + slope * sum(phi**i for i in range(1, h + 1)) for h in range(1, m + 1)]
    last = np.array([index[(len(y) + h) % m] for h in range(m)])
    return total, trend * last if ratios else trend + last


@pytest.mark.parametrize("ratios", [True, False])
@pytest.mark.parametrize("season", [4, 12])
def test_a_season_that_moves_equals_a_plain_loop(season: int, ratios: bool) -> None:
    block = Block.of(*restless([60, 49, 30], season), season)
    begin = adjusted(block, season, ratios=ratios)
    trend = damped(begin.block)
    found = seasonal(block, begin, trend, ratios=ratios)
    for k, length in enumerate(block.lengths):
        alpha = found.trend.alpha[k]
        beta, gamma = alpha * trend.share[k], found.gamma[k] * (1.0 - alpha)
        total, ahead = plain_season(
            block.y[:length, k],
            (alpha, beta, trend.phi[k], gamma),
            (trend.first[k], trend.first_slope[k], begin.index[:, k]),
            ratios,
        )
        np.testing.assert_allclose(found.trend.errors[k], total)
        np.testing.assert_allclose(found.forecast(season)[:, k], ahead)
