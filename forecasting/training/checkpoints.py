"""Training that goes on where it was killed: each member's state, written between its epochs.

A file holds all that the epochs to come depend on, random streams among it, so that who goes on
ends with the very weights of who was never stopped. Tensors lie in safetensors, the rest as JSON in
its header: nothing of it is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.errors import TrainingError
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.training.epochs import Epochs
from forecasting.training.module import ForecastModule
from forecasting.windows.training import WindowStream

# Seconds between two states of a member: what a kill costs at most, beside an epoch.
EVERY = 20.0

# Changed whenever what a state holds, or what training makes of it, does.
FORMAT = 1


@dataclass(frozen=True)
class Checkpoints:
    """Where unfinished trainings keep what they have.

    Attributes
    ----------
    folder : made when something is written. Whoever names it deletes it once the outcome is safe.
    """

    folder: Path

    @classmethod
    def within(cls, folder: str | Path | None) -> Self | None:
        """Those of a folder; None without one."""
        return None if folder is None else cls(Path(folder))

    def of(self, *parts: Any) -> Kept:
        """What is kept of the one training that all these make: panels, networks, plain values."""
        return Kept(
            self.folder, signature(FORMAT, torch.__version__, torch.get_num_threads(), *parts)
        )


@dataclass(frozen=True)
class Kept:
    """States of the members of one training, told apart by all that its outcome depends on."""

    folder: Path
    signature: str

    def member(self, number: int, config: Resolved) -> MemberState:
        """That of a member under its own settings."""
        name = signature(self.signature, number, config.model_dump(mode="json"))
        return MemberState(self.folder / f"{name}.safetensors")


@dataclass
class MemberState:
    """A member's file, and when it was last written.

    Attributes
    ----------
    rows : of history, from the first epoch on.
    """

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)

    def finished(self, network: ForecastNetwork) -> int | None:
        """Its best step, and its weights into ``network``; None where it was not finished."""
        contents = self._read()
        if contents is None or not contents[1]["finished"]:
            return None
        network.load_state_dict(contents[0])
        self.rows = contents[1]["rows"]
        return int(contents[1]["best_step"])

    def finish(self, network: ForecastNetwork, best_step: int) -> None:
        """Keep a member that is trained."""
        facts = {"finished": True, "best_step": best_step, "rows": self.rows}
        self._write(dict(network.state_dict()), facts)

    def recorded(self, record: OnEpoch) -> OnEpoch:
        """Tells rows as they come, and keeps them."""

        def told(row: dict[str, Any]) -> None:
            self.rows.append(row)
            record(row)

        return told

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self.written >= EVERY

    def keep(self, module: ForecastModule, stream: WindowStream, epochs: Epochs) -> None:
        """Write all that the epochs to come depend on."""
        optimizer, schedule = _stepping(module)
        state = optimizer.state_dict()
        tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
        for index, values in state["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        for name, value in (epochs.best or {}).items():
            tensors[f"best.{name}"] = value
        tensors["stream"] = stream.generator.get_state()
        if module.draws is not None:
            tensors["draws"] = module.draws.get_state()
        facts = {
            "finished": False,
            "step": module.global_step,
            "epoch": module.current_epoch + 1,
            "best_loss": epochs.best_loss if math.isfinite(epochs.best_loss) else None,
            "best_step": epochs.best_step,
            "without_gain": epochs.without_gain,
            "rates": [group["lr"] for group in optimizer.param_groups],
            "schedule": schedule.last_epoch,
            "rows": self.rows,
        }
        self._write(tensors, facts)

    def take_up(
        self, trainer: pl.Trainer, module: ForecastModule, stream: WindowStream, epochs: Epochs
    ) -> None:
        """Set all of a training that begins to where its file says it stood, if there is one."""
        contents = self._read()
        if contents is None or contents[1]["finished"]:
            return
        tensors, facts = contents
        module.load_state_dict(_under("module.", tensors))
        optimizer, schedule = _stepping(module)
        groups = optimizer.state_dict()["param_groups"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        for group, rate in zip(optimizer.param_groups, facts["rates"], strict=True):
            group["lr"] = rate
        schedule.last_epoch = facts["schedule"]
        stream.generator.set_state(tensors["stream"])
        if module.draws is not None:
            module.draws.set_state(tensors["draws"])
        epochs.best = _under("best.", tensors) or None
        epochs.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        epochs.best_step, epochs.without_gain = facts["best_step"], facts["without_gain"]
        # What Lightning counts its steps by, and ends at the last of them.
        loop = trainer.fit_loop.epoch_loop.automatic_optimization
        loop.optim_progress.optimizer.step.total.completed = facts["step"]
        # An epoch that is not the first has its loader begin anew, which draws.
        trainer.fit_loop.epoch_progress.current.completed = facts["epoch"]
        self.rows = facts["rows"]

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts; None where there is no file, or none that is whole."""
        try:
            with safe_open(self.path, framework="pt") as file:
                facts = json.loads(file.metadata()["state"])
                return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
        except (OSError, SafetensorError):
            return None

    def _write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        # Two that train the same write the same, each a file of its own.
        half = self.path.with_suffix(f".{uuid.uuid4().hex}.part")
        # Weights that share memory are written each for itself.
        whole = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(whole, half, metadata={"state": json.dumps(facts)})
            with half.open("rb") as file:
                os.fsync(file.fileno())
            half.replace(self.path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                half.unlink()
            raise TrainingError(
                f"the state of a training cannot be written to {self.path.parent}: {error}; "
                "what was written before it is whole, and the same command goes on from there"
            ) from error
        self.written = time.monotonic()


class Keeping(pl.Callback):
    """Takes a member's state up when training begins, and writes it as epochs end.

    It stands behind `Epochs`, whose count of an epoch it keeps.
    """

    def __init__(
        self, state: MemberState, stream: WindowStream, epochs: Epochs, record: OnEpoch
    ) -> None:
        self.state, self.stream, self.epochs, self.record = state, stream, epochs, record

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take up what a training that was killed has left, and tell its epochs again."""
        assert isinstance(module, ForecastModule)
        self.state.take_up(trainer, module, self.stream, self.epochs)
        for row in self.state.rows:
            self.record(row)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the state, where the last one was written long enough ago."""
        assert isinstance(module, ForecastModule)
        if self.state.due() and not trainer.should_stop:
            self.state.keep(module, self.stream, self.epochs)


def signature(*parts: Any) -> str:
    """Hex digits of a hash that any other data, setting or weight changes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        _add(digest, part)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, part: Any) -> None:
    """Adds what a part says, and where it ends."""
    if isinstance(part, Panel):
        columns = (part.offsets, part.y, part.past, part.future, part.horizon, part.static)
        stamps = (part.freq.alias, part.tz, part.start.astype(np.int64), str(part.start.dtype))
        _add(digest, [*columns, *stamps, part.schema.model_dump(mode="json"), list(part.ids)])
    elif isinstance(part, ForecastNetwork):
        _add(digest, [value.cpu().numpy() for value in part.state_dict().values()])
    elif isinstance(part, np.ndarray):
        array: Array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data if array.size else b"")
    elif isinstance(part, Sequence) and not isinstance(part, str):
        digest.update(f"[{len(part)}".encode())
        for one in part:
            _add(digest, one)
    else:
        text = json.dumps(part, sort_keys=True, default=str)
        digest.update(f"{len(text)}:{text}".encode())


def _stepping(module: ForecastModule) -> tuple[torch.optim.Optimizer, Any]:
    """The optimiser of a module that is being trained, and its schedule."""
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer, module.lr_schedulers()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by what follows."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
