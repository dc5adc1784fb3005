"""Pairs of letters are counted as Python counts them, wherever blocks of a body end."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.reading import pairs
from serving.reading.pairs import count_pairs, may_hold_booleans

BODIES = st.lists(
    st.sampled_from([b'"', b":", b" ", b"true", b"false", b"ru", b"ls", b"7", b"\xff"]), max_size=30
).map(b"".join)


@given(BODIES, st.sampled_from([b'":', b"ru", b"ls"]), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_pairs_are_counted_as_python_counts_them(body: bytes, pair: bytes, block: int) -> None:
    with patch.multiple(pairs, MANY=0, BLOCK=block):
        assert count_pairs(body, pair) == body.count(pair)


@given(BODIES, st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_words_are_found_wherever_they_stand(body: bytes, block: int) -> None:
    with patch.multiple(pairs, MANY=0, BLOCK=block):
        assert may_hold_booleans(body) == (b"true" in body or b"false" in body)


@pytest.mark.parametrize("size", [pairs.MANY - 1, pairs.MANY, pairs.BLOCK, pairs.BLOCK + 3])
def test_bodies_of_any_size_are_read_to_their_ends(size: int) -> None:
    body = b'":' + b"7" * (size - 4) + b'":'
    assert (len(body), count_pairs(body, b'":')) == (size, 2)
