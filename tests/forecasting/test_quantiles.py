"""Means and other levels from a few quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.errors import DataError
from forecasting.quantiles import (
    ASKED,
    TRAINED,
    Interpolation,
    check_levels,
    column_of,
    interpolation,
    level_of,
    mean_nodes,
    mean_weights,
    normal_scores,
    rearrange,
)

FEW = (0.025, 0.25, 0.5, 0.75, 0.975)


@pytest.mark.parametrize("levels", [TRAINED, ASKED, FEW])
@pytest.mark.parametrize("deviation", [0.01, 0.3, 1.0])
def test_the_mean_of_lognormal_values_is_right_to_a_hundredth(
    levels: tuple[float, ...], deviation: float
) -> None:
    logs = 2.0 + deviation * normal_scores(np.asarray(levels))
    tail, weights = mean_nodes(levels)
    mean = np.exp(tail(logs)) @ weights
    assert mean == pytest.approx(np.exp(2.0 + deviation**2 / 2.0), rel=0.01)


@given(st.lists(st.floats(0.0, 3.0), min_size=13, max_size=13), st.floats(-5.0, 5.0))
def test_both_ways_to_a_mean_agree_where_nothing_is_transformed(
    steps: list[float], start: float
) -> None:
    """Of values spread like a normal distribution's, whatever their place."""
    values = start + max(steps) * normal_scores(np.asarray(TRAINED))
    tail, weights = mean_nodes(TRAINED)
    assert tail(values) @ weights == pytest.approx(start, abs=1e-6)
    assert values @ mean_weights(TRAINED) == pytest.approx(start, abs=1e-6)


@given(st.lists(st.floats(0.0, 3.0), min_size=12, max_size=12), st.floats(-5.0, 5.0))
def test_interpolation_is_a_line_in_the_normal_score_between_neighbours(
    steps: list[float], start: float
) -> None:
    """The slow twin, level by level; a matrix product says the same but for rounding."""
    values = start + np.concatenate([[0.0], np.cumsum(steps)])
    wanted = (0.001, 0.025, 0.03, 0.5, 0.61, 0.975, 0.99)
    knots = normal_scores(np.asarray(TRAINED))
    expected = []
    for score in normal_scores(np.asarray(wanted)):
        k = min(max(int((knots <= score).sum()) - 1, 0), len(knots) - 2)
        share = (score - knots[k]) / (knots[k + 1] - knots[k])
        expected.append(values[k] + (values[k + 1] - values[k]) * share)
    found = interpolation(TRAINED, wanted)
    np.testing.assert_allclose(found(values), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.roughly(values[None])[0], expected, rtol=1e-9, atol=1e-9)
    assert (np.diff(found(values)) >= 0.0).all()


def test_trained_levels_are_taken_as_they_are() -> None:
    values = np.random.default_rng(2).normal(size=(3, 2, 13)).cumsum(axis=-1)
    found = interpolation(TRAINED, TRAINED[::-3])
    np.testing.assert_array_equal(found(values), values[..., ::-3])


def test_quantiles_that_cross_are_made_to_rise_from_the_median_and_others_stay() -> None:
    crossed = np.array([[3.0, 1.0, 2.0, 1.5, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    np.testing.assert_array_equal(
        rearrange(crossed), [[1.0, 1.0, 2.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]]
    )


def test_levels_and_normal_scores_name_the_same_quantiles() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(4, 13)), axis=-1)
    wanted = (0.01, 0.3, 0.77)
    by_score = Interpolation.at(TRAINED, normal_scores(np.asarray(wanted)))
    np.testing.assert_array_equal(by_score(values), Interpolation(TRAINED, wanted)(values))


@pytest.mark.parametrize("levels", [TRAINED, ASKED, FEW, (0.2, 0.5, 0.6)])
def test_the_mean_is_that_of_lines_between_levels_and_level_tails(
    levels: tuple[float, ...],
) -> None:
    """The quantile function drawn out step by step: each tail at its outermost level's value."""
    values = np.random.default_rng(1).normal(size=len(levels)).cumsum() ** 2
    chances = (np.arange(200_000) + 0.5) / 200_000
    expected = np.interp(chances, levels, values).mean()
    assert values @ mean_weights(levels) == pytest.approx(expected, rel=1e-4)
    assert mean_weights(levels).sum() == pytest.approx(1.0)


def test_far_nodes_go_on_beyond_the_outermost_levels_and_no_further_than_was_learned() -> None:
    """Asymmetric tails: the mean of exp comes from where the upper one leads."""
    levels = ASKED
    tail, weights = mean_nodes(levels)
    scores = tail(normal_scores(np.asarray(levels)))
    assert scores.max() > normal_scores(np.array([0.9]))[0]
    assert np.abs(scores).max() <= 3.7
    assert weights.sum() == pytest.approx(1.0)


@given(st.floats(1e-6, 1.0 - 1e-6))
def test_a_level_is_read_back_from_its_column(level: float) -> None:
    found = level_of(column_of(level))
    assert found == pytest.approx(level, rel=1e-5)
    assert column_of(found) == column_of(level)


@pytest.mark.parametrize("column", ["q", "q0", "q1", "quantity", "q-0.1", "0.1", "qnan", "Q0.5"])
def test_other_columns_are_no_levels(column: str) -> None:
    assert level_of(column) is None


@pytest.mark.parametrize(
    "levels",
    [
        0.5, "0.5", b"5", None, np.array(0.5), np.full((1, 1), 0.5), iter([0.5]),
        [0.0], [1.0], [None], ["0.5"], [[0.5]], [0.5j], [pd.NA], [True], [math.nan], [10**400],
        [0.1, 0.1000001], [0.9999999],
    ],
)  # fmt: skip
def test_levels_that_no_table_could_hold_are_refused(levels: Any) -> None:
    with pytest.raises(DataError, match="quantile"):
        check_levels(levels)
