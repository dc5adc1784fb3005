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
from pipelines.ingestion.raw import is_text, plain_digits

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^[+-]?(?i:inf|infinity)$"
# Blanks, and what is written for an apostrophe.
BLANK = "[\\s\u00a0\u2009\u202f_'`\u00b4\u02b9\u02bc\u2018\u2019\u2032]"
_SPACE = "[\\s\u00a0\u2009\u202f]*"
MONEY = (
    r"(?:(?:US|CA|AU|NZ|HK|[ACRS])?\$|\p{Sc}|EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|ISK"
    r"|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|BRL|MXN|ARS|CLP|COP|PEN|ZAR|NGN|KES|EGP|ILS|SAR|AED|THB|IDR"
    r"|MYR|PHP|SGD|HKD|TWD|KRW|VND|PKR|BDT|kr\.?|zł|Kč|Ft|lei|Rs\.?|руб\.?)"
)
_UNIT = rf"(?:{MONEY}|[%‰]|percent|pct\.?)"
RATES = ("%", "‰")
_ALIKE = {
    "USD": "$",
    "US$": "$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "INR": "₹",
    "RS": "₹",
    "RUB": "₽",
    "PCT": "%",
    "PERCENT": "%",
}
# Blanks and apostrophes part thousands: 1 234 567,8, in India 12 34 567; 1 5 is no number.
_GROUPED = rf"^[+-]?[1-9]\d{{0,2}}(?:{BLANK}\d{{2,3}})*{BLANK}\d{{3}}(?:[.,]\d*)?(?:[eE][+-]?\d+)?$"
# May be thousands as well as decimals.
THOUSANDS = r"^\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*$"
WHOLE = r"^\s*[+-]?\d{1,3}\s*$"
_DASHES = "[‒–—―−﹣－]"
# Bookkeepers write a negative number in brackets, or with the sign behind.
_PEELED = (
    (_DASHES, "-"),
    (rf"^({_UNIT}?){_SPACE}\({_SPACE}({_UNIT}?){_SPACE}([^()+-][^()]*?){_SPACE}({_UNIT}?){_SPACE}\)"
     rf"{_SPACE}({_UNIT}?)$", r"-\1\2\3\4\5"),
    (rf"^((?:[^()+-][^()]*)?\d(?:{_SPACE}{_UNIT})?){_SPACE}-{_SPACE}({_UNIT}?)$", r"-\1\2"),
    (rf"^([+-]?){_SPACE}{_UNIT}{_SPACE}([+-]?)", r"\1\2"),
    (rf"{_SPACE}{_UNIT}$", ""),
    (rf"^([+-]){_SPACE}", r"\1"),
)  # fmt: skip
# Whole amounts: 5.- and 5,-- are 5, but where 12.50- says that the sign stands behind.
_WHOLE = (rf"(\d)[.,]-{{1,2}}({_SPACE}{_UNIT}?)$", r"\1\2")
_BEHIND = rf"\d{_SPACE}-{_SPACE}{_UNIT}?$"
_SAMPLE = 200_000
_EXPONENT = r"([eE][+-]?\d+)?"
EXACT = 2.0**53


@dataclass(frozen=True)
class Signs:
    """Signs of money and per cent around numbers.

    Attributes
    ----------
    at : [S] cells that have one, rising. what : [S] ``$``, ``€``, ``%`` and so on.
    texts : [S] the cells as they were written.
    """

    at: Array
    what: Array
    texts: pa.Array

    def text(self, cell: int) -> str:
        """A cell as it was written; "" for one without a sign."""
        positions = np.flatnonzero(self.at == cell)
        return str(self.texts[int(positions[0])]) if len(positions) else ""

    def spread(self, place: Array) -> Signs:
        """The same cells at their new places."""
        order = np.argsort(place[self.at])
        return Signs(place[self.at][order], self.what[order], self.texts.take(pa.array(order)))

    def take(self, rows: Array) -> Signs:
        """Some cells, by position in rising order."""
        inside = np.isin(self.at, rows)
        at = np.searchsorted(rows, self.at[inside])
        return Signs(at, self.what[inside], self.texts.filter(pa.array(inside)))


