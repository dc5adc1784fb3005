"""How long a training takes, from its own first steps: told once, and nothing is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

import pytorch_lightning as pl

# What is measured, after a first step that makes ready: so many steps, for so long.
LEAST_STEPS: Final = 5
LEAST_SECONDS: Final = 2.0
# Trainings that take less are over before the line is read.
WORTH_TELLING: Final = 10.0


@runtime_checkable
class Expecting(Protocol):
    """Whoever follows a training by its rows, and wants to be told ahead how long it takes."""

    def __call__(self, row: dict[str, Any]) -> None:
        """Take a row of history."""

    def expect(self, seconds: float) -> None:
        """Take the time by the clock that the training is expected to take."""


class Expected:
    """The clock beside the steps of a training's members.

    It costs a look at the clock at each of the first steps, and nothing is waited for.

    Parameters
    ----------
    rounds : how many trainings as long as a member's come one after another.
    clock : seconds. tell : gets the seconds that it will take.
    """

    def __init__(
        self,
        rounds: int,
        clock: Callable[[], float] = time.perf_counter,
        *,
        tell: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.rounds, self.clock, self.tell = rounds, clock, tell
        self.told = False
        self._lock = threading.Lock()
        self._member: int | None = None
        self._began, self._first = 0.0, 0

    def step(self, member: int, done: int, total: int) -> float | None:
        """The seconds to tell of, at the step that shows them; else None.

        ``done`` : steps of the member so far. Of several members the first to come is watched.
        """
        if self.told:
            return None
        with self._lock:
            now = self.clock()
            if self._member is None:
                self._member, self._first, self._began = member, done, now
            steps, passed = done - self._first, now - self._began
            if self.told or member != self._member:
                return None
            if steps < LEAST_STEPS or passed < LEAST_SECONDS:
                return None
            self.told = True
            seconds = passed / steps * (total * self.rounds - self._first)
            return seconds if seconds >= WORTH_TELLING else None


class Ahead(pl.Callback):
    """Tells how long it will take from the steps of one member, ``total`` of them."""

    def __init__(self, expected: Expected, member: int, total: int) -> None:
        self.expected, self.member, self.total = expected, member, total

    def on_train_batch_end(self, trainer: pl.Trainer, *_args: Any, **_named: Any) -> None:
        seconds = self.expected.step(self.member, trainer.global_step, self.total)
        if seconds is not None:
            self.expected.tell(seconds)
