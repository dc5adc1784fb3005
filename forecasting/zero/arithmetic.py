"""The network of `forecasting.zero.network` in NumPy: what forecasts without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forecasting.arrays import Array
from forecasting.zero.constants import (
    FORGET_LEVEL,
    FORGET_SPREAD,
    FURTHEST,
    LEAST_SPREAD,
    LEAST_UNIT,
    LEVELS,
    MIDDLE,
    MOST_UNIT,
    REPEATED,
    STEPS,
)
from forecasting.zero.patches import AHEAD, LAGS, WIDTH, Patches

# Of PyTorch's LayerNorm.
EPSILON = 1e-5


class Network:
    """Weights by the names that torch gives them.

    Parameters
    ----------
    weights : float arrays of any precision; products are taken in float32.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = {k: np.asarray(v, np.float32) for k, v in weights.items()}
        self.layers = sum(k.endswith("weight_hh_l0") for k in weights)
        self.recurrent = [_turned(self.weights, layer) for layer in range(self.layers)]

    def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
        """What follows each of the ``last`` patches.

        Returns
        -------
        quantiles : [N, last, STEPS, Q] in spreads about the level. level, spread : [N, last].
        """
        x, seen, lag, lag_seen, trend, place, zero, positive = patches.inputs
        level, spread = scale(x, seen)
        errors, unit = units(x, seen, lag, lag_seen, spread)
        now = seen * _near((x - level[..., None]) / spread[..., None])
        then = lag_seen * _near((lag - level[..., None, None]) / spread[..., None, None])
        newest = latest(now, seen)
        count, total = x.shape[:2]
        lag_share = lag_seen.reshape(count, total, LAGS * AHEAD, WIDTH).mean(-1)
        flat = then.reshape(count, total, -1)
        facts = _facts(seen, zero, positive, level, spread, newest)
        trend = _near(trend / spread[..., None])
        moved, off = trend[..., :-1], trend[..., -1:]
        facts = np.concatenate([place, facts, errors, trend[..., ::WIDTH]], -1)
        features = np.concatenate([now, seen, flat, lag_share, facts], -1)
        features = features.astype(np.float32)
        state = features @ self.weights["past.weight"].T
        state += self._linear(_silu(self._linear(features, "inner")), "outer")
        for layer in range(self.layers):
            state = state + self._gru(self._normed(state, f"norms.{layer}"), layer)
        end = slice(total - last, total)
        output = _silu(self._linear(self._normed(state[:, end], "norm"), "first"))
        repeat = self._linear(output, "repeat").reshape(count, last, REPEATED, STEPS)
        middle = (repeat[:, :, :LAGS] * then[:, end]).sum(-2)
        middle += repeat[:, :, LAGS] * newest[:, end, None]
        middle += repeat[:, :, LAGS + 1] * moved[:, end] + repeat[:, :, LAGS + 2] * off[:, end]
        output = self._linear(output, "last").reshape(count, last, STEPS, len(LEVELS))
        own = unit[:, end, None]
        middle += self._linear(now[:, end], "skip") + own * output[..., MIDDLE]
        apart = np.logaddexp(np.float32(0.0), output)
        below = np.cumsum(apart[..., :MIDDLE][..., ::-1], -1)[..., ::-1]
        above = np.cumsum(apart[..., MIDDLE + 1 :], -1)
        away = np.concatenate([-below, np.zeros_like(middle)[..., None], above], -1)
        quantiles = middle[..., None] + own[..., None] * away
        return quantiles, level[:, end], spread[:, end]

    def _linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        size = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(EPSILON))
        return np.asarray(
            centred / size * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        )

    def _gru(self, x: Array, layer: int) -> Array:
        """[N, T, hidden] states after each patch; torch's order of gates: reset, update, new."""
        own, recurrent, bias = self.recurrent[layer]
        inputs = x @ own + bias[:-1].reshape(-1)
        size = len(recurrent)
        state = np.zeros((len(x), size), np.float32)
        out = np.empty((*x.shape[:2], size), np.float32)
        inner = np.empty((len(x), 3 * size), np.float32)
        gates, new = inner[:, : 2 * size], inner[:, 2 * size :]
        reset, update = gates[:, :size], gates[:, size:]
        for step in range(x.shape[1]):
            np.matmul(state, recurrent, out=inner)
            gates += inputs[:, step, : 2 * size]
            # The half of a sigmoid's argument is in the weights.
            np.tanh(gates, out=gates)
            gates *= 0.5
            gates += 0.5
            new += bias[-1]
            new *= reset
            new += inputs[:, step, 2 * size :]
            np.tanh(new, out=new)
            state -= new
            state *= update
            state += new
            out[:, step] = state
        return out


