"""Stamps written as text: formats are found out from the distinct values, and tried on them."""

from __future__ import annotations

import datetime
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.columns.numbered import date_kind
from pipelines.ingestion.columns.readings import Fit, fit_of
from pipelines.ingestion.columns.short import (
    month_texts,
    read_months,
    refuse_days,
    short_texts,
    with_tenths,
)
from pipelines.ingestion.config import StampConfig, StampFormat
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import shown

NAIVE, UTC = -1, 0
# Share of the texts above which one way of writing is taken for that of all.
MOSTLY = 0.9
DAY = 86_400_000_000
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": 0.001}
EXCEL_ORIGIN = -25_569 * DAY
_SETTLES = {
    "day first": "stamps.day_first: true",
    "month first": "stamps.day_first: false",
    "year first": "stamps.formats, such as %y/%m/%d",
}
_TIME = (
    "", " %H:%M", " %H", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", " %I %p",
)  # fmt: skip
# Readings that take each other's dates: which is meant, the calendar says.
_ORDERS = {
    "day first": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    "month first": ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y", "%m-%d-%y"),
    "year first": ("%y/%m/%d", "%y.%m.%d", "%y-%m-%d"),
}
_OTHERS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%B-%Y",
    "%d-%b-%y", "%d %b %y", "%d/%b/%Y", "%d%b%Y", "%d. %b %Y", "%d. %B %Y", "%d.%b.%Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d", "%Y %b %d", "%b %Y", "%B %Y",
    "%b-%Y", "%Y %b", "%Y-%b", "%m/%Y", "%Y/%m", "%m.%Y", "%YM%m", "%Y %B",
)  # fmt: skip
_ISO = (
    r"^[+-]?\d{4}-\d{1,2}(?:-\d{1,2})?(?:[T ]\d{1,2}(?::\d{2}){0,2}(?:[.,]\d+)?)?"
    r"\s*(?:Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
_OFFSET = r"(?:Z|z|UTC|GMT|[T ]\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?\s*[+-]\d{2}(?::?\d{2})?)$"
_QUARTER = r"^(\d{4})[-\s/]?[Qq]?([1-4])$|^[Qq]([1-4])[-\s/]?(\d{4})$"
_NAMED_QUARTER = r"^\d{4}[-\s/]?[Qq][1-4]$|^[Qq][1-4][-\s/]?\d{4}$"
# 2022/23, 2022-2023, FY2022, FY 2022/23.
_FINANCIAL = r"(?i)^(FY)?\s?(\d{4})(?:\s?[-/]\s?(\d{2}|\d{4}))?$"
# How it is said besides, and how it is read: Sept, 1st, Monday, 7 a.m.
_SAID = (
    (r"(?i)\bsept\b\.?", "Sep"),
    (r"(?i)\b(jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec)\.(?=[\s,]|\d)", r"\g<1> "),
    (r"(?i)\b(\d{1,2})(?:st|nd|rd|th)\b", r"\g<1>"),
    (r"(?i)^(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?[.,]*\s+", ""),
    (r"(?i)(\d)\s*([ap])\.?\s?m\.?$", r"\g<1> \g<2>m"),
    (r"(?<=\S)\s{2,}(?=\S)", " "),
)
_TIME_ALONE = r"(?i)^(?:\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]m)?|\d{1,2}\s?[ap]m)$"
# Patterns of digits of a fixed number, whose zeros in front a number loses.
_WIDTHS = {"%Y": 4, "%j": 3} | {f"%{d}": 2 for d in "ymdHMSVWUIG"} | {"%G": 4, "%u": 1}
# Years from now from which on two digits of a year are not believed.
FAR_AHEAD = 20
_WEEK = (
    r"(?i)^(?P<y>\d{4})[-\s/]?[WK]{1,2}(?P<w>\d{1,2})(?:-?(?P<d>[1-7]))?$"
    r"|^[WK]{1,2}\s?(?P<w2>\d{1,2})[-\s/]+(?P<y2>\d{4})$"
)


@dataclass
class Texts:
    """Distinct texts as stamps.

    Attributes
    ----------
    values, zone, zones, offsets : as in `stamps.Stamps`.
    """

    values: Array
    zone: Array
    zones: list[str]
    integer: bool
    offsets: Array | None
    facts: dict[str, Any]


def own_zone(zone: str | None, zones: list[str]) -> int:
    """The number of a zone, noted in the list; `NAIVE` for none."""
    if zone is None:
        return NAIVE
    if zone == "UTC":
        return UTC
    if zone not in zones:
        zones.append(zone)
    return zones.index(zone) + 1


def read_texts(texts: pa.Array, config: StampConfig, name: str) -> Texts:
    """Distinct texts as stamps."""
    text = pd.Series(pc.utf8_trim_whitespace(texts).to_pandas(), dtype="str").fillna("")
    # What was a number in a spreadsheet: 202201.0.
    text = text.str.replace(r"^(\d{4,14})\.0+$", r"\g<1>", regex=True)
    if not config.formats:
        text = with_tenths(_as_usual(text), name)
    text, late = _end_of_day(text)
    values = np.full(len(text), NAT)
    zone = np.full(len(text), NAIVE, np.int8)
    zones: list[str] = []
    counts: dict[str, int] = {}
    notes: list[str] = []
    formats = config.formats or _propose(text, config, name, notes)
    for form in formats:
        left = np.flatnonzero(values == NAT)
        if not len(left):
            break
        found, found_zone = _apply(text.iloc[left], form, config, zones)
        read = found != NAT
        _refuse_far_ahead(text.iloc[left], found, form.format, config, name)
        values[left[read]], zone[left[read]] = found[read], found_zone[read]
        label = form.format if not form.zone else f"{form.format} in {form.zone}"
        counts[label] = counts.get(label, 0) + int(read.sum())
    unread = int(((values == NAT) & (text != "").to_numpy()).sum())
    if unread and not config.formats:
        counts["unreadable"] = unread
    values = np.where(late & (values != NAT), values + DAY, values)
    integer = bool(formats) and all(f.format == "step" for f in formats)
    facts: dict[str, Any] = {"stamps": {k: v for k, v in counts.items() if v}}
    if notes:
        facts["reading"] = "; ".join(notes)
    if late.any():
        facts["24:00"] = f"{int(late.sum())} distinct stamps say 24:00, the midnight that follows"
    offsets = _written_offsets(text) if (zone == UTC).any() else None
    return Texts(values, zone, zones, integer, offsets, facts)


def _as_usual(text: pd.Series) -> pd.Series:
    """Texts without what is said besides: 1st, Sept, Monday, 7 a.m. is 7 am."""
    if not text.str.contains(r"[A-Za-z]", regex=True).any():
        return text
    for said, usual in _SAID:
        text = text.str.replace(said, usual, regex=True)
    return text.str.strip()


def _refuse_far_ahead(
    text: pd.Series, found: Array, form: str, config: StampConfig, name: str
) -> None:
    """Two digits of a year far ahead of now are of another century, unless told."""
    if "latest" in config.given or not ("%y" in form or form == "month"):
        return
    years = found.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    limit = datetime.datetime.now(datetime.UTC).year + FAR_AHEAD
    short = ~text.str.contains(r"\d{4}", regex=True).to_numpy(dtype=bool) | ("%y" in form)
    far = np.flatnonzero((found != NAT) & (years > limit) & short)
    if len(far):
        first = int(years[far[0]])
        raise DataError(
            f"column {name}: {shown(text.iloc[far[0]])} has two digits of its year, which may be "
            f"{first} or {first - 100}: set the last day that can be meant, stamps.latest: "
            f'"{limit}-12-31" for {first - 100} or "{first // 100}99-12-31" for {first}; or write '
            "years with four digits"
        )


def _end_of_day(text: pd.Series) -> tuple[pd.Series, Array]:
    late = text.str.contains(r"(?<=\d)[T ]24(?::00){0,2}$", regex=True).to_numpy(dtype=bool)
    if late.any():
        text = text.str.replace(r"(?<=\d)([T ])24((?::00){0,2})$", r"\g<1>00\g<2>", regex=True)
    return text, late


def _apply(
    text: pd.Series, form: StampFormat, config: StampConfig, zones: list[str]
) -> tuple[Array, Array]:
    """What one format reads; `NAT` for the rest."""
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
        return _strptime(text.str.extract(r"(\d{4})")[0], "%Y")[0], zone
    if name == "iso":
        return _iso(text, own)
    if name == "week":
        parts = text.str.extract(_WEEK)
        text = parts["y"].fillna(parts["y2"]) + "-" + parts["w"].fillna(parts["w2"]).str.zfill(2)
        text = (text + "-" + parts["d"].fillna(str(form.weekday))).fillna("")
        return _strptime(text, "%G-%V-%u")[0], zone
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
        return _before(read_months(text), "%y", config), zone
    pattern = name
    text = _widened(text, pattern)
    if "%V" in pattern and "%u" not in pattern and "%a" not in pattern:
        text, pattern = text + f"-{form.weekday}", pattern + "-%u"
    parsed, instants = _strptime(text, pattern)
    parsed = _before(parsed, pattern, config)
    return parsed, np.where(instants, UTC, zone).astype(np.int8)


def _widened(text: pd.Series, pattern: str) -> pd.Series:
    """Numbers with the zeros in front that they have lost, where a pattern says how many."""
    parts = re.findall(r"%[A-Za-z]", pattern)
    if "".join(parts) != pattern or any(p not in _WIDTHS for p in parts):
        return text
    width = sum(_WIDTHS[p] for p in parts)
    return text.where(~text.str.fullmatch(r"\d+").to_numpy(dtype=bool), text.str.zfill(width))


def _before(values: Array, pattern: str, config: StampConfig) -> Array:
    """Two digits of a year after `stamps.latest`, where it is given, are a century earlier."""
    if "%y" not in pattern or "latest" not in config.given:
        return values
    late = (values != NAT) & (values > np.datetime64(config.latest, "us").astype(np.int64) + DAY)
    if not late.any():
        return values
    stamps = np.where(late, values, 0).astype("datetime64[us]")
    months = stamps.astype("datetime64[M]")
    earlier = (months - 1200).astype("datetime64[us]") + (stamps - months)
    return np.where(late, earlier.astype(np.int64), values)


def _strptime(text: pd.Series, pattern: str) -> tuple[Array, bool]:
    offset = "%z" in pattern
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
    fits = text.str.fullmatch(_ISO).to_numpy(dtype=bool)
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


def _written_offsets(text: pd.Series) -> Array | None:
    """Microseconds ahead of UTC behind each time of day; None when there are none."""
    parts = text.str.extract(r":\d{2}(?:[.,]\d+)?\s*([+-])(\d{2}):?(\d{2})?$")
    if parts[0].isna().all():
        return None
    minutes = parts[1].fillna("0").astype(int) * 60 + parts[2].fillna("0").astype(int)
    sign = np.where(parts[0] == "-", -1, 1)
    return np.asarray(sign * minutes.to_numpy() * 60_000_000)


def _propose(
    text: pd.Series, config: StampConfig, name: str, notes: list[str]
) -> tuple[StampFormat, ...]:
    """The formats that read the distinct values, the most telling first."""
    left = text[text != ""]
    chosen: list[StampFormat] = []

    def take(form: StampFormat, fits: Array) -> None:
        nonlocal left
        if fits.any():
            chosen.append(form)
            left = left[~fits]

    fractions = left.str.fullmatch(r"\d{4}\.\d+").to_numpy(dtype=bool)
    if fractions.any() and left[~fractions].str.fullmatch(r"\d{4}").all():
        take(StampFormat(format="month"), fractions & month_texts(left))
        if len(left):
            raise DataError(
                f"column {name}: {shown(left.iloc[-1])} is a year with a fraction, which is not "
                "read; write its months or quarters out, 2019-04 or 2019Q2"
            )
    take(StampFormat(format="financial_year"), _financial(left))
    if chosen:
        notes.append("financial years, stamped with the January of the first of their two")
    take(StampFormat(format="iso"), left.str.fullmatch(_ISO).to_numpy(dtype=bool))
    for length, compact_form in ((10, "%Y%m%d%H"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S")):
        compact = left.str.fullmatch(rf"(1[7-9]|2[01])\d{{{length - 2}}}").to_numpy(dtype=bool)
        if compact.any() and (_strptime(left[compact], compact_form)[0] != NAT).all():
            take(StampFormat(format=compact_form), compact)
    digits = left.str.fullmatch(r"\d{9,19}").to_numpy(dtype=bool)
    if digits.any():
        lengths = left[digits].str.len()
        for form, low, high in (
            ("epoch_s", 9, 10), ("epoch_ms", 12, 13), ("epoch_us", 15, 16), ("epoch_ns", 18, 19)
        ):  # fmt: skip
            if lengths.between(low, high).any():
                fits = left.str.fullmatch(rf"\d{{{low},{high}}}").to_numpy(dtype=bool)
                take(StampFormat(format=form), fits)
    days = left.str.fullmatch(r"(1[6-9]|2[0-2])\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])")
    take(StampFormat(format="%Y%m%d"), days.to_numpy(dtype=bool))
    take(StampFormat(format="quarter"), left.str.fullmatch(_NAMED_QUARTER).to_numpy(dtype=bool))
    take(StampFormat(format="week"), left.str.fullmatch(_WEEK).to_numpy(dtype=bool))
    years = left.str.fullmatch(r"(1[6-9]|2[0-2])\d{2}").to_numpy(dtype=bool)
    numbers = left.str.fullmatch(r"\d{1,8}").to_numpy(dtype=bool)
    kind = ""
    if len(left) and numbers.all():
        widths = left.str.len()
        zeros = left.str.startswith("0").any() and widths.min() == widths.max()
        kind = date_kind(left.astype(np.int64).to_numpy(), name, int(widths.max()) if zeros else 0)
    if kind:
        form = {"month": "%Y%m", "quarter": "quarter"}.get(kind, kind)
        said = f"years and their {kind}s" if kind != form or kind == "quarter" else kind
        notes.append(f"numbers such as {left.iloc[0]} are {said}")
        take(StampFormat(format=form), numbers)
    elif years.sum() > 0.9 * max(len(left), 1):
        take(StampFormat(format="year"), years)
    elif len(left) and numbers.sum() > 0.9 * len(left):
        take(StampFormat(format="step"), numbers)
    if len(left) and (short := short_texts(left)).mean() > MOSTLY:
        freq = Frequency.parse(config.freq) if config.freq else None
        notes.append(refuse_days(left[short], name, freq))
        take(StampFormat(format="month"), short)
    if len(left):
        for pattern, read in _patterns(left, config, name, notes):
            take(pattern, read[left.index.to_numpy()])
            if not len(left):
                break
    take(StampFormat(format="month"), month_texts(left))
    if len(left) and not chosen and left.str.fullmatch(_TIME_ALONE).all():
        raise DataError(
            f"column {name}: {shown(left.iloc[0])} is a time of day without a date; name the "
            "column of the dates with it, ds: [date, hour]"
        )
    return tuple(chosen)


def _financial(text: pd.Series) -> Array:
    """[K] which texts name a year and the one after it, where all of three and more do."""
    parts = text.str.extract(_FINANCIAL)
    first, second = (pd.to_numeric(parts[k], errors="coerce") for k in (1, 2))
    short = (parts[2].str.len() == 2).fillna(False)
    follows = second == (first + 1).where(~short, (first + 1) % 100)
    named = parts[0].notna() & (second.isna() | follows)
    fits = ((parts[2].notna() & follows) | named).fillna(False).to_numpy(dtype=bool)
    return fits if fits.all() and len(text) >= 3 else np.zeros(len(text), bool)


def _patterns(
    left: pd.Series, config: StampConfig, name: str, notes: list[str]
) -> list[tuple[StampFormat, Array]]:
    """strptime patterns that read some of the values; their order is settled by all."""
    size = int(left.index.max()) + 1
    orders = {order: _read_all(left, dates) for order, dates in _ORDERS.items()}
    order = _settled(left, orders, config, name, notes)
    found = list(orders[order].items()) if order else []
    found += list(_read_all(left, _OTHERS).items())
    out = []
    for pattern, mask in sorted(found, key=lambda item: -int(item[1].sum())):
        full = np.zeros(size, bool)
        full[left.index.to_numpy()[mask]] = True
        out.append((StampFormat(format=pattern), full))
    return out


def _settled(
    left: pd.Series,
    orders: dict[str, dict[str, Array]],
    config: StampConfig,
    name: str,
    notes: list[str],
) -> str:
    """Which of `_ORDERS` is meant; "" where none reads anything.

    Raises
    ------
    DataError : two of them are possible; the message names both, and what settles it.
    """
    if config.day_first is not None:
        return "day first" if config.day_first else "month first"
    counts = {o: int(np.any([*m.values()], axis=0).sum()) if m else 0 for o, m in orders.items()}
    most = max(counts.values())
    if not most:
        return ""
    possible = [order for order, count in counts.items() if count == most]
    stamps = {order: _values_of(left, orders[order], config) for order in possible}
    if len(possible) == 1 or all((stamps[o] == stamps[possible[0]]).all() for o in possible):
        less = [o for o in counts if o != possible[0] and 0 < counts[o] < most]
        if less:
            notes.append(
                f"{possible[0]}: read so, {most:,} distinct stamps are dates, {less[0]} "
                f"{counts[less[0]]:,}"
            )
        return possible[0]
    freq = Frequency.parse(config.freq) if config.freq else None
    fits = {o: fit_of(stamps[o][stamps[o] != NAT], freq) for o in possible}
    best = min(possible, key=lambda o: fits[o].growth)
    for other in possible:
        same = bool((stamps[other] == stamps[best]).all())
        if other != best and not same and not fits[best].rules_out(fits[other]):
            raise DataError(_ambiguous(left, stamps, fits, (best, other), name))
    rest = "; ".join(f"{o}: {fits[o]}" for o in possible if o != best)
    notes.append(f"{best}: {fits[best]} (not {rest})")
    return best


def _ambiguous(
    left: pd.Series,
    stamps: dict[str, Array],
    fits: dict[str, Fit],
    orders: tuple[str, str],
    name: str,
) -> str:
    """Both readings of a stamp that they read differently, and what settles it."""
    at = int(np.flatnonzero(stamps[orders[0]] != stamps[orders[1]])[0])
    days = [str(stamps[o][at].astype("datetime64[us]").astype("datetime64[D]")) for o in orders]
    settles = " or ".join(_SETTLES[o] for o in orders)
    return (
        f"column {name}: {shown(left.iloc[at])} is {days[0]} read {orders[0]} and {days[1]} read "
        f"{orders[1]}, and both are possible ({orders[0]}: {fits[orders[0]]}; {orders[1]}: "
        f"{fits[orders[1]]}); set {settles}, or say the step: freq"
    )


def _values_of(left: pd.Series, readings: dict[str, Array], config: StampConfig) -> Array:
    """[K] what one order's patterns read, the one that reads most first; `NAT` for the rest."""
    values = np.full(len(left), NAT)
    for pattern in sorted(readings, key=lambda p: -int(readings[p].sum())):
        read = _before(_strptime(left, pattern)[0], pattern, config)
        values = np.where(values == NAT, read, values)
    return values


def _read_all(left: pd.Series, dates: tuple[str, ...]) -> dict[str, Array]:
    """Which values each pattern, with any time behind it, reads."""
    sample = left.iloc[:: max(len(left) // 200, 1)]
    found = {}
    for date in dates:
        for time in _TIME:
            pattern = date + time
            if (_strptime(sample, pattern)[0] != NAT).any():
                mask = _strptime(left, pattern)[0] != NAT
                found[pattern] = mask
    return found
