from __future__ import annotations

import numpy as np

from forecasting.classical.block import Block
from forecasting.classical.theta import ENOUGH_FOR_LINE, theta
from tests.forecasting.classical.samples import restless


def plain_errors(
    y: np.ndarray, line: tuple[float, float], alpha: float, weight: float, level: float
) -> tuple[np.ndarray, float]:
    """One-step errors and last level of one series, one step after the other."""
    start, slope, errors = *line, []
    for t, value in enumerate(y, 1):
        gone = (1.0 - alpha) ** (t - 1)
        trend = gone * start + (1.0 - gone * (1.0 - alpha)) / alpha * slope
        errors.append(value - level - weight * trend)
        level = alpha * value + (1.0 - alpha) * level
    return np.array(errors), level


def plain_fit(y: np.ndarray, horizon: int) -> tuple[float, np.ndarray]:
    """Least squared errors over a fine grid of constants and shares, and the forecast there."""
    slope, start = np.polyfit(np.arange(1, len(y) + 1), y, 1)
    best: tuple[float, float, float, float] = (np.inf, 0.0, 0.0, 0.0)
    for alpha in np.linspace(0.02, 0.98, 49):
        gone = (1.0 - alpha) ** np.arange(len(y))
        for weight in np.linspace(0.0, 1.0, 41):
            base, _ = plain_errors(y, (start, slope), alpha, weight, 0.0)
            level = float(gone @ base / (gone @ gone))
            errors, last = plain_errors(y, (start, slope), alpha, weight, level)
            best = min(best, (float((errors**2).sum()), alpha, weight, last))
    total, alpha, weight, last = best
    gone = (1.0 - alpha) ** len(y)
    line = gone * start + (1.0 - gone * (1.0 - alpha)) / alpha * slope
    return total, last + weight * (line + np.arange(horizon) * slope)


def test_it_equals_the_best_of_a_fine_grid_one_series_after_the_other() -> None:
    block = Block.of(*restless([40, 25, 12], 4), 1)
    found = theta(block, rounds=4)
    ahead = found.forecast(4)
    for k, length in enumerate(block.lengths):
        total, expected = plain_fit(block.y[:length, k], 4)
        assert found.errors[k] < 1.002 * total
        np.testing.assert_allclose(ahead[:, k], expected, rtol=0.02)


def test_its_errors_are_those_of_a_plain_loop() -> None:
    block = Block.of(*restless([40, 25, 12], 4), 1)
    found = theta(block)
    for k, length in enumerate(block.lengths):
        y, constants = block.y[:length, k], (found.alpha[k], found.weight[k])
        line = (found.start[k], found.slope[k])
        left = 1.0 - found.alpha[k]
        # The first level is what the last one says it was.
        end = plain_errors(y, line, *constants, 0.0)[1]
        first = (found.level[k] - end) / left**length
        if left**length > 1e-8:
            errors, _ = plain_errors(y, line, *constants, first)
            np.testing.assert_allclose(found.errors[k], (errors**2).sum(), rtol=1e-5)


def test_a_line_goes_on_and_few_values_have_a_level_only() -> None:
    y = np.concatenate([10.0 + np.arange(30.0), np.arange(1.0, ENOUGH_FOR_LINE)])
    found = theta(Block.of(y, np.array([0, 30, len(y)]), 1)).forecast(2)
    np.testing.assert_allclose(found[:, 0] * 39.0, [40.0, 41.0], atol=0.01)
    assert found[0, 1] == found[1, 1]
