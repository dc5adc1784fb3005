"""The rule: how much less one errs than another, and whether that may be chance."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.selection.rule import is_better, lead


def test_the_lead_is_the_mean_difference_and_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.uniform(1.0, 2.0, (2, 2, 50))
    one[0, 3] = other[1, 7] = np.nan
    seen = np.isfinite(one).all(axis=0)
    gains = []
    for k in range(50):
        parts = [(one[m, k] - other[m, k]) / one[m, seen].mean() for m in range(2)]
        if np.isfinite(parts).all():
            gains.append(np.mean(parts))
    gain, unsure = lead(one, other)
    assert gain == pytest.approx(np.mean(gains))
    assert unsure == pytest.approx(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert is_better(one, other) == (gain > unsure)
    assert is_better(one, one) is False
    assert not is_better(one, np.full_like(one, np.nan))


def test_one_forecast_replaces_nothing_that_is_simpler() -> None:
    gain, unsure = lead(np.array([[2.0]]), np.array([[1.0]]))
    assert (gain, unsure) == (0.5, np.inf)
    assert is_better(np.array([[2.0]]), np.array([[1.0]])) is False
