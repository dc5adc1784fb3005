"""What a training tells as it goes on: how long it takes, history, the best weights.

And a loss that is no number, which ends it.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import pytorch_lightning as pl
import torch

from forecasting.data.panel import Panel
from forecasting.errors import TrainingError, listed
from forecasting.hardware.side_by_side import OnEpoch, StoppedError
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.training.module import ForecastModule
from forecasting.windows.batch import Batch
from forecasting.windows.training import Windows

NAMED_SERIES = 10

# Series whose held-back origins are scored after every epoch, when training may stop early.
WATCHED_SERIES = 512
# What a row that is none of the history's tells of: seconds by the clock.
EXPECTED: Final = "expected_seconds"
# What is measured, after a first step that makes ready: so many steps, for so long.
LEAST_STEPS: Final = 5
LEAST_SECONDS: Final = 2.0
# Trainings that take less are over before the line is read.
WORTH_TELLING: Final = 10.0


class LossError(TrainingError):
    """A loss that is no number stopped the training of a member.

    Attributes
    ----------
    member, step : where. series : ids of the batch's series, those at fault if they can be told.
    state : the network's weights from before that step; none after it was taken up.
    """

    def __init__(
        self, member: int, step: int, series: list[str], state: dict[str, torch.Tensor]
    ) -> None:
        self.member, self.step, self.series, self.state = member, step, series, state
        names = listed(list(map(repr, series)), NAMED_SERIES)
        super().__init__(
            f"the loss of member {member} is not a number at step {step}, in the batch of series "
            f"{names}; look for extreme values in their y, or lower training.learning_rate"
        )


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
    clock : seconds.
    """

    def __init__(self, rounds: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.rounds, self.clock = rounds, clock
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
    """Tells how long it will take from the steps of one member.

    ``total`` : steps of the member. tell : gets a row of `EXPECTED` and ``phase``.
    """

    def __init__(
        self, expected: Expected, member: int, phase: str, total: int, tell: OnEpoch
    ) -> None:
        self.expected, self.member, self.phase = expected, member, phase
        self.total, self.tell = total, tell

    def on_train_batch_end(self, trainer: pl.Trainer, *_args: Any, **_named: Any) -> None:
        seconds = self.expected.step(self.member, trainer.global_step, self.total)
        if seconds is not None:
            self.tell({EXPECTED: seconds, "phase": self.phase})


class Epochs(pl.Callback):
    """Per epoch: one row of history, a check for a loss that is no number, the best weights."""

    def __init__(
        self,
        windows: Windows,
        member: int,
        phase: str,
        total: int,
        batch: int,
        record: OnEpoch,
        watches: bool,
        stop: threading.Event,
    ) -> None:
        self.windows = windows
        self.member, self.phase, self.total, self.batch = member, phase, total, batch
        self.record, self.watches, self.stop = record, watches, stop
        self.best_loss, self.best_step, self.without_gain = math.inf, 0, 0
        self.best: dict[str, torch.Tensor] | None = None
        self.since, self.steps = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.since, self.steps = time.perf_counter(), trainer.global_step

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        if self.stop.is_set():
            raise StoppedError

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, ForecastModule)
        done = trainer.global_step - self.steps
        seconds = time.perf_counter() - self.since
        fault = module.fault()
        loss, norm = module.drain()
        if done == 0:
            return
        if fault is not None:
            raise self._loss_error(module, self.steps + fault[0] + 1, *fault[1:])
        row: dict[str, Any] = {
            "phase": self.phase,
            "member": self.member,
            "step": trainer.global_step,
            "of": self.total,
            "train_loss": loss,
            "grad_norm": norm,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "windows_per_s": done * self.batch / max(seconds, 1e-9),
        }
        if self.watches and "val_loss" in trainer.callback_metrics:
            row["val_loss"] = float(trainer.callback_metrics["val_loss"])
            self._keep_best(row["val_loss"], trainer, module)
        self.record(row)

    def _loss_error(
        self, module: ForecastModule, step: int, series: torch.Tensor, origin: torch.Tensor
    ) -> LossError:
        """Names the windows whose own loss is no number, else the whole batch."""
        alone = []
        with torch.no_grad():
            for k in range(len(series)):
                one = slice(k, k + 1)
                loss = module.loss_of(self.windows.gather(series[one], origin[one]))
                alone.append(bool(torch.isfinite(loss)))
        good = torch.tensor(alone, device=series.device)
        guilty = series[~good] if not good.all() else series
        ids = [str(i) for i in self.windows.ids[torch.unique(guilty).cpu().numpy()]]
        network = self.best_network(module)
        return LossError(self.member, step, ids, network.state_dict())

    def _keep_best(self, loss: float, trainer: pl.Trainer, module: ForecastModule) -> None:
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.without_gain = loss, trainer.global_step, 0
            self.best = copy.deepcopy(module.averaged.state_dict())
        else:
            self.without_gain += 1
            patience = module.config.training.patience
            if patience is not None and self.without_gain >= patience:
                trainer.should_stop = True

    def best_network(self, module: ForecastModule) -> ForecastNetwork:
        """The network, averaged where averages are kept, with the best weights that were seen."""
        network = module.averaged if module.config.training.ema else module.network
        if self.best is not None:
            network.load_state_dict(self.best)
        return network


def watched_windows(
    panel: Panel, config: Resolved, device: torch.device, held: int
) -> list[Batch[torch.Tensor]]:
    """Batches at the held-back origins: history up to there, targets after."""
    enough = np.flatnonzero(panel.lengths > held + 1)
    chosen = enough[:: max(len(enough) // WATCHED_SERIES, 1)]
    windows = Windows(panel.select(chosen), config, device)
    series = torch.arange(len(chosen), device=device)
    batches = []
    for back in range(held, config.horizon - 1, -config.horizon):
        batch = windows.gather(series, windows.length - back - 1, padded=True)
        steps = batch["valid"].shape[1]
        # Only the last origin of each window is scored, whatever its length.
        batch["valid"] = batch["valid"] * (torch.arange(steps, device=device) == steps - 1)
        batches.append(batch)
    return batches
