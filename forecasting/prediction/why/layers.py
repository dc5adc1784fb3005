"""Recurrent layers with their gradients, in NumPy: how a last state depends on every input.

Written for one use: P points of a path at once, and at each the gradients of H numbers. What a
layer's input is multiplied with is left to the caller, who does it once for a whole path: inputs
come as *drives*, ``W x + b`` for every gate, and gradients go out by drive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arrays import Array

# Added to the variance of a layer norm, as torch does.
NORM_ROOM = 1e-5


@dataclass(frozen=True)
class Layer:
    """One layer of D units: ``W x + bias`` is the drive [..., G D] of its gates, by rows."""

    W: Array
    U: Array
    bias: Array

    def forward(self, drive: Array) -> tuple[Array, list[Any]]:
        """Drives [P, S, G D] to hidden states [P, S, D], and what `backward` needs of each step."""
        raise NotImplementedError

    def backward(self, tape: list[Any], upstream: Array | None, last: Array) -> Array:
        """Gradients [S, P, H, G D] by drive.

        Parameters
        ----------
        upstream : [S, P, H, D] by the hidden state of every step, or None. last : [P, H, D] by
            that of the last.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Gru(Layer):
    """Gates by rows: reset, update, candidate; ``recall`` [D] is the candidate's inner bias."""

    recall: Array

    def forward(self, drive: Array) -> tuple[Array, list[Any]]:
        """See `Layer`."""
        size = self.U.shape[1]
        h = np.zeros((len(drive), size), drive.dtype)
        hidden, tape = np.empty((*drive.shape[:2], size), drive.dtype), []
        for t in range(drive.shape[1]):
            inner = h @ self.U.T
            gates = _sigmoid(drive[:, t, : 2 * size] + inner[:, : 2 * size])
            r, z = gates[:, :size], gates[:, size:]
            back = inner[:, 2 * size :] + self.recall
            n = np.tanh(drive[:, t, 2 * size :] + r * back)
            # What a change of the state does to each gate's drive.
            by_n = (1.0 - z) * (1.0 - n * n)
            by_z = (h - n) * z * (1.0 - z)
            by_r = by_n * back * r * (1.0 - r)
            tape.append((np.concatenate([by_r, by_z, by_n], axis=1), r, z))
            h = n + z * (h - n)
            hidden[:, t] = h
        return hidden, tape

    def backward(self, tape: list[Any], upstream: Array | None, last: Array) -> Array:
        """See `Layer`."""
        points, many, size = last.shape
        out = np.empty((len(tape), points, many, 3 * size), last.dtype)
        of, now = np.empty((points, many, 3, size), last.dtype), last
        for t in range(len(tape) - 1, -1, -1):
            by, r, z = tape[t]
            if upstream is not None:
                now = now + upstream[t]
            np.multiply(now[:, :, None], by.reshape(points, 1, 3, size), out=of)
            out[t] = of.reshape(points, many, 3 * size)
            of[:, :, 2] *= r[:, None]
            now = now * z[:, None] + _times(of.reshape(points, many, 3 * size), self.U)
        return out


@dataclass(frozen=True)
class Lstm(Layer):
    """Gates by rows: input, forget, candidate, output."""

    def forward(self, drive: Array) -> tuple[Array, list[Any]]:
        """See `Layer`."""
        size = self.U.shape[1]
        h = c = np.zeros((len(drive), size), drive.dtype)
        hidden, tape = np.empty((*drive.shape[:2], size), drive.dtype), []
        for t in range(drive.shape[1]):
            gates = drive[:, t] + h @ self.U.T
            i, f = _sigmoid(gates[:, :size]), _sigmoid(gates[:, size : 2 * size])
            g, o = np.tanh(gates[:, 2 * size : 3 * size]), _sigmoid(gates[:, 3 * size :])
            before, c = c, f * c + i * g
            tanh = np.tanh(c)
            by = [g * i * (1.0 - i), before * f * (1.0 - f), i * (1.0 - g * g)]
            tape.append((np.concatenate(by, axis=1), tanh * o * (1.0 - o), o * (1.0 - tanh**2), f))
            h = o * tanh
            hidden[:, t] = h
        return hidden, tape

    def backward(self, tape: list[Any], upstream: Array | None, last: Array) -> Array:
        """See `Layer`."""
        points, many, size = last.shape
        out = np.empty((len(tape), points, many, 4 * size), last.dtype)
        now, cell = last, np.zeros_like(last)
        for t in range(len(tape) - 1, -1, -1):
            by, by_output, to_cell, forget = tape[t]
            if upstream is not None:
                now = now + upstream[t]
            cell = cell + now * to_cell[:, None]
            inner = out[t].reshape(points, many, 4, size)
            np.multiply(cell[:, :, None], by.reshape(points, 1, 3, size), out=inner[:, :, :3])
            np.multiply(now, by_output[:, None], out=inner[:, :, 3])
            now = _times(out[t], self.U)
            cell = cell * forget[:, None]
        return out


