"""The season about the newest level, as loops find it, and right where a trend is straight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.arrays import Float
from forecasting.zero.levels import BRIEF, CYCLES, FORGET, continued, filled


@settings(deadline=None, max_examples=40)
@given(
    season=st.sampled_from([1, 2, 4, 7, 12]),
    rows=st.integers(1, 70),
    ahead=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_it_is_what_loops_find(season: int, rows: int, ahead: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    y = draw.standard_normal((2, rows)).cumsum(axis=1)
    y[draw.random(y.shape) < 0.2] = np.nan
    ends = np.unique(draw.integers(1, rows + 1, 3))
    level, drift, off = continued(y, season, ends, ahead)
    for i, t in np.ndindex(2, len(ends)):
        told = slow(y[i, : ends[t]], season, ahead)
        np.testing.assert_allclose(level[i, t], told[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(drift[i, t], told[1], rtol=1e-9, atol=1e-9)
        assert off[i, t] == pytest.approx(told[2], abs=1e-9)


def slow(y: Float, season: int, ahead: int) -> tuple[list[float], list[float], float]:
    """The same of one history at its end, step by step."""
    span, rows = season if season > 1 else BRIEF, len(y)

    def known(t: int) -> float:
        """The value at a row, or the newest one before it at its place of the season."""
        return next((y[u] for u in range(t, -1, -season) if np.isfinite(y[u])), np.nan)

    def mean(t: int) -> float:
        values = [known(u) for u in range(t - span + 1, t + 1) if u >= 0]
        return float(np.mean(values)) if len(values) == span else np.nan

    def place(t: int) -> float:
        """The mean deviation at a row's place of the season, looked for ever further back."""
        for u in range(t, -1, -season):
            rows_ = [v for v in range(u, u - CYCLES * season, -season) if v >= 0]
            pairs = [(FORGET**k, y[v] - mean(v)) for k, v in enumerate(rows_)]
            pairs = [(w, d) for w, d in pairs if np.isfinite(d)]
            if pairs:
                deviation = sum(w * d for w, d in pairs) / sum(w for w, _ in pairs)
                return float(deviation) if season > 1 else 0.0
        return np.nan

    seen = np.flatnonzero(np.isfinite(y))
    if not len(seen):
        return [np.nan] * ahead, [0.0] * ahead, 0.0
    newest = int(seen[-1])
    now, growth = mean(newest), (mean(newest) - mean(newest - span)) / span
    growth = 0.0 if np.isnan(growth) else growth
    level = []
    for target in range(rows, rows + ahead):
        source = target
        while source >= rows:
            source -= season
        level.append(now + place(source) if source >= 0 else np.nan)
    off = y[newest] - now - (place(newest - season) if newest >= season else np.nan)
    drift = [growth * (t - newest) for t in range(rows, rows + ahead)]
    return level, drift, 0.0 if np.isnan(off) else float(off)


@pytest.mark.parametrize("season", [4, 12])
def test_a_straight_trend_with_a_season_goes_on_as_it_is(season: int) -> None:
    shape = np.random.default_rng(0).standard_normal(season)
    y = 3.0 + 0.2 * np.arange(120) + np.tile(shape, 120 // season)
    level, drift, off = continued(y[None, :96], season, np.array([96]), 24)
    np.testing.assert_allclose((level + drift)[0, 0], y[96:], atol=1e-9)
    assert off[0, 0] == pytest.approx(0.0, abs=1e-9)


def test_missing_values_are_the_newest_at_their_place() -> None:
    y = np.array([[1.0, 2.0, np.nan, 4.0, 5.0, np.nan, np.nan]])
    np.testing.assert_array_equal(filled(y, 3), [[1.0, 2.0, np.nan, 4.0, 5.0, np.nan, 4.0]])
