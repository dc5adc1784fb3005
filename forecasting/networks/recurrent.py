"""The stacked recurrent encoder on the fused kernels: states in, states out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from forecasting.networks.cells import LayerNormLSTM
from forecasting.networks.fast_gru import FastGRU
from forecasting.networks.fast_lstm import FastLSTM
from forecasting.parts import CELLS
from forecasting.resolved import ResolvedModel

State = tuple[Tensor, ...]
States = tuple[State, ...]

# By what ``model.cell`` calls them; what settings must know of each stands in
# `forecasting.parts.CELLS`.
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": FastLSTM,
    "gru": FastGRU,
    "layer_norm_lstm": LayerNormLSTM,
    "rnn": nn.RNN,
}


class RecurrentStack(nn.Module):
    """Layers of one cell; dropout, norm and residual stand between them.

    Call with ``x`` [B, T, D] and optionally the states of a former call; returns all hidden
    states of the top layer [B, T, H] and, per layer, the final state: (h, c) for LSTM, (h,) for
    GRU and RNN, each [directions, B, H / directions]. A series read in two pieces, the states of
    the first handed to the second, gives what one reading gives.
    """

    def __init__(self, input_size: int, config: ResolvedModel) -> None:
        super().__init__()
        self.cell = config.cell
        self.residual = config.residual
        directions = 2 if config.bidirectional else 1
        if config.hidden_size % directions:
            raise ValueError("hidden_size must be even for a bidirectional encoder")
        width = config.hidden_size // directions
        sizes = [input_size] + [config.hidden_size] * (config.layers - 1)
        self.layers = nn.ModuleList(
            make_cell(config.cell, size, width, bidirectional=config.bidirectional)
            for size in sizes
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(config.hidden_size) if config.layer_norm else nn.Identity() for _ in sizes
        )
        self.dropout = Dropout(config.dropout)
        for layer in self.layers:
            initialise(layer, config)

    def forward(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """``x`` [B, T, D] to the top layer's hidden states [B, T, H], and every layer's last."""
        final: list[State] = []
        for depth, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            fused_lstm = isinstance(layer, nn.LSTM)
            state = states[depth] if states is not None else None
            if state is not None and not fused_lstm and isinstance(layer, nn.RNNBase):
                hidden, last = layer(x, state[0])
            else:
                hidden, last = layer(x, state)
            final.append(tuple(last) if isinstance(last, tuple) else (last,))
            hidden = norm(hidden)
            if self.residual and hidden.shape[-1] == x.shape[-1]:
                hidden = hidden + x
            x = self.dropout(hidden) if depth + 1 < len(self.layers) else hidden
        return x, tuple(final)


class Dropout(nn.Dropout):
    """Dropout that can draw from a generator of its own: on a CPU what `torch.nn.Dropout` draws."""

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with a share `p` of its values 0, the others larger by as much, in training."""
        if self.generator is None or not self.training or self.p == 0.0:
            return super().forward(x)
        mask = torch.empty_like(x).bernoulli_(1.0 - self.p, generator=self.generator)
        return x * mask.div_(1.0 - self.p)


def make_cell(cell: str, inputs: int, hidden: int, *, bidirectional: bool = False) -> nn.Module:
    """One layer of the named cell, batch first."""
    if not CELLS[cell].both_ways:
        return LAYERS[cell](inputs, hidden)
    return LAYERS[cell](inputs, hidden, batch_first=True, bidirectional=bidirectional)


@torch.no_grad()
def initialise(layer: nn.Module, config: ResolvedModel) -> None:
    """Start values that let the gradient through.

    Recurrent matrices are orthogonal gate by gate. The LSTM's forget gate starts open (bias 1,
    Jozefowicz et al. 2015), so that the cell remembers before it has learned what to forget; for
    the same reason the GRU's update gate, which in PyTorch's form keeps the old state when it is
    1. ``chrono`` (Tallec & Ollivier 2018) spreads these biases as log U(1, T - 1), for memories
    of every length up to the window.
    """
    if config.initialisation == "default":
        return
    cell = CELLS[config.cell]
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            for block in torch.split(weight, weight.shape[1]):
                nn.init.orthogonal_(block)
        elif name.startswith("weight_ih"):
            for block in torch.split(weight, weight.shape[0] // len(cell.gates)):
                nn.init.xavier_uniform_(block)
        elif name.startswith("bias"):
            weight.zero_()
            if cell.memory is not None and name.startswith("bias_ih"):
                of_gate = dict(zip(cell.gates, weight.chunk(len(cell.gates)), strict=True))
                memory = of_gate[cell.memory]
                if config.initialisation == "chrono":
                    longest = max(float(config.steps), 3.0)
                    memory.uniform_(1.0, longest - 1.0).log_()
                    if "input" in of_gate:
                        of_gate["input"].copy_(-memory)
                else:
                    memory.fill_(config.gate_bias)


def memory_steps(gate: Tensor) -> Tensor:
    """Effective memory in steps of gates that keep a share ``gate`` of the state each step."""
    return -1.0 / torch.log(gate.clamp(1e-6, 1.0 - torch.finfo(gate.dtype).eps))
