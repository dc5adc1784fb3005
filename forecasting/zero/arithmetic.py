"""The network of `forecasting.zero.network` in NumPy: what forecasts without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forecasting.arrays import Array
from forecasting.zero.patches import AHEAD, WIDTH, Patches

# As in `forecasting.zero.network`, which imports torch; a test holds them together.
LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
MIDDLE = LEVELS.index(0.5)
STEPS = AHEAD * WIDTH
FORGET_LEVEL, FORGET_SPREAD = 0.5, 0.9
LEAST_SPREAD, FURTHEST = 1e-4, 20.0
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

    def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
        """What follows each of the ``last`` patches.

        Returns
        -------
        quantiles : [N, last, STEPS, Q] in spreads about the level. level, spread : [N, last].
        """
        x, seen, lag, lag_seen, place, zero, positive = patches.inputs
        level, spread = scale(x, seen)
        now = seen * _near((x - level[..., None]) / spread[..., None])
        then = lag_seen * _near((lag - level[..., None]) / spread[..., None])
        before_level = np.concatenate([level[:, :1], level[:, :-1]], 1)
        before_spread = np.concatenate([spread[:, :1], spread[:, :-1]], 1)
        count = seen.sum(-1)
        floor = np.clip((zero[:, None] - level) / spread, -10.0, 10.0)
        rest = [
            _near((level - before_level) / spread) / 4.0,
            np.log(spread / before_spread),
            np.log1p(count.cumsum(1)) / 4.0,
            count / WIDTH,
            positive[:, None] * floor / 4.0,
            np.broadcast_to(positive[:, None], level.shape),
        ]
        features = np.concatenate(
            [now, seen, then, lag_seen, place, np.stack(rest, -1)], -1
        ).astype(np.float32)
        state = features @ self.weights["past.weight"].T
        state += self._linear(_silu(self._linear(features, "inner")), "outer")
        for layer in range(self.layers):
            state = state + self._gru(self._normed(state, f"norms.{layer}"), layer)
        state = state[:, -last:]
        said = self._linear(_silu(self._linear(self._normed(state, "norm"), "first")), "last")
        said = said.reshape(*said.shape[:2], STEPS, len(LEVELS))
        direct = np.concatenate([now[:, -last:], then[:, -last:]], -1).astype(np.float32)
        middle = (said[..., MIDDLE] + self._linear(direct, "skip"))[..., None]
        apart = np.logaddexp(0.0, said)
        below = np.cumsum(apart[..., :MIDDLE][..., ::-1], -1)[..., ::-1]
        above = np.cumsum(apart[..., MIDDLE + 1 :], -1)
        quantiles = np.concatenate([middle - below, middle, middle + above], -1)
        return quantiles, level[:, -last:], spread[:, -last:]

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
        names = (f"layers.{layer}.{kind}_l0" for kind in ("weight_ih", "bias_ih"))
        weight, bias = (self.weights[name] for name in names)
        names = (f"layers.{layer}.{kind}_l0" for kind in ("weight_hh", "bias_hh"))
        recurrent, own = (self.weights[name] for name in names)
        inputs = x @ weight.T + bias
        size = recurrent.shape[1]
        state = np.zeros((len(x), size), np.float32)
        out = np.empty((*x.shape[:2], size), np.float32)
        turned = np.ascontiguousarray(recurrent.T)
        for step in range(x.shape[1]):
            inner = state @ turned + own
            gates = _sigmoid(inputs[:, step, : 2 * size] + inner[:, : 2 * size])
            reset, update = gates[:, :size], gates[:, size:]
            new = np.tanh(inputs[:, step, 2 * size :] + reset * inner[:, 2 * size :])
            state = new + update * (state - new)
            out[:, step] = state
        return out


def scale(x: Array, seen: Array) -> tuple[Array, Array]:
    """[N, T] level and spread of what was seen up to each patch."""
    age = np.arange(x.shape[1])[:, None] - np.arange(x.shape[1])
    newest = np.where(age >= 0, np.float32(FORGET_LEVEL) ** np.clip(age, 0, 60), 0)
    newer = np.where(age >= 0, np.float32(FORGET_SPREAD) ** np.clip(age, 0, 300), 0)
    newest, newer = newest.astype(np.float32), newer.astype(np.float32)
    count = seen.sum(-1)
    least = np.float32(1e-20)
    level = (x.sum(-1) @ newest.T) / np.maximum(count @ newest.T, least)
    away = (seen * np.abs(x - level[..., None])).sum(-1)
    spread = (away @ newer.T) / np.maximum(count @ newer.T, least)
    return level, np.maximum(spread, np.float32(LEAST_SPREAD))


def _near(values: Array) -> Array:
    return np.clip(values, -FURTHEST, FURTHEST)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _silu(x: Array) -> Array:
    return np.asarray(x * _sigmoid(x))
