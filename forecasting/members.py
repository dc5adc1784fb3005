"""Members: each network trained on its own, in steps, with what the epochs tell kept."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from forecasting.config import ForecasterConfig, Schema
from forecasting.defaults import TUNED_SHARE
from forecasting.errors import TrainingError
from forecasting.linear import solve_linear_path
from forecasting.module import ForecastModule
from forecasting.networks import ForecastNetwork
from forecasting.panel import Panel
from forecasting.windows import Batch, Windows, WindowStream

OnEpoch = Callable[[dict[str, Any]], None]
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
        shown = ", ".join(repr(i) for i in series[:NAMED_SERIES])
        more = f" and {len(series) - NAMED_SERIES} more" if len(series) > NAMED_SERIES else ""
        super().__init__(
            f"the loss of member {member} is not a number at step {step}, in the batch of series "
            f"{shown}{more}; look for extreme values in their y, or lower training.learning_rate"
        )


def train_members(
    panel: Panel,
    config: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    record: OnEpoch,
    device: torch.device,
    *,
    phase: str,
    steps: int | None = None,
    watched: Panel | None = None,
    held: int = 0,
    first: int = 0,
    begin: Sequence[ForecastNetwork] = (),
) -> tuple[list[ForecastNetwork], int | None]:
    """Every member's averaged network, and the median of their best numbers of steps.

    ``first`` is the number of the first: seed, loss and cell go by it, and the one of ``begin``
    that it is trained on from.
    """
    windows = Windows(panel, config, device)
    watch = None
    if watched is not None and config.training.patience is not None:
        watch = watched_windows(watched, config, device, held)
    networks, best = [], []
    batch = config.training.batch_size or 64
    for member in range(first, first + config.training.members):
        member_config = _member_config(config, member, steps)
        while True:
            member_config = member_config.replace(training={"batch_size": batch})
            try:
                network, stopped = _train_one(
                    windows, member_config, panel.schema, member, callbacks, record, device, phase,
                    watch, begin[member % len(begin)] if begin else None,
                )  # fmt: skip
                break
            except (RuntimeError, MemoryError) as error:
                if batch == 1 or not out_of_memory(error):
                    raise
                # The members to come start with what fitted, so this is said once.
                batch = _smaller_batch(batch, device)
        networks.append(network)
        best.append(stopped)
    return networks, int(np.median(best)) if watch is not None else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error)


def _smaller_batch(batch: int, device: torch.device) -> int:
    smaller = max(batch // 2, 1)
    warnings.warn(
        f"out of memory on {device} with training.batch_size = {batch}: going on with {smaller}; "
        "set it in the configuration to spare the attempt",
        RuntimeWarning,
        stacklevel=4,
    )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return smaller


def _member_config(config: ForecasterConfig, member: int, steps: int | None) -> ForecasterConfig:
    settings = config.training
    loss = (
        settings.loss_mix[member % len(settings.loss_mix)] if settings.loss_mix else settings.loss
    )
    cell = settings.cell_mix[member % len(settings.cell_mix)] if settings.cell_mix else (
        config.model.cell)  # fmt: skip
    mix = settings.linear_mix or ("trained",)
    return config.replace(
        model={"cell": cell},
        training={
            "loss": loss.model_dump(),
            "linear_mix": mix[member % len(mix) :][:1],
            "seed": settings.seed + member,
            "max_steps": steps or settings.max_steps,
        },
    )


def _train_one(
    windows: Windows,
    config: ForecasterConfig,
    schema: Schema,
    member: int,
    callbacks: Sequence[pl.Callback],
    record: OnEpoch,
    device: torch.device,
    phase: str,
    watch: list[Batch] | None,
    begin: ForecastNetwork | None,
) -> tuple[ForecastNetwork, int]:
    settings = config.training
    total, epoch = settings.max_steps or 1, settings.epoch_steps or 50
    # A fork keeps the caller's random state out of ours and ours out of theirs.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        module = ForecastModule(config, schema, windows.calendar)
        if begin is not None:
            for network in (module.network, module.averaged):
                network.load_state_dict(begin.state_dict())
        elif settings.linear_mix == ("solved",):
            solve_linear_path(module.network, windows, settings.seed)
            module.averaged.load_state_dict(module.network.state_dict())
        stream = WindowStream(windows, settings.batch_size or 64, epoch, settings.seed)
        epochs = _Epochs(
            windows, member, phase, total, settings.batch_size or 64, record, watch is not None
        )
        trainer = _trainer(config, device, [*callbacks, epochs])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(
                module,
                DataLoader(stream, batch_size=None, num_workers=0),
                DataLoader(_Batches(watch), batch_size=None, num_workers=0) if watch else None,
            )
    network = epochs.best_network(module)
    if begin is not None:
        _return(network, begin, TUNED_SHARE)
    network.to("cpu").eval().requires_grad_(False)
    _forget_unseen(network, windows, schema)
    return network, epochs.best_step or total


@torch.no_grad()
def _return(network: ForecastNetwork, begin: ForecastNetwork, share: float) -> None:
    """Keep a share of the way that weights have gone from a start: what few series teach is noise,
    and half of it costs half as much (Wortsman et al. 2022, "Robust fine-tuning").
    """
    for own, first in zip(network.parameters(), begin.parameters(), strict=True):
        own.lerp_(first.to(own.device), 1.0 - share)


def _trainer(
    config: ForecasterConfig, device: torch.device, callbacks: list[pl.Callback]
) -> pl.Trainer:
    settings = config.training
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed", "tf32": "32-true"}[settings.precision]
    if settings.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pl.Trainer(
            max_steps=settings.max_steps or 1,
            max_epochs=-1,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=precision,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=True,
        )


class _Batches(Dataset[Batch]):
    """Ready-made batches, as Lightning wants them."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class _Epochs(pl.Callback):
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
    ) -> None:
        self.windows = windows
        self.member, self.phase, self.total, self.batch = member, phase, total, batch
        self.record, self.watches = record, watches
        self.best_loss, self.best_step, self.without_gain = math.inf, 0, 0
        self.best: dict[str, torch.Tensor] | None = None
        self.since, self.steps = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.since, self.steps = time.perf_counter(), trainer.global_step

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
        network = module.averaged if module.config.training.ema else module.network
        if self.best is not None:
            network.load_state_dict(self.best)
        return network


def watched_windows(
    panel: Panel, config: ForecasterConfig, device: torch.device, held: int
) -> list[Batch]:
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


def _forget_unseen(network: ForecastNetwork, windows: Windows, schema: Schema) -> None:
    """Categories that training never showed get the "unseen" token's embedding."""
    for role in ("past", "future", "static"):
        encoder = getattr(network, role)
        if encoder is None:
            continue
        for key, table in encoder.tables.items():
            codes = torch.unique(windows.covariates[role][..., int(key)].long())
            with torch.no_grad():
                for row in set(range(table.weight.shape[0])) - set(codes.tolist()):
                    if row:
                        table.weight[row] = table.weight[0]
