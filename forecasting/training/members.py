"""Members: each network trained on its own, in steps; several at once where that is faster."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from forecasting.data.panel import Panel
from forecasting.errors import warn
from forecasting.hardware.side_by_side import OnEpoch, side_by_side
from forecasting.hardware.switches import errors_only, no_warnings
from forecasting.hardware.threads import worthwhile_threads
from forecasting.hardware.torch_state import own_randomness, products_in, random_state_held
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.training.checkpoints import Checkpoints, Keeping, Kept
from forecasting.training.defaults import TUNED_SHARE
from forecasting.training.epochs import Epochs, watched_windows
from forecasting.training.linear import is_solved, keep_linear_path, solve_linear_path
from forecasting.training.module import ForecastModule
from forecasting.training.pace import Ahead, Expected
from forecasting.windows.batch import Batch
from forecasting.windows.training import Windows, WindowStream

# Lightning's loggers, under both of its names.
LIGHTNING = ("pytorch_lightning", "lightning.pytorch")


class Carried(Protocol):
    """What of a whole training the training of its members needs; see `fit.Fitting`."""

    @property
    def callbacks(self) -> Sequence[pl.Callback]:
        """Further ones, handed to every member's Trainer."""

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where unfinished members are kept, if anywhere."""

    def record(self, row: dict[str, Any]) -> None:
        """Takes each row of history as it is made, and one of how long it will take."""


class Trained(NamedTuple):
    """Networks that were trained, and the median of their best numbers of steps, if watched."""

    networks: list[ForecastNetwork]
    best_steps: int | None


@dataclass(frozen=True)
class Beginning:
    """Networks that members are trained on from.

    Attributes
    ----------
    networks : member k begins with the k-th, and again from the first; none: from nothing.
    share : of the way from there that is kept.
    carried : they were trained on this panel's earlier rows: they know its categories, whether
        these rows show them or not, and their cells are their own.
    recent : rows at the end of each series in which half of the windows end; 0: none do so.
    """

    networks: Sequence[ForecastNetwork] = ()
    share: float = TUNED_SHARE
    carried: bool = False
    recent: int = 0

    def of(self, number: int) -> ForecastNetwork | None:
        """What a member begins from."""
        return self.networks[number % len(self.networks)] if self.networks else None


def train_members(
    panel: Panel,
    config: Resolved,
    carried: Carried,
    phase: str,
    *,
    numbers: Sequence[int],
    steps: int | None = None,
    watched: tuple[Panel, int] | None = None,
    begin: Beginning | None = None,
) -> Trained:
    """Every member's averaged network.

    Parameters
    ----------
    phase : what rows of history say of it. numbers : of the members; seed, loss and cell go by a
        member's number, and the one of ``begin`` that it is trained on from.
    steps : of the optimiser; None: what the settings say.
    watched : a panel that goes on after ``panel``, and by how many rows: scored after every epoch
        where training may stop early.
    """
    device = carried.device
    begin = begin or Beginning()
    windows = Windows(panel, config, device, recent=begin.recent)
    watch = None
    if watched is not None and config.training.patience is not None:
        watch = watched_windows(watched[0], config, device, watched[1])
    kept = None
    if carried.checkpoints is not None:
        # What is watched says when training ends early.
        own = (begin.networks, begin.share, begin.carried, begin.recent)
        kept = carried.checkpoints.of(panel, phase, steps, *(watched or ()), own)
    trained: dict[int, tuple[ForecastNetwork, int]] = {}
    waiting = list(numbers)
    together = min(at_once(config, device, carried.callbacks), len(waiting))
    # What was held back is seen by a second training as long.
    twice = phase == "validation" and config.training.validation == "refit"
    expected = Expected(len(waiting) * (2 if twice else 1))
    training = _Training(
        windows, config, panel.schema, carried.callbacks, device, phase, steps, watch, begin, kept,
        expected,
    )  # fmt: skip
    batch = config.training.batch_size
    while waiting:
        group = waiting[:together]
        failed = training.members(group, batch, carried.record, trained)
        waiting = failed + waiting[together:]
        # The members to come start with what fitted, so each of these is said once.
        if failed and len(group) > 1:
            together = _one_by_one(len(group), device)
        elif failed:
            batch = _smaller_batch(batch, device)
    networks, best = zip(*(trained[number] for number in sorted(trained)), strict=True)
    return Trained(list(networks), int(np.median(best)) if watch is not None else None)


def at_once(config: Resolved, device: torch.device, callbacks: Sequence[pl.Callback] = ()) -> int:
    """How many members are trained at the same time.

    Left open, one per thread on a CPU; one after another on a GPU, and with callbacks, which are
    not asked to bear being called for two members at once.
    """
    if config.training.at_once is not None:
        return config.training.at_once
    return 1 if callbacks or device.type == "cuda" else torch.get_num_threads()


class _Built(NamedTuple):
    """A member ready to be trained, what it draws from, and the network it begins from, if any."""

    module: ForecastModule
    draws: torch.Generator
    begin: ForecastNetwork | None


@dataclass(frozen=True)
class _Training:
    """What the members of one training have in common."""

    windows: Windows
    config: Resolved
    schema: Schema
    callbacks: Sequence[pl.Callback]
    device: torch.device
    phase: str
    steps: int | None
    watch: list[Batch[torch.Tensor]] | None
    begin: Beginning
    kept: Kept | None
    expected: Expected

    def members(
        self,
        numbers: Sequence[int],
        batch: int,
        record: OnEpoch,
        trained: dict[int, tuple[ForecastNetwork, int]],
    ) -> list[int]:
        """Puts members, trained at the same time, among those ``trained``.

        Returns
        -------
        The numbers of those for which ``batch`` windows were too many for the memory.
        """

        def fits_when_smaller(error: BaseException) -> bool:
            return batch > 1 and out_of_memory(error)

        # One by one, in this thread: to build draws from the process's own random state.
        with own_randomness(self.device):
            built = {number: self._built(number, batch) for number in numbers}
        with products_in(self.config.training.precision), errors_only(*LIGHTNING), no_warnings():
            outcomes = side_by_side(
                partial(self._trained, built), numbers, record, self.device, fits_when_smaller
            )
        failed = []
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, Exception):
                failed.append(number)
            else:
                trained[number] = outcome
        return failed

    def _built(self, number: int, batch: int) -> _Built:
        config = _member_config(self.config, number, self.steps, batch)
        seed = config.training.seed
        begin = self.begin.of(number)
        if begin is not None and self.begin.carried:
            config = config.replace(model={"cell": begin.config.model.cell})
        torch.manual_seed(seed)
        module = self._module(config, begin)
        # Training draws from a generator of its own, which goes on where building ended: what a
        # member gets does not depend on who is trained beside it.
        draws = torch.Generator(self.device)
        if self.device.type == "cpu":
            draws.set_state(torch.get_rng_state())
        else:
            draws.manual_seed(seed)
        module.draw_from(draws)
        return _Built(module, draws, begin)

    def _trained(
        self, built: dict[int, _Built], number: int, record: OnEpoch, stop: threading.Event
    ) -> tuple[ForecastNetwork, int]:
        """One member's averaged network, and its best number of steps."""
        module, draws, begin = built.pop(number)
        config, settings = module.config, module.config.training
        total, batch = settings.max_steps, settings.batch_size
        state = None if self.kept is None else self.kept.member(number, config)
        if state is not None and (best_step := state.finished(module.averaged)) is not None:
            for row in state.rows:
                record(row)
            self.expected.finished()
            return module.averaged.eval().requires_grad_(False), best_step
        stream = WindowStream(self.windows, batch, settings.epoch_steps, settings.seed)
        recorder = record if state is None else state.recorded(record)
        epochs = Epochs(
            self.windows, number, self.phase, total, batch, recorder, self.watch is not None, stop
        )
        ahead = Ahead(self.expected, number, total, record)
        keeping = [] if state is None else [Keeping(state, stream, epochs, record)]
        # A loader draws a seed at every epoch, whether it has workers or not.
        seeds = draws if self.device.type == "cpu" else torch.Generator()
        load = partial(DataLoader, batch_size=None, num_workers=0, generator=seeds)
        # Before the first epoch Lightning saves the process's random state and sets it back.
        beginning = ExitStack()
        begun = pl.callbacks.LambdaCallback(on_train_start=lambda *_: beginning.close())
        trainer = _trainer(config, self.device, [begun, *self.callbacks, epochs, ahead, *keeping])
        watch = load(_Batches(self.watch)) if self.watch else None
        with worthwhile_threads(batch, config.model.hidden_size), beginning:
            beginning.enter_context(random_state_held())
            trainer.fit(module, load(stream), watch)
        module.draw_from(None)
        network = epochs.best_network(module)
        if begin is not None:
            _return(network, begin, self.begin.share)
        network.to("cpu").eval().requires_grad_(False)
        if not self.begin.carried:
            _forget_unseen(network, self.windows, self.schema)
        best_step = epochs.best_step or total
        if state is not None:
            state.finish(network, best_step)
        return network, best_step

    def _module(self, config: Resolved, begin: ForecastNetwork | None) -> ForecastModule:
        module = ForecastModule(config, self.schema, self.windows.calendar)
        if begin is not None:
            for network in (module.network, module.averaged):
                network.load_state_dict(begin.state_dict())
            if self.begin.carried and is_solved(module.network):
                keep_linear_path(module.network)
        elif config.training.linear_mix == ("solved",):
            solve_linear_path(module.network, self.windows, config.training.seed)
            module.averaged.load_state_dict(module.network.state_dict())
        return module


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error)


