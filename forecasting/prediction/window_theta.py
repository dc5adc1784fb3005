"""A Theta forecast of the windows of a whole batch, to blend with a network's.

Networks read what series have in common; exponential smoothing reads the one series at hand. Their
errors differ, and where series are short or few the mean of both beats either. Everything here is
NumPy on the very window the network reads, so that a service blends without torch, and a state
that has read rows one by one gives what one reading gives.

Sources: Assimakopoulos & Nikolopoulos (2000), "The theta model"; Hyndman & Billah (2003), which
shows it to be simple exponential smoothing with half the linear trend as its drift.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.seasonal import seasonal_pattern
from forecasting.prediction.smoothing import smoothed

# Smoothing constants tried; the one with the least squared one-step errors is taken per series.
ALPHAS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
_ALPHAS = tuple(ALPHAS.tolist())
# Rows of a window up to which what is linear in it is kept as matrices.
MOST_ROWS = 256
# Lengths of windows that are forecast apart; of more the matrices would be made again and again.
MOST_BEGINS = 24
# Share of the linear trend that goes on; the theta line of 0 and that of 2 in equal parts.
DRIFT = 0.5


def window_theta(y: Array, mask: Array, season: int, horizon: int) -> Array:
    """Forecast every row of a left-padded block.

    Parameters
    ----------
    y, mask : [N, R >= 2] values and 1 where one is observed; additive units (logs, say).
    season : steps, 1 for none.

    Returns
    -------
    [N, H] float64; 0 for a row without any observed value.
    """
    seen, rows = mask > 0, y.shape[1]
    if rows <= MOST_ROWS and seen.all():
        return _of_full(y.astype(np.float64), season, horizon)
    first = seen.argmax(axis=1)
    without_holes = (seen.sum(axis=1) == rows - first) & (rows - first <= MOST_ROWS)
    begins = np.unique(first[without_holes])
    if not 0 < len(begins) <= MOST_BEGINS:
        return _forecast(y, seen, season, horizon)
    out = np.empty((len(y), horizon))
    for begin in begins.tolist():
        alike = np.flatnonzero(without_holes & (first == begin))
        out[alike] = _of_full(y[alike, begin:].astype(np.float64), season, horizon)
    rest = np.flatnonzero(~without_holes)
    if len(rest):
        out[rest] = _forecast(y[rest], seen[rest], season, horizon)
    return out


class _Full(NamedTuple):
    """What is linear in a window of R rows without holes, and its places in the season of m steps.

    Attributes
    ----------
    season : [R, m + K] its pattern, and what of the window is neither level nor pattern. error :
        what the sum of squares of the latter is divided by for the pattern's variance; inf where
        no pattern is to be told. slope : [R] of the trend that goes on. steps : [R]. at : [R] place
        in the season of each row. ahead : [H] steps from the last row. next : [H] place of those.
    """

    season: Array | None
    error: float
    slope: Array
    steps: Array
    at: Array
    ahead: Array
    next: Array


@lru_cache(maxsize=64)
def _full(rows: int, season: int, horizon: int) -> _Full:
    steps = np.arange(rows, dtype=np.float64)
    away = steps - steps.mean()
    ahead = np.arange(horizon)
    matrix, error = None, np.inf
    half = season // 2
    inner = rows - 2 * half
    if season > 1 and rows >= 2 * season and inner > season:
        weights = np.full(2 * half + 1, 1.0 / season)
        if season % 2 == 0:
            weights[[0, -1]] /= 2.0
        rest = np.zeros((rows, inner))
        for k in range(inner):
            rest[k : k + len(weights), k] = -weights
            rest[k + half, k] += 1.0
        place = (np.arange(inner) + half) % season
        own = (place[:, None] == np.arange(season)).astype(np.float64)
        mean = rest @ (own / own.sum(axis=0))
        matrix = np.hstack([mean - mean.mean(axis=1, keepdims=True), rest - mean[:, place]])
        # The squared noise's divisor, times what a pattern of noise alone would show.
        error = (inner - season) * (inner / season) / (season - 1)
    return _Full(
        matrix,
        error,
        DRIFT * away / max((away**2).sum(), 1e-12),
        steps,
        np.arange(rows) % season,
        ahead + rows,
        (rows + ahead) % season,
    )


def _of_full(y: Array, season: int, horizon: int) -> Array:
    """[N, H] of windows without holes; `_forecast` says how."""
    fixed = _full(y.shape[1], season, horizon)
    pattern = None
    if fixed.season is not None:
        projection = y @ fixed.season
        pattern, noise = projection[:, :season], projection[:, season:]
        power = np.maximum((pattern * pattern).sum(axis=1), 1e-300 * (season - 1))
        shrink = 1.0 - (noise * noise).sum(axis=1) / (fixed.error * power)
        pattern = pattern * np.maximum(shrink, 0.0)[:, None]
        y = y - pattern.take(fixed.at, axis=1)
    slope = y @ fixed.slope
    y = y - slope[:, None] * fixed.steps
    start = y[:, :1]
    levels, errors = smoothed(y - start, _ALPHAS)
    level = levels[errors.argmin(axis=0), np.arange(len(y))] + start[:, 0]
    forecast = slope[:, None] * fixed.ahead
    forecast += level[:, None]
    if pattern is not None:
        forecast += pattern.take(fixed.next, axis=1)
    return forecast


def _forecast(y: Array, seen: Array, season: int, horizon: int) -> Array:
    """[N, H] of windows with any holes."""
    y = np.where(seen, y.astype(np.float64), 0.0)
    rows = y.shape[1]
    ahead = np.arange(horizon)
    pattern = seasonal_pattern(y, seen, season)
    y = y - np.where(seen, np.take(pattern, np.arange(rows) % season, axis=1), 0.0)
    slope = DRIFT * _slope(y, seen)
    forecast = _smoothed(y, seen, slope)[:, None] + slope[:, None] * (ahead + 1)
    return np.asarray(forecast + np.take(pattern, (rows + ahead) % season, axis=1))


def _slope(y: Array, seen: Array) -> Array:
    """[N] slope per step of the straight line through the observed values."""
    steps = np.arange(y.shape[1], dtype=np.float64)
    number = np.maximum(seen.sum(axis=1), 1)
    centre = (seen * steps).sum(axis=1) / number
    away = np.where(seen, steps - centre[:, None], 0.0)
    power = (away**2).sum(axis=1)
    return np.asarray((away * y).sum(axis=1) / np.maximum(power, 1e-12))


def _smoothed(y: Array, seen: Array, slope: Array) -> Array:
    """[N] final level of simple exponential smoothing with drift, by the best constant."""
    count, rows = y.shape
    steps = np.arange(rows)
    # About its drift the level of the smoothing stands still: what is missing repeats it.
    still = y - slope[:, None] * steps
    source = np.maximum.accumulate(np.where(seen, steps, -1), axis=1)
    first = seen.argmax(axis=1)
    still = np.take_along_axis(still, np.where(source < 0, first[:, None], source), axis=1)
    # The first value observed is where the level starts: it is no forecast's error.
    start = still[:, :1]
    level, errors = smoothed(still - start, _ALPHAS)
    holes = ~seen & (steps > first[:, None])
    some = np.flatnonzero(holes.any(axis=1))
    if len(some):
        errors[:, some] = _errors_by_step(still[some] - start[some], ~holes[some])
    best = errors.argmin(axis=0)
    return np.asarray(level[best, np.arange(count)] + start[:, 0] + slope * (rows - 1))


def _errors_by_step(still: Array, counted: Array) -> Array:
    """[A, N] squared errors of smoothing from level 0, of those rows that count."""
    alphas = ALPHAS[:, None]
    level = np.zeros((len(ALPHAS), len(still)))
    errors = np.zeros_like(level)
    for value, weight in zip(still.T, counted.T.astype(np.float64), strict=True):
        error = value - level
        level += alphas * error
        errors += error * error * weight
    return errors
