"""How a panel is read: by its stamps, its values, and what held up at its own end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.zero import ways as module
from forecasting.zero.constants import LEVELS, STEPS
from forecasting.zero.decoding import Way
from forecasting.zero.patches import Patches
from forecasting.zero.ways import MANY, candidates, choose, ends, held_back


class Repeats:
    """Forecasts the season before, or the last value where there is none."""

    def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
        count = len(patches.x)
        newest = patches.x[:, -1:, -1:]
        said = np.where(patches.lag_seen[:, :, 0] > 0, patches.lag[:, :, 0], newest)
        said = np.broadcast_to(said[:, -last:, :, None], (count, last, STEPS, len(LEVELS)))
        return said, np.zeros((count, last)), np.ones((count, last))


def panel(y: Array, freq: str) -> Panel:
    ds = np.arange(len(y)) if freq == "step" else pd.date_range("2020-01-06", None, len(y), freq)
    return Panel.from_frame(pd.DataFrame({"unique_id": "x", "ds": ds, "y": y}), freq=freq)


def several(y: Array) -> Panel:
    names = np.repeat([f"{i:03}" for i in range(len(y))], y.shape[1])
    ds = np.tile(np.arange(y.shape[1]), len(y))
    return Panel.from_frame(
        pd.DataFrame({"unique_id": names, "ds": ds, "y": y.ravel()}), freq="step"
    )


@pytest.mark.parametrize(
    ("freq", "season", "expected"),
    [
        ("h", None, [Way(24, 168), Way(24), Way(168), Way()]),
        ("30min", None, [Way(48, 336), Way(48), Way(336), Way()]),
        ("D", None, [Way(7), Way()]),
        ("YS", None, [Way()]),
        ("h", 1, [Way()]),
        ("h", 24, [Way(24, 168), Way(24)]),
        ("step", 12, [Way(12)]),
    ],
)
def test_stamps_and_what_is_told_say_the_ways(
    freq: str, season: int | None, expected: list[Way]
) -> None:
    assert candidates(panel(np.arange(60.0), freq), season) == expected


def test_logarithms_are_tried_where_many_positive_series_can_judge_them() -> None:
    draw = np.random.default_rng(0)
    y = np.exp(draw.standard_normal((MANY, 30)))
    assert candidates(several(y), 12) == [Way(12), Way(12, logs=True)]
    assert candidates(several(y[1:]), 12) == [Way(12)]
    y[3, 4] = 0.0
    assert candidates(several(y), 12) == [Way(12)]


def test_values_say_a_season_where_stamps_do_not() -> None:
    y = np.tile(np.random.default_rng(0).standard_normal(9), 20)
    y += 0.1 * np.random.default_rng(1).standard_normal(len(y))
    assert candidates(panel(y, "step"))[0].season == 9


def test_the_way_that_held_up_is_chosen_and_the_first_one_where_none_is_better() -> None:
    draw = np.random.default_rng(0)
    shapes = draw.standard_normal((20, 7))
    weekly = np.tile(shapes, 20) + 0.1 * draw.standard_normal((20, 140))
    ways = [Way(12), Way(7), Way()]
    assert choose(Repeats(), several(weekly), ways, 14) == Way(7)
    walks = draw.standard_normal((20, 140)).cumsum(axis=1)
    assert choose(Repeats(), several(walks), ways, 1) == Way()
    assert choose(Repeats(), several(walks[:, :2]), ways, 5) == Way(12)
    constant = np.ones((20, 140))
    assert choose(Repeats(), several(constant), ways, 5) == Way(12)


def test_logarithms_must_be_surely_better(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    found = several(draw.standard_normal((4, 60)))
    ways = [Way(12), Way(12, logs=True), Way()]
    for by, expected in ((0.02, Way()), (0.5, Way(12, logs=True))):
        errors = np.stack([np.ones(100), 1.0 - by + 0.2 * draw.standard_normal(100), np.ones(100)])
        errors[2] -= 0.015 + 0.01 * draw.standard_normal(100)
        monkeypatch.setattr(module, "held_back", lambda *_, told=errors: told)
        assert choose(Repeats(), found, ways, 4) == expected


def test_what_comes_after_an_origin_is_not_seen_there() -> None:
    y = np.random.default_rng(0).standard_normal((5, 60))
    seen: list[float] = []

    class Spy(Repeats):
        def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
            values = patches.centre[:, None, None] + patches.unit[:, None, None] * patches.x
            seen.append(float(np.where(patches.seen > 0, values, -np.inf).max()))
            return super().__call__(patches, last)

    marked = y.copy()
    marked[:, -4:] = 1e6
    choose(Spy(), several(marked), [Way(7), Way()], 4)
    assert max(seen) < 10.0


def test_ends_are_the_newest_rows() -> None:
    frame = pd.DataFrame(
        {"unique_id": list("aaabbbbb"), "ds": [1, 2, 3, 1, 2, 3, 4, 5], "y": np.arange(8.0)}
    )
    found = ends(Panel.from_frame(frame, freq="step"), 4)
    np.testing.assert_array_equal(found, [[np.nan, 0, 1, 2], [4, 5, 6, 7]])


@pytest.mark.parametrize(("rows", "tried"), [(2, False), (8, True), (15, True), (60, True)])
def test_short_histories_hold_back_what_they_can_spare(rows: int, tried: bool) -> None:
    y = np.arange(float(rows))[None] % 4
    assert (held_back(Repeats(), y, [Way(4), Way()], 2) is not None) is tried
