"""How long the period is that a stamp names: a year, a quarter, a month, a week, a day, a moment.

One column keeps to one of them. Totals of a year among its months, of a month among its days, are
other rows than the rest, and read as the first stamp of their period they would take its place.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.config import StampConfig, StampFormat
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import shown
from pipelines.ingestion.stamps.readings import DAY, fit_of
from pipelines.ingestion.stamps.written import read_as, read_pattern

LENGTHS = ("year", "half_year", "quarter", "month", "week", "day", "moment")
_WORDS = {
    "year": "whole years", "half_year": "half-years", "quarter": "quarters", "month": "months",
    "week": "weeks", "day": "days", "moment": "times of a day",
}  # fmt: skip
_NAMED = {"financial_year": "year"} | {k: k for k in LENGTHS[:5]}
# What a column's name says of the short numbers beside its years.
_NAMES = {
    "quarter": r"(?i)quarter|quartal|trimest|(^|[^a-z])(qtr|q)([^a-z]|$)",
    "half_year": r"(?i)half|halb|semest",
    "month": r"(?i)month|monat|mois|(^|[^a-z])(mes|mese|mon|mm|yyyymm)([^a-z]|$)",
    "week": r"(?i)week|woche|semaine|semana|settiman|(^|[^a-z])(kw|wk|ww|yyyyww)([^a-z]|$)",
}
_PARTS = r"^(?P<y>\d{4})[-\s/._](?P<p>\d{1,2})$|^(?P<p2>\d{1,2})[-\s/._](?P<y2>\d{4})$"
_SMALL = r"^\d{4}[-\s/._][1-4]$|^[1-4][-\s/._]\d{4}$"
_EXACT = (
    "%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S",
)  # fmt: skip
_HALF_DAY = r"(?i)\d\s?[ap]m$"
_NO_HALF = r"(?i)^.*\d[T\s]+(?P<h>\d{1,2}):\d{2}(?::\d{2})?$"


def length_of(text: pd.Series, form: str) -> Array:
    """[K] positions in `LENGTHS` of what texts name that were read in one form; -1 unknown."""
    if form in _NAMED:
        return np.full(len(text), LENGTHS.index(_NAMED[form]))
    if form == "iso":
        month = text.str.fullmatch(r"[+-]?\d{4}-\d{1,2}").to_numpy(dtype=bool)
        day = text.str.fullmatch(r"[+-]?\d{4}-\d{1,2}-\d{1,2}").to_numpy(dtype=bool)
        names = np.where(month, "month", np.where(day, "day", "moment"))
        return np.array([LENGTHS.index(n) for n in names], dtype=np.int64)
    if "%" not in form:
        return np.full(len(text), -1)
    marks = set(re.findall(r"%[A-Za-z]", form))
    if marks & {"%H", "%I"}:
        name = "moment"
    elif marks & {"%d", "%j", "%u", "%a", "%A"}:
        name = "day"
    elif "%V" in marks:
        name = "week"
    else:
        name = "month" if marks & {"%m", "%b", "%B"} else "year"
    return np.full(len(text), LENGTHS.index(name))


def refuse_mixed(text: pd.Series, values: Array, lengths: Array, forms: Array, name: str) -> None:
    """Stamps of one column that name periods of different length.

    The first of each month beside months, and midnights without a time beside times, are the same
    periods written in two ways; they pass where no stamp is there twice.

    Parameters
    ----------
    text, values, lengths : [K] distinct texts, the stamps they are and their `LENGTHS`.
    forms : [K] the form that each was read in.

    Raises
    ------
    DataError : with a stamp of either length, and how the others are left out.
    """
    known = (values != NAT) & (lengths >= 0)
    distinct = np.unique(lengths[known])
    for coarse in distinct[:-1]:
        mine, finer = known & (lengths == coarse), known & (lengths > coarse)
        twice = np.isin(values[mine], values[finer]).any()
        begins = _begins(values[finer], LENGTHS[coarse])
        alike = begins.all() if LENGTHS[coarse] != "day" else begins.all() or not twice
        if alike and (not twice or LENGTHS[coarse] == "day"):
            continue
        usual = int(np.bincount(lengths[known]).argmax())
        rest = known & (lengths != usual)
        one, other = text[known & (lengths == usual)].iloc[0], text[rest].iloc[0]
        words = _WORDS[LENGTHS[lengths[np.flatnonzero(rest)[0]]]]
        raise DataError(
            f"column {name}: {int(rest.sum()):,} of {int(known.sum()):,} distinct stamps, such as "
            f"{shown(other)}, name {words}, and the others, such as {shown(one)}, "
            f"{_WORDS[LENGTHS[usual]]}: rows of totals among the rest would be taken for its own. "
            + _left_out(text, lengths == usual, rest, forms, name)
        )


def _left_out(text: pd.Series, usual: Array, rest: Array, forms: Array, name: str) -> str:
    if name == "of the header":
        columns = ", ".join(text[rest].iloc[:6])
        return f"Leave out the columns {columns}, or name them as static covariates"
    mine = text[usual]
    exact = [f for f in _EXACT if (read_pattern(mine, f)[0] != NAT).all()]
    own = [f for f in np.unique(forms[usual].astype(str)) if f not in forms[rest]]
    formats = exact[:1] or own
    if not formats:
        return "Leave those rows out of the table"
    share = math.ceil((rest.sum() + 1) / len(text) * 20 + 1) / 20
    listed = ", ".join(f'"{f}"' for f in formats)
    return (
        f"To leave them out, set stamps: {{formats: [{listed}], max_unreadable: {min(share, 1):g}}}"
    )


def _begins(values: Array, length: str) -> Array:
    """Which stamps are the first moment of a period of some length."""
    stamps = values.astype("datetime64[us]")
    day = stamps.astype("datetime64[D]")
    if length == "day":
        return np.asarray(values % DAY == 0)
    if length == "week":
        return np.asarray((values % DAY == 0) & ((values // DAY + 3) % 7 == 0))
    month = day.astype("datetime64[M]")
    size = {"year": 12, "half_year": 6, "quarter": 3}.get(length, 1)
    return np.asarray((month == stamps) & (month.astype(np.int64) % size == 0))


def refuse_half_days(text: pd.Series, name: str) -> None:
    """12:00 beside 1:00 PM: whether it is noon or midnight is not written.

    Raises
    ------
    DataError : some times have AM or PM and some, of twelve o'clock at most, have none.
    """
    half = text.str.contains(_HALF_DAY, regex=True).to_numpy(dtype=bool)
    if not half.any() or half.all():
        return
    hour = pd.to_numeric(text.str.extract(_NO_HALF)["h"], errors="coerce")
    open_ = ~half & hour.between(1, 12).to_numpy(dtype=bool)
    if open_.any():
        raise DataError(
            f"column {name}: {shown(text[open_].iloc[0])} has neither AM nor PM, and "
            f"{shown(text[half].iloc[0])} has ({int(open_.sum()):,} of {len(text):,} distinct "
            "stamps have none): write AM or PM behind every time, or hours from 0 to 23"
        )


def small_parts(text: pd.Series, config: StampConfig, name: str) -> str:
    """The form of years with a short number that never is above 4, 2024/1 or 3.2024; "" for none.

    Raises
    ------
    DataError : they may be quarters, half-years or months; the message names the cures.
    """
    texts = text[text != ""]
    if len(texts) < 2 or not texts.str.fullmatch(_PARTS).all():
        return ""
    for form, named in _NAMES.items():
        if re.search(named, name) and (_read(texts, form, config) != NAT).all():
            return form
    if not texts.str.fullmatch(_SMALL).all():
        return ""
    parts = texts.str.extract(_PARTS)
    numbers = pd.to_numeric(parts["p"].fillna(parts["p2"]))
    if numbers.nunique() < 2:
        return ""
    possible = ["quarter", "month"] if numbers.max() > 2 else ["half_year", "quarter", "month"]
    freq = Frequency.parse(config.freq) if config.freq else None
    if freq is not None and freq.unit == "month":
        by_freq = {6: "half_year", 3: "quarter", 1: "month"}.get(freq.size, "")
        if by_freq in possible:
            return by_freq
    readings = []
    for form in possible:
        readings.append(f"{_WORDS[form]} ({fit_of(_read(texts, form, config))})")
    cures = " or ".join(f'["{form}"]' for form in possible)
    raise DataError(
        f"column {name}: {shown(texts.iloc[0])} and its like may be {' or '.join(readings)}; set "
        f"stamps.formats: {cures}"
    )


def _read(text: pd.Series, form: str, config: StampConfig) -> Array:
    return read_as(text, StampFormat(format=form), config, [])[0]
