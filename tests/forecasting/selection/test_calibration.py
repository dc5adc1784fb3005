"""Conformal correction: what it moves, by how much, and when it holds back."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.selection.calibration import (
    ENOUGH,
    Array,
    conformal_correction,
    correction_of,
    helpful_share,
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
