"""The rule by which candidates are told apart at held-back origins."""

from __future__ import annotations

import math

import numpy as np

from forecasting.arrays import Array

# What is simpler is kept unless another is better by so many standard errors of the difference.
SURE = 1.0


def lead(one: Array, other: Array) -> tuple[float, float]:
    """How much less another errs, as a share of the error of one, and its standard error.

    ``one``, ``other`` : errors [K, F] of F forecasts, in K ways to measure. NaN where no forecast
    of both is known.
    """
    known = one[:, np.isfinite(one).all(axis=0)]
    if not known.shape[1]:
        return math.nan, math.nan
    unit = np.maximum(known.mean(axis=1, keepdims=True), 1e-12)
    gain = ((one - other) / unit).mean(axis=0)
    gain = gain[np.isfinite(gain)]
    if not len(gain):
        return math.nan, math.nan
    # What one forecast says may well be chance.
    unsure = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else math.inf
    return float(gain.mean()), float(unsure)


def is_better(one: Array, other: Array) -> bool:
    """Whether another errs less than one, which is simpler, by `SURE` standard errors."""
    gain, unsure = lead(one, other)
    return gain > SURE * unsure
