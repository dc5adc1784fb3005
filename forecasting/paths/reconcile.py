"""Forecasts of sums and of their parts brought to agree, by sparse algebra.

Of forecasts ``u`` [U] of sums and ``l`` [N] of parts, with sums ``S`` [U, N], the nearest ones
that add up are looked for, near in the sense of a covariance W of the errors. In the form that asks
for one solution per sum, not per part::

    l* = l - (W C')_l (C W C')^-1 (u - S l),   C = [I, -S],   u* = S l*

Sources: Wickramasuriya, Athanasopoulos & Hyndman (2019), "Optimal forecast reconciliation for
hierarchical and grouped time series through trace minimization", of MinT; Schäfer & Strimmer
(2005), "A shrinkage approach to large-scale covariance matrix estimation", of the shrinking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from forecasting.arrays import Array

How = Literal["bottom_up", "ols", "wls_struct", "wls", "mint_shrink"]
HOWS: tuple[How, ...] = get_args(How)
# Standard deviations between quantiles of 0.1 and 0.9: how sure a forecast is.
DEVIATIONS = 2.563
# Rounds in which parts below 0 are held at 0 and the others looked for anew.
MOST_ROUNDS = 50
# Of the largest variance, the least that one counts as.
LEAST_VARIANCE = 1e-8
# Of the diagonal in a shrunk covariance, so that it can be solved by.
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Errors:
    """What is known of the errors of U sums and N parts, sums first.

    Attributes
    ----------
    variance : [U + N]. sample : [U + N, T] errors seen at past origins, for ``mint_shrink``.
    """

    variance: Array
    sample: Array | None = None


def reconciled(
    sums: Any,
    upper: Array,
    leaves: Array,
    errors: Errors,
    how: How,
    *,
    nonnegative: bool = False,
) -> Array:
    """[N, h] parts whose sums are what is forecast of the sums, as near as may be.

    Parameters
    ----------
    sums : sparse [U, N] of 0 and 1. upper : [U, h]; leaves : [N, h] forecasts.
    how : ``bottom_up`` leaves the parts; ``ols`` trusts all alike; ``wls_struct`` by the number of
        parts; ``wls`` by variances; ``mint_shrink`` by a shrunk covariance.
    nonnegative : no part below 0.
    """
    if how == "bottom_up" or not len(upper):
        return np.maximum(leaves, 0.0) if nonnegative else leaves
    parts = _nearest(sums, upper, leaves, errors, how)
    if not nonnegative or (parts >= 0.0).all():
        return parts
    out = np.empty_like(parts)
    for step in range(leaves.shape[1]):
        out[:, step] = _from_zero_up(sums, upper[:, step], leaves[:, step], errors, how)
    return out


def _from_zero_up(sums: Any, upper: Array, leaves: Array, errors: Errors, how: How) -> Array:
    """[N] with the parts that would be below 0 held there."""
    free, count = np.arange(len(leaves)), len(upper)
    out = np.zeros(len(leaves))
    for _ in range(MOST_ROUNDS):
        rows = np.concatenate([np.arange(count), count + free])
        sample = None if errors.sample is None else errors.sample[rows]
        free_errors = Errors(errors.variance[rows], sample)
        parts = _nearest(sums[:, free], upper[:, None], leaves[free, None], free_errors, how)[:, 0]
        if (parts >= 0.0).all():
            break
        free, parts = free[parts >= 0.0], parts[parts >= 0.0]
        if not len(free):
            return out
    out[free] = np.maximum(parts, 0.0)
    return out


def _nearest(sums: Any, upper: Array, leaves: Array, errors: Errors, how: How) -> Array:
    """[N, h] of `reconciled`, whatever their signs."""
    from scipy import sparse

    count, parts = sums.shape
    if how == "ols":
        variance = np.ones(count + parts)
    elif how == "wls_struct":
        variance = np.concatenate([np.asarray(sums.sum(axis=1)).ravel(), np.ones(parts)])
    else:
        variance = errors.variance
    largest = float(variance.max())
    variance = np.maximum(variance / largest, LEAST_VARIANCE) if largest > 0.0 else variance + 1.0
    share, spread = 1.0, np.zeros((count + parts, 0))
    if how == "mint_shrink":
        if errors.sample is None or errors.sample.shape[1] < 2:
            raise AssertionError("mint_shrink needs errors of two forecasts or more")
        share, spread, variance = _shrunk(errors.sample, variance)
    above, below = variance[:count], variance[count:]
    weighted = sums @ sparse.diags(below)
    gap = upper - sums @ leaves
    # C W C' = A + B B': the sparse part of the variances, and few columns of the sample.
    sparse_part = share * (sparse.diags(above) + weighted @ sums.T)
    wide = spread[:count] - sums @ spread[count:]
    solved = _solver(sparse_part, wide)(gap)
    moved = share * (weighted.T @ solved) - spread[count:] @ (wide.T @ solved)
    return np.asarray(leaves + moved)


def _solver(sparse_part: Any, wide: Array) -> Callable[[Array], Array]:
    """Solutions of ``(A + B B') x = y``, of a sparse A [U, U] and B [U, T]."""
    from scipy.sparse.linalg import splu

    factor = splu(sparse_part.tocsc())
    if not wide.shape[1]:
        return lambda y: np.asarray(factor.solve(y))
    inside = factor.solve(wide)
    small = np.eye(wide.shape[1]) + wide.T @ inside

    def solve(y: Array) -> Array:
        first = factor.solve(y)
        return np.asarray(first - inside @ np.linalg.solve(small, wide.T @ first))

    return solve


def _shrunk(sample: Array, floor: Array) -> tuple[float, Array, Array]:
    """Share of the diagonal, what the rest is the square of [n, T], and variances [n].

    The covariance is ``share * diag(variance) + spread @ spread.T``; ``floor`` : variances where
    the sample says 0.
    """
    size = sample.shape[1]
    second = (sample**2).mean(axis=1)
    variance = np.where(second > 0.0, second, floor)
    unit = sample / np.sqrt(variance)[:, None]
    squares = unit**2
    # Sums over all pairs of series, by matrices of the T forecasts.
    pairs = float(((unit.T @ unit) ** 2).sum()) / size**2 - float((squares.mean(axis=1) ** 2).sum())
    raw = float((squares.sum(axis=0) ** 2).sum()) - float((squares**2).sum())
    doubt = size / (size - 1) ** 3 * (raw - size * pairs)
    share = float(np.clip(doubt / pairs, LEAST_SHARE, 1.0)) if pairs > 0.0 else 1.0
    return share, np.sqrt((1.0 - share) / size) * sample, variance