@dataclass(frozen=True)
class Rnn(Layer):
    """Without gates."""

    def forward(self, drive: Array) -> tuple[Array, list[Any]]:
        """See `Layer`."""
        h = np.zeros((len(drive), self.U.shape[1]), drive.dtype)
        hidden, tape = np.empty_like(drive), []
        for t in range(drive.shape[1]):
            h = np.tanh(drive[:, t] + h @ self.U.T)
            tape.append(1.0 - h * h)
            hidden[:, t] = h
        return hidden, tape

    def backward(self, tape: list[Any], upstream: Array | None, last: Array) -> Array:
        """See `Layer`."""
        out = np.empty((len(tape), *last.shape), last.dtype)
        now = last
        for t in range(len(tape) - 1, -1, -1):
            if upstream is not None:
                now = now + upstream[t]
            np.multiply(now, tape[t][:, None], out=out[t])
            now = _times(out[t], self.U)
        return out


def layer_of(tensors: Mapping[str, Array], cell: str) -> Layer:
    """A layer of the tensors of torch's module of that cell."""
    W, U = tensors["weight_ih_l0"], tensors["weight_hh_l0"]
    b, d = tensors["bias_ih_l0"], tensors["bias_hh_l0"]
    if cell == "gru":
        gates = 2 * U.shape[1]
        bias = b.copy()
        bias[:gates] += d[:gates]
        return Gru(W, U, bias, d[gates:])
    return Lstm(W, U, b + d) if cell == "lstm" else Rnn(W, U, b + d)


@dataclass(frozen=True)
class Norm:
    """A layer norm: ``weight`` and ``bias`` [D]."""

    weight: Array
    bias: Array

    def forward(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """[..., D] normed, and what `backward` needs."""
        centred = x - x.mean(axis=-1, keepdims=True)
        width = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + NORM_ROOM)
        unit = centred / width
        return unit * self.weight + self.bias, (unit, width)

    def backward(self, tape: tuple[Array, Array], gradient: Array) -> Array:
        """[S, P, H, D] by what was normed, from that by what came out."""
        unit, width = (np.moveaxis(part, 1, 0)[:, :, None] for part in tape)
        of = gradient * self.weight
        along = (of * unit).mean(axis=-1, keepdims=True)
        return np.asarray((of - of.mean(axis=-1, keepdims=True) - unit * along) / width)


@dataclass(frozen=True)
class Stack:
    """Layers one on the other; each normed and added to its input where so configured."""

    layers: tuple[Layer, ...]
    norms: tuple[Norm | None, ...]
    residual: bool

    def gradients(self, begin: Array, way: Array, shares: Array, last: Any) -> tuple[Array, ...]:
        """Along a path of inputs: the last states, and how what is made of them depends on inputs.

        Parameters
        ----------
        begin, way : [S, F] inputs at the path's begin, and from there to its end.
        shares : [P] of the way at each point. last : makes of the last states [P, D] the gradients
            [P, H, D] of H numbers by them.

        Returns
        -------
        Gradients [S, P, H, G D] by the first layer's drives; and where inputs are passed on beside
        that layer, [S, P, H, F] by those.
        """
        first = self.layers[0]
        there, more = begin @ first.W.T + first.bias, way @ first.W.T
        drive = there + shares[:, None, None] * more
        passed = self.residual and begin.shape[1] == first.U.shape[1]
        x = begin + shares[:, None, None] * way if passed else None
        tapes: list[tuple[Any, Any, bool]] = []
        for depth, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if depth:
                drive = np.asarray(x) @ layer.W.T + layer.bias
            hidden, tape = layer.forward(drive)
            normed = None
            if norm is not None:
                hidden, normed = norm.forward(hidden)
            adds = self.residual and (passed if depth == 0 else True)
            tapes.append((tape, normed, adds))
            x = hidden + x if adds else hidden
        top = last(np.asarray(x)[:, -1])
        return self._back(tapes, top)

    def _back(self, tapes: list[tuple[Any, Any, bool]], top: Array) -> tuple[Array, ...]:
        upstream: Array | None = None
        beside: Array | None = None
        for depth in range(len(self.layers) - 1, -1, -1):
            layer, norm, (tape, normed, adds) = self.layers[depth], self.norms[depth], tapes[depth]
            full = upstream
            if full is None and (norm is not None or adds):
                full = np.zeros((len(tape), *top.shape), top.dtype)
                full[-1] = top
            into = full
            if norm is not None and full is not None:
                into = norm.backward(normed, full)
            if into is None:
                by = layer.backward(tape, None, top)
            else:
                by = layer.backward(tape, into, np.zeros_like(top))
            if depth == 0:
                beside = full if adds else None
                break
            upstream = _times(by, layer.W)
            if adds and full is not None:
                upstream = upstream + full
        return (by, beside) if beside is not None else (by,)


def _times(a: Array, b: Array) -> Array:
    """[..., n] @ [n, m] as one product, which many small ones are not."""
    return np.asarray((a.reshape(-1, a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[1]))


def _sigmoid(a: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * a)))
