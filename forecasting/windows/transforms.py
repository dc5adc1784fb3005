"""Transforms of y in float64, and the conditioning that lets float32 carry any magnitude.

The network sees ``(transform(y) - centre) / unit``. Centre and unit only keep float32 exact: level
and spread are taken again, causally, at every origin inside the network.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array


def forward(y: Array, transform: str) -> Array:
    """The transformed values, float64. Values outside the domain become missing (NaN)."""
    if transform == "identity":
        return y
    with np.errstate(invalid="ignore", divide="ignore"):
        if transform == "log":
            return np.asarray(np.log(np.where(y > 0, y, np.nan)))
        if transform == "log1p":
            return np.asarray(np.log1p(np.where(y > -1, y, np.nan)))
        return np.asarray(np.arcsinh(y))


def inverse(t: Array, transform: str) -> Array:
    """Original units from transformed ones; clipped before it overflows."""
    if transform == "identity":
        return t
    t = np.clip(t, -700.0, 700.0)
    if transform == "log":
        return np.asarray(np.exp(t))
    if transform == "log1p":
        return np.asarray(np.expm1(t))
    return np.asarray(np.sinh(t))


def condition(
    t: Array, mask: Array, series: Array, count: int, *, centred: bool, scaled: bool
) -> tuple[Array, Array]:
    """Centre and unit of each series over the given flat rows: mean, mean absolute deviation.

    Returns
    -------
    [N] float64 each; 0 and 1 where there is nothing to take them from.
    """
    known = np.bincount(series, weights=mask, minlength=count)
    safe = np.maximum(known, 1)
    values = np.where(mask, t, 0.0)
    centre = np.zeros(count)
    if centred:
        centre = np.bincount(series, weights=values, minlength=count) / safe
    unit = np.ones(count)
    if scaled:
        deviation = np.where(mask, np.abs(t - centre[series]), 0.0)
        unit = np.bincount(series, weights=deviation, minlength=count) / safe
        unit = np.where(unit > 0, unit, 1.0)
    return centre, unit
