"""Conformal correction: what it moves, by how much, and when it holds back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.selection.calibration import (
    AS_GOOD,
    ENOUGH,
    ENOUGH_PER_STEP,
    Array,
    beside,
    conformal_correction,
    correction_of,
    forecasts_in,
    helpful_share,
    widening,
)

LEVELS = (0.1, 0.5, 0.9)
# Standard normal quantiles of the levels.
SCORES = np.array([-1.2816, 0.0, 1.2816])


def _errors(rng: np.random.Generator, count: int, spread: float, shift: float = 0.0) -> Array:
    """Errors of a forecaster that believes in a standard normal, where N(shift, spread) comes."""
    drawn = rng.normal(shift, spread, (count, 4))
    return np.asarray(drawn[..., None] - SCORES)


def test_intervals_that_are_too_narrow_are_widened_to_their_level() -> None:
    rng = np.random.default_rng(0)
    correction = correction_of(_errors(rng, 4000, 2.0), LEVELS)
    assert correction is not None
    fresh = rng.normal(0.0, 2.0, 20_000)
    for step in correction + SCORES:
        assert np.mean((fresh >= step[0]) & (fresh <= step[2])) == pytest.approx(0.8, abs=0.02)


def test_the_median_stays_where_it_is() -> None:
    correction = correction_of(_errors(np.random.default_rng(1), 500, 1.0, shift=3.0), LEVELS)
    assert correction is not None
    assert (correction[:, 1] == 0.0).all()


@pytest.mark.parametrize("count", [ENOUGH, 99, 1000])
@pytest.mark.parametrize("level", [0.1, 0.3, 0.7, 0.9])
def test_a_new_error_lies_beyond_the_correction_no_more_often_than_its_level(
    count: int, level: float
) -> None:
    """Split conformal prediction's promise at any number of errors, not only in the limit.

    The i-th smallest of n errors is, on average, the level i / (n + 1) of the next one.
    """
    errors = (np.arange(1, count + 1) / (count + 1))[:, None, None]
    found = correction_of(errors, (level,))
    assert found is not None
    whole = float(found[0, 0]) * (count + ENOUGH) / count
    outward = whole - level if level > 0.5 else level - whole
    assert 0.0 <= outward < 1.0 / (count + 1)


@pytest.mark.parametrize("count", [ENOUGH, 100, 5000])
def test_few_errors_move_less_than_many(count: int) -> None:
    found = correction_of(np.full((count, 1, 2), 3.0), (0.1, 0.9))
    np.testing.assert_allclose(found, 3.0 * count / (count + ENOUGH))


def test_few_errors_correct_nothing_and_unknown_ones_do_not_count() -> None:
    errors = _errors(np.random.default_rng(2), ENOUGH // 4 - 1, 1.0)
    assert correction_of(errors, LEVELS) is None
    unknown = np.full((1000, 4, 3), np.nan)
    assert correction_of(np.concatenate([errors, unknown]), LEVELS) is None


def test_what_every_origin_asks_for_is_granted_whole() -> None:
    rng = np.random.default_rng(3)
    blocks = [_errors(rng, 800, 2.0) for _ in range(3)]
    assert helpful_share(blocks, LEVELS) >= 0.75
    whole = correction_of(np.concatenate(blocks), LEVELS)
    given = conformal_correction(blocks, LEVELS)
    assert given is not None
    assert whole is not None
    np.testing.assert_allclose(given, helpful_share(blocks, LEVELS) * whole)


def test_what_the_origins_ask_for_by_turns_is_not_granted() -> None:
    # One origin was all too high and one all too low: neither tells of the next.
    rng = np.random.default_rng(4)
    blocks = [_errors(rng, 800, 1.0, shift=s) for s in (-2.0, 2.0)]
    assert helpful_share(blocks, LEVELS) == 0.0
    given = conformal_correction(blocks, LEVELS)
    assert given is not None
    assert (given == 0.0).all()


def test_a_single_origin_is_taken_at_its_word() -> None:
    block = _errors(np.random.default_rng(5), 800, 2.0)
    np.testing.assert_array_equal(
        conformal_correction([block], LEVELS), correction_of(block, LEVELS)
    )


def test_widening_is_the_quantile_of_how_far_outside_what_came_was() -> None:
    """Against a plain loop, over enough errors for each step to be alone."""
    errors = _errors(np.random.default_rng(5), 400, 2.0)
    found = widening([errors[:100], errors[100:]], LEVELS)
    assert found is not None
    for h in range(errors.shape[1]):
        outside = [max(-one[h, 0], one[h, -1]) for one in errors]
        wide = max(float(np.quantile(outside, LEVELS[-1] - LEVELS[0])), 0.0)
        assert found[h, -1] == pytest.approx(wide)
        assert found[h, 0] == pytest.approx(-wide)
        assert found[h, len(LEVELS) // 2] == 0.0


@given(st.integers(0, 10_000), st.floats(0.1, 5.0), st.floats(-4.0, 4.0))
@settings(max_examples=30, deadline=None)
def test_widening_never_narrows_and_leans_to_no_side(seed: int, scale: float, shift: float) -> None:
    errors = _errors(np.random.default_rng(seed), 30, scale, shift=shift)
    found = widening([errors], LEVELS)
    assert found is not None
    assert (found[:, -1] >= 0.0).all()
    np.testing.assert_array_equal(found, -found[:, ::-1])
    # Which of two series errs up and which down makes no difference.
    mirrored = widening([-errors[..., ::-1]], LEVELS)
    np.testing.assert_allclose(mirrored, found)


def test_the_fewer_forecasts_were_held_back_the_more_counts_the_rest_of_the_history() -> None:
    held, rolled = np.array([[-1.0, 0.0, 1.0]]), np.array([[-3.0, 0.0, 3.0]])
    widths = [beside(held, count, rolled)[0, 2] for count in (0, 1, AS_GOOD, 100, 10_000)]
    assert widths[0] == 3.0
    assert widths[2] == pytest.approx(2.0)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(1.0, abs=1e-3)
    assert beside(held, 3, None) is held
    assert beside(None, 3, rolled) is rolled
    assert beside(None, 3, None) is None
    unknown = np.full((4, 2, 3), np.nan)
    assert widening([unknown], LEVELS) is None
    unknown[1, 0] = 0.0
    assert forecasts_in([unknown, unknown]) == 2


def _near(errors: Array, h: int) -> Array:
    """The errors that count at a step: steps are pooled so that each has `ENOUGH_PER_STEP`."""
    horizon = errors.shape[1]
    for reach in range(horizon + 1):
        pools = [errors[:, max(k - reach, 0) : k + reach + 1] for k in range(horizon)]
        if reach == horizon or all(np.isfinite(p[..., 0]).sum() >= ENOUGH_PER_STEP for p in pools):
            break
    near = pools[h].reshape(-1, errors.shape[2])
    return np.asarray(near[np.isfinite(near[:, 0])])


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(ENOUGH, 450),
    horizon=st.integers(1, 6),
    missing=st.sampled_from([0.0, 0.2, 0.7]),
)
@settings(max_examples=25, deadline=None)
def test_steps_are_pooled_as_far_as_loops_over_them_say(
    seed: int, count: int, horizon: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    levels = (0.05, 0.4, 0.5, 0.6, 0.95)
    drawn = rng.normal(rng.normal(size=horizon), 1.0 + np.arange(horizon), (count, horizon))
    drawn[rng.random((count, horizon)) < missing * np.linspace(0, 1, horizon)] = np.nan
    errors = np.repeat(drawn[..., None], 5, axis=2) - np.array([-1.6, -0.3, 0.0, 0.3, 1.6])
    corrected, widened = correction_of(errors, levels), widening([errors], levels)
    if corrected is None:
        assert np.isfinite(drawn).sum() < ENOUGH
        return
    assert widened is not None
    for h in range(horizon):
        near = _near(errors, h)
        n = len(near)
        for k, level in enumerate(levels):
            # The place of the level among n errors and the one to come, from either side.
            place = {True: (n + 1) * level, False: (n + 1) * level - 1}[level > 0.5] / n
            moved = np.quantile(near[:, k], min(max(place, 0.0), 1.0)) * n / (n + ENOUGH)
            assert corrected[h, k] == pytest.approx(0.0 if level == 0.5 else moved)
        for low, high in ((0, 4), (1, 3)):
            outside = [max(-one[low], one[high]) for one in near]
            wide = max(np.quantile(outside, levels[high] - levels[low]), 0.0)
            assert widened[h, high] == pytest.approx(wide)
            assert widened[h, low] == pytest.approx(-wide)
