"""Stamps between text and arrays, with and without zones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import MICROSECONDS, Frequency
from forecasting.errors import SeriesProblem
from serving.errors import Faults, show

# Years that leave room for the history before and the horizon after.
FIRST_YEAR, LAST_YEAR = 1000, 9000
LAST_STAMP = np.datetime64("9999-12-31T23:59:59", "us")
# Of all stamps up to the last, and the least that a step of a unit counts, in days.
LONGEST_DAYS = 366.0 * 10_000
LEAST_DAYS = {"month": 28.0}
MAX_STEP = 2**53
OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")
EXAMPLE = "an ISO 8601 stamp such as 2026-01-31 or 2026-01-31T04:00:00"

Place = Callable[[int], tuple[str | int, ...]]


def read_starts(
    values: Sequence[Any], freq: Frequency, zone: str | None, path: Place, faults: Faults
) -> tuple[Array, str | None]:
    """The first stamp of each series.

    Stamps with an offset are moved into the zone; a sub-daily panel holds UTC, a daily or longer
    one holds the wall clock, as `Panel.from_frame` does.

    Returns
    -------
    start : [N] ``datetime64[us]`` or int64. zone : name of the panel's zone, or None.
    """
    if freq.integer:
        return _read_steps(values, path, faults), None
    home = _zone(zone, faults)
    readings: dict[str, datetime | None] = {}
    parsed: list[datetime | None] = []
    for i, value in enumerate(values):
        if type(value) is not str:
            code = "missing" if value is None else "wrong_type"
            faults.add(path(i), code, f"must be {EXAMPLE}, not {show(value)}")
            parsed.append(None)
            continue
        if value not in readings:
            readings[value] = _parse(value)
            if readings[value] is None:
                faults.add(path(i), "not_a_stamp", f"must be {EXAMPLE}, not {show(value)}")
        parsed.append(readings[value])
    if faults:
        return np.zeros(len(values), "datetime64[us]"), None
    aware = [p is not None and p.tzinfo is not None for p in parsed]
    if not any(aware) and home is None:
        return np.array(parsed, dtype="datetime64[us]"), None
    if home is None:
        home = _common_offset(parsed, aware, path, faults)
        if home is None:
            return np.zeros(len(values), "datetime64[us]"), None
    moved = [_move(p, home, freq, i, path, faults) for i, p in enumerate(parsed) if p is not None]
    return np.array(moved, dtype="datetime64[us]"), zone or _name(home)


def off_grid(start: Array, freq: Frequency) -> Array:
    """[N] whether a start is no stamp of the frequency, such as 2026-01-15 for month ends."""
    return np.asarray(freq.shift(start, np.zeros(len(start), np.int64)) != start)


def grid_problem(name: str, start: Any, freq: Frequency) -> SeriesProblem:
    """What the answer says of a series whose start is `off_grid`."""
    return SeriesProblem(
        name,
        "start_off_grid",
        f"start = {start} is not a stamp of the model's frequency {freq.alias}",
        {"column": "start"},
    )


def too_late(start: Array, sizes: Array, horizon: int, freq: Frequency) -> Array:
    """[N] whether a forecast would end after the last year that ISO 8601 writes plainly."""
    if freq.integer:
        return np.zeros(len(start), bool)
    # Stamps further than their integers reach would come round again.
    days = freq.size / MICROSECONDS["D"] if freq.unit in ("time", "open") else float(freq.size)
    far = (sizes + (horizon - 1.0)) * days * LEAST_DAYS.get(freq.unit, 1.0) > LONGEST_DAYS
    return np.asarray(far | (freq.shift(start, sizes + (horizon - 1)) > LAST_STAMP))


def write_stamps(stamps: Array, freq: Frequency, zone: str | None) -> Any:
    """[N, h] stamps as JSON shows them: an array of stamps, or of text where there is a zone."""
    if freq.integer or zone is None:
        return np.ascontiguousarray(stamps)
    import pandas as pd

    index = pd.DatetimeIndex(stamps.ravel())
    if freq.sub_daily:
        index = index.tz_localize("UTC").tz_convert(zone)
    else:
        index = index.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    local = index.tz_localize(None).to_numpy().astype("datetime64[us]")
    offset = (local - index.tz_convert("UTC").tz_localize(None).to_numpy()).astype("timedelta64[m]")
    whole = bool((local == local.astype("datetime64[s]")).all())
    text = np.datetime_as_string(local, unit="s" if whole else "us")
    minutes, inverse = np.unique(offset.astype(np.int64), return_inverse=True)
    suffix = np.array([_offset_text(int(m)) for m in minutes], dtype=np.str_)
    return np.char.add(text, suffix[inverse]).reshape(stamps.shape).tolist()


def _offset_text(minutes: int) -> str:
    if minutes == 0:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _read_steps(values: Sequence[Any], path: Place, faults: Faults) -> Array:
    if set(map(type, values)) == {int} and -MAX_STEP <= min(values) <= max(values) <= MAX_STEP:
        return np.array(values, np.int64)
    for i, value in enumerate(values):
        if type(value) is not int:
            code = "missing" if value is None else "wrong_type"
            faults.add(path(i), code, f"must be a whole number (a step), not {show(value)}")
        elif abs(value) > MAX_STEP:
            faults.add(path(i), "out_of_range", f"must lie within ±2^53, not {value}")
    return np.zeros(len(values), np.int64) if faults else np.array(values, np.int64)


def _parse(text: str) -> datetime | None:
    # Digits alone would be read as a compact date by Python, and are a mistake more often.
    if len(text) < len("2026-01-01") or text[4] != "-" or not text.isascii():
        return None
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return None
    return stamp if FIRST_YEAR <= stamp.year <= LAST_YEAR else None


def _zone(name: str | None, faults: Faults) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        faults.add(
            ("tz",), "unknown_zone", f"must name a zone such as Europe/Madrid, not {show(name)}"
        )
        return None


def is_zone(name: str) -> bool:
    """Whether a name is a zone's, or a plain offset such as +05:30."""
    if OFFSET.fullmatch(name):
        return True
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return False
    return True


