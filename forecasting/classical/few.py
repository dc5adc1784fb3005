"""The recursions of smoothing for a few series of one length, as weights over their histories.

Row by row a recursion costs a handful of calls for every row, however few series there are. As
states are linear in the values, everything a row's error is made of can be written down beforehand
for each candidate of the constants: errors are then one matrix product, or one for each season
where the season moves too. The recursions by rows stay in `smoothing` and `theta`, for many series,
and as the twins of these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.block import Block

# Series of one length up to which weights are quicker than rows.
FEW = 8
# Rows up to which the products are quicker, and take no memory to speak of.
MOST_ROWS = 512


def is_few(block: Block) -> bool:
    """Whether a block's series are few enough, and of one length."""
    rows, count = block.y.shape
    return bool(0 < count <= FEW and 0 < rows <= MOST_ROWS and block.lengths[-1] == rows)


class Weights(NamedTuple):
    """What R rows do to level and slope, for candidates [C, M] (M is 1, or a candidate's own for
    each series).

    Attributes
    ----------
    ahead : [C, M, R, 2] what a unit of level and of slope at the beginning adds to each forecast.
    gains : [C, M, 2, R] what a value adds to level and slope so many rows later.
    ends : [C, M, 2, 2] what is left of them after R rows.
    echoes : [C, M, R] what a value adds to the forecast of the next row, of the one after ...
    """

    ahead: Array
    gains: Array
    ends: Array
    echoes: Array


def weights_of(alpha: Array, beta: Array, phi: Array, rows: int) -> Weights:
    """Those of a damped trend with constants [C, M]; beta is the slope's own, alpha * share."""
    a, b, p = (np.broadcast_to(c, alpha.shape) for c in (alpha, beta, phi))
    power = np.stack([1.0 - a, (1.0 - a) * p, -b, p - b * p], axis=-1).reshape(*a.shape, 2, 2)
    powers = np.empty((*a.shape, 2, rows + 1, 2))
    powers[..., 0, :] = np.eye(2)
    count = 1
    while count <= rows:
        more = min(count, rows + 1 - count)
        moved = power @ powers[..., :more, :].reshape(*a.shape, 2, 2 * more)
        powers[..., count : count + more, :] = moved.reshape(*a.shape, 2, more, 2)
        count += more
        power = power @ power
    ahead = powers[..., 0, :rows, :] + p[..., None, None] * powers[..., 1, :rows, :]
    gains = powers[..., :rows, 0] * a[..., None, None] + powers[..., :rows, 1] * b[..., None, None]
    echoes = gains[..., 0, :] + p[..., None] * gains[..., 1, :]
    return Weights(ahead, gains, powers[..., rows, :], echoes)


def errors_of(values: Array, echoes: Array) -> Array:
    """[C, N, R] one-step errors of [N, R] values from nothing: each less its echoes [C, M, R]."""
    count, rows = values.shape
    padded = np.concatenate([np.zeros((count, rows)), values], axis=1)
    # [N, k, t]: the value k + 1 rows before t.
    before = np.lib.stride_tricks.sliding_window_view(padded[:, :-1], rows, axis=1)
    forecasts = np.moveaxis(echoes, 1, 0)[..., ::-1] @ np.ascontiguousarray(before)
    return np.asarray(values - np.moveaxis(forecasts, 0, 1))


def last_of(values: Array, gains: Array) -> Array:
    """[C, N] what [N, R] values leave after the last row; gains [C, M, R] by age."""
    return np.asarray((gains[..., ::-1] * values).sum(axis=-1))


class Course(NamedTuple):
    """What seasonal smoothing makes of C candidates: [C, N] each, season [m, C, N]."""

    errors: Array
    level: Array
    slope: Array
    season: Array


def by_season(
    block: Block,
    beginning: tuple[Array, Array, Array],
    constants: tuple[Array, Array, Array, Array],
    ratios: bool,
    least: float,
) -> Course | None:
    """Seasonal smoothing, a season at a time: within one, no place of it is met twice.

    Parameters
    ----------
    beginning : level, slope [N] and season [m, N]. constants : alpha, beta, phi and gamma, the
        season's own, [C, N] each. least : below it level and factors are cut off.

    Returns
    -------
    None where something is cut off, which is not linear.
    """
    alpha, beta, phi, gamma = (np.broadcast_to(c, constants[0].shape) for c in constants)
    first, first_slope, index = beginning
    season, rows = len(index), len(block.y)
    # [C, N, m], and the state before its values.
    own = np.broadcast_to(index.T, (*alpha.shape, season)).copy()
    seen = np.empty((*alpha.shape, 2 + season, 1))
    seen[..., 0, 0], seen[..., 1, 0] = first, first_slope
    total = np.zeros(alpha.shape)
    whole = _of_season(weights_of(alpha, beta, phi, season))
    for begin in range(0, rows, season):
        width = min(season, rows - begin)
        matrix = whole if width == season else _of_season(weights_of(alpha, beta, phi, width))
        here = own[..., :width]
        y = block.y[begin : begin + width].T
        values = y / here if ratios else y - here
        seen[..., 2 : 2 + width, 0] = values
        forecasts = (matrix @ seen[..., : 2 + width, :])[..., 0]
        ahead, seen[..., :2, 0] = forecasts[..., 2:], forecasts[..., :2]
        error = values - ahead
        if ratios:
            if not ahead.min() >= least:
                return None
            moved = 1.0 + gamma[..., None] * error / ahead
            error = error * here
            here *= moved
            if not here.min() >= least:
                return None
        else:
            here += gamma[..., None] * error
        total += (error * error).sum(axis=-1)
    return Course(total, seen[..., 0, 0], seen[..., 1, 0], np.moveaxis(own, -1, 0))


def _of_season(weights: Weights) -> Array:
    """[C, N, 2 + w, 2 + w] from level, slope and w values to both after them, and w forecasts."""
    shape, width = weights.echoes.shape[:2], weights.echoes.shape[2]
    out = np.zeros((*shape, 2 + width, 2 + width))
    out[..., :2, :2] = weights.ends
    out[..., :2, 2:] = weights.gains[..., ::-1]
    out[..., 2:, :2] = weights.ahead
    rows = np.arange(width)
    back = rows[:, None] - rows - 1
    out[..., 2:, 2:] = np.where(back >= 0, weights.echoes[..., np.maximum(back, 0)], 0.0)
    return out
