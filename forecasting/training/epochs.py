"""What the epochs of a training tell: history, a loss that is no number, the best weights."""

from __future__ import annotations

import copy
import math
import threading
import time
from typing import Any

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
