"""Sample paths: a network that forecasts one step, fed back what was drawn from its forecasts."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forecasting.networks.heads import Head
from forecasting.networks.output import Output
from forecasting.networks.recurrent import States
from forecasting.networks.scaling import Scale
from forecasting.quantiles import normal_scores
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch, batch_of, cut, each, named
from forecasting.windows.geometry import Geometry

# Seed of the draws: a forecast made twice is the same.
SEED = 20_181


class OneStepNetwork(Protocol):
    """What drawing asks of a network whose decoder covers one step."""

    config: Resolved
    geometry: Geometry
    head: Head

    def features(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor, Scale]:
        """Inputs of every recurrent step, those of the linear skip, level and spread."""

    def read(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """All hidden states of some inputs, and the final states."""

    def decode(
        self, batch: Batch[Tensor], hidden: Tensor, states: States, shown: Tensor, origins: Tensor
    ) -> Tensor:
        """Parameters [B, O, H, D] at origins."""


def sample_paths(
    network: OneStepNetwork, batch: Batch[Tensor], hidden: Tensor, states: States, draws: Tensor
) -> Output:
    """Feed back drawn values, one step at a time, along many paths.

    The draws are stratified and the same for every series: a forecast depends on nothing but its
    own history.

    Parameters
    ----------
    hidden, states : [B, 1, D] and the final states, once the batch's history was read.
    draws : [H, paths] of `stratified_draws`.

    Returns
    -------
    The paths' quantiles at the head's levels, as if they were its parameters.
    """
    reach, horizon = network.geometry.reach, network.geometry.horizon
    paths, count, rows = draws.shape[1], batch["y"].shape[0], batch["y"].shape[1]
    only = torch.zeros(1, dtype=torch.int64, device=batch["y"].device)
    path = each(
        _with_room(cut(batch, rows - reach, rows), horizon),
        lambda value: value.repeat_interleave(paths, dim=0),
    )
    hidden = hidden.repeat_interleave(paths, dim=0)
    states = tuple(
        tuple(part.repeat_interleave(paths, dim=1) for part in state) for state in states
    )
    samples = []
    for k in range(horizon):
        window = cut(path, k, reach + k, ahead=1)
        x, shown, scale = network.features(window)
        if k:
            hidden, states = network.read(x, states)
        params = network.decode(window, hidden, states, shown, only)
        value = network.head.draw(params[:, 0, 0], draws[k].repeat(count))
        value = value * scale.spread[:, 0, 0] + scale.level[:, 0, 0]
        samples.append(value)
        path["y"] = torch.cat([path["y"], value[:, None]], dim=1)
        path["mask"] = torch.cat([path["mask"], torch.ones_like(value[:, None])], dim=1)
    values = torch.stack(samples, dim=1).reshape(count, paths, horizon).sort(dim=1).values
    levels = torch.tensor(network.config.model.quantile_levels, device=values.device)
    position = levels * paths - 0.5
    below = position.floor().clamp(0, paths - 2).long()
    share = (position - below).clamp(0.0, 1.0)[:, None]
    quantiles = values[:, below] * (1.0 - share) + values[:, below + 1] * share
    params = quantiles.transpose(1, 2)[:, None]
    zero = torch.zeros_like(params[:, :, 0, :1])
    last = torch.arange(1, device=values.device)
    return Output(params, zero, zero + 1.0, last)


def stratified_draws(paths: int, horizon: int) -> Tensor:
    """[H, paths] standard normal draws: each step has one in every stratum, in shuffled order."""
    generator = torch.Generator().manual_seed(SEED)
    order = torch.stack([torch.randperm(paths, generator=generator) for _ in range(horizon)])
    scores = normal_scores((np.arange(paths) + 0.5) / paths)
    return torch.tensor(scores, dtype=torch.float32)[order]


def _with_room(batch: Batch[Tensor], horizon: int) -> Batch[Tensor]:
    """Past covariates end with the history: over the horizon they are missing."""
    out = dict(named(batch))
    for name in ("past", "past_mask"):
        if name in out:
            count, _, columns = out[name].shape
            gone = out[name].new_zeros(count, horizon, columns)
            out[name] = torch.cat([out[name], gone], dim=1)
    return batch_of(out)
