"""Numbers as people write them: decimal comma, thousands marks, codes for "missing"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.config import DEFAULT_CODES, CsvConfig, ValueConfig
from pipelines.ingestion.raw import is_text

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^[+-]?(?i:inf|infinity)$"
_BLANKS = "[\\s\u00a0\u2009\u202f'’_]"
_SIGN = "(?:[$€£¥]|EUR|USD|GBP|CHF|JPY)"
_SAMPLE = 200_000
_EXPONENT = r"([eE][+-]?\d+)?"
EXACT = 2.0**53


@dataclass
class Numbers:
    """One column as numbers.

    Attributes
    ----------
    values : float64, NaN where missing; infinities are still in.
    codes : indices of cells that held a code for missing, and their text.
    unreadable : indices of cells that are neither a number nor a code, and their text.
    facts : what was found out, for the report.
    """

    values: Array
    codes: Array = field(default_factory=lambda: np.empty(0, np.int64))
    code_text: list[str] = field(default_factory=list)
    unreadable: Array = field(default_factory=lambda: np.empty(0, np.int64))
    unreadable_text: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def take(self, rows: Array) -> Numbers:
        """Some cells [K], by position in rising order."""
        codes, bad = np.isin(self.codes, rows), np.isin(self.unreadable, rows)
        return Numbers(
            self.values[rows],
            np.searchsorted(rows, self.codes[codes]),
            [t for t, kept in zip(self.code_text, codes, strict=True) if kept],
            np.searchsorted(rows, self.unreadable[bad]),
            [t for t, kept in zip(self.unreadable_text, bad, strict=True) if kept],
            self.facts,
        )


def read_numbers(
    column: pa.ChunkedArray | pa.Array, config: ValueConfig, csv: CsvConfig
) -> Numbers:
    """A column of any type as float64."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # too long for one chunk
        column = pa.concat_arrays([c.cast(pa.large_string()) for c in column.chunks])
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_null(kind):
        return Numbers(np.full(len(column), np.nan))
    if is_text(kind):
        return _read_text(column.cast(pa.large_string()), config, csv)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"values are {kind}, not numbers; name another column")
    facts: dict[str, str] = {}
    if pa.types.is_int64(kind) or pa.types.is_uint64(kind):
        extremes = pc.min_max(column).as_py()
        largest = max(abs(extremes["min"] or 0), abs(extremes["max"] or 0))
        if largest > EXACT:
            facts["precision"] = f"integers up to {largest} are rounded to 53 bits"
    values = _floats(column)
    codes = np.empty(0, np.int64)
    texts: list[str] = []
    numeric_codes = _as_numbers(config.missing)
    if len(numeric_codes):
        hit = np.isin(values, numeric_codes)
        if hit.any():
            codes = np.flatnonzero(hit)
            texts = [f"{v:g}" for v in values[codes]]
            values = values.copy()
            values[codes] = np.nan
    return Numbers(values, codes, texts, facts=facts)


def _floats(column: pa.Array) -> Array:
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    if column.null_count == 0:
        return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.asarray(pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False))


def _as_numbers(codes: tuple[str, ...]) -> Array:
    found = []
    for code in codes:
        try:
            found.append(float(code))
        except ValueError:
            continue
    return np.array(found)


