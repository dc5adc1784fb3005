"""Sums, extremes and modes per series over flat sorted arrays, without a loop over series."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.arrays import Array


def bounds(codes: Array, count: int) -> Array:
    """[count + 1] offsets of sorted codes."""
    sizes = np.bincount(codes, minlength=count) if len(codes) else np.zeros(count, np.int64)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def reduce(operation: np.ufunc, values: Array, offsets: Array, empty: Any) -> Array:
    """One value per series; ``empty`` where a series has no rows."""
    sizes = np.diff(offsets)
    out = np.full(len(sizes), empty, dtype=np.result_type(values.dtype, type(empty)))
    has = np.flatnonzero(sizes)
    if len(has):
        out[has] = operation.reduceat(values, offsets[:-1][has])
    return out


def inside(offsets: Array, rows: int) -> Array:
    """[rows - 1] whether a row and the next belong to the same series."""
    same = np.ones(max(rows - 1, 0), dtype=bool)
    edges = offsets[1:-1]
    same[edges[(edges > 0) & (edges < rows)] - 1] = False
    return same


def mode(codes: Array, values: Array, count: int) -> tuple[Array, Array]:
    """The most common value of each series (the smaller of two), and how often it occurs."""
    best = np.zeros(count, np.int64)
    often = np.zeros(count, np.int64)
    if not len(values):
        return best, often
    if (values == values[0]).all():
        often = np.bincount(codes, minlength=count)
        best[:] = values[0]
        return best, often
    distinct, inverse = np.unique(values, return_inverse=True)
    keys, counts = np.unique(codes.astype(np.int64) * len(distinct) + inverse, return_counts=True)
    owner = keys // len(distinct)
    order = np.lexsort((keys, -counts, owner))
    owner, keys, counts = owner[order], keys[order], counts[order]
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    best[owner[first]] = distinct[keys[first] % len(distinct)]
    often[owner[first]] = counts[first]
    return best, often


def runs(values: Array, offsets: Array) -> tuple[Array, Array]:
    """Starts and lengths of runs of equal neighbours within series; NaN equals nothing."""
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    changed = np.empty(len(values), bool)
    changed[0] = True
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    changed[offsets[:-1][offsets[:-1] < len(values)]] = True
    starts = np.flatnonzero(changed)
    return starts, np.diff(np.concatenate([starts, [len(values)]]))


def sort_segments(values: Array, offsets: Array) -> Array:
    """Values sorted within each series, in place of the unsorted ones.

    Series of like length are sorted together as the rows of a matrix: there are as many matrices
    as powers of two between the shortest length and the longest.
    """
    sizes = np.diff(offsets)
    out = np.empty_like(values)
    classes = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    for power in np.unique(classes[sizes > 0]).tolist():
        members = np.flatnonzero((classes == power) & (sizes > 0))
        own = sizes[members]
        width = int(own.max())
        if bool((own == width).all()):
            rows = offsets[:-1][members][:, None] + np.arange(width)
            out[rows] = np.sort(values[rows], axis=1)
            continue
        inside = np.arange(width) < own[:, None]
        rows = (offsets[:-1][members][:, None] + np.arange(width))[inside]
        block = np.full((len(members), width), np.inf)
        block[inside] = values[rows]
        block.sort(axis=1)
        out[rows] = block[inside]
    return out


def middles(ranked: Array, offsets: Array) -> Array:
    """Median per series of `sort_segments`' values; NaN for a series without any."""
    sizes = np.diff(offsets)
    out = np.full(len(sizes), np.nan)
    has = sizes > 0
    low = offsets[:-1][has] + (sizes[has] - 1) // 2
    high = offsets[:-1][has] + sizes[has] // 2
    out[has] = 0.5 * (ranked[low] + ranked[high])
    return out


def medians(values: Array, codes: Array, count: int) -> Array:
    """Median per series of values without NaN, sorted by series; NaN for a series without any."""
    offsets = bounds(codes, count)
    return middles(sort_segments(values, offsets), offsets)


def aggregate(values: Array, offsets: Array, how: str) -> Array:
    """Sum, mean, extreme, first or last of the values that are there; NaN for none."""
    seen = ~np.isnan(values)
    if how in ("first", "last"):
        index = np.arange(len(values))
        if how == "first":
            at = reduce(np.minimum, np.where(seen, index, len(values)), offsets, len(values))
        else:
            at = reduce(np.maximum, np.where(seen, index, -1), offsets, -1)
        inside = (at >= 0) & (at < len(values))
        return np.where(inside, values[np.where(inside, at, 0)], np.nan)
    if how in ("min", "max"):
        return reduce(np.fmin if how == "min" else np.fmax, values, offsets, np.nan)
    count = reduce(np.add, seen.astype(np.float64), offsets, 0.0)
    total = reduce(np.add, np.where(seen, values, 0.0), offsets, 0.0)
    if how == "mean":
        total = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return np.where(count > 0, total, np.nan)
