"""Numbers that stand for "missing": which of them a series may hold, and where it is likely."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import ranges

# Below a series that is else not negative: nines, and the least numbers of types.
LOW = np.array(
    [-99.0, -999.0, -9999.0, -99999.0, -999999.0, -9999999.0, -99.9, -999.9, -999.99, -9999.9,
     -9999.99, -888.0, -8888.0, -777.0, -7777.0, -32768.0, -2147483648.0, -1e20, -1e30]
)  # fmt: skip
# Far above a series: nines, the largest numbers of types, and what netCDF and GRIB fill with.
HIGH = np.array(
    [99.0, 999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 99999999.0, 999999999.0, 99.9, 999.9,
     999.99, 9999.9, 9999.99, 99999.9, 99999.99, 8888.0, 7777.0, 32767.0, 65535.0, 2147483647.0,
     4294967295.0, 1e20, 1e30, 9.999e20, 9.969209968386869e36, 3.4028234663852886e38]
)  # fmt: skip
LEAST_LOW, LEAST_HIGH = -99.0, 99.0
# Of few values, as the ends of a request's series are, a set knows sooner.
LOWS, HIGHS = frozenset(LOW.tolist()), frozenset(HIGH.tolist())
# Times the size of all else in its series; and from which on a single one is no value.
FAR_ABOVE = 3.0
LARGE = 999.0


def codes_for_missing(y: Array, offsets: Array) -> Array:
    """[T] which values are codes for missing more likely than values.

    Negative ones in a series that is else not negative; large ones that lie far above all else of
    their series, those below 999 only where they return.

    Parameters
    ----------
    y : [T], NaN = missing. offsets : [N + 1] bounds of the series.
    """
    marked, sizes = np.zeros(len(y), bool), np.diff(offsets)
    filled = np.flatnonzero(sizes > 0)
    if len(filled):
        # The others cannot hold one: it would be their least value or their largest.
        begins = offsets[:-1][filled]
        least, largest = (reduce.reduceat(y, begins) for reduce in (np.fmin, np.fmax))
        if not (np.fmin.reduce(least) <= LEAST_LOW or np.fmax.reduce(largest) >= LEAST_HIGH):
            return marked
        ends = zip(least.tolist(), largest.tolist(), strict=True)
        some = filled[[k for k, (low, high) in enumerate(ends) if low in LOWS or high in HIGHS]]
        if not len(some):
            return marked
        rows = ranges(offsets[some], sizes[some])
        marked[rows] = _codes(y[rows], np.concatenate([[0], np.cumsum(sizes[some])]))
    return marked


def _codes(y: Array, offsets: Array) -> Array:
    """As `codes_for_missing`, of series that may hold one."""
    low, high = np.isin(y, LOW), np.isin(y, HIGH)
    filled = np.flatnonzero(np.diff(offsets) > 0)
    begins = offsets[:-1][filled]
    owner = np.repeat(np.arange(len(filled)), np.diff(offsets)[filled])

    def of_rest(rest: Array, reduce: np.ufunc) -> Array:
        return np.asarray(reduce.reduceat(rest, begins)[owner])

    # What is a code of one kind says nothing of the other: 9999 beside -999 is far above the rest.
    rest = np.where(low | high, np.nan, y)
    with np.errstate(invalid="ignore"):
        lowest = of_rest(np.where(low, np.nan, y), np.fmin)
        largest = of_rest(np.abs(rest), np.fmax)
        below = low & (lowest >= 0.0)
        above = high & (y > FAR_ABOVE * largest)
    often = np.bincount(owner[above], minlength=len(filled))[owner]
    return np.asarray(below | (above & ((y >= LARGE) | (often > 1))))


def first_of_each(marked: Array, offsets: Array) -> tuple[Array, Array, Array]:
    """The series [n] that have marked rows, the first such row of each [n], and how many [n].

    Parameters
    ----------
    marked : [T] bool; offsets : [N + 1].
    """
    rows = np.flatnonzero(marked)
    owner = np.searchsorted(offsets, rows, side="right") - 1
    series, first, many = np.unique(owner, return_index=True, return_counts=True)
    return series, rows[first], many
