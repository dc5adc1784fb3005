"""A season about the newest level, and where that level is heading: what smoothing would say.

The last value of a strong season tells little of the level, and the season before stands as much
too low as the series has grown since. So beside what was seen stand the mean of the last season,
the mean deviations from it by place, how fast that mean moves, and how far off the newest value is.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array, Float

# Rows of a mean where there is no season.
BRIEF = 4
# Cycles whose deviations are averaged, and what each counts beside the one after it.
CYCLES, FORGET = 6, 0.7


def continued(
    scaled: Float, season: int, ends: Array, ahead: int
) -> tuple[Float, Float, Float]:  # fmt: skip
    """What a season about a level says at several origins of each series.

    Parameters
    ----------
    scaled : [N, R], NaN where missing. season : steps, 1 for none. ends : [T] rows known at each
        origin, rising. ahead : steps after each.

    Returns
    -------
    level : [N, T, ahead] the newest level with the season about it; NaN before every place of the
        season was seen. drift : of the same shape, what the level will have moved since the newest
        value if it moves as between the last two seasons; 0 where unknown. off : [N, T] how far the
        newest value lies from what the same would have said of it; 0 where unknown.
    """
    count, rows = scaled.shape
    span = season if season > 1 else BRIEF
    mean = _rolling(filled(scaled, season), span)
    profile = _profile(scaled - mean, season)
    newest = np.maximum.accumulate(np.where(np.isfinite(scaled), np.arange(rows), -1), axis=1)
    newest = newest[:, ends - 1]
    each = np.arange(count)[:, None]

    def at(values: Float, row: Array) -> Float:
        return np.where(row >= 0, values[each, np.maximum(row, 0)], np.nan)

    now = at(mean, newest)
    growth = (now - at(mean, newest - span)) / span
    target = ends[:, None] + np.arange(ahead)
    source = target - ((target - ends[:, None]) // season + 1) * season
    about = np.where(source >= 0, profile[:, np.maximum(source, 0)], np.nan)
    drift = np.nan_to_num(growth)[..., None] * (target - newest[..., None])
    off = at(scaled, newest) - now - at(profile, newest - season)
    return now[..., None] + about, drift, np.nan_to_num(off)


def filled(scaled: Float, season: int) -> Float:
    """Each missing value as the newest one before it at its place of the season."""
    count, rows = scaled.shape
    if not np.isnan(scaled).any():
        return scaled
    cycles = -(-rows // season)
    table = np.full((count, cycles * season), np.nan)
    table[:, cycles * season - rows :] = scaled
    table = table.reshape(count, cycles, season)
    at = np.where(np.isnan(table), -1, np.arange(cycles)[:, None])
    at = np.maximum.accumulate(at, axis=1)
    newest = np.take_along_axis(table, np.maximum(at, 0), axis=1)
    newest[at < 0] = np.nan
    return np.asarray(newest.reshape(count, -1)[:, cycles * season - rows :])


def _rolling(values: Float, span: int) -> Float:
    """[N, R] mean of the ``span`` rows up to each; NaN where one of them is."""
    known = np.isfinite(values)
    out = np.full(values.shape, np.nan)
    if values.shape[1] < span:
        return out
    first = ((0, 0), (1, 0))
    total = np.pad(np.where(known, values, 0.0).cumsum(axis=1), first)
    whole = np.pad(known.cumsum(axis=1), first)
    whole = whole[:, span:] - whole[:, :-span] == span
    out[:, span - 1 :] = np.where(whole, (total[:, span:] - total[:, :-span]) / span, np.nan)
    return out


def _profile(away: Float, season: int) -> Float:
    """[N, R] mean deviation at each row's place of the season up to it, newer ones more."""
    if season <= 1:
        return np.where(np.isfinite(filled(away, 1)), 0.0, np.nan)
    known = np.isfinite(away)
    values = np.where(known, away, 0.0)
    total, weight = np.zeros(away.shape), np.zeros(away.shape)
    for cycle in range(CYCLES):
        back = cycle * season
        if back >= away.shape[1]:
            break
        counts = FORGET**cycle
        total[:, back:] += counts * values[:, : away.shape[1] - back]
        weight[:, back:] += counts * known[:, : away.shape[1] - back]
    profile = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
    return filled(profile, season)
