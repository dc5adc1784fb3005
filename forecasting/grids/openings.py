"""Steps that count open time only: Monday to Saturday, opening hours, days of trading.

A week is a pattern of open steps, and some days are closed. Steps are counted over what is open, so
closed time is neither a step nor a gap: it is not forecast, and nothing is missing there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.grids.periods import WEEKDAYS

UNITS = {"min": 60_000_000, "h": 3_600_000_000, "D": 86_400_000_000}
DAY, WEEK = UNITS["D"], 7 * UNITS["D"]
# A Monday.
ORIGIN = np.datetime64("1969-12-29", "us")
_RULE = re.compile(r"(\d*)(min|h|D)\[(.*)\]")
_SPAN = re.compile(r"([A-Z]{3})(?:-([A-Z]{3}))?(?: +(\d\d):(\d\d)-(\d\d):(\d\d))?")
HELP = (
    "D[MON-SAT], 30min[MON-FRI 09:00-17:30; SAT 10:00-14:00], or with closed days, "
    "D[MON-FRI; closed 2024-12-25 2025-01-01]"
)


@dataclass(frozen=True)
class Opening:
    """When steps are.

    Attributes
    ----------
    size : of a step, in microseconds. open : [W] bool, of the steps of a week from Monday 0:00.
    closed : days, rising.
    """

    size: int
    open: Array
    closed: Array

    @cached_property
    def per_week(self) -> int:
        """Open steps in a week without closed days."""
        return int(self.open.sum())

    def number(self, stamps: Array) -> Array:
        """Open steps before or at each stamp, of any shape, counted from the origin."""
        since = (stamps.astype("datetime64[us]") - ORIGIN).astype(np.int64)
        raw = self._raw(since)
        return raw - np.searchsorted(self._gone, raw, side="right")

    def stamp(self, number: Array) -> Array:
        """The stamp of each number of an open step, ``datetime64[us]``."""
        raw = number + np.searchsorted(self._gone - np.arange(len(self._gone)), number, "right")
        week, within = np.divmod(raw, self.per_week)
        slot = np.flatnonzero(self.open)[within]
        return np.asarray(ORIGIN + (week * WEEK + slot * self.size).astype("timedelta64[us]"))

    def _raw(self, since: Array) -> Array:
        """The number of the last open step that is not later, as if no day were closed."""
        week, within = np.divmod(since, WEEK)
        up_to = np.cumsum(self.open)[within // self.size]
        return np.asarray(week * self.per_week + up_to - 1)

    @cached_property
    def _gone(self) -> Array:
        """Numbers of the steps that closed days take away, rising."""
        per_day = DAY // self.size
        begin = (self.closed.astype("datetime64[us]") - ORIGIN).astype(np.int64)
        slots = begin[:, None] + np.arange(per_day) * self.size
        counted = np.take(self.open, (slots % WEEK) // self.size)
        return self._raw(np.asarray(slots[np.nonzero(counted)]))


def is_opening(text: str) -> bool:
    """Whether a text is one of open times."""
    return _RULE.fullmatch(text.strip()) is not None


@lru_cache(maxsize=64)
def parsed(text: str) -> Opening:
    """Open times as they are written; `DataError` says how."""
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise DataError(f"freq = {text!r} tells no open times: {HELP}")
    size = int(match[1] or 1) * UNITS[match[2]]
    if size == 0 or DAY % size:
        raise DataError(f"freq = {text!r}: a step must go into a day without a rest")
    open_, closed = np.zeros(WEEK // size, bool), []
    for part in filter(None, (p.strip() for p in match[3].split(";"))):
        if part.startswith("closed "):
            closed += part.split()[1:]
        else:
            _open(open_, part, size, text)
    if not open_.any():
        raise DataError(f"freq = {text!r} is never open: {HELP}")
    try:
        days = np.unique(np.array(closed, dtype="datetime64[D]"))
    except ValueError:
        raise DataError(f"freq = {text!r}: closed days are written 2024-12-25") from None
    return Opening(size, open_, days)


def _open(open_: Array, part: str, size: int, text: str) -> None:
    """Mark the steps of one span, such as MON-FRI 09:00-17:00."""
    match = _SPAN.fullmatch(part)
    if match is None or match[1] not in WEEKDAYS or (match[2] or match[1]) not in WEEKDAYS:
        raise DataError(f"freq = {text!r}: {part!r} tells no days and hours: {HELP}")
    first, last = WEEKDAYS.index(match[1]), WEEKDAYS.index(match[2] or match[1])
    begin, end = 0, DAY
    if match[3] is not None:
        begin, end = (
            int(h) * UNITS["h"] + int(m) * UNITS["min"]
            for h, m in ((match[3], match[4]), (match[5], match[6]))
        )
    if last < first or not 0 <= begin < end <= DAY or begin % size or end % size:
        raise DataError(
            f"freq = {text!r}: {part!r} must rise, and its hours be whole steps of the day: {HELP}"
        )
    for day in range(first, last + 1):
        open_[(day * DAY + begin) // size : (day * DAY + end) // size] = True


def named(text: str) -> list[str]:
    """What of the closed days of open times is named, a country or a market, and no date."""
    parts = [p.strip() for p in text.strip().removesuffix("]").split("[", 1)[-1].split(";")]
    words = [word for part in parts if part.startswith("closed ") for word in part.split()[1:]]
    return [word for word in words if not word[:1].isdigit()]


def without_names(text: str) -> str:
    """The same open times without the named closed days."""
    for name in named(text):
        text = re.sub(rf"(?<= ){re.escape(name)}(?=[ ;\]])", "", text)
    return re.sub(r";? *closed *(?=[;\]])", "", text)


def closed_days(text: str, days: Array) -> str:
    """The same open times with further closed days, those that were open anyway left out."""
    opening = parsed(text)
    per_day = DAY // opening.size
    weekday = (days.astype("datetime64[D]").astype(np.int64) + 3) % 7
    open_on = np.asarray(opening.open.reshape(7, per_day).any(axis=1), bool)
    more = np.unique(np.concatenate([opening.closed, days[open_on[weekday]]]))
    spans = [p.strip() for p in text.strip()[:-1].split("[", 1)[1].split(";")]
    spans = [p for p in spans if p and not p.startswith("closed ")]
    head = text.strip().split("[", 1)[0]
    closings = [f"closed {' '.join(map(str, more))}"] if len(more) else []
    return f"{head}[{'; '.join([*spans, *closings])}]"
