"""Stamps written as text: formats are found out from the distinct values, and tried on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.config import StampConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import plain_digits, shown
from pipelines.ingestion.stamps.epochs import also_counts, is_count, last_believed, refuse_count
from pipelines.ingestion.stamps.periods import length_of, refuse_half_days, refuse_mixed
from pipelines.ingestion.stamps.proposals import Notes, propose
from pipelines.ingestion.stamps.readings import DAY
from pipelines.ingestion.stamps.short import with_tenths
from pipelines.ingestion.stamps.weeks import refuse_52
from pipelines.ingestion.stamps.written import NAIVE, UTC, read_as, written_offsets

# Marks of a value that is not final, behind its stamp: 2022-12*, Dec-22 (p), 2022-12 r.
_MARK = (
    r"(?i)(?<=\d)(?:\s*[*\u2020\u2021#]+|\s*[\[(](?:[a-z*]|prov\w*|prel\w*|est\w*|rev\w*|fcst|"
    r"forecast|flash|final|\d)\.?[\])]|\s+[pref])$"
)
# How it is said besides, and how it is read: Sept, 1st, Monday, 7 a.m.
_SAID = (
    (r"(?i)\bsept\b\.?", "Sep"),
    (r"(?i)\b(jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec)\.(?=[\s,]|\d)", r"\g<1> "),
    (r"(?i)\b(\d{1,2})(?:st|nd|rd|th)\b", r"\g<1>"),
    (r"(?i)^(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?[.,]*\s+", ""),
    (r"(?i)(\d)\s*([ap])\.?\s?m\.?$", r"\g<1> \g<2>m"),
    (r"(?<=\S)\s{2,}(?=\S)", " "),
)


@dataclass
class Texts:
    """Distinct texts as stamps.

    Attributes
    ----------
    values, zone, zones, offsets, guessed : as in `stamps.Stamps`.
    """

    values: Array
    zone: Array
    zones: list[str]
    integer: bool
    offsets: Array | None
    facts: dict[str, Any]
    guessed: bool = False


def read_texts(texts: pa.Array, config: StampConfig, name: str) -> Texts:
    """Distinct texts [K] as stamps; DataError where two digits of a year are far ahead."""
    trimmed = plain_digits(pc.utf8_trim_whitespace(texts))
    text = pd.Series(trimmed.to_pandas(), dtype="str").fillna("")
    # What was a number in a spreadsheet: 202201.0.
    text = text.str.replace(r"^(\d{4,14})\.0+$", r"\g<1>", regex=True)
    plain = text.str.replace(_MARK, "", regex=True)
    marked = (plain != text).to_numpy(dtype=bool)
    text = plain
    if not config.formats:
        text = with_tenths(_as_usual(text), name)
    text, late = _end_of_day(text)
    if not config.formats:
        refuse_half_days(text, name)
    values = np.full(len(text), NAT)
    lengths, forms = np.full(len(text), -1), np.full(len(text), "", object)
    zone = np.full(len(text), NAIVE, np.int8)
    zones: list[str] = []
    counts: dict[str, int] = {}
    notes = Notes()
    formats = config.formats or propose(text, config, name, notes)
    for form in formats:
        rest = np.flatnonzero(values == NAT)
        if not len(rest):
            break
        stamps, zone_read = read_as(text.iloc[rest], form, config, zones)
        read = stamps != NAT
        _refuse_far_ahead(text.iloc[rest], stamps, form.format, config, name)
        if is_count(form.format) and not config.formats and read.any():
            counted = text.iloc[rest[read]].astype(np.int64).to_numpy()
            dated = "latest" in config.given
            notes.append(refuse_count(counted, form.format, name, late=dated))
        if form.format == "week" and not config.formats:
            refuse_52(stamps[read], name, 'stamps.formats: ["week"]')
        lengths[rest[read]] = length_of(text.iloc[rest[read]], form.format)
        forms[rest[read]] = form.format
        values[rest[read]], zone[rest[read]] = stamps[read], zone_read[read]
        label = form.format if not form.zone else f"{form.format} in {form.zone}"
        counts[label] = counts.get(label, 0) + int(read.sum())
    if not config.formats:
        refuse_mixed(text, values, lengths, forms, name)
    unread = int(((values == NAT) & (text != "").to_numpy()).sum())
    if unread and not config.formats:
        counts["unreadable"] = unread
    values = np.where(late & (values != NAT), values + DAY, values)
    integer = bool(formats) and all(f.format == "step" for f in formats)
    if integer and not config.formats:
        notes += filter(None, [also_counts(values[values != NAT])])
    facts: dict[str, Any] = {"stamps": {k: v for k, v in counts.items() if v}}
    if notes:
        facts["reading"] = "; ".join(notes)
    if marked.any():
        bare = text[marked].iloc[0]
        facts["marked"] = (
            f"{int(marked.sum()):,} distinct stamps bear a mark behind them, as values that are "
            f"not final do ({shown(bare)}); they were read without it"
        )
    if late.any():
        facts["24:00"] = f"{int(late.sum())} distinct stamps say 24:00, the midnight that follows"
    offsets = written_offsets(text) if (zone == UTC).any() else None
    return Texts(values, zone, zones, integer, offsets, facts, notes.guessed)


def _as_usual(text: pd.Series) -> pd.Series:
    """Texts without what is said besides: 1st, Sept, Monday, 7 a.m. is 7 am."""
    if not text.str.contains(r"[A-Za-z]", regex=True).any():
        return text
    for pattern, usual in _SAID:
        text = text.str.replace(pattern, usual, regex=True)
    return text.str.strip()


def _refuse_far_ahead(
    text: pd.Series, found: Array, form: str, config: StampConfig, name: str
) -> None:
    """Two digits of a year far ahead of now are of another century, unless told."""
    two = "%y" in form or "%g" in form
    if "latest" in config.given or not (two or form == "month"):
        return
    years = found.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    limit = last_believed()
    short = ~text.str.contains(r"\d{4}", regex=True).to_numpy(dtype=bool) | two
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
    late = np.zeros(len(text), bool)
    # The hour alone stands behind a date only: 2024 24 is a week or a day of its year.
    dated = r"^(.*[-/.]\d{1,2}[-/.]\d{1,4}[T ]|\d{8}[T ])24()$"
    for form in (r"^(.*\d[T ])24((?::00){1,2})$", dated):
        fits = text.str.fullmatch(form).to_numpy(dtype=bool)
        late |= fits
        if fits.any():
            text = text.str.replace(form, r"\g<1>00\g<2>", regex=True)
    return text, late
