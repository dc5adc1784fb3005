"""Zeros in a model of logs: the chance of one, and the quantiles of the mixture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.prediction.zeros import (
    FADING,
    PRIOR,
    SMALLEST,
    SURPRISED,
    with_zeros,
    zero_chances,
)
from forecasting.quantiles import Interpolation

TRAINED = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def panel(*histories: list[float]) -> Panel:
    y = np.concatenate([np.asarray(h, float) for h in histories])
    sizes = np.array([len(h) for h in histories])
    ids = [f"s{i}" for i in range(len(histories))]
    return Panel.from_arrays(ids, y, sizes, np.zeros(len(histories), np.int64), "step")


def slow_chances(history: list[float], season: int, horizon: int) -> list[float]:
    """Step by step, with plain loops."""
    seen: dict[int, float] = {}
    zeros: dict[int, float] = {}
    for row, value in enumerate(history):
        back = len(history) - row
        if np.isnan(value):
            continue
        weight = FADING ** ((back - 1) // season)
        place = (-back) % season
        seen[place] = seen.get(place, 0.0) + weight
        zeros[place] = zeros.get(place, 0.0) + weight * (value == 0)
    if not any(v == 0 for v in history):
        return [0.0] * horizon
    everywhere = sum(zeros.values()) / sum(seen.values())
    run = 0
    for value in reversed(history):
        if np.isnan(value):
            continue
        if value != 0:
            break
        run += 1
    # Improbable by what was seen before the run?
    seen_before, zeros_before, surprise = dict(seen), dict(zeros), 0.0
    tail, left = [], run
    for row in range(len(history) - 1, -1, -1):
        if np.isnan(history[row]):
            continue
        if not left:
            break
        left -= 1
        back = len(history) - row
        tail.append((-back) % season)
        weight = FADING ** ((back - 1) // season)
        seen_before[tail[-1]] -= weight
        zeros_before[tail[-1]] -= weight
    usual = sum(zeros_before.values()) / max(sum(seen_before.values()), 1e-12)
    for place in tail:
        expected = (zeros_before[place] + PRIOR * usual) / (seen_before[place] + PRIOR)
        surprise -= np.log(max(expected, SMALLEST))
    ended = run >= season or surprise > SURPRISED
    gone = 1.0 - FADING**run if ended else 0.0
    out = []
    for step in range(horizon):
        place = step % season
        rate = (zeros.get(place, 0.0) + PRIOR * everywhere) / (seen.get(place, 0.0) + PRIOR)
        out.append(max(rate, gone))
    return out


values = st.one_of(st.just(0.0), st.just(float("nan")), st.floats(0.5, 9.0))


@given(
    st.lists(st.lists(values, min_size=1, max_size=40), min_size=1, max_size=4),
    st.integers(1, 8),
    st.integers(1, 10),
)
def test_chances_equal_a_plain_loop(histories: list[list[float]], season: int, ahead: int) -> None:
    found = zero_chances(panel(*histories), season, ahead)
    expected = [slow_chances(h, season, ahead) for h in histories]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert ((found >= 0.0) & (found <= 1.0)).all()


def test_a_history_without_zeros_has_no_chance_of_one() -> None:
    assert not zero_chances(panel([1.0, np.nan, 3.0]), 1, 4).any()


def test_a_shop_that_closed_stays_closed_and_an_old_closure_is_forgotten() -> None:
    closed, reopened = [5.0] * 48 + [0.0] * 36, [5.0] * 20 + [0.0] * 3 + [5.0] * 60
    chances = zero_chances(panel(closed, reopened), 12, 6)
    assert (chances[0] > 0.95).all()
    assert (chances[1] < 0.15).all()


def test_half_a_year_without_sales_is_no_pattern() -> None:
    chances = zero_chances(panel([5.0] * 66 + [0.0] * 6, [5.0] * 63 + [0.0] * 9), 12, 6)
    assert (chances[0] > 0.4).all()
    assert (chances[1] > 0.6).all()


def test_sundays_are_zero_and_other_days_are_not() -> None:
    weeks = [5.0, 6.0, 5.0, 7.0, 8.0, 9.0, 0.0] * 8
    chances = zero_chances(panel(weeks), 7, 14)[0].reshape(2, 7)
    assert (chances[:, 6] > 0.8).all()
    assert (chances[:, :6] < 0.05).all()


def test_three_zeros_in_four_without_a_pattern_give_that_rate() -> None:
    rng = np.random.default_rng(1)
    histories = [list(np.where(rng.random(80) < 0.75, 0.0, 4.0)) for _ in range(50)]
    assert zero_chances(panel(*histories), 1, 1).mean() == pytest.approx(0.75, abs=0.05)


@given(st.floats(0.0, 0.99), st.lists(st.floats(0.01, 2.0), min_size=6, max_size=6))
def test_the_mixture_has_the_probabilities_it_says(chance: float, steps: list[float]) -> None:
    """Drawn from, the mixture falls below each of its quantiles as often as the level says."""
    knots = np.concatenate([[0.0], np.cumsum(steps)])[None, None]
    levels = tuple(np.linspace(0.01, 0.99, 45))
    mixed = with_zeros(knots, TRAINED, levels, np.array([[chance]]))[0, 0]
    assert (np.diff(mixed[np.isfinite(mixed)]) >= 0.0).all()
    assert np.isinf(mixed[np.asarray(levels) <= chance]).all()
    # The level of each quantile within the positive part, found by going back through it.
    dense = np.linspace(0.001, 0.999, 9999)
    curve = Interpolation(TRAINED, tuple(dense))(knots)[0, 0]
    for level, value in zip(levels, mixed, strict=True):
        if np.isfinite(value) and curve[0] < value < curve[-1]:
            inner = np.interp(value, curve, dense)
            assert chance + (1.0 - chance) * inner == pytest.approx(level, abs=2e-3)


def test_without_a_chance_of_zero_nothing_changes() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(3, 4, len(TRAINED))), axis=-1)
    wanted = (0.05, 0.5, 0.9)
    mixed = with_zeros(values, TRAINED, wanted, np.zeros((3, 4)))
    np.testing.assert_allclose(mixed, Interpolation(TRAINED, wanted)(values), rtol=1e-12)
