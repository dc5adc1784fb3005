"""Steps that follow a rule and no length: half months, business ends of months, 4-4-5 weeks.

A rule is a table of all its stamps, from 1700 to 2299: where a stamp lies, and which comes so many
steps later, is looked up.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError

FIRST, LAST = 1700, 2300
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# Weeks of the three periods of a quarter.
PATTERNS = {"445": (4, 4, 5), "454": (4, 5, 4), "544": (5, 4, 4)}
_WEEKS = re.compile(r"(445|454|544)([SE])-([NL])-([A-Z]{3})-([A-Z]{3})")
HELP = (
    "SMS (days 1 and 15), SME (15 and last), BMS or BME (first or last business day of a month), "
    "or weeks such as 445S-N-SAT-JAN: periods of 4, 4 and 5 weeks (or 454, 544), stamped with "
    "their start S or end E, in years that end on the Saturday nearest N to the end of January, or "
    "the last one L in it"
)


def is_rule(text: str) -> bool:
    """Whether a text names a rule."""
    match = _WEEKS.fullmatch(text)
    if match:
        return match[4] in WEEKDAYS and match[5] in MONTHS
    return text in ("SMS", "SME", "BMS", "BME")


def per_year(rule: str) -> int:
    """Steps in a year."""
    return 24 if rule in ("SMS", "SME") else 12


@lru_cache(maxsize=16)
def stamps_of(rule: str) -> Array:
    """[K] ``datetime64[D]`` of all stamps of a rule, rising."""
    months = np.arange(f"{FIRST}-01", f"{LAST}-01", dtype="datetime64[M]")
    first = months.astype("datetime64[D]")
    last = (months + 1).astype("datetime64[D]") - 1
    if rule == "SMS":
        return np.sort(np.concatenate([first, first + 14]))
    if rule == "SME":
        return np.sort(np.concatenate([first + 14, last]))
    if rule == "BMS":
        return np.busday_offset(first, 0, roll="forward")
    if rule == "BME":
        return np.busday_offset(last, 0, roll="backward")
    return _weeks(rule)


def _weeks(rule: str) -> Array:
    """Starts or ends of the twelve periods of each year of whole weeks.

    A year of 53 weeks has its last week in the last period.
    """
    match = _WEEKS.fullmatch(rule)
    assert match is not None
    pattern, side, kind, weekday, month = match.groups()
    ends = _year_ends(kind, WEEKDAYS.index(weekday), MONTHS.index(month))
    weeks = np.cumsum([0, *(PATTERNS[pattern] * 4)])[:-1]
    starts = (ends[:-1, None] + 1 + 7 * weeks[None, :]).ravel()
    return starts if side == "S" else np.concatenate([starts[1:], ends[-1:] + 1]) - 1


def _year_ends(kind: str, weekday: int, month: int) -> Array:
    """[Y] last day of each year: a weekday, the last of a month or that nearest to its end."""
    years = np.arange(FIRST, LAST)
    end = ((years - 1970) * 12 + month + 1).astype("datetime64[M]").astype("datetime64[D]") - 1
    back = (((end.astype(np.int64) + 3) % 7) - weekday) % 7
    ahead = np.where((kind == "N") & (back > 3), 7 - back, -back)
    return np.asarray(end + ahead)


def place(rule: str, stamps: Array) -> Array:
    """Position in the table of the last stamp that is not after each of ``stamps``, any shape.

    Raises
    ------
    DataError : a stamp outside the table.
    """
    table = stamps_of(rule)
    position = np.searchsorted(table, stamps.astype("datetime64[D]"), side="right") - 1
    return _inside(rule, position)


def at(rule: str, position: Array) -> Array:
    """Stamps [...] ``datetime64[D]`` at positions of the table."""
    return np.asarray(stamps_of(rule)[_inside(rule, position)])


def _inside(rule: str, position: Array) -> Array:
    if position.size and (position.min() < 0 or position.max() >= len(stamps_of(rule))):
        raise DataError(f"freq = {rule} has stamps from {FIRST} to {LAST - 1} only")
    return np.asarray(position)
