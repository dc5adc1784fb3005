"""From a panel to a trained `Forecaster`: members, validation in time order, calibration."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from forecasting import starting, transforms
from forecasting.allocation import kept_memory
from forecasting.calibration import conformal_correction
from forecasting.config import ForecasterConfig, Schema
from forecasting.defaults import STARTS, TUNED_READ, TUNED_ROWS, TUNED_SHARE, resolve, started
from forecasting.errors import DataError, TrainingError
from forecasting.forecaster import Forecaster
from forecasting.geometry import Geometry
from forecasting.metrics import mase_scale
from forecasting.module import ForecastModule
from forecasting.networks import ForecastNetwork
from forecasting.panel import Panel
from forecasting.starting.choice import BLENDS, best, held_back, judged
from forecasting.windows import Batch, Windows, WindowStream

OnEpoch = Callable[[dict[str, Any]], None]
NAMED_SERIES = 10

# Share of the typical history that may be held back from networks that forecast all the same.
KEPT_SHARE = 0.125
# Series whose held-back origins are scored after every epoch, when training may stop early.
WATCHED_SERIES = 512
# Forecasts that validation needs to choose a share of the Theta forecast.
ENOUGH_TO_BLEND = 30


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


def fit(
    panel: Panel,
    config: ForecasterConfig,
    *,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
) -> Forecaster:
    """Train every member on the panel's history.

    Parameters
    ----------
    config : settings; what is ``None`` is chosen from the panel (`forecasting.defaults.resolve`).
    callbacks : further Lightning callbacks, handed to every member's Trainer.
    on_epoch : called with each row of ``Forecaster.history`` as it is made.
    device : ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns
    -------
    Forecaster : calibrated, with ``history`` and ``swing`` filled.

    Raises
    ------
    TrainingError : nothing to learn from, or a loss that is not a number.
    """
    where = pick_device(device)
    open_blend = config.model.blend is None and config.model.head != "negative_binomial"
    asked, config = config, resolve(config, panel)
    _check_counts(panel, config)
    panel = replace(panel, schema=_encoded(panel.schema, config))
    start = started(asked, config, panel)
    with _threads(config):
        if start is not None:
            return _fit_started(panel, config, start, callbacks, on_epoch, where, open_blend)
        return _fit(panel, config, callbacks, on_epoch, where, open_blend)


def refit(
    judged: Forecaster,
    panel: Panel,
    *,
    backs: Sequence[int],
    steps: int | None = None,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
) -> Forecaster:
    """Train again, on the whole panel, what was trained without the panel's last rows.

    Parameters
    ----------
    judged : trained on the panel's rows up to the earliest of the origins in `backs`.
    backs : origins it has not seen beyond, as rows before each series' end. Its errors there
        give the swing of the members and the correction of the quantiles.
    steps : training steps of each member; default: what the settings say.

    Returns
    -------
    Forecaster : with the settings of `judged`, and weights that know every row.
    """
    where = pick_device(device)
    config = judged.config
    history, record = _recorder(on_epoch)
    panel = replace(panel, schema=_encoded(panel.schema, config))
    with _threads(config):
        known = replace(panel, schema=judged.schema)
        swing, correction = _judge(judged.networks, known, config, list(backs))
        panel = replace(panel, schema=fitted_schema(panel))
        networks = judged.networks
        if config.training.start != "shipped":
            networks, _ = _train_members(
                panel, _shorter(config), callbacks, record, where, steps=steps, phase="final",
                begin=_beginning(config, panel.schema),
            )  # fmt: skip
    return Forecaster(
        config=config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing=swing,
    )


@contextmanager
def _threads(config: ForecasterConfig) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(config.training.threads or max(os.cpu_count() or 1, 1))
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)


def _encoded(schema: Schema, config: ForecasterConfig) -> Schema:
    if not config.model.encoding:
        return schema
    return Schema(
        covariates=tuple(c.replace(encoding=config.model.encoding) for c in schema.covariates)
    )


def _recorder(on_epoch: OnEpoch | None) -> tuple[list[dict[str, Any]], OnEpoch]:
    history: list[dict[str, Any]] = []

    def record(row: dict[str, Any]) -> None:
        history.append(row)
        if on_epoch is not None:
            on_epoch(row)

    return history, record


def _fit(
    panel: Panel,
    config: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    on_epoch: OnEpoch | None,
    where: torch.device,
    open_blend: bool,
) -> Forecaster:
    history, record = _recorder(on_epoch)
    return _fit_recorded(panel, config, callbacks, history, record, where, open_blend)


def _fit_started(
    panel: Panel,
    config: ForecasterConfig,
    start: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    on_epoch: OnEpoch | None,
    where: torch.device,
    open_blend: bool,
) -> Forecaster:
    """The pretrained start as it is, tuned, or none: what held-back origins say.

    ``config`` : resolved to train from nothing; ``start`` : to begin from the start.
    """
    history, record = _recorder(on_epoch)
    only = start.training.start
    own = _held_back(panel, config)
    held = own or held_back(panel, start)
    if not held:
        start = start.replace(training={"start": only or "shipped"})
        panel = replace(panel, schema=fitted_schema(panel))
        networks = shipped = _beginning(start, panel.schema)
        if only == "tuned":
            networks, _ = _train_members(
                panel, _shorter(start), callbacks, record, where, phase="final", begin=shipped
            )
        return Forecaster(config=start, schema=panel.schema, networks=networks, history=history)
    panel = replace(panel, schema=fitted_schema(panel.truncate(held)))
    past = panel.truncate(held)
    backs = list(range(held, config.horizon - 1, -config.horizon))
    shipped = _beginning(start, panel.schema)
    found = []
    if only != "tuned":
        found.append(judged("shipped", shipped, panel, start, backs, open_blend=open_blend))
    if only == "tuned" or (only is None and past.rows >= TUNED_ROWS):
        networks, _ = _train_members(
            past, _shorter(start), callbacks, record, where, phase="validation", begin=shipped
        )
        found.append(judged("tuned", networks, panel, start, backs, open_blend=open_blend))
    if only is None and own:
        networks, _ = _train_members(past, config, callbacks, record, where, phase="validation")
        found.append(judged("none", networks, panel, config, backs, open_blend=open_blend))
    chosen = best(found)
    scores = {f"start_{each.name}": each.mase for each in found}
    if chosen.name == "none":
        forecaster = _fit_recorded(
            panel, chosen.config, callbacks, history, record, where, False,
            trained=chosen.networks,
        )  # fmt: skip
        forecaster.swing = {**forecaster.swing, **scores}
        return forecaster
    swing, correction = _judge(chosen.networks, panel, chosen.config, backs)
    networks = chosen.networks
    if chosen.name == "tuned" and config.training.validation == "refit":
        panel = replace(panel, schema=fitted_schema(panel))
        networks, _ = _train_members(
            panel, _shorter(chosen.config), callbacks, record, where, phase="final", begin=shipped
        )
    return Forecaster(
        config=chosen.config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing={**swing, **scores},
    )


def _shorter(config: ForecasterConfig) -> ForecasterConfig:
    """To train on from a start: it reads further when it forecasts than there it needs to."""
    if config.training.start == "none":
        return config
    return config.replace(model={"steps": min(config.model.steps or 1, TUNED_READ)})


def _beginning(config: ForecasterConfig, schema: Schema) -> list[ForecastNetwork]:
    """The pretrained networks that settings begin from; none where they train from nothing."""
    if config.training.start == "none":
        return []
    return starting.weights(STARTS[config.season or 1], config, schema)


def _fit_recorded(
    panel: Panel,
    config: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    history: list[dict[str, Any]],
    record: OnEpoch,
    where: torch.device,
    open_blend: bool,
    trained: list[ForecastNetwork] | None = None,
) -> Forecaster:
    """Train from nothing; ``trained`` are networks made without what is held back."""
    held = _held_back(panel, config)
    swing: dict[str, float] = {}
    correction = None
    best_steps = None
    networks: list[ForecastNetwork] = []
    if held:
        # Covariates are standardised by what was known at the cutoff, like all else.
        panel = replace(panel, schema=fitted_schema(panel.truncate(held)))
        past = panel.truncate(held)
        networks, best_steps = (trained, None) if trained else _train_members(
            past, config, callbacks, record, where, watched=panel, held=held, phase="validation"
        )  # fmt: skip
        backs = list(range(held, config.horizon - 1, -config.horizon))
        if open_blend and len(backs) * len(panel) >= ENOUGH_TO_BLEND:
            config = _blended(networks, panel, config, backs)
        swing, correction = _judge(networks, panel, config, backs)
    if not held or config.training.validation == "refit":
        judged, known = networks, panel.schema
        panel = replace(panel, schema=fitted_schema(panel))
        # A single network's forecasts swing with its start. Where little was held back from the
        # judged one, it forecasts along: an ensemble of two at no more training.
        share = held / max(float(np.median(panel.lengths)), 1.0)
        alone = config.training.members == 1 and known == panel.schema
        kept = judged if alone and share <= KEPT_SHARE else []
        networks, _ = _train_members(
            panel, config, callbacks, record, where, steps=best_steps, phase="final",
            first=len(kept),
        )  # fmt: skip
        networks = [*kept, *networks]
    return Forecaster(
        config=config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing=swing,
    )


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device = cuda, but this machine shows no GPU; use device = cpu")
    return device


def _check_counts(panel: Panel, config: ForecasterConfig) -> None:
    below = np.flatnonzero(panel.y < 0)
    if config.model.head == "negative_binomial" and len(below):
        at = int(below[0])
        series = panel.ids[panel.series[at]]
        raise DataError(
            f"series {series!r} has y = {panel.y[at]:g}, but model.head = negative_binomial "
            "forecasts counts, from 0 up; choose quantiles or student_t"
        )


def fitted_schema(panel: Panel) -> Schema:
    """The schema with mean and deviation of real columns taken from this panel alone."""
    fitted = []
    blocks = {"past": panel.past, "future": panel.future, "static": panel.static}
    column = {"past": 0, "future": 0, "static": 0}
    for covariate in panel.schema.covariates:
        values = blocks[covariate.role][:, column[covariate.role]]
        column[covariate.role] += 1
        known = values[~np.isnan(values)]
        if covariate.type == "real" and len(known):
            spread = float(known.std())
            covariate = covariate.replace(
                mean=float(known.mean()), std=spread if spread > 0 else 1.0
            )
        fitted.append(covariate)
    return Schema(covariates=tuple(fitted))


def _held_back(panel: Panel, config: ForecasterConfig) -> int:
    """Rows at the end of each history that validation keeps from training; 0 for none."""
    settings = config.training
    if settings.validation == "none":
        return 0
    if not config.calibrate and settings.patience is None and settings.validation == "refit":
        return 0
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    known = ~np.isnan(panel.y)
    first = panel.lengths.copy()
    np.minimum.at(first, panel.series[known], position[known])
    for windows in range(settings.validation_windows or 1, 0, -1):
        held = windows * config.horizon
        # What is left must still hold a window and a horizon to learn from, for most series.
        enough = panel.lengths - first >= held + config.horizon + (config.model.window or 1)
        left = known & (position < (panel.lengths - held)[panel.series])
        learnable = np.bincount(panel.series[left], minlength=len(panel)) >= 2
        if (enough & learnable).mean() >= 0.5:
            return held
    return 0


def _train_members(
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
        watch = _watched_windows(watched, config, device, held)
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
    return config.replace(
        model={"cell": cell},
        training={
            "loss": loss.model_dump(),
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


def _watched_windows(
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


def _judge(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> tuple[dict[str, float], np.ndarray | None]:
    """Swing of the members' scores (MASE of the median) and the conformal correction."""
    levels = config.model.quantile_levels
    scores = np.zeros(len(networks) + 1)
    errors = []
    for index, group in enumerate([*([n] for n in networks), networks]):
        engine = Forecaster(config=config, schema=panel.schema, networks=group)
        found = []
        for back in backs:
            known = panel.truncate(back, config.horizon)
            values, spread = engine.scaled_quantiles(known)
            actual = actuals(panel, back, config.horizon)
            t = transforms.forward(actual, config.model.transform or "identity")
            if index == len(networks):
                scaled_errors = (t[..., None] - values) / spread[:, None, None]
                errors.append(np.where(_has_spread(known, config), scaled_errors, np.nan))
            point = transforms.inverse(
                values[..., len(levels) // 2], config.model.transform or "identity"
            )
            scale = mase_scale(known.y, known.offsets, config.season or 1)
            with np.errstate(invalid="ignore", divide="ignore"):
                scaled = np.abs(actual - point) / scale[:, None]
            found.append(scaled[np.isfinite(scaled)])
        scores[index] = float(np.concatenate(found).mean()) if sum(map(len, found)) else math.nan
    members, swing = scores[:-1], {}
    if np.isfinite(scores).all():
        swing = {
            "min": float(np.min(members)),
            "median": float(np.median(members)),
            "max": float(np.max(members)),
            "ensemble": float(scores[-1]),
        }
    correction = None
    if config.calibrate:
        correction = conformal_correction(errors, levels)
    return swing, correction


def _blended(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> ForecasterConfig:
    """The settings with a share of the Theta forecast halfway to what held-back origins ask for.

    Halfway from the rule's: they judge networks that have read less than the final ones will.
    Scored by MASE and, where every value is positive, by sMAPE too, each relative to no blend.
    """
    transform = config.model.transform or "identity"
    middle = len(config.model.quantile_levels) // 2
    weights = np.array(BLENDS)
    scaled = np.zeros((len(backs), len(weights)))
    relative = np.zeros((len(backs), len(weights)))
    positive = bool(np.nanmin(panel.y) > 0.0)
    for index, back in enumerate(backs):
        known = panel.truncate(back, config.horizon)
        actual = actuals(panel, back, config.horizon)
        scale = mase_scale(known.y, known.offsets, config.season or 1)
        ends = []
        for blend in (0.0, 1.0):
            settings = config.replace(model={"blend": blend})
            engine = Forecaster(config=settings, schema=panel.schema, networks=networks)
            ends.append(engine.scaled_quantiles(known)[0][..., middle])
        for j, weight in enumerate(weights):
            point = transforms.inverse((1.0 - weight) * ends[0] + weight * ends[1], transform)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.abs(actual - point) / scale[:, None]
                share = np.abs(actual - point) / (np.abs(actual) + np.abs(point))
            scaled[index, j] = error[np.isfinite(error)].mean() if np.isfinite(error).any() else 0.0
            relative[index, j] = np.nanmean(share) if positive else 0.0
    total = scaled.mean(0) / max(scaled.mean(0)[0], 1e-12)
    if positive:
        total = total + relative.mean(0) / max(relative.mean(0)[0], 1e-12)
    asked = float(weights[total.argmin()])
    return config.replace(model={"blend": round((asked + (config.model.blend or 0.0)) / 2.0, 3)})


def _has_spread(known: Panel, config: ForecasterConfig) -> np.ndarray:
    """[n, 1, 1] whether an origin has a spread of its own to measure errors in.

    Where nothing was observed, or nothing deviated, the spread is a stand-in: such errors say
    nothing of other series and must not widen their intervals.
    """
    window = known.tail(Geometry.of(config).rows)
    t = transforms.forward(window.y, config.model.transform or "identity")
    seen, series = ~np.isnan(t), window.series
    low, high = np.full(len(known), np.inf), np.full(len(known), -np.inf)
    np.minimum.at(low, series[seen], t[seen])
    np.maximum.at(high, series[seen], t[seen])
    needed = high > low if config.model.spread == "mad" else high >= low
    return np.asarray(needed)[:, None, None]


def actuals(panel: Panel, back: int, horizon: int) -> np.ndarray:
    """[n, H] values after the cutoff ``back`` rows before each end, for `truncate`'s series."""
    kept = np.flatnonzero(panel.lengths - back > 0)
    cut = panel.lengths[kept] - back
    steps = cut[:, None] + np.arange(horizon)
    inside = steps < panel.lengths[kept, None]
    source = np.minimum(panel.offsets[:-1][kept, None] + steps, panel.rows - 1)
    return np.where(inside, panel.y[source], np.nan)


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
