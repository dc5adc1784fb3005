"""Cutoffs of the past as people type them, and what was known there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import ConfigError, DataError

if TYPE_CHECKING:
    pass


MOST_CUTOFFS = 10_000


@dataclass(frozen=True)
class Past:
    """Past cutoffs: stamps from ``first`` to ``last``, ``every`` so many steps; as they are typed.

    A day without a time means its end: all of its rows are known.
    """

    first: str
    last: str
    every: int = 1

    @classmethod
    def as_of(cls, stamp: str) -> Past:
        """One cutoff."""
        return cls(stamp, stamp)

    def cutoffs(self, panel: Panel) -> Array:
        """[K] stamps of the panel's grid, the oldest first.

        Raises
        ------
        DataError : stamps that are none, or out of order; no row of the panel up to there.
        """
        if self.every < 1:
            raise ConfigError(f"--every {self.every}: must be 1 or more steps")
        first, last = read_stamp(self.first, panel), read_stamp(self.last, panel)
        if first > last:
            raise DataError(f"--backfill {self.first} {self.last}: the second is before the first")
        origin, end = panel.start.min(), panel.last.max()
        if last < origin:
            raise DataError(
                f"{self.last} is before the first row of the data, {public(origin, panel)}"
            )
        if first > end and self.first != self.last:
            raise DataError(f"{self.first} is after the last row of the data, {public(end, panel)}")
        bounds = panel.freq.steps_between(origin, np.array([max(first, origin), min(last, end)]))
        # As of a date after the last row all that there is was known.
        high = int(bounds[1])
        low = int(bounds[0]) if self.first != self.last else high
        if panel.freq.shift(origin, low) < first and self.first != self.last:
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


def read_stamp(text: str, panel: Panel) -> Any:
    """A stamp as typed, in the panel's terms; `DataError` says how to write one."""
    if panel.freq.integer:
        try:
            return np.int64(int(text))
        except ValueError:
            raise DataError(f"{text!r} is no step: the data have integer stamps") from None
    stamp: Any = None
    with contextlib.suppress(ValueError):
        stamp = pd.Timestamp(text)
    if pd.isna(stamp):
        raise DataError(f"{text!r} is no date: write it as 2024-01-31, or 2024-01-31T06:00")
    whole = len(text.strip()) <= len("2024-01-31")
    if whole:
        stamp = stamp + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
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


def public(stamp: Any, panel: Panel) -> str:
    """A stamp for a person."""
    return str(public_stamps(np.asarray([stamp]), panel)[0]).removesuffix(".000000")


def known_at(panel: Panel, cutoff: Any, horizon: int) -> Panel:
    """The panel as it was known at a stamp: later rows are what was ahead then."""
    keep = panel.freq.steps_between(panel.start, np.asarray(cutoff)) + 1
    keep = np.clip(keep, 0, panel.lengths)
    return panel.truncate(panel.lengths - keep, horizon=horizon)
