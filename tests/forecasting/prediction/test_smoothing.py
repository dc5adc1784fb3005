"""Smoothing by blocks of rows against the recursion row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.prediction.smoothing import AT_ONCE, BLOCK, FEW, smoothed

ALPHAS = (0.02, 0.3, 0.9, 1.0)


def by_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[A, N] last levels and squared errors, one value after the other."""
    shape = (len(ALPHAS), len(values))
    levels, errors = np.zeros(shape), np.zeros(shape)
    for a, alpha in enumerate(ALPHAS):
        for n, series in enumerate(values):
            for value in series:
                error = value - levels[a, n]
                errors[a, n] += error**2
                levels[a, n] += alpha * error
    return levels, errors


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5 * BLOCK),
    st.sampled_from([1, 2, FEW, FEW + 1, 40]),
    st.sampled_from([0.0, 1e-3, 1.0, 1e6]),
)
def test_blocks_give_what_rows_give(seed: int, rows: int, count: int, size: float) -> None:
    values = size * np.random.default_rng(seed).normal(size=(count, rows)).cumsum(axis=1)
    levels, errors = smoothed(values, ALPHAS)
    expected_levels, expected_errors = by_rows(values)
    np.testing.assert_allclose(levels, expected_levels, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(errors, expected_errors, rtol=1e-9, atol=1e-9 * size**2)


@pytest.mark.parametrize("count", [AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 3])
def test_more_windows_than_stay_in_cache_are_taken_in_parts(count: int) -> None:
    values = np.random.default_rng(0).normal(size=(count, 11))
    for found, expected in zip(smoothed(values, ALPHAS), by_rows(values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
