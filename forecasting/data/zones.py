"""Time zones by a name that every machine knows, whatever object a table's stamps carry."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency, wall_clock
from forecasting.errors import DataError


def zone_name(zone: tzinfo) -> str:
    """``Europe/Madrid``, ``UTC``, or ``+01:00`` for an offset that never changes.

    The label of an offset is no zone: ``timezone(timedelta(hours=1), "CET")`` has no summer time.

    Raises
    ------
    DataError : a zone without a name, such as that of the machine at hand.
    """
    for name in (getattr(zone, "key", None), getattr(zone, "zone", None), _of_file(zone)):
        if name and _exists(name):
            return "UTC" if name in ("Etc/UTC", "UCT", "Zulu") else name
    offset = zone.utcoffset(None)
    if offset is None or offset % timedelta(minutes=1):
        raise DataError(
            f"the time zone of ds ({zone!r}) has no name that other machines know; convert the "
            'stamps first, for instance with .dt.tz_convert("Europe/Madrid") or "UTC"'
        )
    minutes = int(offset / timedelta(minutes=1))
    if not minutes:
        return "UTC"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def refuse_steps_of_the_clock(step: Frequency, stamps: Array, codes: Array, zone: str) -> None:
    """Readings at 0, 6, 12 and 18 o'clock are five and seven hours apart twice a year.

    Parameters
    ----------
    stamps : [T] UTC, off the grid of ``step``. codes : [T] the series of each.
    """
    local = wall_clock(stamps, zone).astype(np.int64)
    first = local[np.searchsorted(codes, codes)]
    if not ((local - first) % step.size).any():
        raise DataError(
            f"ds keeps steps of {step.alias} by the wall clock of {zone}, which are longer and "
            "shorter where clocks change; forecast them without a zone: "
            'df["ds"] = df["ds"].dt.tz_localize(None)'
        )


def _of_file(zone: tzinfo) -> str | None:
    """The name of a zone that dateutil has read from the time zone database."""
    path = getattr(zone, "_filename", None)
    return str(path).replace("\\", "/").rpartition("zoneinfo/")[2] if path else None


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return False
    return True
