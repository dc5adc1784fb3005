"""Calls beside each other, and where an experiment's tasks are done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from forecasting.errors import ConfigError, MissingGroupError
from pipelines.config import SpreadConfig
from pipelines.spread.places import each, open_place
from pipelines.spread.processes import Processes
from pipelines.spread.task import Here
from tests.pipelines.spread.tasks import Wide


def test_calls_are_taken_only_as_they_are_needed_and_answers_keep_their_order() -> None:
    begun, guard = 0, threading.Lock()

    def calls() -> Iterator[Any]:
        nonlocal begun
        for k in range(40):
            with guard:
                begun += 1
            yield partial(lambda k: k, k)

    fetched = 0
    for number, answer in enumerate(each(Wide(), calls())):
        assert answer == number
        fetched += 1
        assert begun - fetched <= 2 * Wide.workers
    assert fetched == 40


def test_an_error_ends_the_calls_to_come() -> None:
    begun: list[int] = []

    def call(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise ConfigError("three")
        return k

    with pytest.raises(ConfigError, match="three"):
        list(each(Wide(), [partial(call, k) for k in range(1000)]))
    assert len(begun) < 20


def test_a_place_is_what_the_settings_say_and_nothing_is_started_before_a_task() -> None:
    # Another test of this process may have used Ray.
    before = set(sys.modules)
    with open_place(SpreadConfig()) as place:
        assert isinstance(place, Here)
    said: list[str] = []
    with open_place(SpreadConfig(workers=2), said.append) as place:
        assert isinstance(place, Processes)
        assert place.workers == 2
    assert said
    new = set(sys.modules) - before
    assert not any(name == "ray" or name.startswith("ray.") for name in new)


def test_without_ray_its_group_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forecasting.errors.find_spec", lambda _: None)
    with (
        pytest.raises(MissingGroupError, match=r"pip install 'gatecast\[ray\]'"),
        open_place(SpreadConfig(ray="local")),
    ):
        pass
