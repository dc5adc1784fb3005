"""Tables laid out as a calendar: a row per year, month or day, its parts side by side."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.periods import Part
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.stamps.readings import DAY

MINUTE = DAY // 1440
# What numbers alone count, by what the rows are stamped with and how far they go.
_COUNTS = {
    "year": {2: "half", 4: "quarter", 12: "month", 52: "week", 53: "week", 365: "day", 366: "day"},
    "month": dict.fromkeys(range(28, 32), "day"),
    "week": {7: "weekday"},
    "day": {24: "hour", 48: "slot", 96: "slot", 144: "slot", 288: "slot", 1440: "slot"},
}
_MONTHS = {"half": 6, "quarter": 3, "month": 1}
_BELOW = {
    "half": ("year",), "quarter": ("year",), "month": ("year",), "week": ("year",),
    "day": ("year", "month"), "weekday": ("week",), "hour": ("day",), "clock": ("day",),
}  # fmt: skip
# Of parts that are numbered further, the rest stands for the whole: M13, Q5.
LAST = {"half": 2, "quarter": 4, "month": 12}


def units_of(base: Array) -> tuple[str, ...]:
    """What the stamps of rows [R] may stand for: ``year``, ``month``, ``week``, ``day``."""
    stamps = base[base != NAT].astype("datetime64[us]")
    days = stamps.astype("datetime64[D]")
    if not len(stamps) or (days != stamps).any():
        return ()
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    out = ["year"] if (years == days).all() else []
    out += ["month"] if (months == days).all() else []
    out += ["week"] if (np.diff(np.unique(days)).astype(np.int64) % 7 == 0).all() else []
    return (*out, "day")


def kind_below(part: Part, base: Array) -> str:
    """What the parts are below the stamps of the rows [R]; "" for what cannot be told."""
    units = units_of(base)
    if part.kind:
        fits = any(u in units for u in _BELOW.get(part.kind, ()))
        return part.kind if fits else ""
    count = max(part.numbers) + (min(part.numbers) == 0)
    return next((kind for u in units if (kind := _COUNTS[u].get(count, ""))), "")


def places(base: Array, part: Part, name: str) -> tuple[Array, str]:
    """[R, W] microseconds of every cell, `NAT` for days that do not exist, and what a cell is.

    Parameters
    ----------
    base : [R] stamps of the rows. part : what the W columns are. name : of the rows' stamps.

    Raises
    ------
    DataError : what the columns are below such stamps cannot be told.
    """
    kind = kind_below(part, base)
    if not kind:
        stamps = base[base != NAT]
        first = (
            str(stamps[0].astype("datetime64[us]").astype("datetime64[m]")) if len(stamps) else ""
        )
        raise DataError(
            f"layout = calendar: {len(part.numbers)} columns of {part.kind or 'number'}s are no "
            f"parts of the rows ({name} = {first or 'none'}), as Jan … Dec are of a year, 1 … 31 "
            "of a month and 0 … 23 of a day; write one row per value"
        )
    numbers = np.array(part.numbers)
    since = numbers - numbers.min() if not part.kind else numbers - (kind not in ("hour", "clock"))
    filled = np.where(base == NAT, 0, base).astype("datetime64[us]")[:, None]
    if kind in _MONTHS:
        months = filled.astype("datetime64[M]") + since * _MONTHS[kind]
        out = _micro(months)
    elif kind == "week":
        fourth = filled.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64) + 3
        monday = (fourth + 3) // 7 * 7 - 3 + 7 * since
        own = (monday + 3).astype("datetime64[D]").astype("datetime64[Y]")
        out = np.where(own == filled.astype("datetime64[Y]"), monday * DAY, NAT)
    elif kind in ("day", "weekday"):
        days = filled.astype("datetime64[D]") + since
        whole = "Y" if numbers.max() > 31 else "M"
        held = days.astype(f"datetime64[{whole}]") == filled.astype(f"datetime64[{whole}]")
        out = np.where(held | (kind == "weekday"), _micro(days), NAT)
    else:
        size = MINUTE if kind == "clock" else DAY // (24 if kind == "hour" else len(numbers))
        # Hours 1 … 24 are counted, 0 … 23 are told by the clock.
        before = int(part.kind == "hour" and numbers.max() == 24 and numbers.min() > 0)
        out = _micro(filled) + (since - before) * size
    return np.where((base == NAT)[:, None], NAT, out), kind


def _micro(stamps: Array) -> Array:
    return stamps.astype("datetime64[us]").astype(np.int64)
