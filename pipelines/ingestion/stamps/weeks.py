"""Weeks of a year: those of ISO 8601, or counted otherwise."""

from __future__ import annotations

import datetime

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError

# Microseconds of a day; weeks on either side that must be there for one to be missed.
_DAY, _BESIDE = 86_400_000_000, 2


def refuse_52(stamps: Array, name: str, cure: str) -> None:
    """Weeks that leave out each week 53 that lies among them: they are counted otherwise.

    Stata and others count 52 weeks a year from the first of January, the last of 8 or 9 days; in
    ISO 8601 some years have 53.

    Parameters
    ----------
    stamps : [K] microseconds of days in their weeks, in any order. cure : that says it is ISO 8601.

    Raises
    ------
    DataError : they would be read up to a week off.
    """
    if not len(stamps):
        return
    # Weeks since that of the first Monday of 1970, whose Thursday says the year.
    there = np.unique((stamps // _DAY + 3) // 7)
    first, last = (1970 + int(w * 7 // 365.2425) for w in (there[0], there[-1]))
    lost = []
    for year in range(first - 1, last + 2):
        end = datetime.date(year, 12, 28)
        if end.isocalendar().week < 53:
            continue
        week = ((end - datetime.date(1970, 1, 1)).days + 3) // 7
        beside = [week + k for k in range(-_BESIDE, _BESIDE + 1) if k]
        if np.isin(beside, there).all():
            if week in there:
                return
            lost.append(year)
    if lost:
        raise DataError(
            f"column {name}: {lost[0]} has a week 53 by ISO 8601, and no row is of it while those "
            "of the weeks beside it are there: weeks of which each year has 52, counted from the "
            "first of January as Stata counts them, would be read up to a week off. Write the "
            f"first day of each week as its date; if they are of ISO 8601 and that one is missing, "
            f"{cure}"
        )
