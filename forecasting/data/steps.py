"""Which step stamps keep to: named, or told by their neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import MICROSECONDS, MONTHS, WEEKDAYS, Frequency, wall_clock
from forecasting.errors import DataError

# Share of neighbouring stamps that must keep to a day of the month for a step to be months.
MOSTLY = 0.9
# Distinct days from which on it is seen that they are a few of every month.
LEAST_DAYS = 6
# Rows of a series from which on it is seen that it keeps to one of them.
LEAST_ROWS = 3
# Days of the shortest month.
SHORTEST = 28
# Days that a weekend and holidays move the first or last business day of a month at most.
FEW_DAYS = 6


def off_anchor(freq: Frequency, stamps: Array) -> Array:
    """Which stamps fall on another weekday or month than an anchored ``freq`` names; bool [N]."""
    if not freq.anchor or freq.integer or stamps.dtype.kind != "M":
        return np.zeros(stamps.shape, bool)
    if freq.unit == "time":
        weekday = (stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7
        return np.asarray(weekday != WEEKDAYS.index(freq.anchor))
    month = stamps.astype("datetime64[M]").astype(np.int64)
    # The anchor of many months, 2Q or so, says nothing of the year that they are counted from.
    size = 3 if freq.size % 12 else 12
    return np.asarray((month - MONTHS.index(freq.anchor)) % size != 0)


def with_day(freq: Frequency, stamps: Array, start: Array, codes: Array) -> Frequency:
    """The step that says on which day of short months its stamps were cut.

    Parameters
    ----------
    stamps : [T] of all series. start : [N] the first of each; codes : [T] whose each is.

    Returns
    -------
    ``freq`` itself where every series lies on the day of its first stamp, and where none does.
    """
    if freq.unit != "month" or freq.end or not len(stamps):
        return freq
    stamps, start = stamps.astype("datetime64[us]"), start.astype("datetime64[us]")
    days = stamps.astype("datetime64[D]")
    latest = (
        int((days - days.astype("datetime64[M]").astype("datetime64[D]")).max().astype(int)) + 1
    )
    if not 29 <= latest <= 30:
        return freq

    def fit(step: Frequency) -> int:
        position = step.steps_between(start[codes], stamps)
        return int((step.shift(start[codes], position) == stamps).sum())

    other = replace(freq, day=latest)
    return other if fit(other) > fit(freq) else freq


def after_cut(freq: Frequency, before: Array, start: Array) -> Frequency:
    """The step for series that now begin at ``start`` [N], where February may have cut the day.

    Series of one panel that mean several days after the 28th, and begin cut, cannot be told apart:
    the latest is taken.
    """
    if freq.unit != "month" or freq.end or freq.day or not len(start):
        return freq
    was, now = (day_of_month(stamps) for stamps in (before, start))
    lost = now < was
    return replace(freq, day=int(was[lost].max())) if lost.any() else freq


def days_meant(freq: Frequency, start: Array) -> Array:
    """[N] the day of the month that series of a ``month`` step keep to, by their first stamps."""
    day = day_of_month(start)
    ends = day_of_month(start.astype("datetime64[D]") + 1) == 1
    return np.where(ends & (day < freq.day), freq.day, day)


def day_of_month(stamps: Array) -> Array:
    """Days of their months, from 1."""
    days = stamps.astype("datetime64[D]")
    first = days.astype("datetime64[M]").astype("datetime64[D]")
    return np.asarray((days - first).astype(np.int64) + 1)


def days_of_months(stamps: Array, offsets: Array) -> tuple[int, ...]:
    """The two or three days that stand in every month, such as 1 and 15; () where none do.

    Series that each keep to one day of their own, such as begins and ends of months, do not.

    Parameters
    ----------
    stamps : [T] ``datetime64[us]``, those of each series in order. 31 stands for the last of a
        month. offsets : [N + 1] bounds of the series.
    """
    days = np.unique(stamps.astype("datetime64[D]"))
    if len(days) < LEAST_DAYS or (stamps != stamps.astype("datetime64[D]")).any():
        return ()
    of_month = _of_month(days)
    months = days.astype("datetime64[M]")
    kinds, often = np.unique(of_month, return_counts=True)
    span = int((months[-1] - months[0]).astype(np.int64)) + 1
    if not 2 <= len(kinds) <= 3 or int(often.min()) < min(MOSTLY * span, span - 1):
        return ()
    if not _several_days(stamps, offsets).any():
        return ()
    return tuple(int(k) for k in kinds)


def _of_month(days: Array) -> Array:
    """Days of their months from 1; 31 is the last of any."""
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    of_month[days + 1 == (months + 1).astype("datetime64[D]")] = 31
    return np.asarray(of_month)


def _several_days(stamps: Array, offsets: Array) -> Array:
    """[N] whether the stamps of a series lie on more than one day of their months."""
    of_month = _of_month(stamps.astype("datetime64[D]"))
    codes = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    low, high = np.full(len(offsets) - 1, 99), np.zeros(len(offsets) - 1, np.int64)
    np.minimum.at(low, codes, of_month)
    np.maximum.at(high, codes, of_month)
    return np.asarray(high > low)


def business_ends(stamps: Array) -> str:
    """Whether stamps are the ``last`` or ``first`` business day of their months; "" for neither.

    Holidays move a few of them further into their month. Such stamps keep no step of the calendar.

    Parameters
    ----------
    stamps : [K] ``datetime64[us]``, of any series in any order.
    """
    days = np.unique(stamps.astype("datetime64[D]"))
    months = days.astype("datetime64[M]")
    if len(days) < LEAST_DAYS or len(np.unique(months)) < len(days):
        return ""
    first = months.astype("datetime64[D]")
    last = (months + 1).astype("datetime64[D]") - 1
    late = np.busday_offset(last, 0, roll="backward")
    early = np.busday_offset(first, 0, roll="forward")
    for name, end, own, off in (
        ("last", last, late, last - days), ("first", first, early, days - first)
    ):  # fmt: skip
        held = own == days
        near = off.astype(np.int64) <= FEW_DAYS
        if held.mean() >= MOSTLY and near.all() and not (end == days).all():
            return name
    return ""


def step_of(
    freq: str | Frequency | None, stamps: Array, offsets: Array, tz: str | None, ids: Array
) -> Frequency:
    """The step that is given or, of stamps in the order of their series, the one they keep to.

    Parameters
    ----------
    stamps : [T]; offsets : [N + 1] bounds of the series. ids : [N], for what is refused.
    """
    step = Frequency.parse(freq) if freq is not None else infer_frequency(stamps, offsets)
    if freq is None and tz is not None and not step.sub_daily:
        # Those of the place, not of UTC.
        step = infer_frequency(wall_clock(stamps, tz), offsets)
    if isinstance(freq, str):
        _refuse_other_anchor(step, stamps if tz is None else wall_clock(stamps, tz))
    elif freq is None:
        ruled = rule_of(wall_clock(stamps, tz), offsets, ids)
        if ruled is not None:
            return ruled
        _refuse_twice_a_month(wall_clock(stamps, tz), offsets)
        _refuse_business_ends(wall_clock(stamps, tz))
    if step.unit == "open" and step.sub_daily and tz is not None:
        raise DataError(
            f"freq = {step.alias} counts the hours of a place, and ds holds instants of {tz}: give "
            'its wall clock, df["ds"] = df["ds"].dt.tz_localize(None)'
        )
    if step.integer != np.issubdtype(stamps.dtype, np.integer):
        kind = "integers" if stamps.dtype.kind == "i" else "time stamps"
        raise DataError(f"column ds holds {kind}, which freq = {step.alias} does not fit")
    return step


def rule_of(stamps: Array, offsets: Array, ids: Array) -> Frequency | None:
    """The rule that every stamp keeps to: half months, or business ends of months; None for none.

    Parameters
    ----------
    stamps : [T] ``datetime64[us]`` of the wall clock, those of each series in order.
    offsets : [N + 1] bounds of the series; ids : [N].

    Raises
    ------
    DataError : some series keep to half months, and others to months; one of each is named.
    """
    if stamps.dtype.kind == "i":
        return None
    named: dict[tuple[int, ...], str] = {(1, 15): "SMS", (15, 31): "SME"}
    business = {"first": "BMS", "last": "BME"}
    halves = named.get(days_of_months(stamps, offsets))
    if halves is not None:
        several = _several_days(stamps, offsets)
        alone = np.flatnonzero(~several & (np.diff(offsets) >= LEAST_ROWS))
        if len(alone):
            raise DataError(
                f"series keep different steps: {ids[several.argmax()]!r} two days of each month, "
                f"{ids[alone[0]]!r} one: forecast them apart, or, where the other half is missing "
                f"in the second, say so: freq = {halves}"
            )
    rule = halves or business.get(business_ends(stamps))
    if rule is None:
        return None
    freq, own = Frequency.parse(rule), np.unique(stamps)
    # Those of quarters, or of months with many holes, are no step of months.
    apart = np.median(np.diff(freq.steps_between(own[0], own)))
    return freq if apart == 1 and bool((freq.shift(own, 0) == own).all()) else None


def infer_frequency(ds: Array, offsets: Array) -> Frequency:
    """The step that most neighbours of the same series keep.

    Parameters
    ----------
    ds : [T] sorted stamps of all series, one after the other.
    offsets : [N + 1] bounds of each series.

    Raises
    ------
    DataError : when no series has two rows to tell the step from.
    """
    inside = np.ones(max(len(ds) - 1, 0), dtype=bool)
    inside[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(ds))] - 1] = False
    if not inside.any():
        raise DataError(
            "the frequency cannot be told: no series has two rows; name it with freq, "
            "for instance freq: D"
        )
    if np.issubdtype(ds.dtype, np.integer):
        values, counts = np.unique(np.diff(ds)[inside], return_counts=True)
        return Frequency("step", max(int(values[counts.argmax()]), 1))
    ds = ds.astype("datetime64[us]")
    values, counts = np.unique(np.diff(ds)[inside].astype(np.int64), return_counts=True)
    step = int(values[counts.argmax()])
    day = MICROSECONDS["D"]
    if step % day == 0 and step >= 28 * day and _keeps_months(ds, inside):
        return _month_frequency(ds, values, counts)
    if step == day:
        weekdays = (ds.astype("datetime64[D]").astype(np.int64) + 3) % 7
        over = (np.diff(ds)[inside].astype(np.int64) == 3 * day).any()
        if not (weekdays >= 5).any() and (len(ds) >= 10 or (len(ds) >= 6 and over)):
            return Frequency("business", 1)
    if step % (7 * day) == 0:
        weekday = int((ds[0].astype("datetime64[D]").astype(np.int64) + 3) % 7)
        return Frequency("time", step, WEEKDAYS[weekday])
    return Frequency("time", max(step, 1))


def _keeps_months(ds: Array, inside: Array) -> bool:
    """Whether most neighbours lie on one day of their months; 29 to 31 are cut in short ones."""
    days, month = ds.astype("datetime64[D]"), ds.astype("datetime64[M]")
    of_month = (days - month.astype("datetime64[D]")).astype(np.int64)
    last = (month + 1).astype("datetime64[D]") - 1 == days
    same = of_month[1:] == of_month[:-1]
    cut = (last[1:] & (of_month[:-1] >= of_month[1:])) | (
        last[:-1] & (of_month[1:] >= of_month[:-1])
    )
    regular = (same | cut)[inside]
    return bool(regular.mean() >= MOSTLY)


def _month_frequency(ds: Array, gaps: Array, counts: Array) -> Frequency:
    days = gaps[gaps > 0] / MICROSECONDS["D"]
    months = np.unique(np.maximum(np.round(days / 30.44), 1), return_inverse=True)
    votes = np.bincount(months[1], weights=counts[gaps > 0])
    size = int(months[0][votes.argmax()])
    size = {11: 12, 13: 12}.get(size, size)
    month = ds.astype("datetime64[M]")
    last_day = ((month + 1).astype("datetime64[D]") - 1) == ds.astype("datetime64[D]")
    name = MONTHS[int(month[0].astype(np.int64)) % 12] if size % 3 == 0 else ""
    return Frequency("month", size, name, bool(last_day.all()))


def _refuse_other_anchor(step: Frequency, stamps: Array) -> None:
    """A freq that names its month or weekday is meant so."""
    off = off_anchor(step, stamps)
    if off.any():
        at = int(np.flatnonzero(off)[0])
        raise DataError(
            f"ds = {stamps[at]} does not lie on the grid of freq = {step.alias} "
            f"({int(off.sum())} such rows in all); name the right freq, or give none"
        )


def _refuse_twice_a_month(stamps: Array, offsets: Array) -> None:
    days = () if stamps.dtype.kind == "i" else days_of_months(stamps, offsets)
    if days:
        raise DataError(
            f"ds lies on the days {', '.join(map(str, days))} of each month (31: its last), which "
            "is no regular step: bring the rows to months, for instance with "
            'df.groupby(["unique_id", df["ds"].dt.to_period("M")])["y"].sum()'
        )


def _refuse_business_ends(stamps: Array) -> None:
    which = "" if stamps.dtype.kind == "i" else business_ends(stamps)
    if which:
        cure = (
            'df["ds"] + pd.offsets.MonthEnd(0)' if which == "last"
            else 'df["ds"].dt.to_period("M").dt.to_timestamp()'
        )  # fmt: skip
        raise DataError(
            f"ds holds the {which} business day of its months, which is no regular step: move it "
            f'to the {which} day, df["ds"] = {cure}'
        )