@dataclass
class Numbers:
    """One column as numbers.

    Attributes
    ----------
    values : float64, NaN where missing; infinities are still in.
    codes : indices of cells that held a code for missing, and their text.
    unreadable : indices of cells that are neither a number nor a code, and their text.
    facts : what was found out, for the report.
    signs : of money and per cent, None for none.
    """

    values: Array
    codes: Array = field(default_factory=lambda: np.empty(0, np.int64))
    code_text: list[str] = field(default_factory=list)
    unreadable: Array = field(default_factory=lambda: np.empty(0, np.int64))
    unreadable_text: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    signs: Signs | None = None

    def spread(self, place: Array, count: int) -> Numbers:
        """The same findings in ``count`` cells, each at its new place; values are missing."""
        return Numbers(
            np.full(count, np.nan),
            place[self.codes],
            self.code_text,
            place[self.unreadable],
            self.unreadable_text,
            self.facts,
            self.signs.spread(place) if self.signs is not None else None,
        )

    def take(self, rows: Array) -> Numbers:
        """Some cells [K], by position in rising order."""
        codes, bad = np.isin(self.codes, rows), np.isin(self.unreadable, rows)
        return Numbers(
            self.values[rows],
            np.searchsorted(rows, self.codes[codes]),
            [t for t, inside in zip(self.code_text, codes, strict=True) if inside],
            np.searchsorted(rows, self.unreadable[bad]),
            [t for t, inside in zip(self.unreadable_text, bad, strict=True) if inside],
            self.facts,
            self.signs.take(rows) if self.signs is not None else None,
        )


def mixed_signs(numbers: Numbers, owner: Array) -> tuple[int, int] | None:
    """Two cells of one series whose signs contradict each other, by position; None where none do.

    ``13.5%`` and ``0.12`` are of two units, as ``$1`` and ``€1`` are. Zero is zero in every unit,
    and money may leave its sign out.

    Parameters
    ----------
    owner : [T] the series of each cell.
    """
    if numbers.signs is None:
        return None
    sign = np.full(len(numbers.values), "", dtype=object)
    sign[numbers.signs.at] = numbers.signs.what
    sign[np.isnan(numbers.values)] = None
    shares = np.isin(sign, RATES)
    known = shares | ((sign == "") & (numbers.values != 0))
    if shares.any() and (pair := _differing(sign, owner, known)) is not None:
        return pair
    return _differing(sign, owner, (sign != "") & (sign != None))  # noqa: E711


def _differing(sign: Array, owner: Array, of: Array) -> tuple[int, int] | None:
    """The first two cells of one owner, among some, whose signs differ."""
    at = np.flatnonzero(of)
    if not len(at):
        return None
    _, first, group = np.unique(owner[at], return_index=True, return_inverse=True)
    other = np.flatnonzero(sign[at] != sign[at[first]][group])
    return (int(at[first][group[other[0]]]), int(at[other[0]])) if len(other) else None


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
    facts: dict[str, str] = {}
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
        facts["values"] = "true and false were read as 1 and 0"
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"values are {kind}, not numbers; name another column")
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
    numbers = []
    for code in codes:
        try:
            numbers.append(float(code))
        except ValueError:
            continue
    return np.array(numbers)


def _read_text(column: pa.Array, config: ValueConfig, csv: CsvConfig) -> Numbers:
    text = plain_digits(pc.utf8_trim_whitespace(column))
    codes = pa.array([*DEFAULT_CODES, *config.missing], pa.large_string())
    coded = pc.fill_null(pc.is_in(text, value_set=codes), False)
    null = pc.is_null(text)
    clean = pc.if_else(pc.or_(coded, null), pa.scalar(None, pa.large_string()), text)
    facts: dict[str, str] = {}
    clean, signs = _peeled(clean)
    decimal, thousands = _marks(clean, csv, facts)
    loose = pc.match_substring_regex(clean, BLANK)
    if thousands != "":
        loose = pc.and_not(loose, pc.match_substring_regex(clean, _GROUPED))
        clean = pc.replace_substring_regex(clean, BLANK, "")
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
    plain = pc.match_substring_regex(clean, _PLAIN)
    infinite = pc.match_substring_regex(clean, _INFINITE)
    number = pc.and_not(pc.and_not(pc.or_(plain, infinite), torn), loose)
    number = pc.fill_null(number, False)
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
        signs,
    )


