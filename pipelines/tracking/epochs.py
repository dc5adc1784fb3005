"""Epochs of a training as they come, in MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from forecasting.errors import GatecastError
from pipelines.tracking.run import AWAY_SECONDS

if TYPE_CHECKING:
    from pipelines.tracking.run import Run
    from pipelines.tracking.tracker import Tracker


EPOCH_METRICS = ("train_loss", "val_loss", "learning_rate", "lr", "grad_norm", "windows_per_s")


class EpochLog:
    """Writes the rows of training as they come: a child run per member, and curves of the first.

    Used as a context: the child runs are closed on leaving it, as FAILED on an error.
    """

    def __init__(self, run: Run | None, tracker: Tracker | None, *, refits: bool = False) -> None:
        self.run, self.tracker, self.refits = run, tracker, refits
        self._members: dict[tuple[str, int], Run] = {}
        self._early: dict[tuple[str, int], list[tuple[dict[str, float], int]]] = {}
        self._away_until = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> EpochLog:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if self.run is not None:
            self.run.seconds_logging += sum(r.seconds_logging for r in self._members.values())

    def __call__(self, row: Mapping[str, Any]) -> None:
        if self.run is None or self.tracker is None:
            return
        values = {k: float(row[k]) for k in EPOCH_METRICS if isinstance(row.get(k), int | float)}
        if "lr" in values:
            values["learning_rate"] = values.pop("lr")
        phase, member = str(row.get("phase", "final")), int(row.get("member", 0))
        step = int(row["step"])
        if member == 0:
            prefix = "validation_phase/" if self.refits and phase == "validation" else ""
            self.run.epoch({f"{prefix}{k}": v for k, v in values.items()}, step)
        key = (phase, member)
        rows = self._early.setdefault(key, [])
        rows.append((values, step))
        if key in self._members or self._opened(key, self.run, self.tracker):
            for one in rows:
                self._members[key].epoch(*one)
            rows.clear()

    def _opened(self, key: tuple[str, int], parent: Run, tracker: Tracker) -> bool:
        """Open a member's run; a store that is away costs no training, the rows wait."""
        if time.monotonic() < self._away_until:
            return False
        phase, member = key
        tags = {"kind": "member", "member": member, "phase": phase}
        opening = tracker.run(f"member {member + 1}, {phase}", parent=parent, tags=tags)
        try:
            self._members[key] = self._stack.enter_context(opening)
        except GatecastError:
            self._away_until = time.monotonic() + AWAY_SECONDS
            return False
        return True
