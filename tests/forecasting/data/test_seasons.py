"""Seasons found by values alone: where a person would find one, and not in a random walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.seasons import find_seasons

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
@pytest.mark.parametrize(("count", "gaps"), [(1, 0.0), (8, 0.0), (8, 0.1)])
def test_a_planted_season_is_found(period: int, count: int, gaps: float) -> None:
    times = 8 if period < 10 else 5
    hits = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found = find_seasons(panel(seasonal(rng, period, times, count, 0.3, gaps)))
        hits.append(bool(found) and found[0].period == period)
    assert np.mean(hits) >= 0.8


@pytest.mark.parametrize(("count", "size"), [(1, 24), (1, 60), (1, 300), (10, 40), (60, 100)])
@pytest.mark.parametrize("kind", ["walk", "noise", "trend", "inertia", "one shock for all"])
def test_none_is_found_where_there_is_none(kind: str, count: int, size: int) -> None:
    """In at most 2 of 100 panels."""
    rng = np.random.default_rng(size + count)

    def made() -> Rows:
        shocks = rng.normal(size=(count, size))
        if kind == "noise":
            return list(shocks)
        if kind == "trend":
            return list(0.3 * np.arange(size) + shocks)
        if kind == "one shock for all":
            shocks = shocks[:1] + 0.3 * shocks
        if kind == "inertia":
            for step in range(1, size):
                shocks[:, step] += 0.8 * shocks[:, step - 1]
            return list(shocks)
        return list(np.cumsum(shocks, axis=1))

    alarms = [bool(find_seasons(panel(made()))) for _ in range(100)]
    assert sum(alarms) <= 4  # 2 expected at most; 4 is its 95 % point


def test_two_seasons_of_hours_are_both_found() -> None:
    steps, rng = np.arange(24 * 7 * 8), np.random.default_rng(0)
    week = np.where((steps // 24) % 7 >= 5, -6.0, 0.0)
    y = 100 + 10 * np.sin(2 * np.pi * steps / 24) + week + rng.normal(size=len(steps))
    assert [s.period for s in find_seasons(panel([y]))] == [24, 168]


def test_a_season_is_said_in_one_line() -> None:
    rng = np.random.default_rng(1)
    rows = [*seasonal(rng, 4, 10, 6, 0.2), *[np.cumsum(rng.normal(size=40)) for _ in range(2)]]
    (season,) = find_seasons(panel(rows), most=1)
    assert str(season) == f"season 4, found in {season.series} of 8 series"
    assert season.series >= 6


@given(st.integers(0, 10_000), st.floats(1e-9, 1e9), st.floats(-1e6, 1e6))
@settings(max_examples=25)
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
