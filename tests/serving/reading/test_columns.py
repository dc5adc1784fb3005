"""Lists of numbers are packed as the slow and obvious way makes them, or refused alike."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import Faults
from serving.reading import columns
from serving.reading.columns import numbers

# What orjson makes of a number, a null, and now and then of something else.
NUMBERS = st.one_of(
    st.none(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
OTHERS = st.one_of(st.text(max_size=2), st.just([]), st.just({}), st.just([1.0]))
LISTS = st.lists(st.lists(NUMBERS, max_size=7), max_size=6)
MIXED = st.lists(st.lists(NUMBERS | OTHERS, max_size=7), max_size=4)


def plainly(lists: list[list[Any]]) -> tuple[list[float], list[tuple[Any, ...]]]:
    """Value by value: the numbers, and the places of those that are none."""
    found, wrong = [], []
    for i, values in enumerate(lists):
        for j, value in enumerate(values):
            if value is None or type(value) in (int, float):
                found.append(math.nan if value is None else float(value))
            else:
                found.append(math.nan)
                wrong.append(("series", i, "y", j))
    return found, wrong


@given(LISTS | MIXED, st.integers(1, 4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_numbers_are_what_value_by_value_they_are(
    lists: list[list[Any]], packed: int, known: bool
) -> None:
    faults = Faults()
    with patch.object(columns, "PACKED", packed):
        found = numbers(lists, lambda i: ("series", i, "y"), faults, no_booleans=known)
    wanted, wrong = plainly(lists)
    assert [fault.path for fault in faults.found] == wrong[: len(faults.found)]
    assert faults.count == len(wrong)
    assert (found.dtype, len(found)) == (np.float64, len(wanted))
    if not wrong:
        np.testing.assert_array_equal(found, wanted)


def test_true_is_no_number() -> None:
    faults = Faults()
    numbers([[1.0], [2.0, True]], lambda i: (i,), faults)
    assert [fault.path for fault in faults.found] == [(1, 1)]
