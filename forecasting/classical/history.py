"""What of a history classical fits should not read: values far off for once, and older levels.

They square what they err by and forget nothing: one value of a thousand times the others, or a
change of the unit years ago, would decide the forecast.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array

# Neighbours in time on either side that a value is held against, and so many seasons.
BESIDE = 2
# Beyond so many interquartile ranges of its series outside them a value is far off (Tukey's "far
# out"), and beyond so many typical distances from its neighbours on its own.
FAR_OUT = 3.0
ALONE = 10.0
# Rows on either side of a break, at least; a season where that is longer. And seasons after it:
# from less a season can't be told.
LEAST_SIDE = 8
SEASONS_AFTER = 2
# Series looked at together.
AT_ONCE = 2_048


def without_accidents(y: Array, lengths: Array, season: int) -> Array:
    """Series whose single values far off stand at what their neighbours say.

    A value counts as far off where it is so among all values of its series, beside its neighbours
    in time, and beside those of its place in the season; a new level or a peak of every year is
    neither. Nothing is said of the last values of a series that never had such a thing before, for
    it may stay there, and of series that mostly stand at one value.

    Parameters
    ----------
    y : [R, N] without holes; what lies after a series' end is left. lengths : [N] rows.
    season : steps, 1 for none.
    """
    out = y.copy()
    if not y.size:
        return out
    for begin in range(0, y.shape[1], AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        out[:, part] = _mended(y[:, part], lengths[part], season)
    return out


def rows_of_older_levels(y: Array, lengths: Array, season: int) -> Array:
    """[N] rows at the beginning of series that lie before the last break in their level.

    At a break the rows of a season before it and those of one after it have nothing in common: the
    gap between them is wider than either's own range, in units or, of positive values, in shares. A
    trend or a season of any height is none. Arguments are those of `without_accidents`.
    """
    count = y.shape[1]
    skipped = np.zeros(count, np.int64)
    for begin in range(0, count, AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        skipped[part] = _last_break(y[:, part], lengths[part], season)
    return skipped


def _last_break(y: Array, lengths: Array, season: int) -> Array:
    """[N] the row at which the last break begins, 0 for none."""
    side = max(season, LEAST_SIDE)
    if len(y) < 2 * side:
        return np.zeros(y.shape[1], np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(y, side, axis=0)
    low, high = windows.min(axis=-1), windows.max(axis=-1)
    before, after = slice(None, len(low) - side), slice(side, None)
    breaks = _parted(low[before], high[before], low[after], high[after])
    positive = (low[before] > 0.0) & (low[after] > 0.0)
    logs = [np.log(np.where(v > 0.0, v, 1.0)) for v in (low, high)]
    breaks |= positive & _parted(*(each[at] for at in (before, after) for each in logs))
    row = np.arange(side, len(low))[:, None]
    breaks &= row + max(side, SEASONS_AFTER * season) <= lengths
    return np.asarray(np.where(breaks, row, 0).max(axis=0))


def _parted(low: Array, high: Array, next_low: Array, next_high: Array) -> Array:
    """Whether two ranges lie further apart than either is wide."""
    gap = np.maximum(next_low - high, low - next_high)
    return np.asarray(gap > np.maximum(high - low, next_high - next_low))


def _mended(y: Array, lengths: Array, season: int) -> Array:
    rows = np.arange(len(y))[:, None]
    seen = rows < lengths
    values = np.where(seen, y, np.nan)
    near = _middle(values, list(range(-BESIDE, BESIDE + 1)))
    usual = near
    if season > 1:
        again = _middle(values, [season * k for k in range(-BESIDE, BESIDE + 1)])
        usual = np.where(np.abs(values - again) < np.abs(values - near), again, near)
    away = np.abs(values - usual)
    low, high = _sorted_at(values, lengths, 0.25), _sorted_at(values, lengths, 0.75)
    typical = _sorted_at(away, lengths, 0.5)
    reach = FAR_OUT * (high - low)
    far = (values < low - reach) | (values > high + reach)
    alone = away > np.maximum(ALONE * typical, reach)
    odd = far & alone & (reach > 0.0)
    # What comes after shows whether it was for once; or what has come after it before.
    over = rows < lengths - BESIDE
    return np.where(odd & (over | (odd & over).any(axis=0)), usual, y)


def _middle(known: Array, shifts: list[int]) -> Array:
    """[R, N] median of each value and those so many rows away; NaN where nothing is known."""
    stack = np.full((len(shifts), *known.shape), np.nan)
    for own, shift in zip(stack, shifts, strict=True):
        if abs(shift) < len(known):
            to = slice(max(-shift, 0), len(known) - max(shift, 0))
            own[to] = known[max(shift, 0) : len(known) + min(shift, 0)]
    stack.sort(axis=0)
    count = np.isfinite(stack).sum(axis=0)[None]
    low = np.take_along_axis(stack, np.maximum(count - 1, 0) // 2, axis=0)[0]
    high = np.take_along_axis(stack, count // 2, axis=0)[0]
    return np.asarray((low + high) / 2.0)


def _sorted_at(known: Array, lengths: Array, share: float) -> Array:
    """[N] the value at this share of each series, in order of size; 0 of none."""
    place = np.minimum((lengths * share).astype(np.int64), np.maximum(lengths - 1, 0))
    quantile = np.take_along_axis(np.sort(known, axis=0), place[None], axis=0)[0]
    return np.where(lengths > 0, quantile, 0.0)