def _read_text(column: pa.Array, config: ValueConfig, csv: CsvConfig) -> Numbers:
    text = pc.utf8_trim_whitespace(column)
    codes = pa.array([*DEFAULT_CODES, *config.missing], pa.large_string())
    coded = pc.fill_null(pc.is_in(text, value_set=codes), False)
    null = pc.is_null(text)
    clean = pc.if_else(pc.or_(coded, null), pa.scalar(None, pa.large_string()), text)
    facts: dict[str, str] = {}
    # Money and per cent: the sign is not part of how the number is written.
    clean = pc.replace_substring_regex(clean, rf"^([+-]?){_SIGN}{_BLANKS}*", r"\1")
    clean = pc.replace_substring_regex(clean, rf"{_BLANKS}*(?:{_SIGN}|%)$", "")
    decimal, thousands = _marks(clean, csv, facts)
    clean = pc.replace_substring(clean, "−", "-")
    if thousands != "":
        clean = pc.replace_substring_regex(clean, _BLANKS, "")
    torn = pa.scalar(False)
    if thousands:
        # 1.5 is no number where points part the thousands: it would be read as 15.
        t, d = re.escape(thousands), re.escape(decimal)
        whole = rf"^\D*\d{{1,3}}(?:{t}\d{{2,3}})*{t}\d{{3}}(?:{d}\d*)?(?:[eE].*)?\D*$"
        held = pc.match_substring(clean, thousands)
        torn = pc.and_(held, pc.invert(pc.match_substring_regex(clean, whole)))
        clean = pc.replace_substring(clean, thousands, "")
    if decimal == ",":
        clean = pc.replace_substring(clean, ",", ".")
    # Bookkeepers write a negative number in brackets, or with the sign behind.
    clean = pc.replace_substring_regex(clean, r"^\((.+)\)$", r"-\1")
    clean = pc.replace_substring_regex(clean, r"^([\d.]+)-$", r"-\1")
    plain = pc.match_substring_regex(clean, _PLAIN)
    infinite = pc.match_substring_regex(clean, _INFINITE)
    number = pc.fill_null(pc.and_not(pc.or_(plain, infinite), torn), False)
    values = _floats(
        pc.if_else(number, clean, pa.scalar(None, pa.large_string())).cast(pa.float64())
    )
    # A number may be a code too ("-999.0" where the config says -999).
    numeric_codes = _as_numbers(config.missing)
    code_mask = coded.to_numpy(zero_copy_only=False)
    if len(numeric_codes):
        hit = np.isin(values, numeric_codes)
        if hit.any():
            values = np.where(hit, np.nan, values)
            code_mask = code_mask | hit
    at = np.flatnonzero(code_mask)
    wrong = ~(pc.or_(number, pc.or_(coded, null)).to_numpy(zero_copy_only=False))
    bad = np.flatnonzero(wrong)
    return Numbers(
        values,
        at,
        text.take(pa.array(at)).to_pylist(),
        bad,
        column.take(pa.array(bad)).to_pylist(),
        facts,
    )


def _points(
    sample: pa.Array, csv: CsvConfig, facts: dict[str, str], count: Callable[[str], int]
) -> tuple[str, str | None]:
    """Points alone: a decimal mark, or in tables with semicolons perhaps one for thousands."""
    grouped = count(r"^[+-]?[1-9]\d{0,2}\.\d{3}$")
    whole = count(r"^[+-]?\d{1,3}$")
    if csv.separator == ";" and grouped and whole and grouped + whole == len(sample):
        facts["marks"] = f"thousands point: {grouped} values such as 1.234, none longer without"
        return ",", "."
    return ".", csv.thousands


def _marks(text: pa.Array, csv: CsvConfig, facts: dict[str, str]) -> tuple[str, str | None]:
    """The decimal mark and the thousands mark of a column, from how its numbers look."""
    if csv.decimal is not None:
        other = "," if csv.decimal == "." else "."
        return csv.decimal, other if csv.thousands is None else csv.thousands
    sample = text.drop_null().slice(0, _SAMPLE)

    def count(pattern: str) -> int:
        return int(pc.sum(pc.match_substring_regex(sample, pattern)).as_py() or 0)

    commas = count(",")
    if not commas:
        points = count(r"^[+-]?\d{1,3}(\.\d{3}){2,}$")
        if points:
            facts["marks"] = f"thousands point: {points} values such as 1.234.567"
            return ",", "."
        return _points(sample, csv, facts, count)
    comma_decimal = count(rf"^[+-]?(\d|\.|{_BLANKS})*,(\d{{1,2}}|\d{{4,}}){_EXPONENT}$") + count(
        r"\.\d{3},\d+$"
    )
    comma_decimal += count(r"^[+-]?0,\d{3}$")
    point_decimal = count(r",\d{3}\.\d*$") + count(r"^[+-]?\d+\.(\d{1,2}|\d{4,})$")
    grouped = count(r"^[+-]?\d{1,3}(,\d{3})+$")
    if comma_decimal and comma_decimal >= point_decimal:
        facts["marks"] = f"decimal comma: {comma_decimal} values have one"
        return ",", "." if csv.thousands is None else csv.thousands
    if point_decimal or grouped:
        plain_large = count(r"^[+-]?\d{4,}$")
        if csv.separator == ";" and not point_decimal and not count(r",\d{3},"):
            facts["marks"] = "decimal comma: the cells are separated by semicolons"
            return ",", "." if csv.thousands is None else csv.thousands
        facts["marks"] = f"thousands comma: {grouped} values such as 1,234" + (
            f", {plain_large} large ones without" if plain_large else ""
        )
        return ".", "," if csv.thousands is None else csv.thousands
    return ".", csv.thousands