def _peeled(clean: pa.Array) -> tuple[pa.Array, Signs | None]:
    """Numbers without the signs of money and per cent around them, and what these were."""
    if not pc.any(pc.match_substring_regex(clean, r"[^\d.,eE+-]|-$")).as_py():
        return clean, None
    signs = None
    with_sign = pc.fill_null(pc.match_substring_regex(clean, _UNIT), False)
    at = np.flatnonzero(with_sign.to_numpy(zero_copy_only=False))
    if len(at):
        cells = clean.take(pa.array(at))
        texts = cells.dictionary_encode()
        sign_texts = (
            pc.extract_regex(texts.dictionary, rf"(?P<sign>{_UNIT})").field("sign").to_pylist()
        )
        named = [(t or "").upper().rstrip(".") for t in sign_texts]
        own = np.array([_ALIKE.get(t, t) for t in named], dtype=object)
        signs = Signs(at, own[np.asarray(texts.indices)], cells)
        # 5 € of $: two signs are no number.
        twice = pc.greater(pc.count_substring_regex(clean, _UNIT), 1)
    dashed = pc.replace_substring_regex(clean, *_PEELED[0])
    behind = pc.any(pc.match_substring_regex(dashed, _BEHIND)).as_py()
    peeled_off = _PEELED if behind else (*_PEELED[:2], _WHOLE, *_PEELED[2:])
    for pattern, instead in peeled_off:
        peeled = pc.replace_substring_regex(clean, pattern, instead)
        clean = pc.if_else(pc.fill_null(twice, False), clean, peeled) if len(at) else peeled
    return clean, signs


def _points(
    sample: pa.Array, csv: CsvConfig, facts: dict[str, str], count: Callable[[str], int]
) -> tuple[str, str | None]:
    """Points alone: a decimal mark, or in tables with semicolons perhaps one for thousands.

    Raises
    ------
    DataError : they may be either.
    """
    grouped = count(THOUSANDS)
    whole = count(WHOLE)
    if not grouped or grouped + whole < len(sample):
        return ".", csv.thousands
    example = sample.filter(pc.match_substring(sample, "."))[0].as_py()
    if csv.separator == ";" and whole:
        facts["marks"] = f"thousands point: {grouped} values such as {example}, none longer without"
        return ",", "."
    if whole and csv.thousands is None:
        raise DataError(
            f"{grouped:,} values such as {example} have three digits behind a point, and the other "
            f"{whole:,} are whole numbers below 1000: the point may part thousands or decimals; "
            'set csv.decimal: "," for thousands or csv.decimal: "." for decimals'
        )
    if whole == 0:
        facts["marks"] = (
            f"decimal point: all {grouped:,} values have three digits behind it, such as "
            f'{example}; csv.decimal: "," makes it part thousands'
        )
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
    comma_decimal = count(rf"^[+-]?(\d|\.|{BLANK})*,(\d{{1,2}}|\d{{4,}}){_EXPONENT}$") + count(
        r"\.\d{3},\d+$"
    )
    # Where blanks part the thousands, a comma parts none: 1 012,505.
    comma_decimal += count(rf"^[+-]?\d{{1,3}}({BLANK}\d{{2,3}})+,\d{{3}}$")
    comma_decimal += count(r"^[+-]?(0,\d{3}|\d+,\d{3}[eE][+-]?\d+)$")
    point_decimal = count(r",\d{3}\.\d*$") + count(r"^[+-]?\d+\.(\d{1,2}|\d{4,})$")
    grouped = count(r"^[+-]?(\d{1,3}(,\d{3})+|\d{1,2}(,\d{2})+,\d{3})$")
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
