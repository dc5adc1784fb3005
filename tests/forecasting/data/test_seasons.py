"""Seasons found by values alone: where a person would find one, and not in a random walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data import seasons
from forecasting.data.panel import Panel
from forecasting.data.seasons import find_seasons, told

Rows = list[np.ndarray]


def panel(rows: Rows) -> Panel:
    sizes = np.array([len(y) for y in rows])
    ids = [f"s{i}" for i in range(len(rows))]
    start = np.zeros(len(rows), np.int64)
    return Panel.from_arrays(ids, np.concatenate(rows), sizes, start, "step")


def seasonal(
    rng: np.random.Generator, period: int, times: int, count: int, noise: float, gaps: float = 0.0
) -> Rows:
    """Any pattern of deviation 1, repeated; a trend; a slow walk; noise."""
    pattern = rng.normal(size=period)
    pattern = (pattern - pattern.mean()) / max(pattern.std(), 1e-9)
    rows = []
    for _ in range(count):
        size = period * times + int(rng.integers(0, period)) + 3
        y = np.tile(pattern * rng.uniform(0.5, 1.5), times + 2)[:size]
        y = y + 0.05 * np.arange(size) + np.cumsum(0.1 * rng.normal(size=size))
        y = y + noise * rng.normal(size=size)
        y[rng.random(size) < gaps] = np.nan
        rows.append(y)
    return rows


@pytest.mark.parametrize("period", [2, 3, 4, 5, 6, 7, 12, 24, 30, 52, 96, 168, 288, 365, 400])
@pytest.mark.parametrize(("count", "gaps"), [(1, 0.0), (8, 0.1)])
def test_a_planted_season_is_found(period: int, count: int, gaps: float) -> None:
    times = 16 if period < 10 else 5
    hits = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        found = find_seasons(panel(seasonal(rng, period, times, count, 0.3, gaps)))
        hits.append(bool(found) and found[0].period == period)
    assert sum(hits) >= 3


@pytest.mark.parametrize("period", [12, 24, 52, 96])
@pytest.mark.parametrize("multiplied", [False, True])
def test_a_smooth_season_is_found_in_short_noisy_series(period: int, multiplied: bool) -> None:
    """Not one beside it: of neighbours that values cannot tell apart, the usual one is meant."""
    rng = np.random.default_rng(period)
    rows = []
    for _ in range(10):
        steps = np.arange(4 * period)
        y = 1.4 * np.sin(2 * np.pi * steps / period) + 0.4 * rng.normal(size=len(steps))
        rows.append(100 * np.exp(0.1 * y) if multiplied else y + 0.05 * steps - 1e3)
    assert [s.period for s in find_seasons(panel(rows))] == [period]


def without(kind: str, rng: np.random.Generator, count: int, size: int) -> Rows:
    shocks = rng.normal(size=(count, size))
    if kind == "trend":
        return list(0.3 * np.arange(size) + shocks)
    if kind == "walk":
        return list(np.cumsum(shocks, axis=1))
    if kind == "one shock for all":
        return list(np.cumsum(shocks[:1] + 0.3 * shocks, axis=1))
    if kind == "step":
        return list(shocks + 5.0 * (np.arange(size) > rng.integers(1, size)))
    if kind.startswith("inertia"):
        for step in range(1, size):
            shocks[:, step] += float(kind.split()[1]) * shocks[:, step - 1]
    return list(shocks)


KINDS = ("noise", "walk", "trend", "step", "inertia 0.8", "inertia -0.5", "one shock for all")


@pytest.mark.parametrize(("count", "size"), [(1, 24), (1, 60), (1, 200), (10, 40), (40, 60)])
def test_none_is_found_where_there_is_none(count: int, size: int) -> None:
    """In at most 2 of 100 panels; benchmarks/season.py counts more of them."""
    rng = np.random.default_rng([count, size])
    draws = 12
    alarms = [bool(find_seasons(panel(without(k, rng, count, size)))) for k in KINDS * draws]
    # 2 in 100 would pass it 19 times of 20.
    assert sum(alarms) <= 0.02 * len(alarms) + 1.65 * np.sqrt(0.02 * len(alarms))


def test_a_cycle_that_fades_is_no_season() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y = np.zeros(400)
        for t in range(2, 400):
            y[t] = 1.6 * y[t - 1] - 0.85 * y[t - 2] + rng.normal()
        found.append(bool(find_seasons(panel([y]))))
    assert sum(found) <= 2


@pytest.mark.parametrize("period", [7, 12, 24])
def test_a_season_that_has_stopped_is_none_any_more(period: int) -> None:
    """The newest seasons, held back, are not like the earlier ones."""
    rng, found = np.random.default_rng(period), []
    for _ in range(20):
        pattern = np.tile(2.0 * rng.normal(size=period), 8)
        pattern[6 * period :] = 0.0
        rows = [pattern + rng.normal(size=8 * period) for _ in range(5)]
        found.append(period in [season.period for season in find_seasons(panel(rows))])
    assert sum(found) <= 8


def test_two_seasons_of_hours_are_both_found() -> None:
    steps, rng = np.arange(24 * 7 * 8), np.random.default_rng(0)
    week = np.where((steps // 24) % 7 >= 5, -6.0, 0.0)
    y = 100 + 10 * np.sin(2 * np.pi * steps / 24) + week + rng.normal(size=len(steps))
    assert [s.period for s in find_seasons(panel([y]))] == [24, 168]
    assert [s.period for s in find_seasons(panel([y]), most=1)] == [24]


def test_two_seasons_of_days_are_both_found() -> None:
    days, rng = np.arange(365 * 6), np.random.default_rng(0)
    week = np.array([0, 0, 0.3, 0.2, 1, 3, 2.0])[days % 7]
    y = 50 + week + 4 * np.sin(2 * np.pi * days / 365.25) + rng.normal(size=len(days))
    assert [s.period for s in find_seasons(panel([y]))] == [7, 365]


def test_a_year_of_weeks_is_no_whole_number_of_them() -> None:
    weeks, rng = np.arange(52 * 30), np.random.default_rng(0)
    year = 2 * np.pi * weeks * 7 / 365.25
    rows = [
        3 * np.sin(year + 0.1) + np.sin(3 * year) + rng.normal(size=len(weeks)) for _ in range(5)
    ]
    assert [s.period for s in find_seasons(panel(rows))] == [52]


def slow_gains(row: np.ndarray, times: int) -> list[float]:
    """Each frequency of a period against its neighbours, by sums of cosines and sines."""
    size, period = len(row), len(row) // times
    steps = np.arange(size)

    def power(k: int) -> float:
        angle = 2 * np.pi * k * steps / size
        return float((row * np.cos(angle)).sum() ** 2 + (row * np.sin(angle)).sum() ** 2)

    mean = np.mean([power(k) for k in range(size // 2 + 1)])
    reach = min(times - 1, 6, max(4, size // 16))
    out = []
    for j in range(1, period // 2 + 1):
        near = [k for k in range(j * times - reach, j * times + reach + 1) if k != j * times]
        near = [k for k in near if 1 <= k <= (size - 1) // 2]
        around = sum(power(k) for k in near) + 1e-9 * mean
        own = power(j * times) / (2 if 2 * j == period else 1)
        out.append(len(near) * np.log(1 + own / around))
    return out


@given(st.integers(0, 10_000), st.integers(2, 15), st.integers(3, 12))
@settings(max_examples=16, deadline=None)
def test_gains_are_those_of_the_slow_way(seed: int, period: int, times: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(3, period * times))
    fast = seasons._gains(rows, times)
    for row, gains in zip(rows, fast, strict=True):
        np.testing.assert_allclose(gains, slow_gains(row, times), rtol=1e-7, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 100))
@settings(max_examples=12, deadline=None)
def test_what_is_left_without_a_season_is_that_of_the_slow_way(
    seed: int, period: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    moves = np.where(rng.random((2, size)) < 0.1, 0.0, rng.normal(size=(2, size)))
    fast = seasons._without(moves, period)
    for row, left in zip(moves, fast, strict=True):
        for place in range(period):
            at = [t for t in range(size) if (size - t) % period == place and row[t] != 0]
            want = [row[t] - np.mean(row[at]) for t in at]
            np.testing.assert_allclose(left[at], want, atol=1e-9)


def test_gains_of_noise_are_exponential() -> None:
    gains = seasons._gains(np.random.default_rng(0).normal(size=(4000, 60)), 5)[:, 1:-1]
    assert gains.mean() == pytest.approx(1.0, abs=0.03)
    assert (gains > 5.0).mean() == pytest.approx(np.exp(-5.0), rel=0.25)


def test_every_series_is_counted_not_only_those_looked_at() -> None:
    rng = np.random.default_rng(3)
    rows = seasonal(rng, 12, 6, 700, 0.2)
    (season,) = find_seasons(panel(rows))
    assert (season.period, season.asked) == (12, 700)
    assert season.series > 650
    assert "of 700 series" in str(season)


def test_a_season_is_said_in_one_line() -> None:
    rng = np.random.default_rng(1)
    rows = [*seasonal(rng, 4, 10, 6, 0.2), *[np.cumsum(rng.normal(size=40)) for _ in range(2)]]
    (season,) = find_seasons(panel(rows), most=1)
    assert str(season) == f"season 4, found in {season.series} of 8 series"
    assert season.series >= 6
    assert told([season]) == str(season)
    assert told([season], (4,)) == f"stamps say season 4; {season}"
    assert told([]) == "no season found in the values; set season where there is one"
    assert told([], (24, 168)) == "stamps say season 24 and 168; no season found in the values"


@given(st.integers(0, 10_000), st.floats(1e-9, 1e9), st.floats(-1e6, 1e6))
@settings(max_examples=10)
def test_units_and_levels_do_not_matter(seed: int, unit: float, level: float) -> None:
    rows = seasonal(np.random.default_rng(seed), 6, 8, 2, 0.3)
    plain = [s.period for s in find_seasons(panel([y - 1e3 for y in rows]))]
    # Below 0, so that both are read as they are and not as logs.
    moved = [unit * (y - 1e3) - abs(level) * unit for y in rows]
    assert [s.period for s in find_seasons(panel(moved))] == plain


@pytest.mark.parametrize(
    "rows",
    [
        [np.array([1.0])],
        [np.full(50, 3.0)],
        [np.full(50, np.nan)],
        [np.zeros(2), np.array([np.nan, 1.0, np.nan])],
        [np.r_[np.zeros(20), np.ones(20)]],
        [np.array([1e300, -1e300] * 3)],
    ],
)
def test_series_that_say_nothing_have_no_season_or_a_finite_one(rows: Rows) -> None:
    for season in find_seasons(panel(rows)):
        assert season.period >= 2
        assert np.isfinite(season.strength)
