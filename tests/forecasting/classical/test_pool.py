from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.classical.pool import MEMBERS, classical
from tests.forecasting.classical.samples import restless

NAMES = tuple(MEMBERS)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    season=st.sampled_from([1, 4, 12]),
    holes=st.floats(0.0, 0.5),
    seed=st.integers(0, 99),
)
def test_a_series_is_forecast_alike_alone_and_among_others(
    lengths: list[int], season: int, holes: float, seed: int
) -> None:
    y, offsets = restless(lengths, season, seed)
    y[np.random.default_rng(seed).random(len(y)) < holes] = np.nan
    together = classical(y, offsets, season, 5, NAMES)
    for k in range(len(lengths)):
        own = y[offsets[k] : offsets[k + 1]]
        alone = classical(own, np.array([0, len(own)]), season, 5, NAMES)[:, 0]
        np.testing.assert_allclose(together[:, k], alone, rtol=1e-6, atol=1e-6)
        assert np.isfinite(alone).all() == (~np.isnan(own)).any()


@settings(deadline=None, max_examples=30)
@given(scale=st.sampled_from([1e-12, 1e-3, 1e12, -1.0]), seed=st.integers(0, 99))
def test_another_unit_gives_the_same_forecast_in_it(scale: float, seed: int) -> None:
    """Of negative values too, as long as their sign does not change what a season is taken from."""
    y, offsets = restless([50, 20], 1, seed)
    plain, scaled = (classical(v, offsets, 1, 5, NAMES) for v in (y, y * scale))
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-6)


@pytest.mark.parametrize("season", [1, 4, 12, 30])
@pytest.mark.parametrize(
    "y",
    [
        np.zeros(40),
        np.full(40, 7.0),
        np.array([3.0]),
        np.array([3.0, 5.0]),
        np.where(np.arange(40) < 20, 1.0, 100.0),
        np.where(np.arange(40) % 4 == 0, 5.0, 0.0),
        np.where(np.arange(40) % 10 == 3, 5.0, np.nan),
        -np.arange(1.0, 41.0),
        np.exp(np.arange(40.0)),
        np.where(np.arange(40) == 20, 1e300, 1.0),
    ],
    ids=["zeros", "constant", "one", "two", "step", "counts", "gaps", "falling", "growth", "wild"],
)
def test_odd_series_get_finite_forecasts_near_what_was_seen(y: np.ndarray, season: int) -> None:
    found = classical(y, np.array([0, len(y)]), season, 6, NAMES)[:, 0]
    assert np.isfinite(found).all()
    size, span = np.nanmax(np.abs(y)), np.nanmax(y) - np.nanmin(y)
    assert np.abs(found).max() <= 6.0 * size
    if span == 0.0:
        np.testing.assert_allclose(found, np.full_like(found, np.nanmax(y)), atol=1e-9)


def test_drift_equals_a_plain_loop() -> None:
    y, offsets = restless([23, 8, 7, 2, 1], 4)
    (found,) = classical(y, offsets, 4, 9, ["drift"])
    for k in range(5):
        own = y[offsets[k] : offsets[k + 1]]
        m = 4 if len(own) >= 8 else 1
        moves = [own[len(own) - m + j] - own[j] for j in range(m)] if len(own) > m else [0.0]
        per_step = np.mean(moves) / max(len(own) - m, 1)
        expected = [own[len(own) - m + h % m] + per_step * m * (1 + h // m) for h in range(9)]
        np.testing.assert_allclose(found[k], expected)


def test_a_season_is_carried_on_by_all_but_is_smoothed_only_where_it_is_short() -> None:
    steps = np.arange(96 + 12)
    y = 100.0 + steps + 10.0 * np.sin(2 * np.pi * steps / 12)
    found = classical(y[:96], np.array([0, 96]), 12, 12, NAMES)[:, 0]
    np.testing.assert_allclose(found, np.broadcast_to(y[96:], found.shape), atol=12.0)
    long = classical(np.tile(y[:60], 3), np.array([0, 180]), 60, 4, ("damped", "seasonal"))
    np.testing.assert_array_equal(*long)


def test_rows_beyond_the_bound_have_no_influence() -> None:
    y, offsets = restless([60], 4)
    other = np.concatenate([-1e6 * y[:20], y[20:]])
    a, b = (classical(v, offsets, 4, 5, NAMES, rows=40) for v in (y, other))
    np.testing.assert_array_equal(a, b)
