"""How any series is read: as patches that begin at the same place of its season.

A patch has `WIDTH` slots. Of these a series uses as many as make whole seasons of it, or as its
season is a whole number of: an hourly one 24, a monthly one 24 (two years), a weekly one 26. What
a slot holds is then told by its place, and the value a season ago is the same slot of an earlier
patch. Where no whole number fits, or there is no season, all slots are used.

Beside each patch stand the values a season before the steps that it is asked for. The same arrays
are read in training and in forecasting.
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
# What is told of a patch's place: `_places`.
COORDINATES = 5
# A season longer than this is not recalled value by value.
LONGEST_SEASON = 400


@dataclass(frozen=True)
class Patches:
    """N series as T patches, in units of their own.

    Attributes
    ----------
    x : [N, T, WIDTH] float32, 0 where not seen. seen : [N, T, WIDTH] float32, 1 where seen.
    lag : [N, T, AHEAD * WIDTH] float32, for each step forecast from a patch the newest value at
        the same place of the season; 0 where none is. lag_seen : of the same shape, 1 where one is.
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


def cut(y: Array, season: int, patches: int) -> Patches:
    """The newest rows of series that share a season, as patches.

    Parameters
    ----------
    y : [N, R] histories whose ends are aligned, NaN where missing; rows further back than
        ``patches`` patches are left out. season : steps; 1 for none.
    """
    length = patch_length(season)
    rows = patches * length
    points = np.full((len(y), rows), np.nan)
    kept = min(rows, y.shape[1])
    if kept:
        points[:, rows - kept :] = y[:, y.shape[1] - kept :]
    return read(points, np.full(len(y), season), length)


def read(points: Float, seasons: Array, length: int) -> Patches:
    """Patches of ``length`` slots each.

    Parameters
    ----------
    points : [N, T * length], NaN where missing. seasons : [N] in steps, 1 for none; each is such
        that `patch_length` gives ``length``, or is not looked at where it is 1.
    """
    rows = points.shape[1]
    patches = rows // length
    seen = np.isfinite(points)
    centre, unit = _units(points, seen)
    scaled = (points - centre[:, None]) / unit[:, None]
    lag, lag_seen = _lags(scaled, np.asarray(seasons), length)
    lowest = np.where(seen, points, np.inf).min(axis=1, initial=np.inf)
    positive = (lowest >= 0.0) & np.isfinite(lowest)
    with np.errstate(over="ignore"):
        zero = np.clip(np.where(positive, -centre / unit, 0.0), -1e6, 1e6)
    return Patches(
        x=_slots(np.where(seen, scaled, 0.0), patches, length, 1),
        seen=_slots(seen, patches, length, 1),
        lag=_slots(lag, patches, length, AHEAD),
        lag_seen=_slots(lag_seen, patches, length, AHEAD),
        place=_places(np.asarray(seasons), patches, length),
        zero=zero.astype(np.float32),
        positive=positive.astype(np.float32),
        centre=centre,
        unit=unit,
    )


def beyond(made: Patches, season: int, more: int) -> Patches:
    """The same series with ``more`` patches in which nothing is seen yet."""
    length = patch_length(season)
    count, patches = made.x.shape[:2]
    points = np.full((count, (patches + more) * length), np.nan)
    known = made.x[:, :, :length].astype(np.float64)
    known[made.seen[:, :, :length] == 0] = np.nan
    points[:, : patches * length] = known.reshape(count, -1)
    lag, lag_seen = _lags(points, np.full(count, season), length)
    total = patches + more
    room = ((0, 0), (0, more), (0, 0))
    return Patches(
        x=np.pad(made.x, room),
        seen=np.pad(made.seen, room),
        lag=_slots(lag, total, length, AHEAD),
        lag_seen=_slots(lag_seen, total, length, AHEAD),
        place=_places(np.full(count, season), total, length),
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


def _lags(scaled: Float, seasons: Array, length: int) -> tuple[Float, Float]:
    """[N, T, AHEAD * length] newest values at the same place of the season, and where one is."""
    count, rows = scaled.shape
    patches = rows // length
    found = np.zeros((count, patches, AHEAD * length))
    told = np.zeros((count, patches, AHEAD * length))
    ends = np.arange(1, patches + 1)[:, None] * length
    target = ends + np.arange(AHEAD * length)
    for season in np.unique(seasons):
        if not 1 < season <= LONGEST_SEASON:
            continue
        some = seasons == season
        filled = _filled(scaled[some], int(season))
        back = (target - ends) // season + 1
        source = target - back * season
        values = filled[:, np.maximum(source, 0)]
        usable = np.isfinite(values) & (source >= 0)
        found[some] = np.where(usable, values, 0.0)
        told[some] = usable
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
    """[N, T, COORDINATES]: slots used, season and its length, and where in it a patch begins."""
    out = np.zeros((len(seasons), patches, COORDINATES), np.float32)
    out[..., 0] = length / WIDTH
    told = (seasons > 1) & (seasons <= LONGEST_SEASON)
    out[..., 1] = told[:, None]
    out[..., 2] = np.where(told, np.log2(np.maximum(seasons, 1)) / 8.0, 0.0)[:, None]
    # Counted from the end, so that a longer history changes nothing.
    begins = (np.arange(patches) - patches) * length
    turn = 2.0 * np.pi * begins / np.maximum(seasons, 1)[:, None]
    slow = told & (seasons > length)
    out[..., 3] = np.where(slow[:, None], np.sin(turn), 0.0)
    out[..., 4] = np.where(slow[:, None], np.cos(turn), 0.0)
    return out
