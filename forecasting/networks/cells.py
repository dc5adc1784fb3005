"""LSTM and GRU spelled out step by step, for cells that no fused kernel knows.

`LoopLSTM` and `LoopGRU` carry the parameter names and the gate order of ``nn.LSTM`` and
``nn.GRU``, so that weights move between them, and equal them to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class LoopCell(nn.Module):
    """One recurrent layer read in a Python loop.

    Call with ``x`` [B, T, D] and an optional state of [1, B, H] tensors; returns the hidden
    states [B, T, H] and the final state, as ``nn.LSTM`` does.
    """

    gates = 1
    state_size = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        rows, bound = self.gates * hidden_size, hidden_size**-0.5
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, hidden_size).uniform_(-bound, bound))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))

    def step(self, x: Tensor, state: State) -> State:
        """The state after one step; ``x`` [B, D], state of [B, H] tensors, hidden first."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """``x`` [B, T, D] to hidden states [B, T, H] and the final state, [1, B, H] each."""
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.hidden_size)
            now: State = (zeros,) * self.state_size
        else:
            now = tuple(part[0] for part in state)
        hidden = []
        for t in range(x.shape[1]):
            now = self.step(x[:, t], now)
            hidden.append(now[0])
        return torch.stack(hidden, dim=1), tuple(part[None] for part in now)


class LoopLSTM(LoopCell):
    """LSTM; gates in the order input, forget, candidate, output."""

    gates, state_size = 4, 2

    def step(self, x: Tensor, state: State) -> State:
        """``x`` [B, D] and (h, c), [B, H] each, to the next (h, c)."""
        h, c = state
        drive = x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T
        i, f, g, o = (drive + self.bias_hh_l0).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class LoopGRU(LoopCell):
    """GRU; gates in the order reset, update, candidate."""

    gates, state_size = 3, 1

    def step(self, x: Tensor, state: State) -> State:
        """``x`` [B, D] and (h,), [B, H], to the next (h,)."""
        (h,) = state
        xr, xz, xn = (x @ self.weight_ih_l0.T + self.bias_ih_l0).chunk(3, dim=-1)
        hr, hz, hn = (h @ self.weight_hh_l0.T + self.bias_hh_l0).chunk(3, dim=-1)
        update = torch.sigmoid(xz + hz)
        candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        return ((1.0 - update) * candidate + update * h,)


class LayerNormLSTM(LoopLSTM):
    """LSTM with layer normalisation of each drive and of the cell state.

    Source: Ba, Kiros & Hinton (2016), "Layer Normalization", equations 20 to 22. No fused kernel
    has it: several times slower than ``nn.LSTM``.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm_input = nn.LayerNorm(4 * hidden_size)
        self.norm_hidden = nn.LayerNorm(4 * hidden_size)
        self.norm_cell = nn.LayerNorm(hidden_size)

    def step(self, x: Tensor, state: State) -> State:
        """``x`` [B, D] and (h, c), [B, H] each, to the next (h, c)."""
        return _layer_norm_step(self._drive(x), state[0], state[1], self._weights())

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As `LoopCell.forward`, the loop scripted where it is traced."""
        zeros = x.new_zeros(x.shape[0], self.hidden_size)
        h, c = (zeros, zeros) if state is None else (state[0][0], state[1][0])
        hidden, h, c = _layer_norm_loop(self._drive(x), h, c, self._weights())
        return hidden, (h[None], c[None])

    def _drive(self, x: Tensor) -> Tensor:
        """The inputs' part of all gates, for every step at once."""
        normed: Tensor = self.norm_input(x @ self.weight_ih_l0.T)
        return normed + self.bias_ih_l0 + self.bias_hh_l0

    def _weights(self) -> list[Tensor]:
        hidden, cell = self.norm_hidden, self.norm_cell
        return [self.weight_hh_l0, hidden.weight, hidden.bias, cell.weight, cell.bias]


def _layer_norm_step(
    drive: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
    drive = drive + _norm(h @ weights[0].t(), weights[1], weights[2])
    i, f, g, o = drive.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(_norm(c, weights[3], weights[4])), c


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``nn.LayerNorm`` spelled out: the exporter wants a width it knows before the loop runs."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * weight + bias


# An exporter that traces would write one copy of the step per step of its example; scripted, the
# loop stays a loop and reads series of any length.
@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def _layer_norm_loop(
    drive: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    hidden = []
    for t in range(drive.shape[1]):
        h, c = _layer_norm_step(drive[:, t], h, c, weights)
        hidden.append(h)
    return torch.stack(hidden, dim=1), h, c
