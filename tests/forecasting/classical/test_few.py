"""Smoothing of a few series by weights over their histories, against the recursions by rows."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.classical import pool, smoothing, theta
from forecasting.classical.few import FEW, errors_of, last_of, weights_of
from forecasting.classical.pool import MEMBERS, classical
from tests.forecasting.classical.samples import restless

NAMES = tuple(MEMBERS)


def by_rows(y: np.ndarray, offsets: np.ndarray, season: int, horizon: int) -> np.ndarray:
    with (
        patch.object(smoothing, "is_few", lambda block: False),
        patch.object(theta, "is_few", lambda block: False),
        patch.object(pool, "FEW", 0),
    ):
        return classical(y, offsets, season, horizon, NAMES)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=FEW + 1),
    alike=st.booleans(),
    season=st.sampled_from([1, 2, 4, 12]),
    kind=st.sampled_from(["positive", "any", "holes", "counts", "constant", "falls to nothing"]),
    seed=st.integers(0, 999),
)
def test_weights_forecast_what_recursions_by_rows_do(
    lengths: list[int], alike: bool, season: int, kind: str, seed: int
) -> None:
    lengths = [lengths[0]] * len(lengths) if alike else lengths
    y, offsets = restless(lengths, max(season, 2), seed)
    rng = np.random.default_rng(seed)
    if kind == "any":
        y = y - 60.0
    elif kind == "holes":
        y[rng.random(len(y)) < 0.2] = np.nan
    elif kind == "counts":
        y = rng.poisson(0.5, len(y)).astype(float)
    elif kind == "constant":
        y = np.full(len(y), 7.0)
    elif kind == "falls to nothing":
        y = y * 1e-3 ** (np.arange(len(y)) / 10.0)
    found, expected = classical(y, offsets, season, 5, NAMES), by_rows(y, offsets, season, 5)
    size = np.nanmax(np.abs(y), initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * size)


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 37])
def test_weights_are_what_a_loop_makes_of_one_unit(rows: int) -> None:
    """Two candidates, two series: every error and the last states, one row after the other."""
    rng = np.random.default_rng(rows)
    alpha, phi = rng.uniform(0.05, 0.95, (2, 2)), rng.uniform(0.8, 1.0, (2, 2))
    beta, values = alpha * rng.uniform(0.0, 0.9, (2, 2)), rng.normal(size=(2, rows))
    weights = weights_of(alpha, beta, phi, rows)
    errors = errors_of(values, weights.echoes)
    last = [last_of(values, weights.gains[..., k, :]) for k in (0, 1)]
    for c in (0, 1):
        for n in (0, 1):
            starts = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
            for number, (level, slope) in enumerate(starts):
                for t in range(rows):
                    ahead = level + phi[c, n] * slope
                    error = (values[n, t] if number == 0 else 0.0) - ahead
                    if number == 0:
                        assert errors[c, n, t] == pytest.approx(error, abs=1e-12)
                    else:
                        assert weights.ahead[c, n, t, number - 1] == pytest.approx(ahead, abs=1e-12)
                    slope = phi[c, n] * slope + beta[c, n] * error
                    level = ahead + alpha[c, n] * error
                if number == 0:
                    assert [part[c, n] for part in last] == pytest.approx([level, slope], abs=1e-12)
                else:
                    ends = weights.ends[c, n, :, number - 1]
                    assert ends == pytest.approx([level, slope], abs=1e-12)
