"""What networks may read of y instead of y itself: rising functions and their inverses.

A new one is an entry of `TRANSFORMS`: settings, windows, losses and forecasts ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from forecasting.arrays import Array

# Transformed values beyond this are clipped before they are turned back: exp of it is a float64.
FURTHEST = 700.0


@dataclass(frozen=True)
class Transform:
    """A rising function of y.

    Attributes
    ----------
    there, back : the function, NaN outside its domain, and its inverse. Each is given values and
        the library they are of, NumPy or torch, which call ``where``, ``log``, ``exp`` and
        the like by the same names.
    grows : the inverse grows exponentially: deviations are shares of the level, the mean lies far
        in the upper tail, and what is turned back must be bounded.
    ratios : a difference d of transformed values is the ratio exp(d) of original ones.
    """

    there: Callable[[Any, Any], Any]
    back: Callable[[Any, Any], Any]
    grows: bool = False
    ratios: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """By name, so that a forecaster that has answered travels to other processes."""
        return named, (next(name for name, own in TRANSFORMS.items() if own is self),)

    def forward(self, y: Array) -> Array:
        """The transformed values, float64; outside the domain they become missing (NaN)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.there(y, np))

    def inverse(self, t: Array) -> Array:
        """Original units from transformed ones, same shape; clipped before it overflows."""
        if self.grows:
            t = np.maximum(t, -FURTHEST)
            t = np.minimum(t, FURTHEST, out=t if isinstance(t, np.ndarray) else None)
        return np.asarray(self.back(t, np))

    @cached_property
    def reads_zero(self) -> bool:
        """Whether 0 is a number to it."""
        return bool(np.isfinite(self.forward(np.zeros(1))[0]))


def named(name: str) -> Transform:
    """The transform that ``model.transform`` calls so."""
    return TRANSFORMS[name]


# By what ``model.transform`` calls them.
TRANSFORMS: dict[str, Transform] = {
    "identity": Transform(there=lambda y, xp: y, back=lambda t, xp: t),
    "log": Transform(
        there=lambda y, xp: xp.log(xp.where(y > 0, y, xp.nan)),
        back=lambda t, xp: xp.exp(t),
        grows=True,
        ratios=True,
    ),
    "log1p": Transform(
        there=lambda y, xp: xp.log1p(xp.where(y > -1, y, xp.nan)),
        back=lambda t, xp: xp.expm1(t),
        grows=True,
    ),
    "asinh": Transform(
        there=lambda y, xp: xp.arcsinh(y), back=lambda t, xp: xp.sinh(t), grows=True
    ),
}