def _common_offset(
    parsed: Sequence[datetime | None], aware: Sequence[bool], path: Place, faults: Faults
) -> tzinfo | None:
    if not all(aware):
        faults.add(
            path(list(aware).index(False)),
            "mixed_zones",
            "has no offset where others have one; give all, or none and the zone as tz",
        )
        return None
    offsets = [p.utcoffset() for p in parsed if p is not None]
    for i, offset in enumerate(offsets):
        if offset != offsets[0]:
            faults.add(
                path(i),
                "mixed_zones",
                "has another offset than the first series; name the zone as tz",
            )
            return None
    first = offsets[0] or timedelta(0)
    if first.seconds % 60 or first.microseconds:
        faults.add(path(0), "unknown_zone", "an offset must be whole minutes")
        return None
    return UTC if not first else timezone(first)


def _name(zone: tzinfo) -> str:
    if zone is UTC:
        return "UTC"
    minutes = int((zone.utcoffset(None) or timedelta(0)).total_seconds() // 60)
    return _offset_text(minutes)


def _move(
    stamp: datetime, home: tzinfo, freq: Frequency, i: int, path: Place, faults: Faults
) -> datetime:
    local = stamp.replace(tzinfo=home) if stamp.tzinfo is None else stamp.astimezone(home)
    if stamp.tzinfo is None and local.astimezone(UTC).astimezone(home).replace(
        tzinfo=None
    ) != stamp.replace(tzinfo=None):
        faults.add(path(i), "no_such_time", f"{stamp} is skipped by the clock change of tz")
    return (local.astimezone(UTC) if freq.sub_daily else local).replace(tzinfo=None)
