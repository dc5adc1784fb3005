"""What networks are given and what they give: arrays as tensors, and forecasts as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from forecasting.arrays import Array
from forecasting.windows.batch import Batch, each


class Output(NamedTuple):
    """Forecasts at O origins of each window.

    Attributes
    ----------
    params : [B, O, H, D] of the head, in units of ``scale`` about ``level``.
    level, scale : [B, O, 1].
    origins : [O] int64, the recurrent step each was made at.
    """

    params: Tensor
    level: Tensor
    scale: Tensor
    origins: Tensor


def tensors_of(batch: Batch[Array], device: torch.device | str = "cpu") -> Batch[Tensor]:
    """An assembled batch as a network takes it."""
    return each(batch, lambda v: torch.from_numpy(np.ascontiguousarray(v)).to(device))


def stack(outputs: Sequence[Output]) -> tuple[Tensor, Tensor, Tensor]:
    """The members' forecasts at their first origin: params [B, M, H, D], level, scale [B, M]."""
    return (
        torch.stack([o.params[:, 0] for o in outputs], dim=1),
        torch.stack([o.level[:, 0, 0] for o in outputs], dim=1),
        torch.stack([o.scale[:, 0, 0] for o in outputs], dim=1),
    )


def answer(outputs: Sequence[Output]) -> tuple[Array, Array, Array]:
    """`stack` as arrays, what a `Runner` gives."""
    params, level, scale = (value.cpu().numpy() for value in stack(outputs))
    return params, level, scale
