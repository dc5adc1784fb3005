"""Where each row lies on its series' grid: whole steps from the first, and how far beside one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from pipelines.ingestion.segments import bounds, mode, reduce
from pipelines.ingestion.stamps.readings import DAY


@dataclass
class Grid:
    """Where each row lies on its series' grid.

    Attributes
    ----------
    slot : [T] whole steps from the series' first grid point (not from zero).
    off : [T] distance from the nearest grid point, in steps; 0 on the grid.
    start : [N] stamp of slot 0.
    """

    slot: Array
    off: Array
    start: Array


def lay_grid(codes: Array, ds: Array, count: int, freq: Frequency) -> Grid:
    """Nearest grid points; each series' phase is the one that most of its rows keep."""
    offsets = bounds(codes, count)
    first = ds[np.minimum(offsets[:-1], max(len(ds) - 1, 0))]
    if freq.unit in ("step", "time"):
        phase = first % freq.size
        on = ds % freq.size == phase[codes]
        if not on.all():
            phase, _ = mode(codes, ds % freq.size, count)
        half = freq.size // 2
        start = (first - phase + half) // freq.size * freq.size + phase
        slot = (ds - start[codes] + half) // freq.size
        off = np.abs(ds - start[codes] - slot * freq.size) / freq.size
        return Grid(slot, off, start)
    days = ds.astype("datetime64[us]").astype("datetime64[D]")
    time = ds - days.astype("datetime64[us]").astype(np.int64)
    clock, _ = mode(codes, time, count)
    if freq.unit in ("listed", "open"):
        return _ruled_grid(codes, ds, first, freq)
    if freq.unit == "business":
        return _business_grid(codes, days, time, clock, offsets, freq)
    return _month_grid(codes, ds, days, clock, offsets, freq)


def _ruled_grid(codes: Array, ds: Array, first: Array, freq: Frequency) -> Grid:
    """The stamp of a rule, or the open step, that each row is nearest to."""
    stamps = ds.astype("datetime64[us]")
    here = freq.shift(stamps, 0)
    after = freq.shift(stamps, 1)
    later = np.abs(after - stamps) < np.abs(stamps - here)
    near = np.where(later, after, here)
    gap = np.maximum((after - here).astype(np.int64), 1)
    off = np.abs((near - stamps).astype(np.int64)) / gap
    if freq.unit == "open":
        # Closed time is no rounding of open time: such a row is on no step.
        off = np.where((stamps - here).astype(np.int64) >= freq.size, 1.0, off)
    start = freq.shift(first.astype("datetime64[us]"), 0)
    slot = freq.steps_between(start[codes], near)
    return Grid(slot, off, start.astype(np.int64))


def _business_grid(
    codes: Array, days: Array, time: Array, clock: Array, offsets: Array, freq: Frequency
) -> Grid:
    held = np.busday_offset(days, 0, roll="backward")
    first = held[np.minimum(offsets[:-1], max(len(days) - 1, 0))]
    slot = np.busday_count(first[codes], held) // freq.size
    off = (days - held).astype(np.float64) + np.abs(time - clock[codes]) / DAY
    start = first.astype("datetime64[us]").astype(np.int64) + clock
    return Grid(slot, np.minimum(off, 0.5), start)


def _month_grid(
    codes: Array, ds: Array, days: Array, clock: Array, offsets: Array, freq: Frequency
) -> Grid:
    month = days.astype("datetime64[M]")
    of_month = (days - month.astype("datetime64[D]")).astype(np.int64)
    count = len(offsets) - 1
    if freq.end:
        day = np.full(count, 30)
    else:
        # Days 29 to 31 are cut short in some months: the latest is what is meant.
        day, _ = mode(codes, of_month, count)
        latest = reduce(np.maximum, of_month, offsets, 0)
        day = np.where(day >= 27, np.maximum(day, latest), day)
    number = month.astype(np.int64)
    phase, _ = mode(codes, number % freq.size, count)
    base = number - (number - phase[codes]) % freq.size
    here = _stamp(base, day[codes], clock[codes])
    after = _stamp(base + freq.size, day[codes], clock[codes])
    before = _stamp(base - freq.size, day[codes], clock[codes])
    choices = np.stack([before, here, after])
    nearest = np.abs(choices - ds).argmin(axis=0)
    chosen = base + (nearest - 1) * freq.size
    stamp = np.take_along_axis(choices, nearest[None], axis=0)[0]
    off = np.abs(stamp - ds) / (freq.size * 30.44 * DAY)
    at = np.minimum(offsets[:-1], max(len(ds) - 1, 0))
    slot = (chosen - chosen[at][codes]) // freq.size
    start = _stamp(chosen[at], day, clock)
    if not freq.end:
        # Frequency.shift keeps the day of the first stamp, so it must be one that is not cut.
        cut = start.astype("datetime64[us]").astype("datetime64[D]")
        held = (cut - cut.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
        short = (held != day) & (day != freq.day - 1) & (np.diff(offsets) > 0)
        off = np.where(short[codes] & (of_month > held[codes]), 0.01, off)
    return Grid(slot, off, start)


def _stamp(month: Array, day: Array, clock: Array) -> Array:
    """Month number, day of month (from 0, cut to the month's end) and time of day as a stamp."""
    begin = month.astype("datetime64[M]").astype("datetime64[D]")
    length = ((month + 1).astype("datetime64[M]").astype("datetime64[D]") - begin).astype(np.int64)
    days = begin.astype(np.int64) + np.minimum(day, length - 1)
    return np.asarray(days * DAY + clock)
