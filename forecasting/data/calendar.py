"""Frequencies: regular steps of time, their seasons, and what the calendar says of a stamp.

Stamps are ``datetime64[us]`` (wall clock without a zone, or UTC), or ``int64`` for panels whose
``ds`` is a plain step. Everything here is vectorised over series.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.grids import openings, periods

# Of a unit of time of fixed length.
MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "D": 86_400_000_000,
    "W": 7 * 86_400_000_000,
}
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SPELLINGS = {
    "H": "h", "T": "min", "S": "s", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "AS": "YS",
    "BM": "ME", "hourly": "h", "daily": "D", "weekly": "W", "monthly": "MS", "quarterly": "QS",
    "yearly": "YS", "annual": "YS", "d": "D", "w": "W", "integer": "step",
}  # fmt: skip
_HELP = (
    "use a pandas alias such as 15min, h, D, B, W-SUN, MS, ME, QS, QE-DEC, YS, SMS, BME, or step; "
    f"open times such as {openings.HELP}"
)


@dataclass(frozen=True)
class Frequency:
    """One regular step of time.

    Attributes
    ----------
    unit : ``step`` (integers), ``time`` (a fixed length), ``business`` (Monday to Friday),
        ``month`` (whole months, at their start or end), ``listed`` (a rule of
        `forecasting.grids.periods`) or ``open`` (open times, `forecasting.grids.openings`).
    size : microseconds for ``time`` and ``open``, months for ``month``, a count otherwise.
    anchor : weekday of a weekly step, or last or first month of a quarterly or yearly one.
    end : a ``month`` step stamped with the last day of its period.
    day : of a ``month`` step, 29 or 30 where stamps lie on it and shorter months cut it: a start on
        the last of a shorter month then means that day. 0 where starts mean their own.
    rule : the text of a rule and of open times; "" for other units.
    """

    unit: str
    size: int
    anchor: str = ""
    end: bool = False
    day: int = field(default=0, compare=False)
    rule: str = ""

    @staticmethod
    def parse(text: str | Frequency) -> Frequency:
        """The frequency of a pandas alias; `DataError` says what is allowed."""
        if isinstance(text, Frequency):
            return text
        if str(text).strip() == "1":
            return Frequency("step", 1)
        if openings.is_opening(str(text)):
            rule = str(text).strip()
            return Frequency("open", openings.parsed(rule).size, rule=rule)
        if periods.is_rule(str(text).strip()):
            return Frequency("listed", 1, rule=str(text).strip())
        match = re.fullmatch(r"\s*(\d*)\s*([A-Za-z]+)(?:-([A-Za-z]{3}))?\s*", str(text))
        if not match or match[1] == "0":
            raise DataError(f"freq = {text!r} is not a frequency: {_HELP}")
        count, name, anchor = int(match[1] or 1), match[2], (match[3] or "").upper()
        name = _SPELLINGS.get(name, name)
        if name == "step":
            return Frequency("step", count)
        if name in MICROSECONDS:
            if anchor and (name != "W" or anchor not in WEEKDAYS):
                raise DataError(f"freq = {text!r} has an anchor that means nothing: {_HELP}")
            return Frequency("time", count * MICROSECONDS[name], anchor if name == "W" else "")
        if name == "B":
            return Frequency("business", count)
        months = {"M": 1, "Q": 3, "Y": 12}.get(name[0], 0)
        if months and name[1:] in ("S", "E") and (not anchor or anchor in MONTHS):
            if months == 1 and anchor:
                raise DataError(f"freq = {text!r} has an anchor that means nothing: {_HELP}")
            return Frequency("month", count * months, anchor, name.endswith("E"))
        raise DataError(f"freq = {text!r} is not a frequency: {_HELP}")

    @property
    def alias(self) -> str:
        """The canonical pandas alias, or ``step``."""
        if self.unit == "step":
            return "step" if self.size == 1 else f"{self.size}step"
        if self.unit == "business":
            return "B" if self.size == 1 else f"{self.size}B"
        if self.rule:
            return self.rule
        if self.unit == "month":
            letter = "Y" if self.size % 12 == 0 else "Q" if self.size % 3 == 0 else "M"
            many = self.size // {"Y": 12, "Q": 3, "M": 1}[letter]
            anchor = f"-{self.anchor}" if self.anchor and letter != "M" else ""
            return f"{'' if many == 1 else many}{letter}{'E' if self.end else 'S'}{anchor}"
        for name in ("W", "D", "h", "min", "s", "ms", "us"):
            if self.size % MICROSECONDS[name] == 0 and (name != "W" or self.anchor):
                count = self.size // MICROSECONDS[name]
                anchor = f"-{self.anchor}" if name == "W" else ""
                return f"{'' if count == 1 else count}{name}{anchor}"
        raise AssertionError("every size is a whole number of microseconds")

    def same_step(self, other: Frequency) -> bool:
        """Whether steps are of the same length, wherever they are anchored."""
        if self.rule or other.rule:
            return self == other
        return (self.unit, self.size, self.end) == (other.unit, other.size, other.end)

    @property
    def integer(self) -> bool:
        """Whether stamps are plain integers."""
        return self.unit == "step"

    @property
    def sub_daily(self) -> bool:
        """Whether several steps fall on one day."""
        return self.unit in ("time", "open") and self.size < MICROSECONDS["D"]

    @property
    def seasons(self) -> tuple[int, ...]:
        """Seasonal periods in steps, shortest first; empty when there is none."""
        if self.unit == "step":
            return ()
        if self.unit == "business":
            return (5,) if self.size == 1 else ()
        if self.unit == "listed":
            return (periods.per_year(self.rule),)
        if self.unit == "open":
            return self._open_seasons
        if self.unit == "month":
            return (12 // self.size,) if self.size < 12 and 12 % self.size == 0 else ()
        lengths = []
        for name in ("min", "h", "D", "W"):
            period = MICROSECONDS[name]
            whole = period % self.size == 0 and period // self.size >= 4
            if whole and not (name in ("min", "h") and self.size >= MICROSECONDS["min"]):
                lengths.append(period // self.size)
        if self.size == MICROSECONDS["W"]:
            return (52,)
        return tuple(p for p in lengths if p <= 20_000)

    @property
    def season(self) -> int:
        """The main season in steps: a day for sub-daily data, a week for days; 1 for none."""
        seasons = self.seasons
        if self.sub_daily and self.unit != "open":
            day = MICROSECONDS["D"] // self.size
            return day if day in seasons else (seasons[0] if seasons else 1)
        return seasons[0] if seasons else 1

    @property
    def _open_seasons(self) -> tuple[int, ...]:
        """A day where every open day is as long, and a week, in open steps."""
        opening = openings.parsed(self.rule)
        days = opening.open.reshape(7, -1).sum(axis=1)
        days = days[days > 0]
        lengths = [int(days[0])] if (days == days[0]).all() and days[0] >= 4 else []
        week = opening.per_week
        return (*lengths, week) if 2 <= week <= 20_000 and [week] != lengths else tuple(lengths)

    def stamps(self, start: Array, first: Array | int, length: int) -> Array:
        """Consecutive stamps per series.

        Parameters
        ----------
        start : [N] stamp of step 0 of each series.
        first : [N] or a number, the step of the first stamp wanted.
        length : how many stamps.

        Returns
        -------
        [N, length] ``datetime64[us]`` or ``int64``.
        """
        steps = np.reshape(np.asarray(first, dtype=np.int64), (-1, 1)) + np.arange(length)
        return self.shift(np.reshape(start, (-1, 1)), steps)

    def shift(self, stamps: Array, steps: Array | int) -> Array:
        """Stamps moved by whole steps; both of any shapes that broadcast against each other."""
        steps = np.asarray(steps, dtype=np.int64)
        if self.unit == "step":
            return np.asarray(np.asarray(stamps, dtype=np.int64) + steps * self.size)
        stamps = np.asarray(stamps, dtype="datetime64[us]")
        if self.unit == "time":
            return np.asarray(stamps + (steps * self.size).astype("timedelta64[us]"))
        if self.unit == "open":
            opening = openings.parsed(self.rule)
            return opening.stamp(opening.number(stamps) + steps)
        days = stamps.astype("datetime64[D]")
        time_of_day = stamps - days
        if self.unit == "listed":
            ahead = periods.at(self.rule, periods.place(self.rule, days) + steps * self.size)
            return np.asarray(ahead.astype("datetime64[us]") + time_of_day)
        if self.unit == "business":
            moved = np.busday_offset(days, steps * self.size, roll="forward")
            return np.asarray(moved.astype("datetime64[us]") + time_of_day)
        months = days.astype("datetime64[M]")
        day_of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
        if self.day:
            cut = days + 1 == (months + 1).astype("datetime64[D]")
            day_of_month = np.where(cut & (day_of_month < self.day), self.day - 1, day_of_month)
        target = months + (steps * self.size).astype("timedelta64[M]")
        last = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(
            np.int64
        ) - 1
        offset = last if self.end else np.minimum(day_of_month, last)
        moved = target.astype("datetime64[D]") + offset.astype("timedelta64[D]")
        return np.asarray(moved.astype("datetime64[us]") + time_of_day)

    def steps_between(self, start: Array | np.datetime64, stamps: Array) -> Array:
        """Whole steps from ``start`` to ``stamps`` (rounded down), int64, broadcasting."""
        if self.unit == "step":
            return np.asarray((np.asarray(stamps, np.int64) - np.asarray(start)) // self.size)
        start = np.asarray(start, dtype="datetime64[us]")
        stamps = np.asarray(stamps, dtype="datetime64[us]")
        if self.unit == "time":
            return np.asarray((stamps - start).astype(np.int64) // self.size)
        if self.unit == "open":
            opening = openings.parsed(self.rule)
            return np.asarray(opening.number(stamps) - opening.number(start))
        if self.unit == "listed":
            ends = (periods.place(self.rule, stamp) for stamp in (stamps, np.asarray(start)))
            later, earlier = ends
            return np.asarray((later - earlier) // self.size)
        if self.unit == "business":
            count = np.busday_count(start.astype("datetime64[D]"), stamps.astype("datetime64[D]"))
            return np.asarray(count // self.size)
        months = stamps.astype("datetime64[M]") - start.astype("datetime64[M]")
        return np.asarray(months.astype(np.int64) // self.size)


def calendar_names(freq: Frequency) -> tuple[str, ...]:
    """Names of the columns of `calendar_features` for this frequency; may be empty."""
    if freq.integer or (freq.unit == "month" and freq.size >= 12):
        return ()
    waves = ["year"] if freq.unit in ("month", "listed") else ["year", "week"]
    if freq.unit == "time" and freq.size >= MICROSECONDS["W"]:
        waves = ["year"]
    if freq.sub_daily:
        waves.append("day")
    names = [f"{w}_{f}{k}" for w in waves for k in (1, 2) for f in ("sin", "cos")]
    return (*names, "weekend") if "week" in waves else tuple(names)


def calendar_features(stamps: Array, freq: Frequency, tz: str | None = None) -> Array:
    """What the calendar says of each stamp: two harmonics of year, week and day.

    Parameters
    ----------
    stamps : any shape; UTC when ``tz`` is given and the frequency is sub-daily, else wall clock.

    Returns
    -------
    float32 of shape ``stamps.shape + (len(calendar_names(freq)),)``, within [-1, 1].
    """
    names = calendar_names(freq)
    out = np.empty((*stamps.shape, len(names)), dtype=np.float32)
    if not names:
        return out
    local = wall_clock(stamps, tz) if freq.sub_daily else stamps
    days = local.astype("datetime64[D]")
    year = days.astype("datetime64[Y]")
    month = days.astype("datetime64[M]")
    in_month = (days - month.astype("datetime64[D]")).astype(np.float64)
    of_day = (local - days).astype(np.float64) / MICROSECONDS["D"]
    weekday = (days.astype(np.int64) + 3) % 7
    if freq.unit == "month":
        of_year = (month - year.astype("datetime64[M]")).astype(np.float64) / 12.0
    else:
        # Months of equal length keep 1 March at the same phase in leap years.
        of_year = ((month - year.astype("datetime64[M]")).astype(np.float64) + in_month / 31) / 12
    phases = {"year": of_year, "week": (weekday + of_day) / 7.0, "day": of_day}
    for column, name in enumerate(names):
        if name == "weekend":
            out[..., column] = weekday >= 5
        else:
            wave, kind = name.split("_")
            angle = 2.0 * np.pi * int(kind[3:]) * phases[wave]
            out[..., column] = np.sin(angle) if kind.startswith("sin") else np.cos(angle)
    return out


def wall_clock(stamps: Array, tz: str | None) -> Array:
    """UTC stamps of any shape as the local wall clock of ``tz``; unchanged without a zone."""
    if tz is None:
        return stamps
    import pandas as pd

    utc = pd.DatetimeIndex(stamps.ravel()).tz_localize("UTC")
    local = utc.tz_convert(tz).tz_localize(None).to_numpy()
    return np.asarray(local.astype("datetime64[us]").reshape(stamps.shape))


def least_offset(start: Array, tz: str | None) -> Array:
    """[N] microseconds that a zone is ahead of UTC, the least of the year of each stamp."""
    years, of_stamp = np.unique(start.astype("datetime64[Y]"), return_inverse=True)
    weeks = np.arange(0, 365, 7).astype("timedelta64[D]")
    dates = (years.astype("datetime64[D]")[:, None] + weeks).astype("datetime64[us]")
    ahead = (wall_clock(dates, tz) - dates).astype(np.int64).min(axis=1)
    return np.asarray(ahead[of_stamp])


def nearest_step(gap: Array, size: int) -> Array:
    """Steps of ``size`` in gaps of any shape (both microseconds), rounded; of two the earlier."""
    return np.asarray(-((size - 2 * gap) // (2 * size)))


def phase(start: Array, freq: Frequency, length: int, tz: str | None = None) -> Array:
    """Position of each stamp in a cycle of ``length`` steps, [N] int64 in [0, length).

    Counted from the calendar's origin (a Monday at midnight, or January), so that all series
    agree; for integer stamps, from step 0.
    """
    if freq.integer:
        return np.asarray((np.asarray(start, np.int64) // freq.size) % length)
    origin = np.datetime64("1969-12-29T00:00:00", "us")
    if freq.unit == "month":
        origin = np.datetime64("1970-01-01", "us")
    if freq.sub_daily and tz is not None:
        # The same step of the day before and after a change that is shorter than a step.
        grid = start.astype(np.int64) + least_offset(start, tz) - origin.astype(np.int64)
        gap = (wall_clock(start, tz) - origin).astype(np.int64) - grid % freq.size
        return np.asarray(nearest_step(gap, freq.size) % length)
    return np.asarray(freq.steps_between(origin, start) % length)
