from __future__ import annotations

import numpy as np
import pytest

from forecasting.errors import DataError
from forecasting.evaluation import bootstrap
from forecasting.evaluation.bootstrap import paired_bootstrap


def test_a_clear_gain_has_an_interval_below_zero_and_around_the_difference() -> None:
    rng = np.random.default_rng(0)
    b = rng.gamma(2.0, size=200)
    a = b - 0.1 + rng.normal(scale=0.2, size=200)
    difference, low, high = paired_bootstrap(a, b)
    assert difference == pytest.approx(np.mean(a) - np.mean(b))
    assert low < difference < high < 0


def test_pairing_removes_what_both_models_share() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.gamma(1.0, scale=50.0, size=100)
    _, low, high = paired_bootstrap(hardness + 0.9, hardness + 1.0)
    assert high - low < 1e-9


def test_the_interval_agrees_with_the_normal_one_and_holds_its_level() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(200):
        d = rng.normal(size=60)
        _, low, high = paired_bootstrap(d, np.zeros(60), samples=400, level=0.9, seed=seed)
        assert high - low == pytest.approx(2 * 1.645 * d.std() / np.sqrt(60), rel=0.3)
        inside += low <= 0 <= high
    assert 0.82 <= inside / 200 <= 0.96


def test_the_same_seed_gives_the_same_interval_and_chunks_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    whole = paired_bootstrap(a, b, samples=500, seed=7)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 1200)
    assert paired_bootstrap(a, b, samples=500, seed=7) == whole
    assert paired_bootstrap(a, b, samples=500, seed=8) != whole


def test_a_series_that_one_model_did_not_score_is_left_out_of_both() -> None:
    a, b = np.array([1.0, 2.0, np.nan, 4.0]), np.array([2.0, 2.0, 9.0, np.nan])
    assert paired_bootstrap(a, b) == paired_bootstrap(a[:2], b[:2])
    assert paired_bootstrap(a[:1], b[:1]) == (-1.0, -1.0, -1.0)


def test_when_there_is_nothing_to_compare_then_it_says_so() -> None:
    with pytest.raises(DataError, match="no series is scored by both"):
        paired_bootstrap(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(DataError, match="one length"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(DataError, match="level = 95"):
        paired_bootstrap(np.zeros(3), np.zeros(3), level=95)
