"""Accidents and older levels do not decide a forecast; peaks, trends and new levels are kept."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.classical import history
from forecasting.classical.history import rows_of_older_levels, without_accidents
from forecasting.classical.pool import MEMBERS, classical


def walk(seed: int, rows: int, season: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = 10.0 * np.sin(2.0 * np.pi * np.arange(rows) / season) if season > 1 else 0.0
    return 100.0 + rng.normal(size=rows).cumsum() + wave


def slow_mended(y: list[float], season: int) -> list[float]:
    """Value by value, as the docstring says."""
    ordered, n = sorted(y), len(y)
    low, high = ordered[min(int(n * 0.25), n - 1)], ordered[min(int(n * 0.75), n - 1)]
    reach = history.FAR_OUT * (high - low)
    told = []
    for t in range(n):
        places = [t + k for k in range(-history.BESIDE, history.BESIDE + 1)]
        usual = median(y[p] for p in places if 0 <= p < n)
        if season > 1:
            places = [t + season * k for k in range(-history.BESIDE, history.BESIDE + 1)]
            again = median(y[p] for p in places if 0 <= p < n)
            if abs(y[t] - again) < abs(y[t] - usual):
                usual = again
        told.append(usual)
    away = [abs(a - b) for a, b in zip(y, told, strict=True)]
    typical = sorted(away)[min(int(n * 0.5), n - 1)]
    odd = [
        reach > 0
        and not low - reach <= value <= high + reach
        and apart > max(history.ALONE * typical, reach)
        for value, apart in zip(y, away, strict=True)
    ]
    known = any(odd[: max(n - history.BESIDE, 0)])
    return [
        usual if is_odd and (t < n - history.BESIDE or known) else value
        for t, (value, usual, is_odd) in enumerate(zip(y, told, odd, strict=True))
    ]


def slow_break(y: list[float], season: int) -> int:
    """The last row at which the level breaks, row by row."""
    side, n = max(season, history.LEAST_SIDE), len(y)
    after = max(side, history.SEASONS_AFTER * season)
    for t in range(n - after, side - 1, -1):
        sides = [y[t - side : t], y[t : t + side]]
        for values in (sides, [[np.log(v) if v > 0 else np.nan for v in s] for s in sides]):
            (a, b), (c, d) = ((min(s), max(s)) for s in values)
            whole = not np.isnan([*values[0], *values[1]]).any()
            if whole and max(c - b, a - d) > max(b - a, d - c):
                return t
    return 0


@given(st.integers(0, 10**6), st.integers(1, 70), st.sampled_from([1, 4, 7]), st.booleans())
def test_both_are_what_a_loop_makes(seed: int, rows: int, season: int, moves: bool) -> None:
    rng = np.random.default_rng(seed)
    y = walk(seed, rows, season)
    for at in rng.integers(0, rows, 3):
        y[at] *= rng.choice([-50.0, 0.0, 20.0, 1e4])
    if moves:
        y[: rng.integers(0, rows)] *= rng.choice([0.01, 10.0, -3.0])
    block, lengths = np.zeros((rows + 3, 2)), np.array([rows, rows])
    block[:rows] = y[:, None]
    found = without_accidents(block, lengths, season)
    np.testing.assert_allclose(found[:rows, 0], slow_mended(y.tolist(), season))
    assert (found[rows:] == 0.0).all()
    assert (
        rows_of_older_levels(block, lengths, season).tolist()
        == [slow_break(y.tolist(), season)] * 2
    )


@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 4, 12]),
    st.integers(0, 70),
    st.sampled_from([-1e3, 0.0, 30.0, 1e6]),
)
def test_one_value_far_off_moves_no_forecast_far(
    seed: int, season: int, at: int, times: float
) -> None:
    y = walk(seed, 80, season)
    spiked = y.copy()
    spiked[at] *= times
    bounds = np.array([0, 80])
    clean, found = (classical(v, bounds, season, 6, list(MEMBERS)) for v in (y, spiked))
    assert (np.abs(found - clean) <= 3.0 * np.ptp(y)).all()


@pytest.mark.parametrize("season", [1, 12])
@pytest.mark.parametrize("times", [1e-3, 0.05, 20.0, 1e4])
def test_another_unit_long_ago_moves_no_forecast(season: int, times: float) -> None:
    y = walk(3, 90, season)
    moved = y.copy()
    moved[:40] *= times
    bounds = np.array([0, 90])
    expected = classical(y[40:], np.array([0, 50]), season, 6, list(MEMBERS))
    found = classical(moved, bounds, season, 6, list(MEMBERS))
    np.testing.assert_allclose(found, expected)


def test_peaks_of_every_year_trends_and_last_values_are_kept() -> None:
    rows = np.arange(96)
    peaks = np.where(rows % 12 == 11, 500.0, 100.0) + np.random.default_rng(0).normal(size=96)
    growth = 1.1**rows
    last = walk(1, 96)
    last[-1] *= 50.0
    rare = np.where(rows % 17 == 3, 40.0, 0.0)
    block = np.stack([peaks, growth, last, rare, np.full(96, 7.0)], axis=1)
    lengths = np.full(5, 96)
    np.testing.assert_array_equal(without_accidents(block, lengths, 12), block)
    assert rows_of_older_levels(block, lengths, 12).tolist() == [0, 0, 0, 0, 0]


def test_a_constant_added_changes_no_constant_of_smoothing() -> None:
    y, bounds = walk(5, 80), np.array([0, 80])
    expected = classical(y, bounds, 1, 6, ["damped", "drift"])
    for more in (1e3, 1e5, 1e6):
        found = classical(y + more, bounds, 1, 6, ["damped", "drift"])
        np.testing.assert_allclose(found - more, expected, atol=0.05)
