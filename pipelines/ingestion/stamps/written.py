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
from pipelines.ingestion.stamps.epochs import INSTANTS, count_to_stamps, is_count
from pipelines.ingestion.stamps.numbered import with_century
from pipelines.ingestion.stamps.readings import DAY
from pipelines.ingestion.stamps.short import read_months

NAIVE, UTC = -1, 0
# Microseconds of Unix time that tell its unit: 1973 to 2286.
EPOCH_REACH = (1e14, 1e16)
ISO = (
    r"^[+-]?\d{4}-\d{1,2}(?:-\d{1,2})?(?:[T ]\d{1,2}(?::\d{2}){0,2}(?:[.,]\d+)?)?"
    r"\s*(?:Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
_OFFSET = r"(?:Z|z|UTC|GMT|[T ]\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?\s*[+-]\d{2}(?::?\d{2})?)$"
# A year and its quarter or half: 2024Q1, Q1 2024, 2024/1, 1/2024, 20241.
_PART = (
    r"(?i)^(?P<y>\d{{4}})[-\s/._]?{mark}?(?P<p>[1-{last}])$"
    r"|^{mark}(?P<p2>[1-{last}])[-\s/._]?(?P<y2>\d{{4}})$|^(?P<p3>[1-{last}])[-\s/._](?P<y3>\d{{4}})$"
)
_PARTS = {"quarter": ("Q", 4), "half_year": ("[HS]", 2)}
# Patterns of digits of a fixed number, whose zeros in front a number loses.
_WIDTHS = {"%Y": 4, "%j": 3} | {f"%{d}": 2 for d in "ymdgHMSVWUIG"} | {"%G": 4, "%u": 1}
WEEK = (
    r"(?i)^(?P<y>\d{4})[-\s/]?[WK]{1,2}(?P<w>\d{1,2})(?:-?(?P<d>[1-7]))?$"
    r"|^[WK]{1,2}\s?(?P<w2>\d{1,2})[-\s/]+(?P<y2>\d{4})$"
)

_WEEK_NUMBERS = r"^(?P<y>\d{4})[-\s/._]+(?P<w>\d{1,2})$|^(?P<w2>\d{1,2})[-\s/._]+(?P<y2>\d{4})$"


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
    if is_count(name) or name in ("step", "year"):
        return _numbers(text, name, config, zone)
    if name == "financial_year":
        return read_pattern(text.str.extract(r"(\d{4})")[0], "%Y")[0], zone
    if name == "iso":
        return _iso(text, own)
    if name == "week":
        parts = text.str.extract(WEEK)
        named = bool((parts["y"].notna() | parts["y2"].notna()).any())
        # Beside weeks that are called so, 10/2019 is a month.
        bare = (text.str[:0] if named else text).str.extract(_WEEK_NUMBERS)
        year = parts["y"].fillna(parts["y2"]).fillna(bare["y"]).fillna(bare["y2"])
        week = parts["w"].fillna(parts["w2"]).fillna(bare["w"]).fillna(bare["w2"])
        text = year + "-" + week.str.zfill(2) + "-" + parts["d"].fillna(str(form.weekday))
        return read_pattern(text.fillna(""), "%G-%V-%u")[0], zone
    if name in _PARTS:
        return _parts_of_years(text, name), zone
    if name == "month":
        return before_latest(read_months(text), "%y", config), zone
    pattern = name
    text = _widened(text, pattern)
    if "%V" in pattern and "%u" not in pattern and "%a" not in pattern:
        text, pattern = text + f"-{form.weekday}", pattern + "-%u"
    parsed, instants = read_pattern(text, pattern)
    parsed = before_latest(parsed, pattern, config)
    return parsed, np.where(instants, UTC, zone).astype(np.int8)


def _parts_of_years(text: pd.Series, name: str) -> Array:
    """Years with their quarter or half as the first moment of it."""
    mark, count = _PARTS[name]
    text = text.str.replace(r"^(\d{4})0(\d)$", r"\g<1>\g<2>", regex=True)
    if text.str.contains(r"(?i)[QHS]", regex=True).any():
        # Beside quarters that are called so, 1/2019 is a month.
        text = text.where(text.str.contains(r"(?i)[QHS]", regex=True), "")
    groups = text.str.extract(_PART.format(mark=mark, last=count))
    year, part = (
        pd.to_numeric(groups[k].fillna(groups[f"{k}2"]).fillna(groups[f"{k}3"])) for k in ("y", "p")
    )
    known = (year.notna() & part.notna()).to_numpy()
    months = (year.fillna(1970).to_numpy(np.int64) - 1970) * 12
    months = months + (part.fillna(1).to_numpy(np.int64) - 1) * (12 // count)
    out = months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    return np.where(known, out, NAT)


def _numbers(text: pd.Series, name: str, config: StampConfig, zone: Array) -> tuple[Array, Array]:
    """Texts that are numbers, as a count of time, as years or as steps."""
    whole = text.str.fullmatch(r"[+-]?\d{1,19}(\.0*)?").to_numpy(dtype=bool)
    out = np.full(len(text), NAT)
    known = whole & ((name != "year") | text.str.fullmatch(r"\d{4}").to_numpy(dtype=bool))
    parts = text[known].str.replace(r"\.0*$", "", regex=True)
    values = pd.to_numeric(parts).to_numpy().astype(np.int64)
    if name == "step":
        out[known] = values
        return out, np.full(len(text), NAIVE, np.int8)
    if name == "year":
        out[known] = (values - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype("i8")
        return out, zone
    out[known] = count_to_stamps(values, name)
    fraction = ~whole & text.str.fullmatch(r"[+-]?\d{1,19}\.\d+").to_numpy(dtype=bool)
    out[fraction] = count_to_stamps(pd.to_numeric(text[fraction]).to_numpy(np.float64), name)
    if name.startswith("epoch") and len(config.formats) != 1:
        # An epoch of another unit would be a date far away: it is left to another format.
        out = np.where((out >= EPOCH_REACH[0]) & (out < EPOCH_REACH[1]), out, NAT)
    return out, np.full(len(text), UTC, np.int8) if name in INSTANTS else zone


def _widened(text: pd.Series, pattern: str) -> pd.Series:
    """Numbers with the zeros in front that they have lost, where a pattern says how many."""
    parts = re.findall(r"%[A-Za-z]", pattern)
    if "".join(parts) != pattern or any(p not in _WIDTHS for p in parts):
        return text
    width = sum(_WIDTHS[p] for p in parts)
    return text.where(~text.str.fullmatch(r"\d+").to_numpy(dtype=bool), text.str.zfill(width))


def before_latest(values: Array, pattern: str, config: StampConfig) -> Array:
    """[K] stamps; two digits of a year after `stamps.latest`, if given, are a century earlier."""
    if not ("%y" in pattern or "%g" in pattern) or "latest" not in config.given:
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
    if pattern.startswith("%g"):
        text, pattern = with_century(text), pattern.replace("%g", "%G", 1)
    try:
        with no_warnings():
            stamps = pd.to_datetime(text, format=pattern, errors="coerce", utc=offset)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"stamps.formats: {pattern!r} is no usable format: {error}") from None
    if offset:
        stamps = stamps.dt.tz_localize(None)
    return _micro(stamps), offset


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
            stamps = pd.to_datetime(text[mask], format="ISO8601", errors="coerce", utc=utc)
            values[mask] = _micro(stamps.dt.tz_localize(None) if utc else stamps)
    return values, np.where(instant, UTC, own).astype(np.int8)


def written_offsets(text: pd.Series) -> Array | None:
    """[K] microseconds ahead of UTC behind each time of day; None when there are none."""
    parts = text.str.extract(r":\d{2}(?:[.,]\d+)?\s*([+-])(\d{2}):?(\d{2})?$")
    if parts[0].isna().all():
        return None
    minutes = parts[1].fillna("0").astype(int) * 60 + parts[2].fillna("0").astype(int)
    sign = np.where(parts[0] == "-", -1, 1)
    return np.asarray(sign * minutes.to_numpy() * 60_000_000)
