"""Values travel as they are, or not at all."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.spread.parcel import pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN | st.binary(), max_size=5))
def test_what_is_packed_comes_out_again(values: dict[str, Any]) -> None:
    assert unpack(pack(values)) == values


@given(st.dictionaries(st.text(), PLAIN | st.binary(), max_size=3), st.data())
def test_a_part_of_a_parcel_is_refused(values: dict[str, Any], data: st.DataObject) -> None:
    whole = pack(values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):  # noqa: PT011
        unpack(whole[:cut])


def test_numbers_that_are_none_travel_too() -> None:
    out = unpack(pack({"a": [math.nan, math.inf, -0.0]}))["a"]
    assert math.isnan(out[0])
    assert out[1] == math.inf
    assert math.copysign(1.0, out[2]) == -1.0


def test_what_is_neither_plain_nor_bytes_is_refused() -> None:
    with pytest.raises(TypeError):
        pack({"a": object()})
