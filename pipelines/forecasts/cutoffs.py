"""Cutoffs of the past as people type them, and what was known there."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import ConfigError, DataError

if TYPE_CHECKING:
    pass


MOST_CUTOFFS = 10_000
# A day of a week, and a week, which is no cutoff, as ISO 8601 writes them.
_WEEK_DAY, _WEEK = re.compile(r"\d{4}-?W\d\d-?\d"), re.compile(r"\d{4}-?W\d\d")
# A day, a month and a year.
_PERIODS = {
    "D": re.compile(r"\d{4}-\d\d-\d\d|\d{8}"),
    "M": re.compile(r"\d{4}-\d\d"),
    "Y": re.compile(r"\d{4}"),
}


@dataclass(frozen=True)
class Past:
    """Past cutoffs: stamps from ``first`` to ``last``, ``every`` so many steps; as they are typed.

    A day without a time means its end: all of its rows are known; as the ``first`` its begin. None
    there: the ``last`` alone.
    """

    first: str | None
    last: str
    every: int = 1

    @classmethod
    def as_of(cls, stamp: str) -> Past:
        """One cutoff."""
        return cls(None, stamp)

    def cutoffs(self, panel: Panel) -> Array:
        """[K] stamps of the panel's grid, the oldest first.

        Raises
        ------
        DataError : stamps that are none, or out of order; no row of the panel up to there.
        """
        if self.every < 1:
            raise ConfigError(f"--every {self.every}: must be 1 or more steps")
        last = read_stamp(self.last, panel)
        first = last if self.first is None else read_stamp(self.first, panel, begin=True)
        if first > last:
            raise DataError(f"--backfill {self.first} {self.last}: the second is before the first")
        origin, end = panel.start.min(), panel.last.max()
        if last < origin:
            raise DataError(
                f"{self.last} is before the first row of the data, {public(origin, panel)}"
            )
        if first > end and self.first is not None:
            raise DataError(f"{self.first} is after the last row of the data, {public(end, panel)}")
        bounds = panel.freq.steps_between(origin, np.array([max(first, origin), min(last, end)]))
        # As of a date after the last row all that there is was known.
        high = int(bounds[1])
        low = int(bounds[0]) if self.first is not None else high
        if self.first is not None and panel.freq.shift(origin, low) < first:
            low += 1
        steps = np.arange(high, low - 1, -self.every)[::-1]
        if not len(steps):
            raise DataError(
                f"--backfill {self.first} {self.last}: no stamp of the data lies between; "
                "name dates that are further apart"
            )
        if len(steps) > MOST_CUTOFFS:
            raise DataError(
                f"--backfill: {len(steps):,} cutoffs, and at most {MOST_CUTOFFS:,} are made at "
                "once; name a larger --every, or go in parts"
            )
        return np.asarray(panel.freq.shift(np.broadcast_to(origin, steps.shape), steps))


def read_stamp(text: str, panel: Panel, *, begin: bool = False) -> Any:
    """A stamp as typed, in the panel's terms; `DataError` says how to write one.

    Of a day, a month or a year it is the end, or where asked for the ``begin``.
    """
    if panel.freq.integer:
        try:
            return np.int64(int(text))
        except ValueError:
            raise DataError(f"{text!r} is no step: the data have integer stamps") from None
    stamp: pd.Timestamp | None = None
    period = _period(text.strip())
    if period is not None:
        stamp = period.start_time if begin else period.end_time.floor("us")
    else:
        # Not what pandas makes of any text: it reads 01.05.2024 as 5 January.
        with contextlib.suppress(ValueError):
            if not _WEEK.fullmatch(text.strip()):
                stamp = pd.Timestamp(datetime.fromisoformat(text.strip()))
    if stamp is None:
        raise DataError(f"{text!r} is no date: write it as 2024-01-31, or 2024-01-31T06:00")
    if panel.tz is not None and panel.freq.sub_daily:
        try:
            local = stamp if stamp.tzinfo is not None else stamp.tz_localize(panel.tz)
        except ValueError:
            raise DataError(
                f"{text!r} is no hour in {panel.tz}, or two: write its offset, such as +01:00"
            ) from None
        stamp = local.tz_convert("UTC")
    elif stamp.tzinfo is not None:
        raise DataError(f"{text!r} has a time zone, the stamps of the data have none")
    return stamp.tz_localize(None).to_datetime64().astype("datetime64[us]")


def _period(text: str) -> pd.Period | None:
    """A whole day, month or year; None for anything else."""
    for unit, form in _PERIODS.items():
        if form.fullmatch(text):
            with contextlib.suppress(ValueError):
                return pd.Period(text, freq=unit)
    if _WEEK_DAY.fullmatch(text):
        with contextlib.suppress(ValueError):
            return pd.Period(date.fromisoformat(text), freq="D")
    return None


def public(stamp: Any, panel: Panel) -> str:
    """A stamp for a person."""
    return str(public_stamps(np.asarray([stamp]), panel)[0]).removesuffix(".000000")


def known_at(panel: Panel, cutoff: Any, horizon: int) -> Panel:
    """The panel as it was known at a stamp: later rows are what was ahead then."""
    keep = panel.freq.steps_between(panel.start, np.asarray(cutoff)) + 1
    keep = np.clip(keep, 0, panel.lengths)
    return panel.truncate(panel.lengths - keep, horizon=horizon)
