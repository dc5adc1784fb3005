"""Drift: false alarms under the stated rate whatever the data are like, and alarms on a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.panel import Panel
from pipelines.monitoring.drift import (
    TESTS,
    Accuracy,
    accuracy,
    accuracy_findings,
    block_length,
    changes,
    data_findings,
    newest_against_earlier,
    series_findings,
    tail_chance,
)
from tests.pipelines.small import monthly_panel

SEASON, LENGTH = 12, 144
RATE = 0.06  # stated in the simulations: high, so that few repetitions show an excess
REPEATS = [60, pytest.param(600, marks=pytest.mark.slow)]

Process = Callable[[np.random.Generator, int, int], np.ndarray]


def white(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return rng.normal(size=(n, t))


def heavy(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return rng.standard_t(3, size=(n, t))


def common(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return 0.7 * rng.normal(size=(1, t)) + 0.7 * rng.normal(size=(n, t))


def autoregressive(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    out = rng.normal(size=(n, t))
    for k in range(1, t):
        out[:, k] += 0.7 * out[:, k - 1]
    return out


def walk(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return np.cumsum(rng.normal(size=(n, t)), axis=1)


def growth(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return 100.0 * np.exp(0.01 * np.arange(t) + 0.05 * rng.normal(size=(n, t)))


def counts(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    return rng.poisson(0.7, size=(n, t)).astype(float)


def seasonal(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pattern = 2.0 * rng.normal(size=(len(y), SEASON))
    return y + np.tile(pattern, y.shape[1] // SEASON + 1)[:, : y.shape[1]]


def most(rate: float, repeats: int) -> float:
    """More alarms than this share are no accident (3 standard errors)."""
    return rate + 3.0 * np.sqrt(rate * (1.0 - rate) / repeats)


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("process", [white, heavy, common, autoregressive, walk, growth, counts])
def test_data_that_do_not_change_ring_no_more_often_than_stated(
    process: Process, count: int, repeats: int
) -> None:
    rng = np.random.default_rng(7)
    rings = 0
    for _ in range(repeats):
        y = process(rng, count, LENGTH)
        y = y if process in (growth, counts) else seasonal(y, rng)
        found = changes(monthly_panel(y), SEASON)
        share = RATE / 3.0
        whole = data_findings(found, share)
        kinds = {"level": found.level, "spread": found.spread}
        single = series_findings([f"s{i}" for i in range(count)], kinds, share)
        rings += any(f.alarm for f in whole) or bool(single)
    assert rings / repeats <= most(RATE, repeats)


def rows(path: np.ndarray, horizon: int, every: int) -> tuple[np.ndarray, ...]:
    """Forecast rows of a model whose errors are sums of the innovations [N, T] since the cutoff."""
    count, length = path.shape
    cutoffs = np.arange(0, length - horizon + 1, every)
    steps = np.arange(horizon)
    signed = np.cumsum(path[:, cutoffs[:, None] + steps], axis=2) / np.sqrt(3.0)
    shape = signed.shape
    time = np.broadcast_to(cutoffs[:, None] + steps, shape).ravel()
    step = np.broadcast_to(steps + 1, shape).ravel()
    series = np.broadcast_to(np.arange(count)[:, None, None], shape).ravel()
    inside = np.abs(signed.ravel()) < 1.2816 * np.sqrt(step / 3.0)
    block = (time.max() - time) // horizon
    return series, block, step, signed.ravel(), inside.astype(float)


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize(("count", "every"), [(1, 6), (20, 6), (20, 2)])
@pytest.mark.parametrize("process", [white, heavy, common])
def test_forecasts_that_stay_as_good_ring_no_more_often_than_stated(
    process: Process, count: int, every: int, repeats: int
) -> None:
    rng = np.random.default_rng(3)
    rings = 0
    for _ in range(repeats):
        did = accuracy(*rows(process(rng, count, 96), 6, every), count)
        share = RATE / 4.0
        single = series_findings([f"s{i}" for i in range(count)], {"error": did.error}, share)
        rings += any(f.alarm for f in accuracy_findings(did, share)) or bool(single)
    assert rings / repeats <= most(RATE, repeats)


def test_a_shift_of_all_series_rings_eight_times_of_ten_or_more() -> None:
    rng = np.random.default_rng(1)
    rings = 0
    for _ in range(40):
        y = seasonal(white(rng, 20, LENGTH), rng)
        y[:, -SEASON:] += 1.5
        rings += data_findings(changes(monthly_panel(y), SEASON), 0.01 / TESTS)[0].alarm
    assert rings >= 32


def test_a_wilder_panel_rings_eight_times_of_ten_or_more() -> None:
    rng = np.random.default_rng(2)
    rings = 0
    for _ in range(40):
        y = white(rng, 20, LENGTH)
        y[:, -SEASON:] *= 2.5
        rings += data_findings(changes(monthly_panel(y), SEASON), 0.01 / TESTS)[1].alarm
    assert rings >= 32


def test_one_series_of_many_that_shifts_is_named_and_hardly_another() -> None:
    rng = np.random.default_rng(4)
    hit, others = 0, 0
    for _ in range(40):
        y = seasonal(white(rng, 50, LENGTH), rng)
        y[17, -SEASON:] += 25.0
        found = changes(monthly_panel(y), SEASON)
        kinds = {"level": found.level, "spread": found.spread}
        names = {f.id for f in series_findings([f"s{i}" for i in range(50)], kinds, 0.01 / TESTS)}
        hit += "s17" in names
        others += bool(names - {"s17"})
    assert hit >= 36
    assert others <= 2


def test_forecasts_that_become_twice_as_bad_ring_eight_times_of_ten_or_more() -> None:
    rng = np.random.default_rng(5)
    rings = 0
    for _ in range(40):
        path = white(rng, 20, 96)
        path[:, -6:] *= 2.5
        did = accuracy(*rows(path, 6, 6), 20)
        rings += any(f.alarm for f in accuracy_findings(did, 0.01 / TESTS))
    assert rings >= 32


def test_changes_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    panel = monthly_panel(rng.normal(10.0, 1.0, size=(3, 61)))
    y = panel.y.copy()
    y[rng.integers(0, len(y), 10)] = np.nan
    panel = replace(panel, y=y)
    found = changes(panel, 6)
    for i in range(3):
        own = y[panel.offsets[i] : panel.offsets[i + 1]]
        steps = np.abs(np.diff(own, prepend=np.nan))
        blocks = [slice(len(own) - 6 * (b + 1), len(own) - 6 * b) for b in range(10)]
        mean = [np.nanmean(own[b]) for b in blocks]
        spread = [np.nanmean(steps[b]) for b in blocks]
        for b in range(6):
            scale = (spread[b + 1] + spread[b + 2]) / 2.0
            assert found.level[i, b] == pytest.approx((mean[b] - mean[b + 1]) / scale)
            assert found.spread[i, b] == pytest.approx(np.log(spread[b] / spread[b + 1]))


def test_a_block_is_whole_seasons_and_the_longest_that_history_bears() -> None:
    hours = Panel.from_arrays(
        ["a"],
        np.zeros(24 * 7 * 30),
        np.array([24 * 7 * 30]),
        np.array(["2024-01-01"], "datetime64[us]"),
        "h",
    )
    assert block_length(hours, 24) == 168
    assert block_length(hours.tail(24 * 20), 24) == 24
    assert block_length(hours.tail(24 * 20), 30) == 48
    # The model's season goes before that of the stamps.
    assert block_length(hours.tail(24 * 20), 30, 20) == 40
    assert block_length(monthly_panel(np.zeros((1, 60))), 18) == 24


def test_without_enough_history_there_is_no_test_and_no_alarm() -> None:
    found = changes(monthly_panel(np.random.default_rng(0).normal(size=(3, 40))), 12)
    assert not any(f.possible or f.alarm for f in data_findings(found, 0.5))
    assert series_findings(["a", "b", "c"], {"level": found.level}, 0.5) == []
    empty = Accuracy(*(np.full((2, 1), np.nan) for _ in range(3)))
    assert not any(f.possible for f in accuracy_findings(empty, 0.5))


def test_fewer_errors_are_no_alarm() -> None:
    values = np.array([-50.0, *np.random.default_rng(0).normal(size=20)])
    assert newest_against_earlier(values, "error", 0.01).alarm
    assert not newest_against_earlier(values, "error", 0.01, sides="upper").alarm


def test_the_tail_is_never_lighter_than_what_was_seen() -> None:
    pool = np.abs(np.random.default_rng(0).standard_t(4, size=5000))
    scores = np.array([0.5, 2.0, 6.0, 20.0, np.nan])
    chance = tail_chance(scores, pool, np.full(5, 10.0))
    seen = (pool[None, :] >= scores[:, None]).mean(axis=1)
    assert (np.diff(chance[:4]) < 0).all()
    np.testing.assert_allclose(chance[:2], seen[:2], rtol=0.1)
    assert 1e-6 < chance[3] < 1e-3  # the true chance is 4e-5
    assert chance[4] == 1.0
