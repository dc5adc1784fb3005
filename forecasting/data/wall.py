"""Patterns of a day follow the wall clock: panels of instants, laid on the clock of their zone.

A panel with a zone holds instants, whatever its clocks do; where they change, the same hour of the
day is another number of steps away. Networks therefore read a panel by the wall clock: a step that
the clock shows twice is one step, the mean of both, and a step that it skips is a missing value.
What they forecast by the wall clock is then read off for every instant: a step shown twice has one
forecast for both, one that is skipped is never asked for.

A step that is longer than the change (6 h, or 1 h where clocks move by 30 minutes) lies on the
same grid before and after it, as near to the wall clock as such instants can be: nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency, least_offset, nearest_step, wall_clock
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel
from forecasting.schema import Covariate

# No zone has moved its clocks by more, at once: rows that are looked at beyond a context.
MOST_MOVED = np.timedelta64(3, "h")


@dataclass(frozen=True)
class OnTheWall:
    """A panel by the wall clock.

    Attributes
    ----------
    panel : without a zone, its stamps those of the clock. Its last step is the last one before
        those that the next instants fall on.
    step : [N, h] which of the steps ahead, from 0, each of the next h instants falls on.
    """

    panel: Panel
    step: Array


def on_wall_clock(panel: Panel, ahead: int = 0, *, whole: bool = False) -> OnTheWall | None:
    """A panel laid on the clock of its zone, or None where that is the panel itself.

    Parameters
    ----------
    ahead : h, instants after the end whose steps are wanted.
    whole : keep the whole history, even where the next instants fall on its last steps.
    """
    if panel.tz is None or not panel.freq.sub_daily or not panel.rows:
        return None
    width = max(ahead, 0 if panel.horizon is None else panel.horizon.shape[1])
    places = _places(panel, width)
    lengths = panel.lengths + width
    first = np.cumsum(lengths) - lengths
    even = places == places[np.repeat(first, lengths)] + ranges(np.zeros_like(lengths), lengths)
    if even.all():
        return None
    in_history = ranges(first, panel.lengths)
    row_places = places[in_history]
    next_places = places[first[:, None] + panel.lengths[:, None] + np.arange(width)]
    # A series without rows begins where it goes on, and ends before.
    begin = next_places.min(axis=1) if width else np.zeros(len(panel), np.int64)
    last, some = begin - 1, panel.lengths > 0
    begin[some], last[some] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    np.minimum.at(begin, panel.series, row_places)
    np.maximum.at(last, panel.series, row_places)
    if width and not whole:
        last[some] = np.maximum(np.minimum(last, next_places.min(axis=1) - 1), begin)[some]
    step = np.maximum(next_places - last[:, None] - 1, 0)
    history = _laid(panel, row_places, begin, last)
    horizon = None if panel.horizon is None else _ahead(panel, history, step)
    return OnTheWall(replace(history, horizon=horizon), step[:, :ahead])


def rows_for(context: int, freq: Frequency) -> int:
    """Rows of instants that a context of so many rows by the wall clock takes at most."""
    return context + int(MOST_MOVED / np.timedelta64(freq.size, "us")) + 1


def wall_backs(panel: Panel, backs: list[int]) -> list[int]:
    """Origins as rows of instants before each end, as steps of the wall clock.

    One number for all series, the smallest: nothing before an origin is taken for after it.
    """
    if panel.tz is None or not panel.freq.sub_daily or not panel.rows:
        return backs
    places, end = _places(panel, 0), panel.offsets[1:] - 1
    moved = []
    for back in backs:
        long = panel.lengths > back
        steps = places[end[long]] - places[end[long] - back]
        moved.append(max(int(steps.min()), 1) if len(steps) else back)
    return moved


def _places(panel: Panel, ahead: int) -> Array:
    """[T + N * ahead] steps of the wall clock since its origin, of all rows and those ahead.

    Series on one grid share their stamps: each is looked up once.
    """
    size = panel.freq.size
    start, lengths = panel.start.astype(np.int64), panel.lengths + ahead
    origin = int(start.min())
    first, off = np.divmod(start - origin, size)
    span = int((first + lengths).max())
    steps = ranges(np.zeros_like(lengths), lengths)
    if span <= int(lengths.sum()) and not off.any():
        stamps = (origin + np.arange(span) * size).astype("datetime64[us]")
        clock = wall_clock(stamps, panel.tz).astype(np.int64)[np.repeat(first, lengths) + steps]
    else:
        stamps = (np.repeat(start, lengths) + steps * size).astype("datetime64[us]")
        clock = wall_clock(stamps, panel.tz).astype(np.int64)
    return nearest_step(clock - np.repeat(_grid(panel), lengths), size)


def _grid(panel: Panel) -> Array:
    """[N] microseconds, below a step, by which the instants lie off steps from midnight.

    By the least offset of the zone, so that a change of half a step moves nothing.
    """
    return np.asarray(
        (panel.start.astype(np.int64) + least_offset(panel.start, panel.tz)) % panel.freq.size
    )


def _laid(panel: Panel, places: Array, begin: Array, last: Array) -> Panel:
    """The rows of a panel on the steps ``begin`` to ``last`` [N] of the wall clock."""
    series = panel.series
    rows = np.flatnonzero(places <= last[series])
    lengths = last - begin + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    target = (offsets[series] + places - begin[series])[rows]
    count, grid = int(offsets[-1]), _grid(panel)

    def laid(block: Array, columns: tuple[Covariate, ...], *, filled: bool) -> Array:
        parts = [_merged(block[rows, k], target, count, c) for k, c in enumerate(columns)]
        if filled:
            parts = [_filled(part, target) for part in parts]
        return np.stack(parts, axis=1) if parts else np.empty((count, 0))

    return replace(
        panel,
        tz=None,
        offsets=offsets,
        start=(begin * panel.freq.size + grid).astype("datetime64[us]"),
        y=_merged(panel.y[rows], target, count),
        past=laid(panel.past, panel.schema.past, filled=False),
        future=laid(panel.future, panel.schema.future, filled=True),
        horizon=None,
    )


def _merged(values: Array, target: Array, count: int, covariate: Covariate | None = None) -> Array:
    """[count] the mean of the values of each step, or its first category; NaN where none is."""
    known = np.flatnonzero(~np.isnan(values))
    out = np.full(count, np.nan)
    if covariate is not None and covariate.type == "categorical":
        known = known[::-1]
        out[target[known]] = values[known]
        return out
    often = np.bincount(target[known], minlength=count)
    total = np.bincount(target[known], weights=values[known], minlength=count)
    np.divide(total, often, out=out, where=often > 0)
    return out


def _filled(values: Array, target: Array) -> Array:
    """Steps that the clock skips, with the value before them: nothing is asked for there."""
    there = np.zeros(len(values), bool)
    there[target] = True
    return np.asarray(values[np.maximum.accumulate(np.where(there, np.arange(len(values)), 0))])


def _ahead(panel: Panel, history: Panel, step: Array) -> Array:
    """[N, H, F] known-future covariates of the steps ahead, from those of the instants."""
    assert panel.horizon is not None
    count, steps, columns = panel.horizon.shape
    width = int(step[:, :steps].max()) + 1
    block = np.full((count, width, columns), np.nan)
    there = np.zeros((count, width), bool)
    series = np.arange(count)
    for k in range(steps - 1, -1, -1):
        block[series, step[:, k]] = panel.horizon[:, k]
        there[series, step[:, k]] = True
    before = np.maximum.accumulate(np.where(there, np.arange(width), 0), axis=1)
    filled = np.asarray(np.take_along_axis(block, before[..., None], axis=1))
    # Where the first steps are skipped, the covariates of the last row go on.
    skipped = (np.cumsum(there, axis=1) == 0) & (history.lengths > 0)[:, None]
    of_series, at = np.nonzero(skipped)
    filled[of_series, at] = history.future[history.offsets[1:][of_series] - 1]
    return filled
