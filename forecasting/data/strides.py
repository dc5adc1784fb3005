"""Series whose values stand several steps apart: quarters on a grid of months.

A grid takes such rows without a word, for what lies between them may be missing. Gaps of chance
leave values one step apart now and then; values that never are, are of another step.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import wall_clock
from forecasting.data.mapped import blocks
from forecasting.data.panel import Panel
from forecasting.errors import warn

# Gaps that a series must have to speak of a longer step, and the share of them that is that step:
# gaps of chance differ.
LEAST_GAPS = 4
MOSTLY = 0.75
# Chance, as one in so many, at which gaps that differ would all be multiples of some step.
CHANCE = 1_000
# Days of one month that may all be the same by chance, and values from which on they are not.
LEAST_MONTHS = 3
# A stride of whole months, on a grid of days or less; and of days or hours that are left out.
MONTHS, CLOSED = 0, -1
# Times that a part of the week or day must come without a value.
LEAST_CLOSED = 2
# Working days from which on one weekend that is left out is no chance.
LEAST_WORKING = 6
_DAY = np.timedelta64(1, "D")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def strides(panel: Panel) -> Array:
    """[N] steps between the values of each series: 1, or more where all keep to a longer step.

    `MONTHS` where a grid of days or less has values on one day of their months only.
    """
    parts = [_strides(panel.select(slice(*some))) for some in blocks(panel.offsets)]
    return np.concatenate(parts) if parts else np.ones(0, np.int64)


def _strides(panel: Panel) -> Array:
    sizes = np.ones(len(panel), np.int64)
    seen = ~np.isnan(panel.y)
    if seen.all():
        return sizes
    series = panel.series[seen]
    rows = np.flatnonzero(seen) - panel.offsets[series]
    gaps = np.diff(rows)
    same = series[1:] == series[:-1]
    gaps, owner = gaps[same], series[1:][same]
    if not len(gaps):
        return sizes
    first = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    owners = owner[first]
    size = np.gcd.reduceat(gaps, first)
    often = np.diff(np.append(first, len(owner)))
    alike = np.add.reduceat(gaps == np.repeat(size, often), first) >= MOSTLY * often
    # So many gaps have a common divisor of this size or more once in size ** (often - 1) times; in
    # logs, for it may be any number.
    rare = (often - 1) * np.log(size) >= np.log(CHANCE)
    sizes[owners] = np.where((often >= LEAST_GAPS) & (alike | rare), size, 1)
    _in_months(panel, series, rows, owners, often, sizes)
    return sizes


def _in_months(
    panel: Panel, series: Array, rows: Array, told: Array, often: Array, found: Array
) -> None:
    """Note `MONTHS` in ``found`` [N] for series with a value a month, or fewer."""
    freq = panel.freq
    if freq.unit != "time" or freq.size > _DAY / np.timedelta64(1, "us"):
        return
    some = np.zeros(len(panel), bool)
    some[told[often + 1 >= LEAST_MONTHS]] = True
    mine = some[series]
    of, at = series[mine], freq.shift(panel.start[series[mine]], rows[mine])
    day = at.astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    of_month = (day - month.astype("datetime64[D]")).astype(np.int64)
    last = day + 1 == (month + 1).astype("datetime64[D]")
    low, high = np.full(len(panel), 99), np.full(len(panel), -1)
    np.minimum.at(low, of, of_month)
    np.maximum.at(high, of, of_month)
    ends = np.bincount(of, weights=~last, minlength=len(panel)) == 0
    clock = at - day
    moved = (clock[1:] != clock[:-1]) & (of[1:] == of[:-1])
    moves = np.bincount(of[1:], weights=moved, minlength=len(panel))
    months = some & ((low == high) | ends) & (moves == 0)
    inside = np.bincount(of, minlength=len(panel))
    spans = np.zeros(len(panel), np.int64)
    number = month.astype(np.int64)
    np.maximum.at(spans, of, number)
    least = np.full(len(panel), np.iinfo(np.int64).max)
    np.minimum.at(least, of, number)
    # One value a month at most: hours of one day are of no month.
    months &= spans - np.where(some, least, spans) + 1 >= inside
    found[months] = MONTHS


def say_mixed(panel: Panel) -> None:
    """Warn of series that keep to a longer step than others of their panel."""
    sizes = strides(panel)
    at = np.flatnonzero(sizes != 1)
    if len(at) and len(at) < len(panel):
        warn(
            f"{len(at):,} of {len(panel):,} series, such as {panel.ids[at[0]]!r}, have values "
            f"{said(int(sizes[at[0]]), panel)} apart, others at every step: one panel has one "
            f"step, {panel.freq.alias}, and all are forecast at each of them; train series of "
            "another step apart"
        )


def said(stride: int, panel: Panel) -> str:
    """A stride in words."""
    return "whole months" if stride == MONTHS else f"{stride} steps of {panel.freq.alias}"


def closed(panel: Panel) -> Array:
    """[N] the first part of the week, or day, in which a series never has a value; -1 for none.

    Weekends in a series of days, nights in one of hours, by the wall clock: 0 is a Monday, 7 the
    first step of a day. A part must come `LEAST_CLOSED` times, and the other parts be mostly there.
    """
    parts = [_closed(panel.select(slice(*some))) for some in blocks(panel.offsets)]
    return np.concatenate(parts) if parts else np.full(0, -1)


def _closed(panel: Panel) -> Array:
    parts = np.full(len(panel), -1)
    seen = ~np.isnan(panel.y)
    step = panel.freq.size * np.timedelta64(1, "us")
    if panel.freq.unit != "time" or step > _DAY or _DAY % step or seen.all():
        return parts
    at = panel.freq.shift(
        panel.start[panel.series], np.arange(panel.rows) - panel.offsets[panel.series]
    )
    at = wall_clock(at, panel.tz) if step < _DAY else at
    day = at.astype("datetime64[D]")
    steps = int(_DAY // step)
    _note_closed(parts, seen, panel, (day.astype(np.int64) + 3) % 7, (7, steps))
    _note_weekends(parts, seen, panel, (day.astype(np.int64) + 3) % 7)
    if steps > 1:
        of_day = np.full(len(panel), -1)
        _note_closed(of_day, seen, panel, (at - day) // step, (steps, 1))
        parts = np.where((parts < 0) & (of_day >= 0), len(_DAYS) + of_day, parts)
    return parts


def _note_closed(
    found: Array, seen: Array, panel: Panel, part: Array, parts: tuple[int, int]
) -> None:
    """Put into ``found`` [N] the first part that never has a value.

    ``parts`` : how many there are, and steps of each.
    """
    count, steps = parts
    long = np.flatnonzero(panel.lengths >= LEAST_CLOSED * count * steps)
    number = np.full(len(panel), -1)
    number[long] = np.arange(len(long))
    place = number[panel.series] * count + part
    inside, shape = place >= 0, (len(long), count)
    there = np.bincount(place[inside], minlength=len(long) * count).reshape(shape)
    held = np.bincount(place[inside & seen], minlength=len(long) * count).reshape(shape)
    never, mostly = held == 0, (held > 0) & (2 * held >= there)
    rhythmic = never.any(axis=1) & mostly.any(axis=1) & (never | mostly).all(axis=1)
    found[long[rhythmic]] = never[rhythmic].argmax(axis=1)


def _note_weekends(found: Array, seen: Array, panel: Panel, weekday: Array) -> None:
    """Put into ``found`` [N] Saturdays, of series of days that leave out weekends and nothing else.

    Two weeks of working days hold one weekend, which is enough to tell by.
    """
    if panel.freq.size * np.timedelta64(1, "us") != _DAY:
        return
    end, count = weekday >= len(_DAYS) - 2, len(panel)
    other = np.bincount(panel.series, weights=seen == end, minlength=count)
    ends, days = (np.bincount(panel.series, weights=w, minlength=count) for w in (end, ~end))
    found[(found < 0) & (other == 0) & (ends >= 2) & (days >= LEAST_WORKING)] = len(_DAYS) - 2


def said_closed(part: int, panel: Panel) -> str:
    """A part that `closed` found, in words: a weekday, or a time of day."""
    if part < len(_DAYS):
        return _DAYS[part]
    minute = (part - len(_DAYS)) * panel.freq.size // 60_000_000
    return f"{minute // 60:02d}:{minute % 60:02d}"
