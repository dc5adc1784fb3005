"""How any series is read: as patches that begin at the same place of its season.

A patch has `WIDTH` slots. Of these a series uses as many as make whole seasons of it, or as its
season is a whole number of: an hourly one 24, a monthly one 24 (two years), a weekly one 26. What
a slot holds is then told by its place, and the value a season ago is the same slot of an earlier
patch. Where no whole number fits, or there is no season, all slots are used.

Beside each patch stand the values a season before the steps that it is asked for, and those of a
longer season (a week beside a day). The same arrays are read in training and in forecasting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array, Float

WIDTH = 32
# Patches that each state forecasts, and patches of history that are read.
AHEAD = 2
CONTEXT = 32
# Fewer slots than these waste too much of a patch.
LEAST = 16
# Seasons that a series may have, the one that patches go by first; and what is told of a patch's
# place: `_places`.
SEASONS = 2
COORDINATES = 1 + 4 * SEASONS
# A season longer than this is not recalled value by value.
LONGEST_SEASON = 400


@dataclass(frozen=True)
class Patches:
    """N series as T patches, in units of their own.

    Attributes
    ----------
    x : [N, T, WIDTH] float32, 0 where not seen. seen : [N, T, WIDTH] float32, 1 where seen.
    lag : [N, T, SEASONS, AHEAD * WIDTH] float32, for each step forecast from a patch the newest
        value at the same place of each season; 0 where none is. lag_seen : of the same shape, 1
        where one is.
    place : [N, T, COORDINATES] float32. zero : [N] float32, where y = 0 lies; 0 with
        ``positive`` [N] 0 where some y is below it.
    centre, unit : [N] float64; y = centre + unit * x.
    """

    x: Array
    seen: Array
    lag: Array
    lag_seen: Array
    place: Array
    zero: Array
    positive: Array
    centre: Float
    unit: Float

    @property
    def inputs(self) -> tuple[Array, ...]:
        """What a network takes, in its order."""
        return self.x, self.seen, self.lag, self.lag_seen, self.place, self.zero, self.positive


def patch_length(season: int) -> int:
    """Slots that series of a season (in steps, 1 for none) use of each patch."""
    if season <= 1:
        return WIDTH
    if season <= WIDTH:
        return WIDTH // season * season
    for parts in range(-(-season // WIDTH), season // LEAST + 1):
        if season % parts == 0:
            return season // parts
    return WIDTH


def cut(y: Array, season: int, patches: int, longer: int = 1) -> Patches:
    """The newest rows of series that share their seasons, as patches.

    Parameters
    ----------
    y : [N, R] histories whose ends are aligned, NaN where missing; rows further back than
        ``patches`` patches are left out. season, longer : steps; 1 for none.
    """
    length = patch_length(season)
    rows = patches * length
    points = np.full((len(y), rows), np.nan)
    kept = min(rows, y.shape[1])
    if kept:
        points[:, rows - kept :] = y[:, y.shape[1] - kept :]
    return read(points, np.tile([season, longer], (len(y), 1)), length)


def read(points: Float, seasons: Array, length: int) -> Patches:
    """Patches of ``length`` slots each.

    Parameters
    ----------
    points : [N, T * length], NaN where missing. seasons : [N, SEASONS] in steps, 1 for none; of
        the first ones `patch_length` is ``length``.
    """
    rows = points.shape[1]
    patches = rows // length
    seen = np.isfinite(points)
    centre, unit = _units(points, seen)
    scaled = (points - centre[:, None]) / unit[:, None]
    lag, lag_seen = _lags(scaled, seasons, length)
    lowest = np.where(seen, points, np.inf).min(axis=1, initial=np.inf)
    positive = (lowest >= 0.0) & np.isfinite(lowest)
    with np.errstate(over="ignore"):
        zero = np.clip(np.where(positive, -centre / unit, 0.0), -1e6, 1e6)
    return Patches(
        x=_slots(np.where(seen, scaled, 0.0), patches, length, 1),
        seen=_slots(seen, patches, length, 1),
        lag=lag,
        lag_seen=lag_seen,
        place=_places(seasons, patches, length),
        zero=zero.astype(np.float32),
        positive=positive.astype(np.float32),
        centre=centre,
        unit=unit,
    )


def beyond(made: Patches, season: int, more: int, longer: int = 1) -> Patches:
    """The same series with ``more`` patches in which nothing is seen yet."""
    length = patch_length(season)
    count, patches = made.x.shape[:2]
    points = np.full((count, (patches + more) * length), np.nan)
    known = made.x[:, :, :length].astype(np.float64)
    known[made.seen[:, :, :length] == 0] = np.nan
    points[:, : patches * length] = known.reshape(count, -1)
    seasons = np.tile([season, longer], (count, 1))
    lag, lag_seen = _lags(points, seasons, length)
    total = patches + more
    room = ((0, 0), (0, more), (0, 0))
    return Patches(
        x=np.pad(made.x, room),
        seen=np.pad(made.seen, room),
        lag=lag,
        lag_seen=lag_seen,
        place=_places(seasons, total, length),
        zero=made.zero,
        positive=made.positive,
        centre=made.centre,
        unit=made.unit,
    )


def _units(points: Float, seen: Array) -> tuple[Float, Float]:
    """[N] mean and [N] mean absolute deviation of what is seen: so that float32 is enough."""
    count = np.maximum(seen.sum(axis=1), 1)
    largest = np.where(seen, np.abs(points), 0.0).max(axis=1, initial=0.0)
    # Sums of values near the end of float's range would leave it.
    size = np.where(largest > 0, largest, 1.0)
    relative = np.where(seen, points / size[:, None], 0.0)
    centre = relative.sum(axis=1) / count
    away = np.where(seen, np.abs(relative - centre[:, None]), 0.0).sum(axis=1) / count
    # Below this, differences are the rounding of y.
    away = np.where(away > 1e-12, away, 1.0)
    return centre * size, away * size


def _lags(scaled: Float, seasons: Array, length: int) -> tuple[Array, Array]:
    """[N, T, SEASONS, AHEAD * WIDTH] newest values at the same place, and where one is."""
    patches = scaled.shape[1] // length
    shape = (len(scaled), patches, SEASONS, AHEAD * WIDTH)
    found, told = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    ends = np.arange(1, patches + 1)[:, None] * length
    target = ends + np.arange(AHEAD * length)
    for which in range(SEASONS):
        for season in np.unique(seasons[:, which]):
            if not 1 < season <= LONGEST_SEASON:
                continue
            some = np.flatnonzero(seasons[:, which] == season)
            filled = _filled(scaled[some], int(season))
            source = target - ((target - ends) // season + 1) * season
            values = filled[:, np.maximum(source, 0)]
            usable = np.isfinite(values) & (source >= 0)
            found[some, :, which] = _slots(np.where(usable, values, 0.0), patches, length, AHEAD)
            told[some, :, which] = _slots(usable, patches, length, AHEAD)
    return found, told


def _filled(scaled: Float, season: int) -> Float:
    """Each missing value as the newest one before it at its place of the season."""
    count, rows = scaled.shape
    cycles = -(-rows // season)
    table = np.full((count, cycles * season), np.nan)
    table[:, cycles * season - rows :] = scaled
    if not np.isnan(scaled).any():
        return scaled
    table = table.reshape(count, cycles, season)
    at = np.where(np.isnan(table), -1, np.arange(cycles)[:, None])
    at = np.maximum.accumulate(at, axis=1)
    filled = np.take_along_axis(table, np.maximum(at, 0), axis=1)
    filled[at < 0] = np.nan
    return np.asarray(filled.reshape(count, -1)[:, cycles * season - rows :])


def _slots(values: Array, patches: int, length: int, ahead: int) -> Array:
    """[N, T, ahead * WIDTH] float32: each patch's rows in its first slots, the others 0."""
    parts = values.reshape(len(values), patches, ahead, length)
    out = np.zeros((len(values), patches, ahead, WIDTH), np.float32)
    out[..., :length] = parts
    return out.reshape(len(values), patches, ahead * WIDTH)


def _places(seasons: Array, patches: int, length: int) -> Array:
    """[N, T, COORDINATES]: slots used, seasons, their lengths, and where in them patches begin."""
    out = np.zeros((len(seasons), patches, COORDINATES), np.float32)
    out[..., 0] = length / WIDTH
    # Counted from the end, so that a longer history changes nothing.
    begins = (np.arange(patches) - patches) * length
    for which in range(SEASONS):
        season = seasons[:, which]
        told = (season > 1) & (season <= LONGEST_SEASON)
        turn = 2.0 * np.pi * begins / np.maximum(season, 1)[:, None]
        slow = (told & (season > length))[:, None]
        own = out[..., 1 + 4 * which : 5 + 4 * which]
        own[..., 0] = told[:, None]
        own[..., 1] = np.where(told, np.log2(np.maximum(season, 1)) / 8.0, 0.0)[:, None]
        own[..., 2] = np.where(slow, np.sin(turn), 0.0)
        own[..., 3] = np.where(slow, np.cos(turn), 0.0)
    return out
