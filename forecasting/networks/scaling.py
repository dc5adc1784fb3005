"""Level and spread of a series as known at each origin, and nothing later."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from forecasting.resolved import ResolvedModel
from forecasting.windows.geometry import Geometry


class Scale(NamedTuple):
    """Statistics that travel with their batch; never kept on a module.

    Attributes
    ----------
    level : [B, S, 1] what is subtracted. spread : [B, S, 1] what is divided by, > 0.
    """

    level: Tensor
    spread: Tensor

    def at(self, steps: Any) -> Scale:
        """The statistics of some steps."""
        return Scale(self.level[:, steps], self.spread[:, steps])


def causal_scale(
    y: Tensor, mask: Tensor, ends: Tensor, geometry: Geometry, config: ResolvedModel
) -> Scale:
    """Level and spread at every recurrent step, from the W values up to its end.

    Parameters
    ----------
    y, mask : [B, R] values (0 where missing) and 1 where observed.
    ends : [S] position of the last value each step may see.

    Notes
    -----
    ``mad`` divides by the mean absolute deviation from the level; where nothing deviates the
    spread is 1 in the caller's units, so that a constant history stays finite. For counts the
    level is 0 and the spread the mean, with one count added so that it never vanishes.
    """
    index = ends[:, None] + torch.arange(1 - geometry.scale_window, 1, device=y.device)
    values, observed = y[:, index], mask[:, index]
    count = observed.sum(-1, keepdim=True)
    total = (values * observed).sum(-1, keepdim=True)
    if config.counts:
        return Scale(torch.zeros_like(total), (total + 1.0) / (count + 1.0))
    if config.level == "last":
        steps = torch.arange(1, geometry.scale_window + 1, device=y.device, dtype=y.dtype)
        latest = (observed * steps).argmax(-1, keepdim=True)
        level = values.gather(-1, latest) * (count > 0)
    else:
        width = geometry.level_window
        near = observed[..., -width:].sum(-1, keepdim=True)
        near_total = (values[..., -width:] * observed[..., -width:]).sum(-1, keepdim=True)
        level = torch.where(near > 0, near_total / near.clamp(min=1.0), total / count.clamp(min=1))
    if config.spread == "none":
        return Scale(level, torch.ones_like(level))
    deviation = ((values - level).abs() * observed).sum(-1, keepdim=True) / count.clamp(min=1.0)
    # Rounding leaves about 1e-7 of the values' size where nothing deviates.
    floor = 1e-6 * (values.abs() * observed).amax(-1, keepdim=True) + 1e-12
    return Scale(level, torch.where(deviation > floor, deviation, torch.ones_like(deviation)))
