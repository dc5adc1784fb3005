"""Whole numbers as stamps: plain steps, but for those that can only be dates."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError, warn

FIRST_YEAR = 1700
LAST_YEAR = 2200
# Unix time of the years 1990 to 2100, in seconds.
EPOCH = (631_152_000, 4_102_444_800)
# Shortest step of Unix time that is taken for one, in seconds or other counts.
SHORTEST = 60
# Beyond it, differences of numbers overflow.
LARGEST = 2**62
# Numbers from which on steps of some size count time from an origin that is not known.
CLOCK = 100_000_000
# Numbers at least that are looked at for a calendar, how many times fewer steps it must make, and
# how many for each number: days without weekends make 1.4.
FEW, CLEARLY, COMPLETE = 6, 1.05, 1.5
# Fewer numbers, but so many at least and none below that, must follow each other without a hole.
FEWEST, SMALLEST = 3, 90
# Numbers that a working week is seen in, at least, and the share of days that must be there.
WORKING_DAYS, WORKED = 10, 0.6
# Dates that begin with a year of two digits or four: how they go on, and the largest rest.
_FORMS = (
    ("%y%m", 100, 12), ("%g%V", 100, 53), ("%y%j", 1_000, 366), ("quarter", 10, 4),
    ("%y%m%d", 10_000, 1_231),
)  # fmt: skip

# Counts of time that steps may be: what they are, pandas' unit and origin, and the origin in units
# since 1970. Numbers below the first are counters, and dates that end before a year, or after now,
# are not believed.
_COUNTS = (
    ("days since 1960, as SAS counts", "D", "1960-01-01", -3_653),
    ("days since 1970", "D", "1970-01-01", 0),
    ("days of a spreadsheet", "D", "1899-12-30", -25_569),
    ("days of old Macs", "D", "1904-01-01", -24_107),
    ("hours since 1970", "h", "1970-01-01", 0),
    ("hours since 1900", "h", "1900-01-01", -613_608),
    ("minutes since 1970", "m", "1970-01-01", 0),
)
_COUNTED, _LATELY = 10_000, 1990


def say_counts(steps: Array) -> None:
    """Warn of plain steps that may count days, hours or minutes, with the lines that parse them.

    Parameters
    ----------
    steps : [T] of any series, in any order.
    """
    low, high = int(steps.min()), int(steps.max())
    if low < _COUNTED or low == high:
        return
    end = np.datetime64("now", "Y") + 2
    readings = []
    for what, unit, origin, ahead in _COUNTS:
        # Beyond it a date is none that is believed, and pandas knows none.
        counted = np.minimum(np.array([low, high]) + ahead, 50_000_000)
        first, last = counted.astype(f"datetime64[{unit}]").astype("datetime64[us]")
        if np.datetime64(f"{_LATELY}-01-01") <= last < end:
            spelled = "min" if unit == "m" else unit
            parsed = f'pd.to_datetime(df["ds"], unit="{spelled}", origin="{origin}")'
            readings.append(f"{first.astype('datetime64[D]')} as {what}, {parsed}")
    if readings:
        warn(
            f"column ds holds whole numbers such as {low}, which are read as plain steps; if they "
            f"count time they begin at {'; or at '.join(readings)}; freq says that they are steps"
        )


def refuse_dates(steps: Array) -> None:
    """Whole numbers that can only be dates would be forecast as steps: 202212, 202213, 202214.

    Of those that may count time a warning is given, see `say_counts`.

    Parameters
    ----------
    steps : [T] of any series, in any order.

    Raises
    ------
    DataError : with the line that parses them, and the word that makes them steps.
    """
    values = np.unique(steps)
    if len(values) > 1:
        _refuse_dates(values)
        say_counts(values)


def _refuse_dates(values: Array) -> None:
    """As `refuse_dates`, of distinct numbers in order [K]."""
    if int(values[0]) < -LARGEST or int(values[-1]) > LARGEST:
        raise DataError(
            f"column ds holds whole numbers such as {values[-1]}, too large for steps: count them "
            "from a smaller one"
        )
    if form := calendar_form(values):
        raise _look_like(values, "dates", form)
    for form, unit, most, several in (
        ("%Y%m", 100, 12, False),
        ("%G%V%u", 100, 53, True),
        ("%Y%j", 1_000, 366, True),
        ("%Y%m%d", 10_000, 1_231, False),
        ("%Y%m%d%H", 1_000_000, 123_123, False),
    ):
        years, parts = values // unit, values % unit
        fits = years[0] >= FIRST_YEAR and years[-1] <= LAST_YEAR
        fits = fits and int(parts.min()) >= 1 and int(parts.max()) <= most
        days = parts // (100 if form.endswith("%H") else 1) % 100
        if form.startswith("%Y%m%d"):
            fits = fits and int(days.min()) >= 1 and int(days.max()) <= 31
            fits = fits and int((parts // (unit // 100)).min()) >= 1
        if fits and (not several or years[0] < years[-1]):
            raise _look_like(values, "dates", form)
    for name, size in (("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)):
        inside = EPOCH[0] * size <= values[0] and values[-1] < EPOCH[1] * size
        if inside and int(np.diff(values).min()) >= SHORTEST * size:
            raise _look_like(values, "Unix time", name)
    refuse_gaps(values)


def say_dates(steps: Array) -> None:
    """Warn of whole numbers that can only be dates, where a model counts steps.

    Parameters
    ----------
    steps : [T] of any series, in any order.
    """
    values = np.unique(steps)
    try:
        if len(values) > 1:
            _refuse_dates(values)
    except DataError as error:
        reason = str(error).partition(":")[0]
        warn(
            f"{reason}; this model counts steps, so that every number left out is a missing value: "
            "number the rows 1, 2, 3 … in the order of time"
        )


def refuse_size(size: int, first: int = 0) -> None:
    """A step of 100 or 1,000,000 between whole numbers: dates of a form that is not known.

    Large numbers that are more than one apart count time from an origin that is not known either.

    Parameters
    ----------
    size : the step. first : the number that is nearest to zero.
    """
    if size >= 100 and str(size).strip("0") == "1":
        raise DataError(
            f"the whole numbers in ds are {size:,} apart, as dates are whose last places stand "
            f'still: parse them as they are written, or say that they are steps: freq="{size}step"'
        )
    if size >= SHORTEST and abs(first) >= CLOCK:
        raise DataError(
            f"the whole numbers in ds, such as {first}, are {size:,} apart, as counts of time from "
            "some origin are (Unix time, ticks, file times): write them as dates, or say that they "
            f'are steps: freq="{size}step"'
        )


def refuse_gaps(values: Array) -> None:
    """Whole numbers that leave out two of every seven, or keep the lengths of months, count days.

    Parameters
    ----------
    values : [K] distinct, in order.

    Raises
    ------
    DataError : where it begins is not known; with what settles it.
    """
    gaps = np.diff(values)
    if len(values) < FEW or int(values[0]) < 1:
        return
    pattern = ""
    if working_week(values):
        pattern = "leave out the same two of every seven, as days without weekends do"
    elif len(np.unique(gaps)) > 1 and (
        (gaps.min() >= 28 and gaps.max() <= 31)
        or (gaps.min() >= 90 and gaps.max() <= 92)
        or (gaps.min() >= 365 and gaps.max() <= 366)
    ):
        pattern = (
            f"are {gaps.min()} to {gaps.max()} apart, as days between months, quarters or years"
        )
    if pattern:
        raise DataError(
            f"the whole numbers in ds, from {values[0]} to {values[-1]}, {pattern}: as steps they "
            'would leave holes. Write them as dates, with pandas pd.to_datetime(..., unit="D", '
            'origin="2000-01-01") or whatever day they count from, or in `data` stamps.formats: '
            '["days since 2000-01-01"]; if they are steps, say so: freq="step"'
        )


def working_week(values: Array) -> bool:
    """Whether two neighbouring numbers of every seven are left out, over two weekends at least."""
    if len(values) < WORKING_DAYS or np.diff(values).min() > 1:
        return False
    days = np.unique(values % 7)
    if len(days) != 5 or int(values[-1] - values[0]) < 14:
        return False
    lost = np.setdiff1d(np.arange(7), days)
    beside = int(lost[1] - lost[0]) in (1, 6)
    return beside and len(values) / (int(values[-1] - values[0]) + 1) >= WORKED


def calendar_form(values: Array) -> str:
    """The form of dates in which whole numbers follow each other where plain steps leave holes.

    Parameters
    ----------
    values : [K] distinct, in order.

    Returns
    -------
    A strptime pattern, ``"%g%V"`` (year of two digits and week), ``"quarter"``, or "" for none.
    """
    few = len(values) < FEW
    if len(values) < FEWEST or int(values[0]) < (SMALLEST if few else 1):
        return ""
    if int(values[-1]) > LAST_YEAR * 10_000:
        return ""
    plain = _growth(values)
    for form, unit, most in _FORMS:
        years, parts = values // unit, values % unit
        four = int(years[0]) >= FIRST_YEAR
        if not (four and years[-1] <= LAST_YEAR) and int(years[-1]) > 99:
            continue
        if years[0] == years[-1] or int(parts.min()) < 1 or int(parts.max()) > most:
            continue
        place = _place(years if four else years + np.where(years < 69, 2000, 1900), parts, form)
        complete = 1.0 + 1e-9 if few else COMPLETE
        if place is not None and _growth(np.sort(place)) < min(plain / CLEARLY, complete):
            return form.replace("%y", "%Y").replace("%g", "%G") if four else form
    return ""


def _place(years: Array, parts: Array, form: str) -> Array | None:
    """Where dates lie, in steps of the calendar; None where one is no date."""
    if form in ("%y%m", "quarter"):
        return np.asarray(years * (12 if form == "%y%m" else 4) + parts)
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    if form == "%y%j":
        return np.asarray(first + parts)
    if form == "%g%V":
        fourth = first + 3
        return np.asarray((fourth - (fourth + 3) % 7) // 7 + parts)
    month, day = parts // 100, parts % 100
    if int(month.min()) < 1 or int(day.min()) < 1 or int(day.max()) > 31:
        return None
    months = (years - 1970) * 12 + month - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return np.asarray(first + day)


def _growth(values: Array) -> float:
    """Steps from the first number to the last for each number, at their commonest distance."""
    gaps = np.diff(values)
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return np.inf
    size, often = np.unique(gaps, return_counts=True)
    slots = int(values[-1] - values[0]) / int(size[often.argmax()]) + 1
    return float(slots / len(values))


def _from_1960(values: Array, unit: str) -> str:
    """Which dates Unix time gives, and those that SAS and Stata, which count from 1960, mean."""
    stamps = values[[0, -1]].astype(f"datetime64[{unit}]").astype("datetime64[D]")
    earlier = stamps[0] - np.timedelta64(3_653, "D")
    return (
        f", {stamps[0]} to {stamps[1]} (counted from 1960, as SAS and Stata do, they begin at "
        f'{earlier}: origin="1960-01-01")'
    )


def _look_like(values: Array, what: str, form: str) -> DataError:
    first = int(values[0])
    text = 'df["ds"].astype(str)'
    width = {"%g%V": 4, "%y%m": 4, "%y%j": 5, "%y%m%d": 6}.get(form, 0)
    text += f".str.zfill({width})" if width else ""
    if what == "Unix time":
        cure = f'pd.to_datetime(df["ds"], unit="{form}"){_from_1960(values, form)}'
    elif form == "quarter":
        century = "" if first >= FIRST_YEAR * 10 else '"20" + '
        text += "" if first >= FIRST_YEAR * 10 else ".str.zfill(3)"
        cure = (
            f'pd.PeriodIndex({century}{text}.str[:-1] + "Q" + {text}.str[-1], freq="Q")'
            ".to_timestamp()"
        )
    elif form in ("%g%V", "%G%V", "%G%V%u"):
        century = '"20" + ' if form == "%g%V" else ""
        cure = f'pd.to_datetime({century}{text} + "1", format="%G%V%u")'
    else:
        cure = f'pd.to_datetime({text}, format="{form}")'
    return DataError(
        f"column ds holds integers such as {first} that look like {what}: parse them, "
        f'df["ds"] = {cure}, or say that they are steps: freq="step"'
    )
