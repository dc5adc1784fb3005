"""The Lightning module of one member: an ordinary training step, and averaged weights."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from forecasting.hardware.graphs import ReplayedLoss
from forecasting.networks.network import ForecastNetwork
from forecasting.networks.output import Output
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.training.losses import counted, training_loss, weights_of
from forecasting.windows.batch import Batch, cut, each, named

LOG = logging.getLogger(__name__)

# Steps ahead up to which a step of training forecasts from every origin of its windows. Beyond, it
# does from so many that it makes no more numbers than for these: four times those of 24 hours.
EVERY_ORIGIN_UP_TO = 96


class ForecastModule(pl.LightningModule):
    """Trains a `ForecastNetwork`.

    Works with stock callbacks and loggers. Nothing in a step waits for the device: losses and
    gradient norms stay in device buffers (`recent_loss`, `recent_norm`) until somebody reads them.

    Parameters
    ----------
    config : resolved configuration. schema : covariates. calendar : number of calendar columns.
    """

    def __init__(self, config: Resolved, schema: Schema, calendar: int) -> None:
        super().__init__()
        self.config = config
        # Sampled paths come back as quantiles, whatever head they were drawn from.
        paths = config.model.feeds_back
        self.scored_as = config.replace(model={"head": "quantiles"}) if paths else config
        # A loss that nothing can be learned from is refused here.
        weights_of(config)
        self.network = ForecastNetwork(config, schema, calendar)
        self.drawn = drawn_origins(config, self.network)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.categorical = [
            (role, column)
            for role in ("past", "future", "static")
            for column, covariate in enumerate(schema.role(role))
            if covariate.type == "categorical"
        ]
        self.recent_loss: list[Tensor] = []
        self.recent_norm: list[Tensor] = []
        self.recent_windows: list[tuple[Tensor, Tensor]] = []
        settings = config.training
        # Members side by side keep the device busy as they are.
        # Windows that are read both ways are grouped by their length: the shapes of a step differ.
        alone = (settings.at_once or 1) == 1 and not config.model.bidirectional
        self.replays = settings.graphs is not False and alone
        self.replayed: ReplayedLoss[Batch[Tensor]] | None = None
        self.draws: torch.Generator | None = None
        self.broken: Tensor
        # 1 once a loss or gradient was no number: the optimiser leaves the weights alone from
        # then on, without anybody waiting for the device to know.
        self.register_buffer("broken", torch.zeros(()), persistent=False)

    def draw_from(self, draws: torch.Generator | None) -> None:
        """Noise, hidden categories and dropout of training come from here; None: torch's own."""
        self.draws = draws
        self.network.draw_from(draws)

    def training_step(self, batch: Batch[Tensor], batch_idx: int) -> Tensor:
        """The loss [] of one batch of B windows."""
        noise = self.config.training.noise
        network_batch = self.network.history(batch)
        if self.categorical and self.config.training.unseen:
            self._hide_categories(network_batch)
        if noise:
            y = network_batch["y"]
            normal = torch.empty_like(y).normal_(generator=self.draws)
            if self.config.model.counts:
                # Counts come as they are: noise is a share of them, and none falls below 0.
                network_batch["y"] = (y * (1.0 + noise * normal)).clamp(min=0.0)
            else:
                network_batch["y"] = y + noise * normal * network_batch["mask"]
        if self.device.type == "cuda" and self.replays:
            loss = self._replayed_loss(network_batch, batch)
        else:
            loss = self._loss(network_batch, batch)
        self.recent_loss.append(loss.detach())
        self.recent_windows.append((batch["series"], batch["origin"]))
        return loss

    def loss_of(self, batch: Batch[Tensor]) -> Tensor:
        """The loss [] of a batch as it stands: all its origins, nothing hidden, no noise, nothing
        recorded.
        """
        return self._loss(self.network.history(batch), batch, whole=True)

    def validation_step(self, batch: Batch[Tensor], batch_idx: int) -> Tensor:
        """The loss of the averaged weights."""
        output = read_as_predicted(self.averaged, self.network.history(batch))
        loss = training_loss(output, batch, self.scored_as)
        self.log("val_loss", loss, batch_size=len(batch["y"]))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW; weight decay on matrices only; the configured schedule, step by step."""
        settings = self.config.training
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any
    ) -> None:
        """By norm, by value, or both; the norm before clipping is kept."""
        settings = self.config.training
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(
            parameters, settings.clip_norm or math.inf, foreach=True
        )
        self.recent_norm.append(norm.detach())
        # What is no number times 0 is no number.
        self.broken.add_((norm * 0.0 + self.recent_loss[-1] * 0.0).isnan()).clamp_(max=1.0)
        optimizer.found_inf = self.broken  # type: ignore[attr-defined]
        if settings.clip_value:
            torch.nn.utils.clip_grad_value_(parameters, settings.clip_value, foreach=True)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Move the averaged weights; young averages forget faster (the usual bias correction)."""
        decay = min(self.config.training.ema, (1.0 + self.global_step) / (10.0 + self.global_step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averaged.parameters()), list(self.network.parameters()), 1.0 - decay
            )

    def fault(self) -> tuple[int, Tensor, Tensor] | None:
        """The first step since the last `drain` whose loss or gradient was no number.

        Its place among them, and the series and origins of its batch; None if all went well.
        """
        if not self.broken.item():
            return None
        whole = torch.stack(self.recent_loss) + torch.stack(self.recent_norm)
        step = int((~torch.isfinite(whole)).to(torch.int8).argmax())
        return step, *self.recent_windows[step]

    def drain(self) -> tuple[float, float]:
        """Mean loss and gradient norm since the last call; the one place that waits."""
        loss = torch.stack(self.recent_loss).mean().item() if self.recent_loss else math.nan
        norm = torch.stack(self.recent_norm).mean().item() if self.recent_norm else math.nan
        self.recent_loss, self.recent_norm, self.recent_windows = [], [], []
        return loss, norm

    def _loss(self, seen: Batch[Tensor], batch: Batch[Tensor], whole: bool = False) -> Tensor:
        """Of what the network makes of ``seen``, as the whole batch tells; of all its origins where
        asked for the ``whole``, or where they are few.
        """
        if self.config.model.bidirectional:
            return training_loss(read_as_predicted(self.network, seen), batch, self.config)
        every = self.config.training.origins == "all"
        if every and not whole and self.drawn < self.network.geometry.steps:
            return self._drawn_loss(seen, batch)
        return training_loss(self.network(seen, every_origin=every), batch, self.config)

    def _drawn_loss(self, seen: Batch[Tensor], batch: Batch[Tensor]) -> Tensor:
        """An estimate of the loss at every origin from a few evenly spaced ones: unbiased, since
        each is as likely to be among them.
        """
        geometry, device = self.network.geometry, batch["y"].device
        place = torch.rand((), generator=self.draws, device=device)
        apart = geometry.steps / self.drawn
        origins = ((torch.arange(self.drawn, device=device) + place) * apart).long()
        origins = origins.clamp(max=geometry.steps - 1)
        output = self.network(seen, drawn=origins)
        total = counted(geometry.steps, geometry.horizon, batch, geometry) / apart
        return training_loss(output, batch, self.config, total)

    def _replayed_loss(self, seen: Batch[Tensor], batch: Batch[Tensor]) -> Tensor:
        """The loss by way of a CUDA graph; where none can be had, plainly."""
        try:
            self.replayed = self.replayed or ReplayedLoss(self.network, self._loss, self.draws)
            return self.replayed(seen, batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self.config.training.graphs:
                raise
            LOG.warning("steps are not replayed as CUDA graphs: %s", str(error).splitlines()[0])
            self.replays, self.replayed = False, None
            return self._loss(seen, batch)

    def _hide_categories(self, batch: Batch[Tensor]) -> None:
        """Now and then a window has a category that training never saw: code 0 is learned."""
        hidden = torch.rand(
            len(self.categorical),
            len(batch["y"]),
            device=batch["y"].device,
            generator=self.draws,
        )
        for chances, (role, column) in zip(hidden, self.categorical, strict=True):
            values = named(batch)[role].clone()
            values[..., column][chances < self.config.training.unseen] = 0.0
            named(batch)[role] = values

    def _rate(self, step: int) -> float:
        settings = self.config.training
        total = max(settings.max_steps, 1)
        warm = max(int(settings.warmup * total), 1)
        if settings.schedule == "one_cycle":
            warm = max(int(0.3 * total), 1)
        if step < warm:
            floor = 0.04 if settings.schedule == "one_cycle" else 0.0
            return floor + (1.0 - floor) * 0.5 * (1.0 - math.cos(math.pi * (step + 1) / warm))
        if settings.schedule == "constant":
            return 1.0
        progress = min((step - warm) / max(total - warm, 1), 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * progress)) + 1e-4


