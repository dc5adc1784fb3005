"""Heads: what the last linear layer's numbers mean, and what is learned from them.

A new one is a class in `HEADS`, and what its parameters say without torch an entry of
`forecasting.quantiles.DISTRIBUTIONS`, by the same name.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.quantiles import normal_scores
from forecasting.resolved import ResolvedModel


class Head(nn.Module):
    """Turns raw numbers [..., D] and a linear skip [...] into distribution parameters [..., D].

    Parameters are in units of the scale about the level.

    Attributes
    ----------
    size : D. middle : which of the raw numbers moves the point.
    scored_by : the term of the loss that scores all of the distribution; None: the point terms do.
    """

    scored_by: ClassVar[str | None] = None
    size: int = 1
    middle: int = 0

    def __init__(self, config: ResolvedModel) -> None:
        super().__init__()

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """``raw`` [..., D] and ``skip`` [...] to parameters [..., D]."""
        raise NotImplementedError

    @staticmethod
    def point(params: Tensor) -> Tensor:
        """What the point terms of the loss act on, [...]: median, location or mean."""
        return params[..., 0]

    @staticmethod
    def likelihood(params: Tensor, scaled: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Negative log-likelihood [...] of targets; ``scaled`` are they about level, over scale."""
        raise NotImplementedError

    def draw(self, params: Tensor, normal: Tensor) -> Tensor:
        """The quantiles [...] at levels given by their standard normal quantiles: sampling.

        Only for distributions that are ``drawn``, and in operations that a graph can hold.
        """
        raise NotImplementedError


class Quantiles(Head):
    """The levels' values, rising: D = Q."""

    scored_by = "pinball"

    def __init__(self, config: ResolvedModel) -> None:
        super().__init__(config)
        self.levels = config.quantile_levels
        self.size = len(self.levels)
        self.middle = self.size // 2

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """The median, and from it outwards the running sums of positive steps: never crossing."""
        median = raw[..., self.middle] + skip
        # At the start neighbouring levels lie about a tenth of the scale apart.
        gaps = functional.softplus(raw - 2.0)
        above = median[..., None] + gaps[..., self.middle + 1 :].cumsum(-1)
        below = median[..., None] - gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, median[..., None], above], dim=-1)

    @staticmethod
    def point(params: Tensor) -> Tensor:
        """The median."""
        return params[..., params.shape[-1] // 2]

    def draw(self, params: Tensor, normal: Tensor) -> Tensor:
        """Piecewise linear in the normal score, the outer pieces going on beyond the last knots."""
        scores = normal_scores(np.asarray(self.levels)).tolist()
        knots = torch.tensor(scores, dtype=params.dtype, device=params.device)
        slopes = (params[..., 1:] - params[..., :-1]) / (knots[1:] - knots[:-1])
        value = params[..., 0] + slopes[..., 0] * (normal - knots[0])
        bends = slopes[..., 1:] - slopes[..., :-1]
        return value + (bends * functional.relu(normal[..., None] - knots[1:-1])).sum(-1)


class StudentT(Head):
    """Location, scale > 0 and degrees of freedom > 2: D = 3."""

    scored_by = "likelihood"
    size = 3

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """``raw`` [..., 3] and ``skip`` [...] to location, scale, degrees of freedom."""
        return torch.stack(
            [
                raw[..., 0] + skip,
                functional.softplus(raw[..., 1]) + 1e-4,
                2.0 + functional.softplus(raw[..., 2] + 2.0),
            ],
            dim=-1,
        )

    @staticmethod
    def likelihood(params: Tensor, scaled: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Of a location-scale Student-t, in units of the scale."""
        location, width, dof = params.unbind(-1)
        z = (scaled - location) / width
        half = (dof + 1.0) / 2.0
        log_norm = torch.lgamma(half) - torch.lgamma(dof / 2.0) - 0.5 * torch.log(dof * math.pi)
        return -(log_norm - torch.log(width) - half * torch.log1p(z * z / dof))

    def draw(self, params: Tensor, normal: Tensor) -> Tensor:
        """From the normal quantile, four terms (Abramowitz & Stegun 26.7.5)."""
        location, width, dof = params.unbind(-1)
        z, z2 = normal, normal * normal
        g1 = (z2 + 1.0) * z / 4.0
        g2 = ((5.0 * z2 + 16.0) * z2 + 3.0) * z / 96.0
        g3 = (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) * z / 384.0
        return location + width * (z + g1 / dof + g2 / dof**2 + g3 / dof**3)


class NegativeBinomial(Head):
    """Mean > 0, in units of the scale, and dispersion > 0: D = 2."""

    scored_by = "likelihood"
    size = 2

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """``raw`` [..., 2] and ``skip`` [...] to mean and dispersion."""
        mean = functional.softplus(raw[..., 0] + skip + math.log(math.e - 1.0))
        return torch.stack([mean + 1e-6, functional.softplus(raw[..., 1]) + 1e-4], dim=-1)

    @staticmethod
    def likelihood(params: Tensor, scaled: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Of counts with mean m and variance m + a m^2."""
        mean, dispersion = params[..., 0] * scale, params[..., 1]
        r = 1.0 / dispersion
        count = target.clamp(min=0.0)
        log_p = torch.lgamma(count + r) - torch.lgamma(r) - torch.lgamma(count + 1.0)
        log_p = log_p + r * torch.log(r / (r + mean)) + count * torch.log(mean / (r + mean))
        return -log_p


class Point(Head):
    """The median alone: D = 1."""

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """``raw`` [..., 1] and ``skip`` [...] to the median [..., 1]."""
        return raw + skip[..., None]


# By what ``model.head`` calls them.
HEADS: dict[str, type[Head]] = {
    "quantiles": Quantiles,
    "student_t": StudentT,
    "negative_binomial": NegativeBinomial,
    "point": Point,
}
