"""Texts that are written in one known way, as stamps."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.hardware.switches import no_warnings
from pipelines.ingestion.config import StampConfig, StampFormat
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.stamps.readings import DAY
from pipelines.ingestion.stamps.short import read_months

NAIVE, UTC = -1, 0
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": 0.001}
EXCEL_ORIGIN = -25_569 * DAY
ISO = (
    r"^[+-]?\d{4}-\d{1,2}(?:-\d{1,2})?(?:[T ]\d{1,2}(?::\d{2}){0,2}(?:[.,]\d+)?)?"
    r"\s*(?:Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
_OFFSET = r"(?:Z|z|UTC|GMT|[T ]\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?\s*[+-]\d{2}(?::?\d{2})?)$"
_QUARTER = r"^(\d{4})[-\s/]?[Qq]?([1-4])$|^[Qq]([1-4])[-\s/]?(\d{4})$"
# Patterns of digits of a fixed number, whose zeros in front a number loses.
_WIDTHS = {"%Y": 4, "%j": 3} | {f"%{d}": 2 for d in "ymdHMSVWUIG"} | {"%G": 4, "%u": 1}
WEEK = (
    r"(?i)^(?P<y>\d{4})[-\s/]?[WK]{1,2}(?P<w>\d{1,2})(?:-?(?P<d>[1-7]))?$"
    r"|^[WK]{1,2}\s?(?P<w2>\d{1,2})[-\s/]+(?P<y2>\d{4})$"
)


def own_zone(zone: str | None, zones: list[str]) -> int:
    """The number of a zone, noted in the list; `NAIVE` for none."""
    if zone is None:
        return NAIVE
    if zone == "UTC":
        return UTC
    if zone not in zones:
        zones.append(zone)
    return zones.index(zone) + 1


def read_as(
    text: pd.Series, form: StampFormat, config: StampConfig, zones: list[str]
) -> tuple[Array, Array]:
    """[K] what one format reads of K texts, microseconds or `NAT`, and the number of its zone."""
    own = own_zone(form.zone or config.zone, zones)
    name = form.format
    zone = np.full(len(text), own, np.int8)
    if name in EPOCHS or name in ("excel", "step", "year"):
        number = pd.to_numeric(
            text.where(text.str.fullmatch(r"[+-]?\d{1,19}(\.\d*)?")), errors="coerce"
        )
        if name == "year":
            number = number.where(text.str.fullmatch(r"\d{4}"))
        known = number.notna().to_numpy()
        filled = number.fillna(0).to_numpy()
        if name == "excel":
            out = (filled.astype(np.float64) * 86_400.0).round().astype(np.int64) * 1_000_000
            out = out + EXCEL_ORIGIN
        elif name == "year":
            out = (filled.astype(np.int64) - 1970).astype("datetime64[Y]")
            out = out.astype("datetime64[us]").astype(np.int64)
        elif name == "step":
            out, zone = filled.astype(np.int64), np.full(len(text), NAIVE, np.int8)
        else:
            unit = EPOCHS[name]
            # An epoch of another unit would be a date far away: it is left to another format.
            known = known & (np.abs(filled) * unit >= 1e14) & (np.abs(filled) * unit < 1e16)
            filled = np.where(known, filled, 0)
            out = (filled * unit).astype(np.int64) if unit < 1 or filled.dtype.kind == "f" else (
                filled.astype(np.int64) * int(unit)
            )  # fmt: skip
            zone = np.full(len(text), UTC, np.int8)
        return np.where(known, out, NAT), zone
    if name == "financial_year":
        return read_pattern(text.str.extract(r"(\d{4})")[0], "%Y")[0], zone
    if name == "iso":
        return _iso(text, own)
    if name == "week":
        parts = text.str.extract(WEEK)
        text = parts["y"].fillna(parts["y2"]) + "-" + parts["w"].fillna(parts["w2"]).str.zfill(2)
        text = (text + "-" + parts["d"].fillna(str(form.weekday))).fillna("")
        return read_pattern(text, "%G-%V-%u")[0], zone
    if name == "quarter":
        parts = text.str.extract(_QUARTER)
        year = pd.to_numeric(parts[0].fillna(parts[3]), errors="coerce")
        quarter = pd.to_numeric(parts[1].fillna(parts[2]), errors="coerce")
        known = (year.notna() & quarter.notna()).to_numpy()
        months = (year.fillna(1970).to_numpy(np.int64) - 1970) * 12
        months = months + (quarter.fillna(1).to_numpy(np.int64) - 1) * 3
        out = months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
        return np.where(known, out, NAT), zone
    if name == "month":
        return before_latest(read_months(text), "%y", config), zone
    pattern = name
    text = _widened(text, pattern)
    if "%V" in pattern and "%u" not in pattern and "%a" not in pattern:
        text, pattern = text + f"-{form.weekday}", pattern + "-%u"
    parsed, instants = read_pattern(text, pattern)
    parsed = before_latest(parsed, pattern, config)
    return parsed, np.where(instants, UTC, zone).astype(np.int8)


def _widened(text: pd.Series, pattern: str) -> pd.Series:
    """Numbers with the zeros in front that they have lost, where a pattern says how many."""
    parts = re.findall(r"%[A-Za-z]", pattern)
    if "".join(parts) != pattern or any(p not in _WIDTHS for p in parts):
        return text
    width = sum(_WIDTHS[p] for p in parts)
    return text.where(~text.str.fullmatch(r"\d+").to_numpy(dtype=bool), text.str.zfill(width))


def before_latest(values: Array, pattern: str, config: StampConfig) -> Array:
    """[K] stamps; two digits of a year after `stamps.latest`, if given, are a century earlier."""
    if "%y" not in pattern or "latest" not in config.given:
        return values
    late = (values != NAT) & (values > np.datetime64(config.latest, "us").astype(np.int64) + DAY)
    if not late.any():
        return values
    stamps = np.where(late, values, 0).astype("datetime64[us]")
    months = stamps.astype("datetime64[M]")
    earlier = (months - 1200).astype("datetime64[us]") + (stamps - months)
    return np.where(late, earlier.astype(np.int64), values)


def read_pattern(text: pd.Series, pattern: str) -> tuple[Array, bool]:
    """[K] what a strptime pattern reads, microseconds or `NAT`, and whether these are instants.

    Raises
    ------
    DataError : the pattern is none.
    """
    offset = "%z" in pattern
    try:
        with no_warnings():
            found = pd.to_datetime(text, format=pattern, errors="coerce", utc=offset)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"stamps.formats: {pattern!r} is no usable format: {error}") from None
    if offset:
        found = found.dt.tz_localize(None)
    return _micro(found), offset


def _micro(found: pd.Series) -> Array:
    values = found.to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.where(found.isna().to_numpy(), NAT, values)


def _iso(text: pd.Series, own: int) -> tuple[Array, Array]:
    fits = text.str.fullmatch(ISO).to_numpy(dtype=bool)
    # 2024-1-5 7:00 is as good as 2024-01-05 07:00.
    text = text.str.replace(r"([-T ])(\d)(?!\d)", r"\g<1>0\2", regex=True)
    text = text.str.replace(r"\s*(UTC|GMT|z)$", "Z", regex=True).str.replace(",", ".", regex=False)
    instant = fits & text.str.contains(_OFFSET, regex=True).to_numpy(dtype=bool)
    values = np.full(len(text), NAT)
    for mask, utc in ((fits & ~instant, False), (instant, True)):
        if mask.any():
            found = pd.to_datetime(text[mask], format="ISO8601", errors="coerce", utc=utc)
            values[mask] = _micro(found.dt.tz_localize(None) if utc else found)
    return values, np.where(instant, UTC, own).astype(np.int8)


def written_offsets(text: pd.Series) -> Array | None:
    """[K] microseconds ahead of UTC behind each time of day; None when there are none."""
    parts = text.str.extract(r":\d{2}(?:[.,]\d+)?\s*([+-])(\d{2}):?(\d{2})?$")
    if parts[0].isna().all():
        return None
    minutes = parts[1].fillna("0").astype(int) * 60 + parts[2].fillna("0").astype(int)
    sign = np.where(parts[0] == "-", -1, 1)
    return np.asarray(sign * minutes.to_numpy() * 60_000_000)
