"""LSTM and GRU gate by gate, in NumPy: the executable explanation, and the oracle of the tests.

Written to be read, not to be fast. Notation: x_t is the input and h_t the hidden state at step t,
[h, x] their concatenation, σ the logistic function, ⊙ the product element by element. A sequence
is ``[..., T, D]``; whatever stands before T is a batch. docs/gates.md reads along with it.

`load_layers` takes the weights of a saved bundle into this form, and
`forecasting.explain.reference_network` runs a whole forecaster with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from forecasting import bundle
from forecasting.arrays import Array
from forecasting.errors import BundleError


def sigmoid(a: Array) -> Array:
    """σ(a) = 1 / (1 + exp(−a)), in the form that cannot overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * a)))


@dataclass(frozen=True)
class Gate:
    """An affine map of state and input: ``W [h, x] + b``.

    Attributes
    ----------
    W : [H, H + D], its first H columns for h. b : [H].
    """

    W: Array
    b: Array

    def __call__(self, h: Array, x: Array) -> Array:
        return np.asarray(np.concatenate([h, x], axis=-1) @ self.W.T + self.b)

    @property
    def size(self) -> int:
        """H, the width of the state."""
        return len(self.b)


# -- LSTM ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LSTM:
    """The four gates of one LSTM layer (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    forget: Gate
    input: Gate
    candidate: Gate
    output: Gate


class LSTMStep(NamedTuple):
    """All that happens in a step, or ``[..., T, H]`` of every step of a sequence."""

    forget: Array
    input: Array
    candidate: Array
    output: Array
    c: Array
    h: Array


def lstm_step(x: Array, h: Array, c: Array, layer: LSTM) -> LSTMStep:
    """One step of an LSTM.

    ::

        f_t = σ(W_f [h_{t−1}, x_t] + b_f)          forget gate: how much of each cell stays
        i_t = σ(W_i [h_{t−1}, x_t] + b_i)          input gate: how much is written
        g_t = tanh(W_g [h_{t−1}, x_t] + b_g)       candidate: what would be written
        o_t = σ(W_o [h_{t−1}, x_t] + b_o)          output gate: how much is shown

        c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t            the cell: kept, and added to
        h_t = o_t ⊙ tanh(c_t)                      the hidden state

    From c_{t−1} to c_t leads a product with f_t and nothing else: where f is near 1 a gradient
    passes as it is. That is all the secret there is.
    """
    f = sigmoid(layer.forget(h, x))
    i = sigmoid(layer.input(h, x))
    g = np.tanh(layer.candidate(h, x))
    o = sigmoid(layer.output(h, x))
    c = f * c + i * g
    h = o * np.tanh(c)
    return LSTMStep(f, i, g, o, c, h)


def lstm(x: Array, layer: LSTM, h: Array | None = None, c: Array | None = None) -> LSTMStep:
    """Read ``x`` [..., T, D] from the states ``h``, ``c`` [..., H]; None means zeros."""
    start = np.zeros((*x.shape[:-2], layer.forget.size))
    h, c = (start if h is None else h), (start if c is None else c)
    steps = []
    for t in range(x.shape[-2]):
        step = lstm_step(x[..., t, :], h, c, layer)
        h, c = step.h, step.c
        steps.append(step)
    return LSTMStep(*(np.stack(part, axis=-2) for part in zip(*steps, strict=True)))


# -- GRU -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GRU:
    """The gates of one GRU layer (Cho et al. 2014), in the form the fused kernels compute.

    The candidate has the reset gate between its two halves, so they stay apart:
    ``recall`` [H, H] with ``b_recall`` acts on h, ``W`` [H, D] with ``b`` on x.
    """

    reset: Gate
    update: Gate
    W: Array
    b: Array
    recall: Array
    b_recall: Array


class GRUStep(NamedTuple):
    """All that happens in a step, or ``[..., T, H]`` of every step of a sequence."""

    reset: Array
    update: Array
    candidate: Array
    h: Array


def gru_step(x: Array, h: Array, layer: GRU) -> GRUStep:
    """One step of a GRU.

    ::

        r_t = σ(W_r [h_{t−1}, x_t] + b_r)                      reset gate
        z_t = σ(W_z [h_{t−1}, x_t] + b_z)                      update gate: how much stays
        n_t = tanh(W_n x_t + b_n + r_t ⊙ (U_n h_{t−1} + c_n))  candidate

        h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ n_t                  kept, or replaced

    z is the LSTM's f, and 1 − z its i: a GRU writes exactly as much as it forgets, and shows all
    it holds. (The paper's first form resets h before the product with U_n; cuDNN, oneDNN and
    PyTorch reset after it, which lets one matrix product serve all three gates.)
    """
    r = sigmoid(layer.reset(h, x))
    z = sigmoid(layer.update(h, x))
    n = np.tanh(x @ layer.W.T + layer.b + r * (h @ layer.recall.T + layer.b_recall))
    h = z * h + (1.0 - z) * n
    return GRUStep(r, z, n, h)


def gru(x: Array, layer: GRU, h: Array | None = None) -> GRUStep:
    """Read ``x`` [..., T, D] from the state ``h`` [..., H]; None means zeros."""
    h = np.zeros((*x.shape[:-2], layer.reset.size)) if h is None else h
    steps = []
    for t in range(x.shape[-2]):
        step = gru_step(x[..., t, :], h, layer)
        h = step.h
        steps.append(step)
    return GRUStep(*(np.stack(part, axis=-2) for part in zip(*steps, strict=True)))


# -- The vanilla network, for contrast -------------------------------------------------------


@dataclass(frozen=True)
class RNN:
    """The layer without gates (Elman 1990)."""

    drive: Gate


class RNNStep(NamedTuple):
    """The hidden state of a step, or ``[..., T, H]`` of every step of a sequence."""

    h: Array


def rnn(x: Array, layer: RNN, h: Array | None = None) -> RNNStep:
    """h_t = tanh(W [h_{t−1}, x_t] + b): every step multiplies the past by W and squeezes it."""
    h = np.zeros((*x.shape[:-2], layer.drive.size)) if h is None else h
    hidden = []
    for t in range(x.shape[-2]):
        h = np.tanh(layer.drive(h, x[..., t, :]))
        hidden.append(h)
    return RNNStep(np.stack(hidden, axis=-2))


# -- Weights of a trained network ------------------------------------------------------------

Layer = LSTM | GRU | RNN
Trace = LSTMStep | GRUStep | RNNStep


def read(x: Array, layer: Layer, state: tuple[Array, ...] = ()) -> Trace:
    """Read ``x`` [..., T, inputs] with any layer, from ``(h, c)``, ``(h,)`` or zeros."""
    if isinstance(layer, LSTM):
        return lstm(x, layer, *state)
    return gru(x, layer, *state) if isinstance(layer, GRU) else rnn(x, layer, *state)


def layer_of(weights: Mapping[str, Array], cell: str) -> Layer:
    """One layer from the tensors of an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` of one layer.

    Those stack their gates by rows (LSTM: input, forget, candidate, output; GRU: reset, update,
    candidate) and keep a bias for x and one for h, of which only the sum matters, save in the
    GRU's candidate.

    Raises
    ------
    BundleError : a cell that is not spelled out here.
    """
    W, U, b, d = (
        np.asarray(weights[f"{name}_l0"], dtype=np.float64)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    size = U.shape[1]

    def gate(index: int) -> Gate:
        rows = slice(index * size, (index + 1) * size)
        return Gate(np.concatenate([U[rows], W[rows]], axis=1), b[rows] + d[rows])

    if cell == "lstm":
        return LSTM(input=gate(0), forget=gate(1), candidate=gate(2), output=gate(3))
    if cell == "gru":
        last = slice(2 * size, None)
        return GRU(gate(0), gate(1), W=W[last], b=b[last], recall=U[last], b_recall=d[last])
    if cell == "rnn":
        return RNN(gate(0))
    raise BundleError(
        f"cell {cell!r} is not spelled out in forecasting.explain.reference, which knows lstm, gru "
        "and rnn; see forecasting/networks/cells.py for the others"
    )


def layers_of(tensors: Mapping[str, Array], cell: str, prefix: str = "encoder.") -> list[Layer]:
    """The layers of a recurrent stack, bottom first, from a network's named tensors."""
    if any("_reverse" in name for name in tensors):
        raise BundleError(
            "a bidirectional encoder is not spelled out in forecasting.explain.reference"
        )
    layers: list[Layer] = []
    while f"{prefix}layers.{len(layers)}.weight_ih_l0" in tensors:
        start = f"{prefix}layers.{len(layers)}."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        layers.append(layer_of(own, cell))
    return layers


def member_tensors(bundle_path: str | Path, member: int = 0) -> tuple[dict[str, Array], str]:
    """The named tensors of one member of a bundle, and its cell.

    Raises
    ------
    BundleError : a damaged bundle, or no such member.
    """
    bundle.verify(bundle_path)
    content = json.loads((Path(bundle_path) / "config.json").read_text(encoding="utf-8"))
    cells = list(content["cells"])
    if not 0 <= member < len(cells):
        raise BundleError(f"{bundle_path} has members 0 to {len(cells) - 1}, not {member}")
    tensors = load_file(str(Path(bundle_path) / "model.safetensors"))
    start = f"{member}."
    own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
    return own, cells[member]


def load_layers(bundle_path: str | Path, member: int = 0) -> list[Layer]:
    """The encoder's layers of one member of a saved bundle, bottom first."""
    return layers_of(*member_tensors(bundle_path, member))
