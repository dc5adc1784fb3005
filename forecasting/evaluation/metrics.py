"""Accuracy measures: sMAPE, MASE, OWA, quantile and interval scores.

Every measure takes actuals and forecasts of one of two shapes and gives one score per series:

- ``[N, h]``: N series, h steps. Any leading shape works, the last axis is averaged away, so
  ``smape(y.T, forecast.T)`` scores each step of the horizon over the series.
- flat ``[T]`` with ``offsets`` ``[N + 1]``: ragged series, one after the other.

NaN in the actuals means "not counted". A series with nothing to count scores NaN, and `average`
leaves it out. A forecast that is NaN where there is an actual makes its series' score NaN for a
reason the caller must look into, so it is refused.

Definitions are those of the M4 competition (Makridakis, Spiliotis & Assimakopoulos, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.errors import DataError


def smape(y: Array, forecast: Array, offsets: Array | None = None) -> Float:
    """Symmetric mean absolute percentage error, 0..200, of each series.

    Where actual and forecast are both zero the error counts as 0.
    """
    y, forecast = _pair(y, forecast)
    size = np.abs(y) + np.abs(forecast)
    error = 200.0 * np.abs(y - forecast)
    nothing = np.where(np.isnan(size), np.nan, 0.0)
    return _mean(np.divide(error, size, out=nothing, where=size > 0), offsets)


def mae(y: Array, forecast: Array, offsets: Array | None = None) -> Float:
    """Mean absolute error of each series, in the units of y."""
    y, forecast = _pair(y, forecast)
    return _mean(np.abs(y - forecast), offsets)


def mse(y: Array, forecast: Array, offsets: Array | None = None) -> Float:
    """Mean squared error of each series, in squared units of y."""
    y, forecast = _pair(y, forecast)
    return _mean(np.square(y - forecast), offsets)


def rmse(y: Array, forecast: Array, offsets: Array | None = None) -> Float:
    """Root of the mean squared error of each series, in the units of y."""
    return np.asarray(np.sqrt(mse(y, forecast, offsets)))


def bias(y: Array, forecast: Array, offsets: Array | None = None) -> Float:
    """Mean of forecast minus actual of each series; positive where forecasts are too high."""
    y, forecast = _pair(y, forecast)
    return _mean(forecast - y, offsets)


def mase(y: Array, forecast: Array, scale: Array, offsets: Array | None = None) -> Float:
    """Mean absolute scaled error of each series.

    ``scale`` is [N] from `mase_scale`. Where it is zero or NaN (a constant or too short history)
    the score is NaN.
    """
    return _divide(mae(y, forecast, offsets), np.asarray(scale, np.float64))


def owa(smape: Array, mase: Array, naive2_smape: Array, naive2_mase: Array) -> float:
    """Overall weighted average: the mean of the ratios of *averages* to those of Naive2.

    Each argument is [N], per series. Averages are formed first, the ratio is taken once; this is
    not a mean of per-series ratios.
    """
    return 0.5 * (average(smape) / average(naive2_smape) + average(mase) / average(naive2_mase))


def pinball(
    y: Array, quantiles: Array, levels: Sequence[float], offsets: Array | None = None
) -> Float:
    """Mean quantile loss of each series over steps and levels, in the units of y.

    ``quantiles`` is ``[N, h, Q]`` (or ``[T, Q]`` with offsets) for the Q ``levels``.
    """
    return _mean(_quantile_loss(y, quantiles, levels).mean(axis=-1), offsets)


def wql(y: Array, quantiles: Array, levels: Sequence[float]) -> float:
    """Weighted quantile loss of a whole panel: twice the summed loss over the summed \\|y\\|.

    Averaged over levels; any shape, ``quantiles`` has one axis more than ``y``. NaN if there is
    nothing to count or all actuals are zero.
    """
    loss = _quantile_loss(y, quantiles, levels)
    size = np.nansum(np.abs(np.asarray(y, np.float64)))
    return float(2.0 * np.nansum(loss.mean(axis=-1)) / size) if size > 0 else float("nan")


def msis(
    y: Array,
    lower: Array,
    upper: Array,
    scale: Array,
    *,
    level: float = 0.95,
    offsets: Array | None = None,
) -> Float:
    """Mean scaled interval score of each series for intervals of ``level``; ``scale`` : [N]."""
    penalty = 2.0 / (1.0 - level)
    y, lower = _pair(y, lower)
    y, upper = _pair(y, upper)
    score = (upper - lower) + penalty * (np.maximum(lower - y, 0) + np.maximum(y - upper, 0))
    return _divide(_mean(score, offsets), np.asarray(scale, np.float64))


def coverage(y: Array, lower: Array, upper: Array, offsets: Array | None = None) -> Float:
    """Share of the actuals of each series that lie in the closed interval, 0..1."""
    return _mean(_covered(y, lower, upper), offsets)


def average(scores: Array) -> float:
    """Plain mean of the scores that are numbers; NaN if none is."""
    scores = np.asarray(scores, np.float64)
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float("nan")


def _covered(y: Array, lower: Array, upper: Array) -> Float:
    y, lower = _pair(y, lower)
    y, upper = _pair(y, upper)
    return np.where(np.isnan(y), np.nan, (y >= lower) & (y <= upper))


def _quantile_loss(y: Array, quantiles: Array, levels: Sequence[float]) -> Float:
    y = np.asarray(y, np.float64)[..., None]
    quantiles = np.asarray(quantiles, np.float64)
    tau = np.asarray(levels, np.float64)
    if quantiles.shape != (*y.shape[:-1], len(tau)):
        raise DataError(
            f"quantiles have shape {quantiles.shape}, but {y.shape[:-1]} actuals and "
            f"{len(tau)} levels need {(*y.shape[:-1], len(tau))}"
        )
    y, quantiles = _pair(np.broadcast_to(y, quantiles.shape), quantiles)
    error = y - quantiles
    over = (tau - 1.0) * error
    error *= tau
    return np.asarray(np.maximum(error, over, out=error))


def _pair(y: Array, forecast: Array) -> tuple[Float, Float]:
    y, forecast = np.asarray(y, np.float64), np.asarray(forecast, np.float64)
    if y.shape != forecast.shape:
        raise DataError(f"actuals have shape {y.shape} but forecasts {forecast.shape}")
    lost = np.isnan(forecast) & ~np.isnan(y)
    if lost.any():
        at = tuple(int(i) for i in np.argwhere(lost)[0])
        raise DataError(
            f"{int(lost.sum())} forecasts are missing where there is an actual, the first at "
            f"index {at}: forecast them, or leave those series out of both arrays"
        )
    return y, forecast


def _mean(values: Float, offsets: Array | None) -> Float:
    known = ~np.isnan(values)
    if offsets is None:
        return _divide(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)[known]
    total = np.bincount(series, weights=values[known], minlength=len(lengths))
    return _divide(total, np.bincount(series, minlength=len(lengths)))


def _divide(total: Array, by: Array) -> Float:
    total, by = np.asarray(total, np.float64), np.asarray(by, np.float64)
    out = np.full(np.broadcast_shapes(total.shape, by.shape), np.nan)
    return np.asarray(np.divide(total, by, out=out, where=by > 0))
