"""Settings of the process that threads turn come back as they were, however they overlap."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.hardware.switches import Switch, errors_only, no_warnings


class Setting:
    """A setting whose turns are written down."""

    def __init__(self) -> None:
        self.value = "own"

    @contextmanager
    def turned(self, value: str) -> Iterator[None]:
        before, self.value = self.value, value
        try:
            yield
        finally:
            self.value = before


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=30))
def test_whatever_the_order_all_who_hold_agree_and_the_last_leaves_it_as_it_was(
    moves: list[tuple[bool, int]],
) -> None:
    """``moves``: whether a further holder comes or one goes, and who."""
    setting = Setting()
    switch = Switch(setting.turned, max)
    held: list[tuple[str, AbstractContextManager[None]]] = []
    for comes, who in moves:
        if comes:
            one = switch.at(str(who))
            one.__enter__()
            held.append((str(who), one))
        elif held:
            held.pop(who % len(held))[1].__exit__(None, None, None)
        assert setting.value == (max(value for value, _ in held) if held else "own")
    for _, one in held:
        one.__exit__(None, None, None)
    assert setting.value == "own"


def test_a_setting_comes_back_after_an_error() -> None:
    setting = Setting()
    switch = Switch(setting.turned, max)
    with pytest.raises(KeyError), switch.at("other"):
        raise KeyError
    assert setting.value == "own"


def test_a_value_that_can_not_be_set_troubles_nobody_else() -> None:
    setting = Setting()

    @contextmanager
    def turned(value: str) -> Iterator[None]:
        if value == "unknown":
            raise ValueError(value)
        with setting.turned(value):
            yield

    switch = Switch(turned, max)
    for _ in range(2):
        with pytest.raises(ValueError, match="unknown"), switch.at("unknown"):
            pass
        with switch.at("known"):
            assert setting.value == "known"
        assert setting.value == "own"


def test_overlapping_silences_leave_filters_and_levels_as_they_were() -> None:
    before, logger = list(warnings.filters), logging.getLogger("some.library")
    logger.setLevel(logging.INFO)
    first, second = (ExitStack(), ExitStack())
    for stack in (first, second):
        stack.enter_context(no_warnings())
        stack.enter_context(errors_only("some.library"))
    first.close()
    assert logger.level == logging.ERROR
    assert warnings.filters[0][0] == "ignore"
    second.close()
    assert logger.level == logging.INFO
    assert list(warnings.filters) == before
