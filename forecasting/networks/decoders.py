"""Decoders: from the encoder's state at an origin to raw numbers for every horizon step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecasting.config import ModelConfig
from forecasting.networks.recurrent import RecurrentStack, States


class DirectDecoder(nn.Module):
    """All horizon steps at once from one hidden state.

    ``hidden`` [B, O, D] and, with known-future covariates, ``ahead`` [B, O, H, F]; returns
    [B, O, H, raw].
    """

    def __init__(
        self, hidden: int, ahead: int, horizon: int, raw: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.horizon, self.raw = horizon, raw
        width = config.decoder_size or max(hidden, 32)
        self.context = nn.Linear(hidden, width)
        self.ahead: nn.Linear | None = None
        if ahead:
            self.ahead = nn.Linear(ahead, width)
            self.position = nn.Parameter(torch.randn(horizon, width) * 0.02)
            self.mix = nn.Linear(width, width)
            self.out = nn.Linear(width, raw)
        else:
            self.out = nn.Linear(width, horizon * raw)
        _start_small(self.out)

    def forward(self, hidden: Tensor, ahead: Tensor | None) -> Tensor:
        """``hidden`` [B, O, D], ``ahead`` [B, O, H, F] or None, to raw numbers [B, O, H, raw]."""
        context = self.context(hidden)
        if self.ahead is None or ahead is None:
            flat = self.out(nn.functional.gelu(context))
            raw: Tensor = flat.reshape(flat.shape[0], flat.shape[1], self.horizon, self.raw)
            return raw
        token = context[:, :, None] + self.position + self.ahead(ahead)
        token = token + self.mix(nn.functional.gelu(token))
        out: Tensor = self.out(nn.functional.gelu(token))
        return out


class StateDecoder(nn.Module):
    """A second recurrent stack that takes over the encoder's states and reads the horizon.

    One fused call for all H steps: each reads its position, its known-future covariates and the
    static context, never a former forecast. ``states`` are the encoder's at one origin,
    ``ahead`` [B, H, F] or None; returns [B, H, raw].
    """

    def __init__(
        self, hidden: int, ahead: int, context: int, horizon: int, raw: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(horizon, hidden) * 0.1)
        self.inputs = nn.Linear(ahead + context, hidden) if ahead + context else None
        self.stack = RecurrentStack(hidden, config)
        self.out = nn.Linear(hidden, raw)
        _start_small(self.out)

    def forward(
        self, states: States, ahead: Tensor | None, context: Tensor | None, batch: int
    ) -> Tensor:
        """The encoder's ``states``, ``ahead`` [B, H, F], ``context`` [B, C], to [B, H, raw]."""
        token = self.position.expand(batch, -1, -1)
        parts = [ahead] if ahead is not None else []
        if context is not None:
            parts.append(context[:, None].expand(-1, token.shape[1], -1))
        if self.inputs is not None:
            token = token + self.inputs(torch.cat(parts, dim=-1))
        hidden, _ = self.stack(token, states)
        out: Tensor = self.out(hidden)
        return out


def _start_small(layer: nn.Linear) -> None:
    """The first forecast of a network is its linear skip, a seasonal naive one."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
