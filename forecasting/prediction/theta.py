"""A Theta forecast of the windows of a whole batch, to blend with a network's.

Networks read what series have in common; exponential smoothing reads the one series at hand. Their
errors differ, and where series are short or few the mean of both beats either. Everything here is
NumPy on the very window the network reads, so that a service blends without torch, and a state
that has read rows one by one gives what one reading gives.

Sources: Assimakopoulos & Nikolopoulos (2000), "The theta model"; Hyndman & Billah (2003), which
shows it to be simple exponential smoothing with half the linear trend as its drift.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.seasonal import seasonal_pattern

# Smoothing constants tried; the one with the least squared one-step errors is taken per series.
ALPHAS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
# Series from which on memory and no longer the number of calls decides the time.
MANY = 16
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
    seen = mask > 0
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
    # About its drift the level of the smoothing stands still: what is missing repeats it.
    still = y - slope[:, None] * np.arange(rows)
    source = np.maximum.accumulate(np.where(seen, np.arange(rows), -1), axis=1)
    first = seen.argmax(axis=1)
    still = np.take_along_axis(still, np.where(source < 0, first[:, None], source), axis=1)
    # The first value observed is where the level starts: it is no forecast's error.
    counted = seen & (np.arange(rows) > first[:, None])
    run = _by_step if count >= MANY else _by_doubling
    level, errors = run(still, counted)
    best = errors.argmin(axis=1)
    return np.asarray(level[np.arange(count), best] + slope * (rows - 1))


def _by_step(still: Array, counted: Array) -> tuple[Array, Array]:
    """Final levels and squared errors [N, A], one step after the other: least memory."""
    weights, steps = np.ascontiguousarray(counted.T, np.float64), np.ascontiguousarray(still.T)
    alphas = ALPHAS[:, None]
    level = np.repeat(steps[:1], len(ALPHAS), axis=0)
    errors = np.zeros_like(level)
    for value, weight in zip(steps[1:], weights[1:], strict=True):
        error = value - level
        level += alphas * error
        error *= error
        error *= weight
        errors += error
    return level.T, errors.T


def _by_doubling(still: Array, counted: Array) -> tuple[Array, Array]:
    """The same in a few calls: l(t) = a y(t) + (1 - a) l(t - 1) over spans that double."""
    start, keep = still[:, :1, None], (1.0 - ALPHAS)[:, None]
    level = ALPHAS[:, None] * (still[:, None] - start)
    span = 1
    while span < still.shape[1]:
        level[..., span:] = level[..., span:] + keep**span * level[..., :-span]
        span *= 2
    level += start
    errors = (still[:, None, 1:] - level[..., :-1]) ** 2 * counted[:, None, 1:]
    return level[..., -1], errors.sum(axis=2)
