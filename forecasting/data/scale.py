"""The unit of a series: how far it moves from one season to the next."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.mapped import by_series
from forecasting.errors import DataError


def mase_scale(y: Array, offsets: Array, season: int) -> Float:
    """Mean absolute seasonal difference of each history, the unit of MASE and MSIS.

    Parameters
    ----------
    y : [T] histories, one after the other; differences with a NaN on either side aren't counted.
    offsets : [N + 1] bounds of each series.
    season : lag of the differences, at least 1.

    Returns
    -------
    [N]; NaN for a history with no observed pair ``season`` rows apart.

    Raises
    ------
    DataError : a season below 1.
    """
    if season < 1:
        raise DataError(f"season = {season}: the scale of MASE needs a season of at least 1")
    return by_series(lambda some, bounds: _mase_scale(some, bounds, season), y, offsets)


def _mase_scale(y: Array, offsets: Array, season: int) -> Float:
    y = np.asarray(y, np.float64)
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    if len(y) <= season:
        return np.full(len(lengths), np.nan)
    difference = np.abs(y[season:] - y[:-season])
    inside = (series[season:] == series[:-season]) & ~np.isnan(difference)
    count = np.bincount(series[season:][inside], minlength=len(lengths))
    total = np.bincount(series[season:][inside], weights=difference[inside], minlength=len(lengths))
    out = np.full(len(lengths), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def typical_step(y: Array, offsets: Array, season: int) -> Float:
    """Mean seasonal difference of each history, else mean plain one; [N], NaN for neither.

    A unit to divide by: never 0, where `mase_scale` may be.
    """
    scale = mase_scale(y, offsets, season)
    if season > 1:
        scale = np.where(scale > 0, scale, mase_scale(y, offsets, 1))
    return np.asarray(np.where(scale > 0, scale, np.nan))
