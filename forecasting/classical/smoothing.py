"""Exponential smoothing of many series at once: one recursion over time, columns of candidates.

Where states are linear in how they begin (level, slope), the best beginning of every candidate is
solved for and not searched; the smoothing constants are searched (`search`).

Sources: Hyndman, Koehler, Ord & Snyder (2008), "Forecasting with Exponential Smoothing";
Gardner & McKenzie (1985), "Forecasting trends in time series", for the damped trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.block import Block
from forecasting.classical.few import by_season, errors_of, is_few, last_of, weights_of
from forecasting.classical.search import RIDGE, Constant, search
from forecasting.classical.seasonal import Adjusted

# What the search goes through: weight of the newest error in the level; of that, the share that
# moves the slope; how much of the slope is left after a step.
ALPHA = Constant((0.02, 0.1, 0.3, 0.6, 0.9), 0.001, 0.999)
SHARE = Constant((0.0, 0.1, 0.4), 0.0, 0.999)
PHI = Constant((0.8, 0.95, 1.0), 0.8, 1.0)
# And of what the level leaves of an error, the share that moves the season.
GAMMA = Constant((0.001, 0.1, 0.3), 0.001, 0.999)
# Values under which a series has no trend to smooth.
ENOUGH_FOR_TREND = 6
# Least factor and least level of a season that multiplies, in units of the largest value.
LEAST = 1e-6


@dataclass(frozen=True)
class Trend:
    """What damped smoothing makes of N series.

    Attributes
    ----------
    alpha, share, phi : [N] constants. first, first_slope : [N] the states before the first value.
    level, slope : [N] after the last. errors : [N] sum of squared one-step errors.
    """

    alpha: Array
    share: Array
    phi: Array
    first: Array
    first_slope: Array
    level: Array
    slope: Array
    errors: Array

    def forecast(self, horizon: int) -> Array:
        """[H, N] the level, with the slope carried on."""
        return np.asarray(self.level + damping(self.phi, horizon) * self.slope)


def damping(phi: Array, horizon: int) -> Array:
    """[H, N] how much of a slope has come about after each step."""
    return np.cumsum(phi ** np.arange(1, horizon + 1)[:, None], axis=0)


def damped(block: Block, rounds: int = 3) -> Trend:
    """Fit a level with a damped slope, no season; series of few values have a level only."""
    best = search(lambda *c: _run(block, *c)[0], (ALPHA, SHARE, PHI), rounds)
    return trend_of(block, *best)


def trend_of(block: Block, alpha: Array, share: Array, phi: Array) -> Trend:
    """Smooth by given constants [N], from the best beginning; see `Trend`."""
    errors, parts = _run(block, alpha[None], share[None], phi[None])
    first, tilted, level, slope = (part[0] for part in parts)
    return Trend(alpha, share, phi, first, tilted, level, slope, errors[0])


def _run(
    block: Block, alpha: Array, share: Array, phi: Array
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """Candidates of constants, [C, 1] or [C, N], each with its best beginning.

    Returns
    -------
    [C, N] sums of squared errors; first level and slope, and (where constants are [C, N]) last.
    """
    sums, ways, state = (_few_sums if is_few(block) else _sums)(block, alpha, alpha * share, phi)
    uu, ut, tt, ue, te, ee = sums
    (up, tilt), (level, slope) = ways, state
    uu, tt = uu * (1.0 + RIDGE) + RIDGE, tt * (1.0 + RIDGE) + RIDGE
    few = block.lengths < ENOUGH_FOR_TREND
    ut, te = np.where(few, 0.0, ut), np.where(few, 0.0, te)
    whole = uu * tt - ut * ut
    more, tilted = (tt * ue - ut * te) / whole, (uu * te - ut * ue) / whole
    errors = np.maximum(ee - more * ue - tilted * te, 0.0)
    errors = np.where(few & (share > 0.0), np.inf, errors)
    last = level + more * up[0] + tilted * tilt[0]
    last_slope = slope + more * up[1] + tilted * tilt[1]
    return errors, (block.y[0] + more, tilted, last, last_slope)


# Sums [C, N] over the rows, of products of what a unit of level (u) and of slope (t) at the
# beginning does to the forecasts, and of the errors (e): uu, ut, tt, ue, te, ee. What is left of
# those units at the end, level and slope of each; and the level and slope of the values.
_Sums = tuple[tuple[Array, ...], tuple[tuple[Array, Array], ...], tuple[Array, Array]]


def _few_sums(block: Block, alpha: Array, beta: Array, phi: Array) -> _Sums:
    """Of few series, by weights over their rows."""
    first = block.y[0]
    values = (block.y - first).T
    weights = weights_of(alpha, beta, phi, len(block.y))
    error = errors_of(values, weights.echoes)
    up, tilt = weights.ahead[..., 0], weights.ahead[..., 1]
    pairs = ((up, up), (up, tilt), (tilt, tilt), (up, error), (tilt, error), (error, error))
    sums = tuple((one * other).sum(axis=-1) for one, other in pairs)
    ways = tuple((weights.ends[..., 0, k], weights.ends[..., 1, k]) for k in (0, 1))
    level, slope = (last_of(values, weights.gains[..., k, :]) for k in (0, 1))
    return sums, ways, (level + first, slope)


def _sums(block: Block, alpha: Array, beta: Array, phi: Array) -> _Sums:
    """Of any series, row by row."""
    y, count = block.y, block.y.shape[1]
    shape, wide = (len(alpha), count), alpha.shape[1] == count
    level, slope = np.broadcast_to(y[:1], shape).copy(), np.zeros(shape)
    # What one unit more at the beginning, of level and of slope, does to level and slope later.
    up, tilt = (np.ones_like(alpha), np.zeros_like(alpha)), (0.0 * alpha, np.ones_like(alpha))
    uu, ut, tt, ue, te, ee = (np.zeros(shape) for _ in range(6))
    for value, n in zip(y, block.active, strict=True):
        c = slice(0, n) if wide else slice(None)
        a, b, p = alpha[:, c], beta[:, c], phi[:, c]
        fall = p * slope[:, :n]
        ahead = level[:, :n] + fall
        error = value[:n] - ahead
        level[:, :n] = ahead + a * error
        slope[:, :n] = fall + b * error
        ends = []
        for way in (up, tilt):
            fall = p * way[1][:, c]
            ahead = way[0][:, c] + fall
            way[0][:, c], way[1][:, c] = (1.0 - a) * ahead, fall - b * ahead
            ends.append(ahead)
        uu[:, :n] += ends[0] * ends[0]
        ut[:, :n] += ends[0] * ends[1]
        tt[:, :n] += ends[1] * ends[1]
        ue[:, :n] += ends[0] * error
        te[:, :n] += ends[1] * error
        ee[:, :n] += error * error
    return (uu, ut, tt, ue, te, ee), (up, tilt), (level, slope)


@dataclass(frozen=True)
class Season:
    """What seasonal smoothing makes of N series.

    Attributes
    ----------
    trend : level and slope. index : [m, N] the last season, by row modulo m. gamma : [N] how it
        moves. ratios : whether it multiplies. lengths : [N] rows read.
    """

    trend: Trend
    index: Array
    gamma: Array
    ratios: bool
    lengths: Array

    def forecast(self, horizon: int) -> Array:
        """[H, N] level and slope carried on, with the last season."""
        ahead = np.arange(horizon)[:, None] + self.lengths
        index = np.take_along_axis(self.index, ahead % len(self.index), axis=0)
        trend = self.trend.forecast(horizon)
        return np.asarray(np.maximum(trend, LEAST) * index if self.ratios else trend + index)


def seasonal(
    block: Block, begin: Adjusted, trend: Trend, *, ratios: bool, rounds: int = 2
) -> Season:
    """Fit a level, a damped slope and a season that moves, added or multiplied (``ratios``).

    ``begin``, ``trend`` : the block without its season, and what `damped` made of that: where
    states begin, and how the slope is smoothed.
    """
    index = np.where(begin.ratios, begin.index, 1.0) if ratios else begin.index
    beginning = (trend.first, trend.first_slope, index)

    def errors(alpha: Array, gamma: Array) -> Array:
        return _run_seasonal(block, beginning, (alpha, trend.share, trend.phi, gamma), ratios)[0]

    alpha, gamma = search(errors, (ALPHA, GAMMA), rounds)
    total, level, slope, last = _run_seasonal(
        block, beginning, (alpha[None], trend.share, trend.phi, gamma[None]), ratios
    )
    fitted = Trend(alpha, trend.share, trend.phi, *beginning[:2], level[0], slope[0], total[0])
    return Season(fitted, last[:, 0], gamma, ratios, block.lengths)


def _run_seasonal(
    block: Block,
    beginning: tuple[Array, Array, Array],
    constants: tuple[Array, Array, Array, Array],
    ratios: bool,
) -> tuple[Array, Array, Array, Array]:
    """[C, N] squared errors, last levels and slopes, and [m, C, N] seasons of candidates."""
    alpha, share, phi, gamma = constants
    y, (first, first_slope, index) = block.y, beginning
    shape = (len(alpha), y.shape[1])
    level, slope = (np.broadcast_to(part, shape).copy() for part in (first, first_slope))
    season = np.broadcast_to(index[:, None], (len(index), *shape)).copy()
    total = np.zeros(shape)
    alpha, gamma = (np.broadcast_to(part, shape) for part in (alpha, gamma * (1.0 - alpha)))
    beta = alpha * share
    if is_few(block):
        course = by_season(block, beginning, (alpha, beta, phi, gamma), ratios, LEAST)
        if course is not None:
            return course
    for row, (value, n) in enumerate(zip(y, block.active, strict=True)):
        own = season[row % len(index), :, :n]
        fall = phi[:n] * slope[:, :n]
        ahead = level[:, :n] + fall
        if ratios:
            np.maximum(ahead, LEAST, out=ahead)
            error = value[:n] - ahead * own
            moved = error / own
            own += gamma[:, :n] * error / ahead
            np.maximum(own, LEAST, out=own)
        else:
            moved = error = value[:n] - ahead - own
            own += gamma[:, :n] * error
        level[:, :n] = ahead + alpha[:, :n] * moved
        slope[:, :n] = fall + beta[:, :n] * moved
        total[:, :n] += error * error
    return total, level, slope, season
