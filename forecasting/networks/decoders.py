"""Decoders: from the encoder's state at an origin to raw numbers for every horizon step."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from forecasting.networks.recurrent import RecurrentStack, States
from forecasting.resolved import ResolvedModel


class Decoder(nn.Module):
    """From the encoder's hidden states [B, O, D] and final states to raw numbers [B, O, H, raw].

    Made with the sizes of ``hidden``, of what is known ``ahead`` of each step and of the static
    ``context``, the ``horizon`` and the ``raw`` numbers of each step.

    Attributes
    ----------
    horizon : steps covered by one call.
    reads_calendar : the calendar ahead is of use to it without covariates known ahead.
    """

    reads_calendar: ClassVar[bool] = False
    horizon: int
    out: nn.Linear

    def __init__(
        self, hidden: int, ahead: int, context: int, horizon: int, raw: int, config: ResolvedModel
    ) -> None:
        super().__init__()

    def forward(
        self, hidden: Tensor, states: States, ahead: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """``hidden`` [B, O, D], ``ahead`` [B, O, H, F], ``context`` [B, C], to [B, O, H, raw]."""
        raise NotImplementedError


class DirectDecoder(Decoder):
    """All horizon steps at once from one hidden state and the static context."""

    def __init__(
        self, hidden: int, ahead: int, context: int, horizon: int, raw: int, config: ResolvedModel
    ) -> None:
        super().__init__(hidden, ahead, context, horizon, raw, config)
        self.horizon, self.raw = horizon, raw
        width = config.decoder_size or max(hidden + context, 32)
        self.context = nn.Linear(hidden + context, width)
        self.ahead: nn.Linear | None = None
        if ahead:
            self.ahead = nn.Linear(ahead, width)
            self.position = nn.Parameter(torch.randn(horizon, width) * 0.02)
            self.mix = nn.Linear(width, width)
            self.out = nn.Linear(width, raw)
        else:
            self.out = nn.Linear(width, horizon * raw)
        _start_small(self.out)

    def forward(
        self, hidden: Tensor, states: States, ahead: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """``hidden`` [B, O, D], ``ahead`` [B, O, H, F], ``context`` [B, C], to [B, O, H, raw]."""
        if context is not None:
            expanded = context[:, None].expand(-1, hidden.shape[1], -1)
            hidden = torch.cat([hidden, expanded], dim=-1)
        token = self.context(hidden)
        if self.ahead is None or ahead is None:
            flat = self.out(nn.functional.gelu(token))
            raw: Tensor = flat.reshape(flat.shape[0], flat.shape[1], self.horizon, self.raw)
            return raw
        token = token[:, :, None] + self.position + self.ahead(ahead)
        token = token + self.mix(nn.functional.gelu(token))
        out: Tensor = self.out(nn.functional.gelu(token))
        return out


class StepDecoder(DirectDecoder):
    """The next step alone: the others are drawn, each fed back before the next."""

    def __init__(
        self, hidden: int, ahead: int, context: int, horizon: int, raw: int, config: ResolvedModel
    ) -> None:
        super().__init__(hidden, ahead, context, 1, raw, config)


class StateDecoder(Decoder):
    """A second recurrent stack that takes over the encoder's states and reads the horizon.

    One fused call for all H steps: each reads its position, what is known of it and the static
    context, never a former forecast, and nothing of later steps, whichever way the encoder reads.
    """

    reads_calendar = True

    def __init__(
        self, hidden: int, ahead: int, context: int, horizon: int, raw: int, config: ResolvedModel
    ) -> None:
        super().__init__(hidden, ahead, context, horizon, raw, config)
        self.horizon = horizon
        self.position = nn.Parameter(torch.randn(horizon, hidden) * 0.1)
        self.inputs = nn.Linear(ahead + context, hidden) if ahead + context else None
        self.both_ways = False
        self.stack = RecurrentStack(hidden, config.replace(bidirectional=False))
        self.out = nn.Linear(hidden, raw)
        _start_small(self.out)

    def forward(
        self, hidden: Tensor, states: States, ahead: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """One origin: ``ahead`` [B, 1, H, F], ``context`` [B, C], to [B, 1, H, raw]."""
        token = self.position.expand(hidden.shape[0], -1, -1)
        parts = [ahead[:, 0]] if ahead is not None else []
        if context is not None:
            parts.append(context[:, None].expand(-1, token.shape[1], -1))
        if self.inputs is not None:
            token = token + self.inputs(torch.cat(parts, dim=-1))
        begin = states if self.both_ways else tuple(_one_way(state) for state in states)
        read, _ = self.stack(token, begin)
        out: Tensor = self.out(read)[:, None]
        return out

    def read_both_ways(self, config: ResolvedModel) -> None:
        """Take the form that older bundles were trained in, whose steps saw later covariates."""
        self.both_ways = True
        self.stack = RecurrentStack(self.position.shape[1], config)


def _one_way(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """States [2, B, D / 2] of an encoder that reads both ways, side by side: [1, B, D]."""
    return tuple(s if s.shape[0] == 1 else torch.cat([s[:1], s[1:]], dim=-1) for s in state)


# By what ``model.decoder`` calls them; what settings must know of each stands in
# `forecasting.parts.DECODERS`.
DECODERS: dict[str, type[Decoder]] = {
    "direct": DirectDecoder,
    "encoder_decoder": StateDecoder,
    "recursive": StepDecoder,
}


def _start_small(layer: nn.Linear) -> None:
    """The first forecast of a network is its linear skip, a seasonal naive one."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
