"""The network of `gatecast-zero`: stacked GRUs over patches of any series.

Everything is scaled as it is read: the level and the spread after a patch are those of the patches
up to it, the newest counting most, so that every patch is an origin in training and no state has
seen what it forecasts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.zero.constants import (
    FORGET_LEVEL,
    FORGET_SPREAD,
    FURTHEST,
    LEAST_SPREAD,
    LEAST_UNIT,
    LEVELS,
    MIDDLE,
    MOST_UNIT,
    REPEATED,
    STEPS,
)
from forecasting.zero.patches import AHEAD, COORDINATES, LAGS, SEASONS, WIDTH

# Beside values and their lags: see `ZeroNetwork._features`.
FEATURES = 2 * WIDTH + LAGS * (STEPS + AHEAD) + COORDINATES + 7 + LAGS + 1 + AHEAD + 1


@dataclass(frozen=True)
class Shape:
    """Sizes of a network."""

    hidden: int = 256
    layers: int = 2

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


class ZeroNetwork(nn.Module):
    """Quantiles of the steps after each patch; see `forward`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.shape = shape
        self.inner = nn.Linear(FEATURES, hidden)
        self.outer = nn.Linear(hidden, hidden)
        self.past = nn.Linear(FEATURES, hidden, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(shape.layers))
        self.layers = nn.ModuleList(
            nn.GRU(hidden, hidden, batch_first=True) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.first = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, STEPS * len(LEVELS))
        # How far each step repeats what was: learned from where the season before is repeated.
        self.repeat = nn.Linear(hidden, REPEATED * STEPS)
        # What is linear in the newest values is learned before all else: it starts at nothing.
        self.skip = nn.Linear(WIDTH, STEPS)
        for layer in (self.skip, self.repeat):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.repeat.bias.view(REPEATED, STEPS)[SEASONS] = 0.5
            self.last.weight.mul_(0.1)
            bias = self.last.bias.view(STEPS, len(LEVELS))
            bias.fill_(-1.5)
            bias[:, MIDDLE] = 0.0

    def forward(
        self, x: Tensor, seen: Tensor, lag: Tensor, lag_seen: Tensor, trend: Tensor, place: Tensor,
        zero: Tensor, positive: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """From `Patches.inputs` the quantiles after each patch.

        Returns
        -------
        quantiles : [N, T, STEPS, Q] rising along Q, in spreads about the level.
        level, spread : [N, T], in the series' unit. unit : [N, T], that of errors, in spreads.
        """
        level, spread = scale(x, seen)
        errors, unit = units(x, seen, lag, lag_seen, spread)
        now = seen * _near((x - level[..., None]) / spread[..., None])
        then = lag_seen * _near((lag - level[..., None, None]) / spread[..., None, None])
        last = latest(now, seen)
        facts = self._facts(seen, zero, positive, level, spread, last)
        lag_share = lag_seen.reshape(*lag_seen.shape[:2], LAGS * AHEAD, WIDTH).mean(-1)
        trend = _near(trend / spread[..., None])
        moved, away = trend[..., :-1], trend[..., -1:]
        # Of the drift its first step in each patch ahead, and how far off the newest value is.
        facts = torch.cat([place, facts, errors, trend[..., ::WIDTH]], -1)
        features = torch.cat([now, seen, then.flatten(-2), lag_share, facts], -1)
        state = self.past(features) + self.outer(functional.silu(self.inner(features)))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            state = state + layer(norm(state))[0]
        output = functional.silu(self.first(self.norm(state)))
        repeat = self.repeat(output).unflatten(-1, (REPEATED, STEPS))
        middle = (repeat[..., :LAGS, :] * then).sum(-2) + repeat[..., LAGS, :] * last[..., None]
        middle = middle + repeat[..., LAGS + 1, :] * moved + repeat[..., LAGS + 2, :] * away
        output = self.last(output).unflatten(-1, (STEPS, len(LEVELS)))
        middle = middle + self.skip(now) + unit[..., None] * output[..., MIDDLE]
        # What lies between neighbouring levels is positive, so that no two cross.
        away = functional.softplus(output) @ _outwards(output)
        return middle[..., None] + unit[..., None, None] * away, level, spread, unit

    @staticmethod
    def _facts(seen: Tensor, *facts: Tensor) -> Tensor:
        """[N, T, 7] how level and spread moved, how much was seen, and where zero lies."""
        zero, positive, level, spread, last = facts
        before_level = torch.cat([level[:, :1], level[:, :-1]], 1)
        before_spread = torch.cat([spread[:, :1], spread[:, :-1]], 1)
        count = seen.sum(-1)
        floor = (zero[:, None] - level) / spread
        return torch.stack(
            [
                _near((level - before_level) / spread) / 4.0,
                torch.log(spread / before_spread),
                torch.log1p(count.cumsum(1)) / 4.0,
                count / WIDTH,
                positive[:, None] * torch.clamp(floor, -10.0, 10.0) / 4.0,
                positive[:, None].expand_as(level),
                last,
            ],
            -1,
        )


def units(
    x: Tensor, seen: Tensor, lag: Tensor, lag_seen: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """How well seasons and last values were repeated up to each patch, in spreads.

    Returns
    -------
    errors : [N, T, LAGS + 1] logarithms of mean errors, of each lag and of the value before; 0
        where nothing can be said. unit : [N, T] the error of the first season, else that of the
        value before, else the spread.
    """
    newer = _weights(x, FORGET_SPREAD)
    before, known = lag[:, :-1, :, :WIDTH], lag_seen[:, :-1, :, :WIDTH] * seen[:, 1:, None]
    off = functional.pad((known * (x[:, 1:, None] - before).abs()).sum(-1), (0, 0, 1, 0))
    count = functional.pad(known.sum(-1), (0, 0, 1, 0))
    both = seen[..., 1:] * seen[..., :-1]
    step = (both * (x[..., 1:] - x[..., :-1]).abs()).sum(-1, keepdim=True)
    off, count = torch.cat([off, step], -1), torch.cat([count, both.sum(-1, keepdim=True)], -1)
    off, count = newer @ off, newer @ count
    enough = (count > 1e-6).to(x.dtype)
    error = off / count.clamp_min(1e-20) / spread[..., None]
    error = error.clamp(LEAST_UNIT, MOST_UNIT) * enough + (1.0 - enough)
    first, value = enough[..., 0], error[..., -1]
    return torch.log(error), first * error[..., 0] + (1.0 - first) * value


def latest(now: Tensor, seen: Tensor) -> Tensor:
    """[N, T] the newest value seen in each patch, 0 where none was."""
    slots = torch.arange(1, WIDTH + 1, device=now.device, dtype=now.dtype)
    newest = (seen * slots).amax(-1, keepdim=True)
    return (now * ((seen * slots) == newest) * seen).sum(-1)


def scale(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """[N, T] level and spread of what was seen up to each patch."""
    newest, newer = _weights(x, FORGET_LEVEL), _weights(x, FORGET_SPREAD)
    count = seen.sum(-1)
    # The least count keeps the level where nothing was seen for long.
    level = (x.sum(-1) @ newest.T) / (count @ newest.T).clamp_min(1e-20)
    away = (seen * (x - level[..., None]).abs()).sum(-1)
    spread = (away @ newer.T) / (count @ newer.T).clamp_min(1e-20)
    return level, spread.clamp_min(LEAST_SPREAD)


def _weights(x: Tensor, forget: float) -> Tensor:
    """[T, T] how much each patch counts at each later one."""
    patches = torch.arange(x.shape[1], device=x.device)
    age = patches[:, None] - patches[None, :]
    return (age >= 0).to(x.dtype) * forget ** age.clamp(0, 60).to(x.dtype)


def _outwards(like: Tensor) -> Tensor:
    """[Q, Q] that adds up distances between levels from the middle one outwards."""
    count = len(LEVELS)
    way = torch.zeros(count, count, dtype=like.dtype, device=like.device)
    for to in range(count):
        for step in range(min(to, MIDDLE), max(to, MIDDLE) + 1):
            way[step, to] = 0.0 if step == MIDDLE else float(to > MIDDLE) - float(to < MIDDLE)
    return way


def _near(values: Tensor) -> Tensor:
    return values.clamp(-FURTHEST, FURTHEST)
