"""Columns of the source: values, units and covariates, as numbers or as codes of categories."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.columns.naming import fold
from pipelines.ingestion.columns.numbers import Numbers, read_numbers
from pipelines.ingestion.config import CovariateConfig
from pipelines.ingestion.raw import is_text, shown

SEVERAL, FEW_UNITS = 1000, 4
# Different numbers that may be the codes of a category.
MOST_CODES, MOST_FRACTIONS = 20, 4
NO_CURE = "name another column as y"
_AROUND = re.compile(r"([^\d+-]*)([+-]?\s?\d[\d.,\s:'’/_+-]*)([^\d]*)")
_POWERS = {
    "K": "e3", "k": "e3", "T€": "e3", "Tsd": "e3", "M": "e6", "m": "e6", "mn": "e6", "Mio": "e6",
    "Mio.": "e6", "million": "e6", "B": "e9", "bn": "e9", "Mrd": "e9", "Mrd.": "e9",
    "billion": "e9", "lakh": "e5", "crore": "e7",
}  # fmt: skip


# Numbers with a measure behind them.
_MEASURED = re.compile(
    r"(?i)[+-]?\d[\d.,\s'’]*(?:[kmµ]?g|t|tons?|tonnes?|lbs?|oz|[kcm]?m[²³23]?|mi|ft|[mch]?l|gal"
    r"|h|hrs?|hours?|min|mins?|minutes?|sec|s|days?|°\s?[cf]?|[kmgt]?wh?|[kmgt]?b|mio\.?|mrd\.?|mn"
    r"|bn|k|pcs|st|units?|x|hpa|mbar|mm|bpm|mph|km/h|m/s|kn|usd|eur)"
)


@dataclass
class Column:
    """A covariate: float64 values, or codes of categories (-1 missing).

    ``respelled`` : rows whose category was written otherwise, such as ``Yes`` for ``yes``, and how.
    """

    config: CovariateConfig
    values: Array
    categories: Array | None = None
    numbers: Numbers | None = None
    respelled: tuple[Array, Array] | None = None

    def take(self, index: Array) -> Column:
        """The values of some rows, by position."""
        return Column(self.config, self.values[index], self.categories)


def numbers_of(column: Any, name: str, config: Any, csv: Any) -> Numbers:
    """A column of values; a `DataError` where more than half of it are no numbers."""
    numbers = _read(column, name, config, csv)
    bad = len(numbers.unreadable)
    if bad and bad > 0.5 * max(len(numbers.values) - len(numbers.codes), 1):
        categorical = ""
        if isinstance(config, CovariateConfig):
            categorical = f"set type: categorical for covariates.{config.name}"
        raise DataError(
            f"column {name} holds no numbers: {bad:,} of {len(numbers.values):,} values cannot be "
            f"read, such as {numbers.unreadable_text[0]!r}; {_cure(numbers, categorical)}"
        )
    return numbers


def _cure(found: Numbers, categorical: str) -> str:
    """What makes numbers of texts that are none, by what stands around their digits."""
    texts = found.unreadable_text[:SEVERAL]
    parts = [m for t in texts if (m := _AROUND.fullmatch(t.strip()))]
    if len(parts) < 0.5 * len(texts):
        return categorical or NO_CURE
    ends = sorted({m[k].strip() for m in parts for k in (1, 3)} - {""})
    powers = {rf"\s*{re.escape(e)}$": _POWERS[e] for e in ends if e in _POWERS}
    if powers:
        return f"write powers of ten out (pandas: column.replace({powers!r}, regex=True))"
    if 0 < len(ends) <= FEW_UNITS and not any(c.isnumeric() for e in ends for c in e):
        pattern = "|".join(re.escape(e) for e in ends)
        return (
            f"take {', '.join(map(repr, ends))} off (pandas: column.str.replace({pattern!r}, '', "
            "regex=True)), and convert what is of another unit"
        )
    return "write durations, times and places as one number each"


def _read(column: Any, name: str, config: Any, csv: Any) -> Numbers:
    try:
        return read_numbers(column, config, csv)
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"column {name}: {error}") from None


def encode(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, Array]:
    """Distinct texts of a column, and which one each row has (-1 for none)."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = column.type
    if pa.types.is_floating(kind):
        whole = column.cast(pa.int64(), safe=False)
        same = pc.all(pc.equal(whole.cast(pa.float64()), column)).as_py()
        column = whole if same is not False else column
    if not pa.types.is_dictionary(kind):
        plain = pa.types.is_integer(column.type) or is_text(column.type)
        if not plain or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    if column.num_chunks == 0:
        return pa.array([], pa.string()), np.empty(0, np.int32)
    # Unified dictionaries only ever grow, so the longest serves every chunk.
    chunks = column.chunks
    longest = max((c.dictionary for c in chunks), key=len)
    codes = [
        np.asarray(
            (pc.fill_null(c.indices, -1) if c.indices.null_count else c.indices).to_numpy(
                zero_copy_only=False
            )
        )
        for c in chunks
    ]
    flat = codes[0] if len(codes) == 1 else np.concatenate(codes)
    return longest.cast(pa.string()), flat.astype(np.int32, copy=False)


