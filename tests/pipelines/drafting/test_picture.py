"""Letters say what values do: low is low, holes are holes, nothing is drawn beyond the width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.drafting.look import Look
from pipelines.drafting.picture import BARS, HOLE, SHOWN, draw, drawn, holes, sparkline, typical

VALUES = st.floats(-1e9, 1e9) | st.just(np.nan)


@given(arrays(np.float64, st.integers(0, 200), elements=VALUES), st.integers(1, 80))
def test_a_line_has_a_letter_for_each_value_that_fits(y: np.ndarray, width: int) -> None:
    line = sparkline(y, width)
    assert len(line) == min(len(y), width)
    assert set(line) <= {*BARS, HOLE}
    if len(y) <= width:
        assert [letter == HOLE for letter in line] == np.isnan(y).tolist()


@given(arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e6, 1e6)))
def test_higher_values_never_stand_lower(y: np.ndarray) -> None:
    height = [BARS.index(letter) for letter in sparkline(y)]
    order = np.argsort(y, kind="stable")
    assert (np.diff(np.array(height)[order]) >= 0).all()


def test_lowest_and_highest_are_the_ends_of_the_scale() -> None:
    assert sparkline(np.array([1.0, 2.0, 3.0]))[0] == BARS[0]
    assert sparkline(np.array([1.0, 2.0, 3.0]))[-1] == BARS[-1]
    assert sparkline(np.array([5.0, 5.0])) == BARS[3] * 2
    assert sparkline(np.array([])) == ""


@pytest.mark.parametrize(
    ("y", "found"),
    [
        ([1, np.nan, np.nan, 2], [(1, 3)]),
        ([np.nan, 1, 2, np.nan], []),
        ([np.nan, np.nan], []),
        ([1, np.nan, 2, np.nan, 3], [(1, 2), (3, 4)]),
    ],
)
def test_holes_lie_between_values(y: list[float], found: list[tuple[int, int]]) -> None:
    assert holes(np.array(y)) == found


def test_series_are_named_with_their_extent(seen: Callable[[str], Look]) -> None:
    result = seen("load").result
    name, newest, extent = drawn(result)
    assert name.split()[0] == "load"
    assert len(newest.split()[-1]) == 64
    assert "480 rows, 2024-01-01T00:00:00 to 2024-01-20T23:00:00" in extent


def test_those_shown_go_from_the_lowest_to_the_highest_level(seen: Callable[[str], Look]) -> None:
    result = seen("parts").result
    chosen = typical(result, SHOWN)
    level = np.add.reduceat(result.clean.y, result.clean.offsets[:-1])
    assert len(set(chosen)) == SHOWN
    assert (np.diff(level[chosen]) >= 0).all()
    assert level[chosen[0]] == level.min()
    assert level[chosen[-1]] == level.max()


def test_the_picture_is_a_picture(tmp_path: Path, seen: Callable[[str], Look]) -> None:
    draw(seen("load").result, tmp_path / "x.png", title="load", horizon=24)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
