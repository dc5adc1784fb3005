"""Numbers that are dates: year and month, quarter, week or day of the year, written as one number.

As plain steps 202201 … 202212, 202301 would leave 88 holes in every year. What can only be a date
is read as one; what may be either is refused, and the message says what settles it.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError

FIRST_YEAR = 1700
LAST_YEAR = 2200


def date_kind(values: Array, name: str) -> str:
    """What distinct whole numbers say of time: ``month``, ``quarter``, or "" for no such date.

    Raises
    ------
    DataError : a year and its week, or its day, which may as well be plain steps.
    """
    if not len(values) or int(values.min()) <= 0:
        return ""
    digits = {len(str(int(v))) for v in (values.min(), values.max())}
    if len(digits) > 1:
        return ""
    length = digits.pop()
    if length not in (5, 6, 7):
        return ""
    unit = 10 ** (length - 4)
    years, parts = values // unit, values % unit
    if int(years.min()) < FIRST_YEAR or int(years.max()) > LAST_YEAR or int(parts.min()) < 1:
        return ""
    last, several = int(parts.max()), len(np.unique(years)) > 1
    if length == 5 and last <= 4 and len(values) > 1:
        if several and len(np.unique(parts)) == 4:
            return "quarter"
        raise _either(name, values, "years and their quarters", "quarter")
    if length == 5 and not several and len(values) > 1:
        raise _either(name, values, "a year and its weeks, days of a spreadsheet", "excel")
    if length == 6 and last <= 12:
        return "month"
    if length == 6 and last <= 53:
        raise _either(name, values, "years and their weeks", "%G%V")
    if length == 7 and last <= 366:
        raise _either(name, values, "years and their days", "%Y%j")
    return ""


def _either(name: str, values: Array, what: str, form: str) -> DataError:
    first = int(values.min())
    return DataError(
        f"column {name}: numbers such as {first} may be {what}, or plain steps; set "
        f'stamps.formats: ["{form}"] to read them as dates, or freq: step'
    )
