"""What held-back errors show of their dependence, on errors whose dependence is known."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import USUAL, Scores, learn, scores_within

HORIZON = 14


def blocks(truth: Dependence, series: int, origins: int, seed: int = 0) -> list[Scores]:
    """Errors of a panel of two regions, as a dependence makes them."""
    region = np.arange(series) % 2 + 1.0
    labels = {"region": [str(code) for code in region]}
    names = [f"s{i}" for i in range(series)]
    drawn = truth.scores(names, [0] * series, labels, (HORIZON, origins), seed)
    origin = np.zeros(series, np.int64)
    return [Scores(drawn[..., k], origin + k, {"region": region}) for k in range(origins)]


def share_covered(dependence: Dependence, blocks: list[Scores], *, together: bool) -> float:
    """Share of totals over all steps (and series) within the 80 % interval of paths' totals."""
    series = len(blocks[0].values)
    labels = {"region": [str(code) for code in blocks[0].labels["region"]]}
    names = [f"n{i}" for i in range(series)]
    drawn = dependence.scores(names, [0] * series, labels, (HORIZON, 1_000), 5).sum(axis=1)
    actual = np.stack([block.values.sum(axis=1) for block in blocks])
    if together:
        drawn, actual = drawn.sum(axis=0, keepdims=True), actual.sum(axis=1, keepdims=True)
    low, high = np.quantile(drawn, [0.1, 0.9], axis=-1)
    return float(((actual >= low) & (actual <= high)).mean())


TRUTHS = {
    "fading": Dependence(1, {"fading_0.8": 1.0}, {}),
    "walk": Dependence(1, {"walk": 0.6, "alone": 0.4}, {}),
    "shared": Dependence(1, {"fading_0.5": 0.5}, {"fading_0.8": 0.5}),
    "regions": Dependence(1, {"alone": 0.5}, {}, {"region": {"level": 0.5}}),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_totals_cover_what_they_should_and_neither_independent_nor_equal_errors_do(
    name: str,
) -> None:
    truth, series, later = TRUTHS[name], 8, blocks(TRUTHS[name], 8, 1_500, seed=9)
    learned = learn(blocks(truth, series, 400), 1, 400.0)
    independent = Dependence(1, {"alone": 1.0}, {})
    equal = Dependence(1, {}, {"level": 1.0})
    for together in (False, True):
        assert share_covered(learned, later, together=together) == pytest.approx(0.8, abs=0.05)
        off = [share_covered(d, later, together=together) for d in (independent, equal)]
        assert off[0] < 0.7
        assert off[1] > 0.88


def test_weights_are_of_sum_one_and_groups_are_found_where_they_are() -> None:
    learned = learn(blocks(TRUTHS["regions"], 10, 50), 1, 50.0)
    parts = [learned.own, learned.shared, *learned.groups.values()]
    assert sum(sum(part.values()) for part in parts) == pytest.approx(1.0)
    assert sum(learned.groups["region"].values()) == pytest.approx(0.5, abs=0.15)
    assert sum(learned.shared.values()) < 0.15


def test_the_less_is_held_back_the_nearer_to_the_usual() -> None:
    few = learn(blocks(TRUTHS["walk"], 2, 1), 1, 0.01)
    for name, weight in USUAL.own.items():
        assert few.own.get(name, 0.0) == pytest.approx(weight, abs=0.1)
    assert sum(few.shared.values()) == pytest.approx(sum(USUAL.shared.values()), abs=0.05)


def test_errors_that_are_not_known_say_nothing() -> None:
    whole = blocks(TRUTHS["shared"], 6, 40)
    rng = np.random.default_rng(3)
    holed = []
    for block in whole:
        values = block.values.copy()
        values[rng.random(values.shape) < 0.2] = np.nan
        holed.append(Scores(values, block.origins, block.labels))
    beside = Scores(np.full((2, HORIZON), np.nan), np.zeros(2, np.int64), {"region": np.ones(2)})
    one, other = learn(whole, 1, 40.0), learn([*holed, beside], 1, 40.0)
    assert sum(other.shared.values()) == pytest.approx(sum(one.shared.values()), abs=0.12)


def test_a_score_is_the_level_of_the_quantile_at_which_a_value_stands() -> None:
    levels = np.array([-1.0, 0.0, 1.0])
    quantiles = np.array([[10.0, 20.0, 40.0]] * 6 + [[0.0, 0.0, 5.0]] * 2)
    values = np.array([10.0, 20.0, 30.0, 45.0, -90.0, np.nan, 0.0, 5.0])
    found = scores_within(quantiles, values, levels)
    np.testing.assert_allclose(found, [-1.0, 0.0, 0.5, 1.25, -2.0, np.nan, -0.5, 1.0])
