"""Whole numbers as stamps: plain steps, but for those that can only be dates."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError

FIRST_YEAR = 1700
LAST_YEAR = 2200
# Unix time of the years 1990 to 2100, in seconds.
EPOCH = (631_152_000, 4_102_444_800)
# Shortest step of Unix time that is taken for one, in seconds.
SHORTEST = 60
# Beyond it, differences of numbers overflow.
LARGEST = 2**62


def refuse_dates(steps: Array) -> None:
    """Whole numbers that can only be dates would be forecast as steps: 202212, 202213, 202214.

    Parameters
    ----------
    steps : [T] of any series, in any order.

    Raises
    ------
    DataError : with the line that parses them, and the word that makes them steps.
    """
    values = np.unique(steps)
    if len(values) < 2:
        return
    if int(values[0]) < -LARGEST or int(values[-1]) > LARGEST:
        raise DataError(
            f"column ds holds whole numbers such as {values[-1]}, too large for steps: count them "
            "from a smaller one"
        )
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


def refuse_size(size: int) -> None:
    """A step of 100 or 1,000,000 between whole numbers: dates of a form that is not known."""
    if size >= 100 and str(size).strip("0") == "1":
        raise DataError(
            f"the whole numbers in ds are {size:,} apart, as dates are whose last places stand "
            f'still: parse them as they are written, or say that they are steps: freq="{size}step"'
        )


def _look_like(values: Array, what: str, form: str) -> DataError:
    first = int(values[0])
    cure = (
        f'pd.to_datetime(df["ds"], unit="{form}")'
        if what == "Unix time"
        else 'pd.to_datetime(df["ds"].astype(str) + "1", format="%G%V%u")'
        if form == "%G%V%u"
        else f'pd.to_datetime(df["ds"].astype(str), format="{form}")'
    )
    return DataError(
        f"column ds holds integers such as {first} that look like {what}: parse them, "
        f'df["ds"] = {cure}, or say that they are steps: freq="step"'
    )
