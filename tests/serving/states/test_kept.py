"""What an append makes of a series, beside a slow twin that keeps every row in one list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as over
from hypothesis import settings as examples
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.states.kept import PIECE, Given, Kept, Rows, joined

VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=16))

RULE = (1.5, None, 2.0, 3.25, 1.5, 0.0, None)


class Twin:
    """All rows by number, and what is said of those to come."""

    def __init__(self) -> None:
        self.y: list[Any] = []
        self.promo: dict[int, Any] = {}

    def append(self, row: int, y: list[Any], promo: list[Any]) -> bool:
        """Whether the rows go with what is there; if so they are taken in."""
        same = all(row + k >= len(self.y) or self.y[row + k] == value for k, value in enumerate(y))
        same &= all(
            value is None or row + k >= len(self.y) or self.promo.get(row + k) == value
            for k, value in enumerate(promo)
        )
        if row > len(self.y) or not same:
            return False
        self.y += y[len(self.y) - row :]
        self.promo |= {row + k: value for k, value in enumerate(promo) if value is not None}
        return True


@examples(max_examples=40, deadline=None, derandomize=True)
@over(st.data())
def test_appends_of_any_kind_keep_what_the_slow_twin_keeps(data: st.DataObject) -> None:
    kept: Kept | None = None
    pieces: dict[int, Rows] = {}
    twin = Twin()
    for _ in range(data.draw(st.integers(1, 6))):
        there = len(twin.y)
        row = data.draw(st.integers(max(there - 5, 0), there + 1)) if there else 0
        old = data.draw(st.sampled_from([True, True, False]))
        y = twin.y[row:] if old else data.draw(st.lists(VALUES, max_size=3))
        # Long parts by a rule, for drawing each value takes long.
        more, shift = data.draw(st.integers(0, PIECE)), data.draw(st.integers(0, 6))
        y = [*y, data.draw(VALUES), *(RULE[(k + shift) % len(RULE)] for k in range(more))]
        promo = [twin.promo.get(row + k) for k in range(len(y))] if old else []
        promo = [*promo, *data.draw(st.lists(VALUES, max_size=4))]
        given = Given("step", None, row, {"y": y}, {"promo": promo} if promo else {}, begin=True)
        fits = twin.append(row, y, promo)
        if not fits:
            with pytest.raises(RequestError) as refused:
                joined(kept, pieces.__getitem__, given, 10**6)
            assert refused.value.code in ("gap", "contradiction")
            continue
        change = joined(kept, pieces.__getitem__, given, 10**6)
        assert change.appended == len(twin.y) - there
        assert change.known == min(there - row, len(y))
        kept, pieces = change.kept, {**pieces, **change.pieces}
    assert kept is not None
    assert kept.count == len(twin.y)
    rows = [pieces[k] for k in range(-(-kept.count // PIECE))]
    assert [value for part in rows for value in part["y"]] == twin.y
    told = [v for part in rows for v in part.get("future.promo", [None] * len(part["y"]))]
    assert told == [twin.promo.get(k) for k in range(kept.count)]
    ahead = {kept.count + k: v for k, v in enumerate(kept.ahead.get("promo", [])) if v is not None}
    assert ahead == {k: v for k, v in twin.promo.items() if k >= kept.count}


def test_a_start_between_two_steps_is_off_the_grid() -> None:
    begun = joined(None, {}.__getitem__, Given("2step", None, 0, {"y": [1.0]}, begin=True), 9).kept
    with pytest.raises(RequestError) as refused:
        joined(begun, {}.__getitem__, Given("2step", None, 3, {"y": [1.0]}), 9)
    assert (refused.value.status, refused.value.faults[0].code) == (422, "start_off_grid")
