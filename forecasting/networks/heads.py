"""Heads: what the last linear layer's numbers mean."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.config import ModelConfig
from forecasting.quantiles import normal_scores


class Head(nn.Module):
    """Turns raw numbers [..., raw] and a linear skip [...] into distribution parameters [..., D].

    ==================  ===  =====================================================
    head                D    parameters, in units of scale about the level
    ==================  ===  =====================================================
    quantiles           Q    the levels' values, rising
    student_t           3    location, scale > 0, degrees of freedom > 2
    negative_binomial   2    mean > 0 (in units of scale), dispersion > 0
    point               1    the median
    ==================  ===  =====================================================
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.head
        self.levels = config.quantile_levels
        self.size = {
            "quantiles": len(config.quantile_levels),
            "student_t": 3,
            "negative_binomial": 2,
            "point": 1,
        }[config.head]

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        """``raw`` [..., raw] and ``skip`` [...] to parameters [..., D], as the table above says."""
        if self.kind == "quantiles":
            return self._quantiles(raw, skip)
        if self.kind == "student_t":
            location = raw[..., 0] + skip
            return torch.stack(
                [
                    location,
                    functional.softplus(raw[..., 1]) + 1e-4,
                    2.0 + functional.softplus(raw[..., 2] + 2.0),
                ],
                dim=-1,
            )
        if self.kind == "negative_binomial":
            mean = functional.softplus(raw[..., 0] + skip + math.log(math.e - 1.0))
            return torch.stack([mean + 1e-6, functional.softplus(raw[..., 1]) + 1e-4], dim=-1)
        return raw + skip[..., None]

    def _quantiles(self, raw: Tensor, skip: Tensor) -> Tensor:
        """The median, and from it outwards the running sums of positive steps: never crossing."""
        middle = self.size // 2
        median = raw[..., middle] + skip
        # At the start neighbouring levels lie about a tenth of the scale apart.
        gaps = functional.softplus(raw - 2.0)
        above = median[..., None] + gaps[..., middle + 1 :].cumsum(-1)
        below = median[..., None] - gaps[..., :middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, median[..., None], above], dim=-1)


def point_of(params: Tensor, kind: str) -> Tensor:
    """The point the point losses act on: median, location or mean, [...]."""
    if kind == "quantiles":
        return params[..., params.shape[-1] // 2]
    return params[..., 0]


def sample(params: Tensor, normal: Tensor, head: Head) -> Tensor:
    """The quantile of each distribution at a level: inverse-transform sampling.

    ``params`` [..., D] and ``normal`` [...], the level's standard normal quantile; only for heads
    with a quantile function that a graph can hold: quantiles and Student-t.
    """
    if head.kind == "student_t":
        location, scale, dof = params.unbind(-1)
        return location + scale * _student_from_normal(normal, dof)
    scores = normal_scores(np.asarray(head.levels)).tolist()
    knots = torch.tensor(scores, dtype=params.dtype, device=params.device)
    slopes = (params[..., 1:] - params[..., :-1]) / (knots[1:] - knots[:-1])
    # Piecewise linear in the normal score, the outer pieces going on beyond the last knots.
    value = params[..., 0] + slopes[..., 0] * (normal - knots[0])
    bends = (slopes[..., 1:] - slopes[..., :-1]) * functional.relu(normal[..., None] - knots[1:-1])
    return value + bends.sum(-1)


def _student_from_normal(z: Tensor, dof: Tensor) -> Tensor:
    """Student-t quantile from the normal one, four terms (Abramowitz & Stegun 26.7.5)."""
    z2 = z * z
    g1 = (z2 + 1.0) * z / 4.0
    g2 = ((5.0 * z2 + 16.0) * z2 + 3.0) * z / 96.0
    g3 = (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) * z / 384.0
    return z + g1 / dof + g2 / dof**2 + g3 / dof**3
