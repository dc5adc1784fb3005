"""The optimised Theta method on whole series: smoothing constant and theta found for each.

One-step errors are linear in the first level and in ``1 - 1 / theta``, the share of the trend
line: for every smoothing constant the best of both are solved for.

Source: Fiorucci, Pellegrini, Louzada, Petropoulos & Koehler (2016), "Models for optimising the
theta method and their relationship to state space models".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.block import Block
from forecasting.classical.few import errors_of, is_few, last_of
from forecasting.classical.search import RIDGE, Constant, search

ALPHA = Constant(tuple(np.round(np.linspace(0.02, 0.98, 13), 4)), 0.001, 0.999)
# Values under which a series has no trend line.
ENOUGH_FOR_LINE = 4


@dataclass(frozen=True)
class Theta:
    """What the Theta method makes of N series, [N] each.

    Attributes
    ----------
    alpha : smoothing constant. weight : 1 - 1 / theta, share of the trend line. start, slope : the
        line before the first value, and per step. level : after the last value.
    errors : sum of squared one-step errors. lengths : rows read.
    """

    alpha: Array
    weight: Array
    start: Array
    slope: Array
    level: Array
    errors: Array
    lengths: Array

    def forecast(self, horizon: int) -> Array:
        """[H, N] the level, with the trend's share carried on."""
        keeping = 1.0 - self.alpha
        gone = keeping**self.lengths
        line = gone * self.start + (1.0 - gone * keeping) / self.alpha * self.slope
        return self.level + self.weight * (line + np.arange(horizon)[:, None] * self.slope)


def theta(block: Block, rounds: int = 2) -> Theta:
    """Fit series without a season; those of few values have a level only."""
    start, slope = _line(block)
    line = (start, slope)
    (alpha,) = search(lambda a: _run(block, line, a)[0], (ALPHA,), rounds)
    errors, weight, level = _run(block, line, alpha[None])
    return Theta(alpha, weight[0], start, slope, level[0], errors[0], block.lengths)


def _line(block: Block) -> tuple[Array, Array]:
    """[N] value at step 0, before the first, and slope of the line of least squares."""
    steps = np.arange(1, len(block.y) + 1, dtype=np.float64)[:, None]
    seen, n = block.seen, np.maximum(block.lengths, 1)
    centre, mean = (n + 1) / 2.0, block.y.sum(axis=0) / n
    away = np.where(seen, steps - centre, 0.0)
    slope = (away * block.y).sum(axis=0) / np.maximum((away**2).sum(axis=0), 1.0)
    slope = np.where(block.lengths >= ENOUGH_FOR_LINE, slope, 0.0)
    return mean - slope * centre, slope


def _run(block: Block, line: tuple[Array, Array], alpha: Array) -> tuple[Array, Array, Array]:
    """[C, N] errors, shares of the trend and last levels of candidates ``alpha`` [C, 1] or [C, N].

    Level l and trend share w: y(t) ~ l(t - 1) + w (keep(t - 1) A + (1 - keep(t)) / alpha B), with
    keep(t) = (1 - alpha)^t.
    """
    slope = line[1]
    sums, level, keep = (_few_sums if is_few(block) else _sums)(block, line, alpha)
    uu, uw, ww, ue, we, ee = sums
    uu, ww = uu * (1.0 + RIDGE) + RIDGE, ww * (1.0 + RIDGE) + RIDGE
    weight = np.clip((uu * we - uw * ue) / (uu * ww - uw * uw), 0.0, 1.0)
    weight = np.where(slope == 0.0, 0.0, weight)
    more = (ue - weight * uw) / uu
    errors = ee - 2.0 * (more * ue + weight * we) + more * more * uu + 2.0 * more * weight * uw
    errors = np.maximum(errors + weight * weight * ww, 0.0)
    return errors, weight, level + more * keep


# Sums [C, N] over the rows, of products of what a unit of level at the beginning does to the
# forecasts (u), of the trend line (w) and of the errors (e): uu, uw, ww, ue, we, ee; the level
# after the last row, and how much is left of that unit.
_Sums = tuple[tuple[Array, ...], Array, Array]


def _few_sums(block: Block, line: tuple[Array, Array], alpha: Array) -> _Sums:
    """Of few series, by weights over their rows."""
    (start, slope), rows = (part[:, None] for part in line), len(block.y)
    first = block.y[0]
    values = (block.y - first).T
    keep = (1.0 - alpha)[..., None] ** np.arange(rows + 1)
    gains = alpha[..., None] * keep[..., :-1]
    error, up = errors_of(values, gains), keep[..., :-1]
    trend = up * start + (1.0 - keep[..., 1:]) / alpha[..., None] * slope
    pairs = ((up, up), (up, trend), (trend, trend), (up, error), (trend, error), (error, error))
    sums = tuple((one * other).sum(axis=-1) for one, other in pairs)
    return sums, last_of(values, gains) + first, keep[..., -1]


def _sums(block: Block, line: tuple[Array, Array], alpha: Array) -> _Sums:
    """Of any series, row by row."""
    y, (start, slope) = block.y, line
    shape, wide = (len(alpha), y.shape[1]), alpha.shape[1] == y.shape[1]
    level = np.broadcast_to(y[:1], shape).copy()
    keep = np.ones_like(alpha)
    uu, uw, ww, ue, we, ee = (np.zeros(shape) for _ in range(6))
    for value, n in zip(y, block.active, strict=True):
        c = slice(0, n) if wide else slice(None)
        a, up = alpha[:, c], keep[:, c].copy()
        error = value[:n] - level[:, :n]
        level[:, :n] += a * error
        keep[:, c] = (1.0 - a) * up
        trend = up * start[:n] + (1.0 - keep[:, c]) / a * slope[:n]
        uu[:, :n] += up * up
        uw[:, :n] += up * trend
        ww[:, :n] += trend * trend
        ue[:, :n] += up * error
        we[:, :n] += trend * error
        ee[:, :n] += error * error
    return (uu, uw, ww, ue, we, ee), level, keep