def unit_factors(column: Any, scale: dict[str, float]) -> Array:
    """[T] factor of each row by its unit's name; NaN for an unknown unit."""
    texts, codes = encode(column)
    by_name = {k.strip(): v for k, v in scale.items()}
    factors = np.array(
        [by_name.get((t or "").strip(), np.nan) for t in texts.to_pylist()] + [np.nan]
    )
    return factors[codes]


def read_covariate(column: Any, config: CovariateConfig, csv: Any) -> Column:
    """A covariate as numbers or as codes of categories, by its type or by what it holds."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    textual = is_text(kind)
    kind_read = config.type
    numbers = None
    if kind_read is None:
        kind_read = "real"
        if textual:
            numbers = _read(column, config.name, config, csv)
            readable = len(numbers.values) - len(numbers.unreadable) - len(numbers.codes)
            if len(numbers.unreadable) >= max(0.05 * readable, 1):
                kind_read = "categorical"
                _refuse_doubtful(numbers, readable, config)
    if kind_read == "real" and isinstance(config.fill, str):
        raise ConfigError(f"covariates.{config.name}.fill = {config.fill!r} is not a number")
    if kind_read == "real":
        numbers = numbers or numbers_of(column, config.name, config, csv)
        return Column(config, numbers.values * config.scale, None, numbers)
    texts, codes = encode(column)
    text = pd.Series(pc.utf8_trim_whitespace(texts).to_pandas(), dtype="str")
    text = text.map(config.recode).fillna(text) if config.recode else text
    missing = text.isin(config.missing) | text.isna()
    if "" not in (config.fill, *config.recode.values()):
        missing |= text == ""
    labels = np.where(missing, None, text.astype(object))  # type: ignore[call-overload]
    one = _spelled_once(labels, np.bincount(codes[codes >= 0], minlength=len(labels)))
    number, names = pd.factorize(one)
    lookup = np.concatenate([number, [-1]]).astype(np.int32)
    other = np.array([a is not None and a != b for a, b in zip(labels, one, strict=True)] + [False])
    rows = np.flatnonzero(other[codes]) if other.any() else np.empty(0, np.int64)
    respelled = (rows, labels[codes[rows]]) if len(rows) else None
    return Column(config, lookup[codes], np.asarray(names, dtype=object), respelled=respelled)


def _refuse_doubtful(found: Numbers, readable: int, config: CovariateConfig) -> None:
    """Many different numbers beside some words, or with units around them, are hardly categories.

    Parameters
    ----------
    readable : cells that are numbers.

    Raises
    ------
    DataError : with both readings, and the word for each.
    """
    seen = np.unique(found.values[~np.isnan(found.values)])
    many = len(seen) > MOST_CODES or (seen % 1 != 0).sum() > MOST_FRACTIONS
    numeric = readable >= len(found.unreadable) and many
    texts = {t.strip() for t in found.unreadable_text}
    measured = len(texts) > MOST_CODES and all(map(_MEASURED.fullmatch, texts))
    if not numeric and not measured:
        return
    numbers = f"{readable:,} numbers and " if numeric else ""
    raise DataError(
        f"column {config.name} holds {numbers}{len(found.unreadable):,} texts such as "
        f"{shown(found.unreadable_text[0])}, and may be numbers or a category: set "
        + (
            "type: real on the covariate, where the texts count as missing"
            if numeric
            else f"numbers, {_cure(found, '')}"
        )
        + ", or type: categorical"
    )


def _spelled_once(texts: Array, counts: Array) -> Array:
    """[K] categories that differ in case or Unicode form only, as most rows write them.

    Parameters
    ----------
    texts : [K], None for missing. counts : [K] rows of each.
    """
    places = np.flatnonzero([t is not None for t in texts])
    if not len(places):
        return texts
    group = fold(texts[places])
    if len(np.unique(group)) == len(places):
        return texts
    out = texts.copy()
    order = places[np.lexsort((np.arange(len(places)), -counts[places], group))]
    ranked = np.sort(group, kind="stable")
    first = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    out[order] = texts[order[first]][np.cumsum(first) - 1]
    return out