def _one_by_one(together: int, device: torch.device) -> int:
    warn(
        f"{device} has no memory for {together} members at once: going on one by one; "
        "set training.at_once in the configuration to spare the attempt",
        RuntimeWarning,
    )
    _free(device)
    return 1


def _smaller_batch(batch: int, device: torch.device) -> int:
    smaller = max(batch // 2, 1)
    warn(
        f"out of memory on {device} with training.batch_size = {batch}: going on with {smaller}; "
        "set it in the configuration to spare the attempt",
        RuntimeWarning,
    )
    _free(device)
    return smaller


def _free(device: torch.device) -> None:
    # What failed lies in cycles of Lightning's, and holds memory until they are found.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def member_seed(seed: int, member: int) -> int:
    """The seed of a member: the training's own for the first, one that no other has for the rest.

    Counted on from the training's, member 1 of seed 0 would be member 0 of seed 1.
    """
    if member == 0:
        return seed
    return int(np.random.SeedSequence((seed, member)).generate_state(1)[0] >> 1)


def _member_config(config: Resolved, member: int, steps: int | None, batch: int) -> Resolved:
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
            "seed": member_seed(settings.seed, member),
            "max_steps": steps or settings.max_steps,
            "batch_size": batch,
        },
    )


@torch.no_grad()
def _return(network: ForecastNetwork, begin: ForecastNetwork, share: float) -> None:
    """Keep a share of the way that weights have gone from a start: what few series teach is noise,
    and half of it costs half as much (Wortsman et al. 2022, "Robust fine-tuning").
    """
    for own, first in zip(network.parameters(), begin.parameters(), strict=True):
        own.lerp_(first.to(own.device), 1.0 - share)


def _trainer(config: Resolved, device: torch.device, callbacks: list[pl.Callback]) -> pl.Trainer:
    settings = config.training
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed", "tf32": "32-true"}[settings.precision]
    return pl.Trainer(
        max_steps=settings.max_steps,
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


class _Batches(Dataset[Batch[torch.Tensor]]):
    """Ready-made batches, as Lightning wants them."""

    def __init__(self, batches: list[Batch[torch.Tensor]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch[torch.Tensor]:
        return self.batches[index]


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
