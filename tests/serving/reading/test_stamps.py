"""Steps are read together as they are one by one, or refused at the same places."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.calendar import Frequency
from serving.errors import Faults
from serving.reading.stamps import MAX_STEP, read_starts

STEPS = st.integers(-MAX_STEP, MAX_STEP) | st.sampled_from([-MAX_STEP, MAX_STEP])
OTHERS = st.sampled_from([MAX_STEP + 1, -MAX_STEP - 1, None, True, 1.0, "1", [1]])


@given(st.lists(STEPS, max_size=6) | st.lists(STEPS | OTHERS, max_size=6))
@settings(max_examples=200, deadline=None)
def test_steps_are_whole_numbers_within_their_bounds(values: list[Any]) -> None:
    faults = Faults()
    start, zone = read_starts(values, Frequency.parse("step"), None, lambda i: ("start", i), faults)
    wrong = [i for i, v in enumerate(values) if type(v) is not int or abs(v) > MAX_STEP]
    assert [fault.path for fault in faults.found] == [("start", i) for i in wrong]
    assert (zone, start.dtype) == (None, np.int64)
    assert wrong or start.tolist() == values
