"""How any series is read: as patches that begin at the same place of its season.

A patch has `WIDTH` slots. Of these a series uses as many as make whole seasons of it, or as its
season is a whole number of: an hourly one 24, a monthly one 24 (two years), a weekly one 26. What
a slot holds is then told by its place, and the value a season ago is the same slot of an earlier
patch. Where no whole number fits, or there is no season, all slots are used.

Beside each patch stand the values a season before the steps that it is asked for, those of a
longer season (a week beside a day), and what the mean season about the newest level says
(`forecasting.zero.levels`). The same arrays are read in training and in forecasting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.zero.levels import continued, filled

WIDTH = 32
# Patches that each state forecasts, and patches of history that are read.
AHEAD = 2
CONTEXT = 32
# Fewer slots than these waste too much of a patch.
LEAST = 16
# Seasons that a series may have, the one that patches go by first; and what is told of a patch's
# place: `_places`.
SEASONS = 2
# Beside the values of each season before: the season about the newest level.
LAGS = SEASONS + 1
COORDINATES = 1 + 4 * SEASONS
# A season longer than this is not recalled value by value.
LONGEST_SEASON = 400


@dataclass(frozen=True)
class Patches:
    """N series as T patches, in units of their own.

    Attributes
    ----------
    x : [N, T, WIDTH] float32, 0 where not seen. seen : [N, T, WIDTH] float32, 1 where seen.
    lag : [N, T, LAGS, AHEAD * WIDTH] float32, for each step forecast from a patch the newest
        value at the same place of each season, and the mean first season about the newest level; 0
        where none is. lag_seen : of the same shape, 1 where one is.
    trend : [N, T, AHEAD * WIDTH + 1] float32, what the level will have moved by then since the
        newest value if it goes on as it did; last how far off the newest value is.
    place : [N, T, COORDINATES] float32. zero : [N] float32, where y = 0 lies; 0 with
        ``positive`` [N] 0 where some y is below it.
    centre, unit : [N] float64; y = centre + unit * x.
    """

    x: Array
    seen: Array
    lag: Array
    lag_seen: Array
    trend: Array
    place: Array
    zero: Array
    positive: Array
    centre: Float
    unit: Float

    @property
    def inputs(self) -> tuple[Array, ...]:
        """What a network takes, in its order."""
        lags = self.lag, self.lag_seen, self.trend
        return self.x, self.seen, *lags, self.place, self.zero, self.positive


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


def cut(y: Array, season: int, patches: int, longer: int = 1, more: int = 0) -> Patches:
    """The newest rows of series that share their seasons, as patches.

    Parameters
    ----------
    y : [N, R] histories whose ends are aligned, NaN where missing; rows further back than
        ``patches`` patches are left out. season, longer : steps; 1 for none. more : patches after
        them in which nothing is seen yet.
    """
    length = patch_length(season)
    rows = patches * length
    points = np.full((len(y), rows + more * length), np.nan)
    width = min(rows, y.shape[1])
    if width:
        points[:, rows - width : rows] = y[:, y.shape[1] - width :]
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
    lag, lag_seen, trend = _lags(scaled, seasons, length)
    lowest = np.where(seen, points, np.inf).min(axis=1, initial=np.inf)
    positive = (lowest >= 0.0) & np.isfinite(lowest)
    with np.errstate(over="ignore"):
        zero = np.clip(np.where(positive, -centre / unit, 0.0), -1e6, 1e6)
    return Patches(
        x=_slots(np.where(seen, scaled, 0.0), patches, length, 1),
        seen=_slots(seen, patches, length, 1),
        lag=lag,
        lag_seen=lag_seen,
        trend=trend,
        place=_places(seasons, patches, length),
        zero=zero.astype(np.float32),
        positive=positive.astype(np.float32),
        centre=centre,
        unit=unit,
    )


def joined(parts: Sequence[Patches]) -> Patches:
    """Series of several seasons, of as many patches each, below each other."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(Patches)]
    return Patches(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


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


def _lags(scaled: Array, seasons: Array, length: int) -> tuple[Array, Array, Array]:
    """`Patches.lag`, ``lag_seen`` and ``trend``."""
    patches = scaled.shape[1] // length
    shape = (len(scaled), patches, AHEAD * WIDTH)
    lag = np.zeros((*shape[:2], LAGS, shape[2]), np.float32)
    lag_seen, trend = np.zeros_like(lag), np.zeros((*shape[:2], shape[2] + 1), np.float32)
    ends = np.arange(1, patches + 1) * length
    target = ends[:, None] + np.arange(AHEAD * length)
    recalled = np.where(seasons <= LONGEST_SEASON, seasons, 1)
    for which in range(SEASONS):
        for season in np.unique(recalled[:, which]):
            if season <= 1:
                continue
            some = np.flatnonzero(recalled[:, which] == season)
            history = filled(scaled[some], int(season))
            source = target - ((target - ends[:, None]) // season + 1) * season
            values = np.where(source >= 0, history[:, np.maximum(source, 0)], np.nan)
            lag[some, :, which], lag_seen[some, :, which] = _known(values, patches, length)
    for season in np.unique(recalled[:, 0]):
        some = np.flatnonzero(recalled[:, 0] == season)
        level, moved, off = continued(scaled[some], int(season), ends, AHEAD * length)
        lag[some, :, SEASONS], lag_seen[some, :, SEASONS] = _known(level, patches, length)
        trend[some, :, :-1] = _slots(moved, patches, length, AHEAD)
        trend[some, :, -1] = off
    return lag, lag_seen, trend


def _known(values: Float, patches: int, length: int) -> tuple[Array, Array]:
    """In their slots, 0 where missing; and 1 where not."""
    known = np.isfinite(values)
    slots = _slots(np.where(known, values, 0.0), patches, length, AHEAD)
    return slots, _slots(known, patches, length, AHEAD)


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
        usable = (season > 1) & (season <= LONGEST_SEASON)
        turn = 2.0 * np.pi * begins / np.maximum(season, 1)[:, None]
        slow = (usable & (season > length))[:, None]
        own = out[..., 1 + 4 * which : 5 + 4 * which]
        own[..., 0] = usable[:, None]
        own[..., 1] = np.where(usable, np.log2(np.maximum(season, 1)) / 8.0, 0.0)[:, None]
        own[..., 2] = np.where(slow, np.sin(turn), 0.0)
        own[..., 3] = np.where(slow, np.cos(turn), 0.0)
    return out
