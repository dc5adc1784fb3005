from __future__ import annotations

import numpy as np
import pytest

from forecasting.classical.block import Block

NAN = np.nan


def flat(*series: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(series), np.cumsum([0, *(len(s) for s in series)])


def test_series_stand_side_by_side_the_longest_first_over_their_largest_value() -> None:
    block = Block.of(*flat([1.0, 2.0], [5.0, -10.0, 5.0], [4.0]), season=1)
    assert block.order.tolist() == [1, 0, 2]
    assert block.lengths.tolist() == [3, 2, 1]
    assert block.active.tolist() == [3, 2, 1]
    assert block.unit.tolist() == [10.0, 2.0, 4.0]
    assert block.y.tolist() == [[0.5, 0.5, 1.0], [-1.0, 1.0, 0.0], [0.5, 0.0, 0.0]]
    np.testing.assert_array_equal(block.seen.sum(axis=0), block.lengths)


def test_holes_are_filled_in_season_and_what_lies_before_the_first_value_is_left_out() -> None:
    block = Block.of(*flat([NAN, NAN, 1.0, 2.0, NAN, 4.0], [NAN, NAN]), season=2)
    assert block.lengths.tolist() == [4, 0]
    assert (block.y[:, 0] * block.unit[0]).tolist() == [1.0, 2.0, 1.0, 4.0]
    assert block.y[:, 1].tolist() == [0.0] * 4, "nothing observed: no rows, and no NaN"


def test_only_the_last_rows_count_where_they_are_bounded() -> None:
    y, offsets = flat([9.0, NAN, 3.0, 4.0], [7.0])
    bounded = Block.of(y, offsets, 1, rows=3)
    assert bounded.lengths.tolist() == [2, 1]
    assert (bounded.y * bounded.unit)[:, 0].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("begin", [0, 1, 2])
def test_some_columns_are_a_block_of_their_own(begin: int) -> None:
    y, offsets = flat([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0], [9.0])
    whole = Block.of(y, offsets, 1)
    part = whole.columns(slice(begin, begin + 2))
    alone = Block.of(
        np.concatenate([y[offsets[i] : offsets[i + 1]] for i in part.order]),
        np.cumsum([0, *part.lengths]),
        1,
    )
    for name in ("y", "lengths", "active", "unit"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name), err_msg=name)
