"""Shocks: correlations as their kernels say, drawn by seed and name, and kept in a bundle."""

from __future__ import annotations

import json

import numpy as np
import pytest

from forecasting.copula import dependence
from forecasting.copula.dependence import Dependence, in_ranks, path_levels
from forecasting.copula.kernels import KERNELS, correlation
from forecasting.copula.learning import USUAL

MIXED = Dependence(
    season=4,
    own={"alone": 0.2, "walk": 0.3},
    shared={"fading_0.8": 0.2},
    groups={"region": {"level": 0.2, "season": 0.1}},
)


def scores(dependence: Dependence, count: int = 2, paths: int = 4_000, **options: object):
    labels = {"region": ["n"] * count}
    given = {"origins": [7] * count, "labels": labels, "shape": (6, paths), "seed": 0, **options}
    return dependence.scores([f"s{i}" for i in range(count)], **given)


def test_every_kernel_is_a_correlation() -> None:
    steps = np.arange(1.0, 31.0)
    for name in KERNELS:
        matrix = correlation(name, steps, 7)
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_array_equal(np.diagonal(matrix), 1.0)
        assert np.linalg.eigvalsh(matrix).min() > -1e-9, name


def test_scores_are_correlated_as_the_weights_say() -> None:
    drawn = scores(MIXED, paths=40_000)
    steps = np.arange(1.0, 7.0)
    region = 0.2 * correlation("level", steps, 4) + 0.1 * correlation("season", steps, 4)
    together = region + 0.2 * correlation("fading_0.8", steps, 4)
    own = 0.2 * correlation("alone", steps, 4) + 0.3 * correlation("walk", steps, 4)
    found = np.corrcoef(drawn.reshape(12, -1))
    np.testing.assert_allclose(found[:6, :6], own + together, atol=0.02)
    np.testing.assert_allclose(found[:6, 6:], together, atol=0.02)


def test_horizons_asked_in_turn_share_a_few_roots() -> None:
    weights = (("alone", 0.5), ("walk", 0.5))
    before = dependence._long_root.cache_info().currsize
    for steps in (257, 300, 411, 512):
        root = dependence._root(weights, steps, 4)
        plain = 0.5 * np.eye(steps) + 0.5 * correlation("walk", np.arange(1.0, steps + 1.0), 4)
        np.testing.assert_allclose(root @ root.T, plain, atol=1e-8)
    assert dependence._long_root.cache_info().currsize <= before + 1
    assert dependence._long_root.cache_info().maxsize * 8 * dependence.FURTHEST_STEP**2 < 2**27


def test_series_of_other_categories_or_origins_share_less() -> None:
    other = scores(MIXED, labels={"region": ["n", "s"]}, paths=40_000)
    later = scores(MIXED, origins=[7, 8], paths=40_000)
    strange = scores(MIXED, labels={"region": [None, None]}, paths=40_000)
    assert np.corrcoef(other[:, 0])[0, 1] == pytest.approx(0.2, abs=0.02)
    assert np.corrcoef(later[:, 0])[0, 1] == pytest.approx(0.0, abs=0.02)
    assert np.corrcoef(strange[:, 0])[0, 1] == pytest.approx(0.2, abs=0.02)


def test_a_series_draws_the_same_whoever_is_beside_it_and_however_far_it_goes() -> None:
    both = scores(MIXED, paths=50)
    np.testing.assert_array_equal(both[:1], scores(MIXED, count=1, paths=50))
    shorter = scores(MIXED, paths=50, shape=(4, 50))
    np.testing.assert_allclose(both[:, :4], shorter, atol=1e-12)
    assert not np.array_equal(both, scores(MIXED, paths=50, seed=1))


def test_ranks_keep_each_steps_quantiles_and_follow_the_scores() -> None:
    rng = np.random.default_rng(0)
    quantiles, drawn = np.sort(rng.normal(size=(3, 4, 9)), axis=-1), rng.normal(size=(3, 4, 9))
    paths = in_ranks(quantiles, drawn)
    np.testing.assert_array_equal(np.sort(paths, axis=-1), quantiles)
    np.testing.assert_array_equal(paths.argsort(axis=-1), drawn.argsort(axis=-1))
    assert path_levels(4) == (0.125, 0.375, 0.625, 0.875)


def test_a_bundle_keeps_every_digit() -> None:
    again = Dependence.from_json(json.loads(json.dumps(MIXED.to_json())))
    assert again == MIXED
    assert sum(USUAL.own.values()) + sum(USUAL.shared.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"own": {"alone": 0.9}},
        {"own": {"unheard": 0.5}},
        {"own": {"alone": -0.1, "walk": 0.6}},
        {"season": 0},
    ],
)
def test_what_is_no_dependence_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Dependence.from_json({**MIXED.to_json(), **change})


def test_errors_that_pile_up_are_correlated_as_a_random_walks_are() -> None:
    piled = np.tril(np.ones((9, 9)))
    covariance = piled @ piled.T
    size = np.sqrt(np.diagonal(covariance))
    found = correlation("walk", np.arange(1.0, 10.0), 1)
    np.testing.assert_allclose(found, covariance / np.outer(size, size))


def test_a_series_draws_others_at_another_origin() -> None:
    alone = Dependence(1, {"alone": 1.0}, {})
    one, other = (scores(alone, count=1, origins=[origin]) for origin in (7, 8))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0.0, abs=0.05)
