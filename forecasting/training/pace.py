"""How long a training takes, from its own first steps: told once, and nothing is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

import pytorch_lightning as pl

from forecasting.hardware.side_by_side import OnEpoch

# What a row that is none of the history's tells of: seconds by the clock.
EXPECTED: Final = "expected_seconds"
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

    It costs a look at the clock at each of the first steps, and nothing is waited for. The very
    first step makes ready and is not counted.

    Parameters
    ----------
    members : how many are trained, as many steps each; again, where a second phase follows.
    clock : seconds.
    """

    def __init__(self, members: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.members, self.clock = members, clock
        self.told = False
        self._lock = threading.Lock()
        self._before: dict[int, int] = {}
        self._began, self._steps = 0.0, 0

    def finished(self) -> None:
        """One of the members need not be trained."""
        self.members -= 1

    def step(self, member: int, done: int, total: int) -> float | None:
        """The seconds to tell of, at the step that shows them; else None.

        ``done`` : steps of the member so far, of ``total``.
        """
        if self.told:
            return None
        with self._lock:
            now = self.clock()
            if not self._before:
                self._began, self._before[member] = now, done
                return None
            self._steps += 1
            self._before.setdefault(member, done - 1)
            passed = now - self._began
            if self.told or self._steps < LEAST_STEPS or passed < LEAST_SECONDS:
                return None
            self.told = True
            left = self.members * total - sum(self._before.values())
            seconds = passed / self._steps * left
            return seconds if seconds >= WORTH_TELLING else None


class Ahead(pl.Callback):
    """Tells how long it will take from the steps of one member, ``total`` of them.

    ``tell`` : gets a row of `EXPECTED` alone, in order with the rows of history.
    """

    def __init__(self, expected: Expected, member: int, total: int, tell: OnEpoch) -> None:
        self.expected, self.member, self.total, self.tell = expected, member, total, tell

    def on_train_batch_end(self, trainer: pl.Trainer, *_args: Any, **_named: Any) -> None:
        seconds = self.expected.step(self.member, trainer.global_step, self.total)
        if seconds is not None:
            self.tell({EXPECTED: seconds})
