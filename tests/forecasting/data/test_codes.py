"""Numbers that stand for "missing" are told from numbers, series by series."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.codes import (
    FAR_ABOVE,
    HIGH,
    LARGE,
    LOW,
    codes_for_missing,
    first_of_each,
)

VALUES = st.one_of(
    st.sampled_from([*LOW[:6].tolist(), *HIGH[:6].tolist(), float("nan")]),
    st.integers(0, 40).map(float),
    st.floats(-5.0, 5e4).map(lambda v: round(v, 1)),
)


def plain(series: list[float]) -> list[bool]:
    """One series, value by value."""
    known = [v for v in series if v == v]
    rest = [v for v in known if v not in LOW and v not in HIGH]
    others = [v for v in known if v not in LOW]

    def above(v: float) -> bool:
        return v in HIGH and bool(rest) and v > FAR_ABOVE * max(map(abs, rest))

    often = sum(map(above, known)) > 1
    return [
        (v in LOW and bool(others) and min(others) >= 0) or (above(v) and (v >= LARGE or often))
        for v in series
    ]


@given(st.lists(st.lists(VALUES, max_size=12), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_codes_are_those_that_a_loop_over_each_series_finds(series: list[list[float]]) -> None:
    y = np.array([v for one in series for v in one], np.float64)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in series])])
    found = codes_for_missing(y, offsets)
    assert found.tolist() == [flag for one in series for flag in plain(one)]
    marked = [
        (i, row) for i in range(len(series)) for row in range(*offsets[i : i + 2]) if found[row]
    ]
    firsts = dict(reversed(marked))
    at, rows, many = first_of_each(found, offsets)
    assert dict(zip(at.tolist(), rows.tolist(), strict=True)) == firsts
    assert many.tolist() == [sum(1 for i, _ in marked if i == own) for own in at]
