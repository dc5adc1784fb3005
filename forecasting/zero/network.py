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

from forecasting.zero.patches import AHEAD, COORDINATES, WIDTH

# Levels of the quantiles that it forecasts.
LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
MIDDLE = LEVELS.index(0.5)
STEPS = AHEAD * WIDTH
# Weight of a patch beside the one after it: in the level, and in the spread about it.
FORGET_LEVEL, FORGET_SPREAD = 0.5, 0.9
# Spreads below this share of the series' own count as it, and values beyond `FURTHEST` spreads
# as that far.
LEAST_SPREAD, FURTHEST = 1e-4, 20.0
# Beside values and their lags: see `ZeroNetwork._features`.
FEATURES = 2 * WIDTH + 2 * STEPS + COORDINATES + 6


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
        # What is linear in the newest values is learned before all else: it starts at nothing.
        self.skip = nn.Linear(WIDTH + STEPS, STEPS)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            bias = self.last.bias.view(STEPS, len(LEVELS))
            bias.fill_(-1.5)
            bias[:, MIDDLE] = 0.0

    def forward(
        self, x: Tensor, seen: Tensor, lag: Tensor, lag_seen: Tensor, place: Tensor, zero: Tensor,
        positive: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """From `Patches.inputs` the quantiles after each patch.

        Returns
        -------
        quantiles : [N, T, STEPS, Q] rising along Q, in spreads about the level.
        level, spread : [N, T], in the series' unit.
        """
        level, spread = scale(x, seen)
        now, then, features = self._features(
            x, seen, lag, lag_seen, place, zero, positive, level, spread
        )
        state = self.past(features) + self.outer(functional.silu(self.inner(features)))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            state = state + layer(norm(state))[0]
        said = self.last(functional.silu(self.first(self.norm(state))))
        said = said.unflatten(-1, (STEPS, len(LEVELS)))
        middle = said[..., MIDDLE] + self.skip(torch.cat([now, then], -1))
        # What lies between neighbouring levels is positive, so that no two cross.
        away = functional.softplus(said) @ _outwards(said)
        return middle[..., None] + away, level, spread

    @staticmethod
    def _features(
        x: Tensor, seen: Tensor, lag: Tensor, lag_seen: Tensor, place: Tensor, *facts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values and lags about the level [.., WIDTH], [.., STEPS], and all there is to read."""
        zero, positive, level, spread = facts
        now = seen * _near((x - level[..., None]) / spread[..., None])
        then = lag_seen * _near((lag - level[..., None]) / spread[..., None])
        before_level = torch.cat([level[:, :1], level[:, :-1]], 1)
        before_spread = torch.cat([spread[:, :1], spread[:, :-1]], 1)
        count = seen.sum(-1)
        floor = (zero[:, None] - level) / spread
        rest = torch.stack(
            [
                _near((level - before_level) / spread) / 4.0,
                torch.log(spread / before_spread),
                torch.log1p(count.cumsum(1)) / 4.0,
                count / WIDTH,
                positive[:, None] * torch.clamp(floor, -10.0, 10.0) / 4.0,
                positive[:, None].expand_as(level),
            ],
            -1,
        )
        return now, then, torch.cat([now, seen, then, lag_seen, place, rest], -1)


def scale(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """[N, T] level and spread of what was seen up to each patch."""
    patches = x.shape[1]
    age = torch.arange(patches, device=x.device)
    age = age[:, None] - age[None, :]
    past = (age >= 0).to(x.dtype)
    newest = past * FORGET_LEVEL ** age.clamp(0, 60).to(x.dtype)
    newer = past * FORGET_SPREAD ** age.clamp(0, 300).to(x.dtype)
    count = seen.sum(-1)
    # The least count keeps the level where nothing was seen for long.
    level = (x.sum(-1) @ newest.T) / (count @ newest.T).clamp_min(1e-20)
    away = (seen * (x - level[..., None]).abs()).sum(-1)
    spread = (away @ newer.T) / (count @ newer.T).clamp_min(1e-20)
    return level, spread.clamp_min(LEAST_SPREAD)


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