def _turned(weights: Mapping[str, Array], layer: int) -> tuple[Array, Array, Array]:
    """Weights of a GRU as `Network._gru` takes them.

    Returns
    -------
    own : [inputs, 3 size]. recurrent : [size, 3 size]. bias : [4, size], of both gates, of what is
        new, and of what the reset gate holds back of it. Those of gates are halved.
    """
    names = [
        f"layers.{layer}.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    own, recurrent, bias, held = (np.array(weights[name]) for name in names)
    size = recurrent.shape[1]
    gates, new = slice(0, 2 * size), slice(2 * size, 3 * size)
    for each in (own, recurrent, bias, held):
        each[gates] *= 0.5
    both = np.concatenate([bias[gates] + held[gates], bias[new], held[new]])
    return (
        np.ascontiguousarray(own.T),
        np.ascontiguousarray(recurrent.T),
        both.reshape(4, size),
    )


def scale(x: Array, seen: Array) -> tuple[Array, Array]:
    """[N, T] level and spread of what was seen up to each patch."""
    newest, newer = _weights(x.shape[1], FORGET_LEVEL), _weights(x.shape[1], FORGET_SPREAD)
    count = seen.sum(-1)
    least = np.float32(1e-20)
    level = (x.sum(-1) @ newest.T) / np.maximum(count @ newest.T, least)
    away = (seen * np.abs(x - level[..., None])).sum(-1)
    spread = (away @ newer.T) / np.maximum(count @ newer.T, least)
    return level, np.maximum(spread, np.float32(LEAST_SPREAD))


def units(x: Array, seen: Array, lag: Array, lag_seen: Array, spread: Array) -> tuple[Array, Array]:
    """[N, T, LAGS + 1] logs of past errors in spreads, and [N, T] the unit of those to come."""
    newer = _weights(x.shape[1], FORGET_SPREAD)
    before, known = lag[:, :-1, :, :WIDTH], lag_seen[:, :-1, :, :WIDTH] * seen[:, 1:, None]
    first = ((0, 0), (1, 0), (0, 0))
    off = np.pad((known * np.abs(x[:, 1:, None] - before)).sum(-1), first)
    count = np.pad(known.sum(-1), first)
    both = seen[..., 1:] * seen[..., :-1]
    step = (both * np.abs(x[..., 1:] - x[..., :-1])).sum(-1, keepdims=True)
    off = newer @ np.concatenate([off, step], -1)
    count = newer @ np.concatenate([count, both.sum(-1, keepdims=True)], -1)
    enough = count > 1e-6
    error = off / np.maximum(count, np.float32(1e-20)) / spread[..., None]
    error = np.where(enough, np.clip(error, LEAST_UNIT, MOST_UNIT), np.float32(1.0))
    return np.log(error), np.where(enough[..., 0], error[..., 0], error[..., -1])


def latest(now: Array, seen: Array) -> Array:
    """[N, T] the newest value seen in each patch, 0 where none was."""
    slot = WIDTH - 1 - seen[..., ::-1].argmax(-1)
    return np.take_along_axis(now, slot[..., None], -1)[..., 0] * seen.any(-1)


def _facts(seen: Array, *facts: Array) -> Array:
    zero, positive, level, spread, newest = facts
    before_level = np.concatenate([level[:, :1], level[:, :-1]], 1)
    before_spread = np.concatenate([spread[:, :1], spread[:, :-1]], 1)
    count = seen.sum(-1)
    floor = np.clip((zero[:, None] - level) / spread, -10.0, 10.0)
    columns = [
        _near((level - before_level) / spread) / 4.0,
        np.log(spread / before_spread),
        np.log1p(count.cumsum(1)) / 4.0,
        count / WIDTH,
        positive[:, None] * floor / 4.0,
        np.broadcast_to(positive[:, None], level.shape),
        newest,
    ]
    return np.stack(columns, -1)


def _weights(patches: int, forget: float) -> Array:
    """[T, T] how much each patch counts at each later one."""
    age = np.arange(patches)[:, None] - np.arange(patches)
    weights = np.where(age >= 0, np.float32(forget) ** np.clip(age, 0, 60), 0.0)
    return weights.astype(np.float32)


def _near(values: Array) -> Array:
    return np.clip(values, -FURTHEST, FURTHEST)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _silu(x: Array) -> Array:
    return np.asarray(x * _sigmoid(x))
