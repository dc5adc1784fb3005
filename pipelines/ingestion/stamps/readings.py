"""Which of several readings of the same stamps is meant: the one that the calendar bears out.

A wrong reading of monthly stamps crowds them into the first days of each January: as days they keep
one step most of the time, and leave eleven months of holes. So readings are judged by the rows that
would have to be invented between their stamps, at the best whole step of the calendar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency

DAY = 86_400_000_000
# How many times more slots a reading must make than another to be ruled out by it.
CLEARLY_MORE = 2.0
# Share of holes from which on a reading is ruled out by one that has none at all.
FAULT = 0.02


@dataclass(frozen=True)
class Fit:
    """A step, and what it makes of the span of some distinct stamps.

    Attributes
    ----------
    step : pandas alias. slots : steps from the first stamp to the last, both counted.
    stamps : how many of these slots are taken. beside : stamps that lie on none, or where another
        does.
    """

    step: str
    slots: int
    stamps: int
    beside: int = 0

    @property
    def growth(self) -> float:
        """Slots for each stamp; 1 where nothing has to be invented and nothing lies beside."""
        count = max(self.stamps, 1)
        return self.slots / count * ((count + self.beside) / count) ** 2

    @property
    def holes(self) -> float:
        """Slots for each stamp, wherever it lies."""
        return self.slots / max(self.stamps + self.beside, 1)

    def rules_out(self, other: Fit) -> bool:
        """Whether another reading of the same stamps is not possible beside this one."""
        without_fault = self.growth == 1.0 and other.growth > 1.0 + FAULT
        return without_fault or other.growth >= CLEARLY_MORE * self.growth

    def __str__(self) -> str:
        more = self.slots - self.stamps
        return f"{self.stamps:,} stamps at step {self.step}, {more:,} between them missing"


def fit_of(stamps: Array, freq: Frequency | None = None) -> Fit:
    """The step that leaves the fewest holes among distinct stamps.

    Parameters
    ----------
    stamps : [K] microseconds since 1970. freq : the step, where it is given.
    """
    stamps = np.unique(stamps)
    if len(stamps) < 2:
        return Fit(freq.alias if freq else "", len(stamps), len(stamps))
    if freq is not None:
        return _on(stamps, freq)
    gaps, often = np.unique(np.diff(stamps), return_counts=True)
    steps = [Frequency("time", int(gaps[often.argmax()]))]
    days = stamps // DAY
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    if len(between := np.diff(np.unique(months))):
        sizes, often = np.unique(between, return_counts=True)
        steps += [Frequency("month", int(sizes[often.argmax()]), end=end) for end in (False, True)]
    if not ((days + 3) % 7 >= 5).any():
        steps.append(Frequency("business", 1))
    return min((_on(stamps, step) for step in steps), key=lambda f: f.growth)


def _on(stamps: Array, freq: Frequency) -> Fit:
    """Stamps on the grid of a step that most of them keep."""
    if freq.unit == "month":
        months, on = _commonest_day(stamps, freq.end)
        phase = int(np.bincount(months[on] % freq.size).argmax()) if on.any() else 0
        on = on & (months % freq.size == phase)
        place = np.asarray((months - phase) // freq.size)
    elif freq.unit == "business":
        days = (stamps // DAY).astype("datetime64[D]")
        on = np.is_busday(days)
        place = np.busday_count(np.datetime64("1970-01-01"), days)
    else:
        phases, often = np.unique(stamps % freq.size, return_counts=True)
        on = stamps % freq.size == phases[often.argmax()]
        place = stamps // freq.size
    slots_used = np.unique(place[on])
    slots = int(slots_used[-1] - slots_used[0]) + 1 if len(slots_used) else len(stamps)
    return Fit(freq.alias, slots, len(slots_used), len(stamps) - len(slots_used))


def _commonest_day(stamps: Array, end: bool) -> tuple[Array, Array]:
    """The number of each stamp's month, and whether it lies on the day of the month that most keep.

    Days 29 to 31 are cut short in some months: the latest is what is meant.
    """
    days = (stamps // DAY).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
    last = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(
        np.int64
    ) - 1
    number = months.astype(np.int64)
    if end:
        return number, of_month == last
    usual = int(np.bincount(of_month).argmax())
    usual = max(usual, int(of_month.max())) if usual >= 27 else usual
    return number, of_month == np.minimum(usual, last)


def exchanged(stamps: Array) -> Array:
    """[K] stamps with day and month the other way round, where the day may be a month."""
    days = stamps // DAY
    dates = days.astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    months = dates.astype("datetime64[M]")
    day = (dates - months.astype("datetime64[D]")).astype(np.int64)
    month = (months - years.astype("datetime64[M]")).astype(np.int64)
    other = (years.astype("datetime64[M]") + day).astype("datetime64[D]") + month
    return np.where(day < 12, other.astype(np.int64) * DAY + stamps % DAY, stamps)