def drawn_origins(config: Resolved, network: ForecastNetwork) -> int:
    """Origins of each window that a step of training forecasts from."""
    steps, horizon = config.model.steps, config.horizon
    if network.takes_states or config.model.feeds_back or horizon <= EVERY_ORIGIN_UP_TO:
        return steps
    return max(round(steps * EVERY_ORIGIN_UP_TO / horizon), 1)


def read_as_predicted(network: ForecastNetwork, batch: Batch[Tensor]) -> Output:
    """Forecasts [B, 1, H, D] at the last origin of B windows, of the steps that prediction reads.

    A short series fills fewer steps than a window has: empty ones before it, which prediction
    never reads, are left out. Windows that fill equally many are read together.
    """
    geometry, rows = network.geometry, batch["y"].shape[1]
    counts, kind = torch.unique(batch["filled"], return_inverse=True)
    outputs, places = [], []
    for k, count in enumerate(counts.tolist()):
        at = torch.nonzero(kind == k)[:, 0]
        part = batch if len(counts) == 1 else each(batch, lambda v, at=at: v[at])  # type: ignore[misc]
        outputs.append(network(cut(part, rows - geometry.length(count), rows)))
        places.append(at)
    back = torch.argsort(torch.cat(places))
    params, level, scale = (torch.cat([output[k] for output in outputs])[back] for k in range(3))
    last = torch.tensor([geometry.steps - 1], device=params.device)
    return Output(params, level, scale, last)
