"""Long, wide and one-row-per-series tables become the same thing: one row per value."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.config import CovariateConfig, DataConfig, IdConfig
from pipelines.ingestion.numbers import Numbers, read_numbers
from pipelines.ingestion.raw import Raw, is_text
from pipelines.ingestion.stamps import NAIVE, Stamps, read_stamps

Array = npt.NDArray[Any]


@dataclass
class Column:
    """A covariate: float64 values, or codes of categories (-1 missing)."""

    config: CovariateConfig
    values: Array
    categories: Array | None = None
    numbers: Numbers | None = None

    def take(self, index: Array) -> Column:
        """The values of some rows, by position."""
        return Column(self.config, self.values[index], self.categories)


@dataclass
class Rows:
    """One row per value, as delivered.

    Attributes
    ----------
    ids : [K] names as written; codes : [T] which one each row has, -1 for none.
    y : what was read of the values; unit_factor : [T] from the unit column, NaN for an unknown
        unit.
    row : [T] row of the source, from 1.
    """

    ids: Array
    codes: Array
    stamps: Stamps
    y: Numbers
    row: Array
    columns: dict[str, Column] = field(default_factory=dict)
    unit_factor: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)


def to_rows(raw: Raw, config: DataConfig, name: str) -> Rows:
    """The table, one row per value; cells of wide tables are read column by column."""
    if config.layout == "wide":
        rows = _wide(raw, config)
    elif config.layout == "rows":
        rows = _per_series(raw, config)
    else:
        rows = _long(raw, config, name)
    rows.facts = {**raw.facts, **rows.stamps.facts, **rows.y.facts, **rows.facts}
    return rows


def _csv(raw: Raw, config: DataConfig) -> Any:
    return config.csv.replace(separator=raw.facts.get("separator", config.csv.separator))


def _long(raw: Raw, config: DataConfig, name: str) -> Rows:
    count = raw.table.num_rows
    if config.series is not None or not config.id:
        ids, codes = np.array([config.series or name], dtype=object), np.zeros(count, np.int32)
    else:
        ids, codes = _keys([raw.column(c, "id") for c in config.id], list(config.id), config.ids)
    csv = _csv(raw, config)
    y_name = config.y or "y"
    rows = Rows(
        ids,
        codes,
        _stamps(raw, config),
        _numbers(raw.column(y_name, "data.y"), y_name, config.values, csv),
        np.arange(1, count + 1) if raw.row is None else raw.row,
    )
    unit = config.values.unit
    if unit is not None:
        rows.unit_factor = _factors(raw.column(unit.column, "values.unit.column"), unit.scale)
    for covariate in config.covariates:
        if config.static and covariate.role == "static" and covariate.source not in raw.names:
            continue  # it stands in the table of static covariates
        column = raw.column(covariate.source, f"covariates.{covariate.name}")
        rows.columns[covariate.name] = read_covariate(column, covariate, csv)
        own = covariate.unit
        if own is not None:
            factor = _factors(raw.column(own.column, "unit.column"), own.scale)
            found = rows.columns[covariate.name]
            found.values = found.values * factor
    used = {*(config.id or ()), *(config.ds or ("ds",)), y_name}
    used |= {c.source for c in config.covariates}
    ignored = [n for n in raw.facts.get("all columns", raw.names) if n not in used]
    if ignored:
        rows.facts["columns left aside"] = ignored[:100]
    return rows


def _numbers(column: Any, name: str, config: Any, csv: Any) -> Numbers:
    try:
        found = read_numbers(column, config, csv)
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"column {name}: {error}") from None
    bad = len(found.unreadable)
    if bad and bad > 0.5 * max(len(found.values) - len(found.codes), 1):
        raise DataError(
            f"column {name} holds no numbers: {bad:,} of {len(found.values):,} values cannot be "
            f"read, such as {found.unreadable_text[0]!r}; name another column as y"
        )
    return found


def _stamps(raw: Raw, config: DataConfig) -> Stamps:
    names = config.ds or ("ds",)
    columns = [raw.column(n, "ds") for n in names]
    if len(columns) == 1:
        return read_stamps(columns[0], names[0], config.stamps)
    parts = [pc.utf8_trim_whitespace(c.cast(pa.string())) for c in columns]
    return read_stamps(pc.binary_join_element_wise(*parts, " "), " ".join(names), config.stamps)


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


def _keys(columns: list[Any], names: list[str], config: IdConfig) -> tuple[Array, Array]:
    """Names of the series from one or several columns."""
    encoded = [encode(c) for c in columns]
    if len(encoded) == 1 and not config.template and not config.rename:
        texts, codes = encoded[0]
        return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object), codes
    missing = np.zeros(len(encoded[0][1]), bool)
    radix = np.zeros(len(missing), np.int64)
    for texts, codes in encoded:
        missing |= codes < 0
        radix = radix * (len(texts) + 1) + codes + 1
    used, codes = np.unique(radix[~missing], return_inverse=True)
    parts: list[pa.Array] = []
    for texts, _ in reversed(encoded):
        parts.insert(0, texts.take(pa.array(used % (len(texts) + 1) - 1)))
        used = used // (len(texts) + 1)
    out = np.full(len(missing), -1, np.int64)
    out[~missing] = codes
    return compose(parts, names, config), out


def compose(parts: list[pa.Array], names: list[str], config: IdConfig) -> Array:
    """Names from their parts, by the template or the separator; vectorised over names."""
    texts = {}
    for name, part in zip(names, parts, strict=True):
        text = pc.utf8_trim_whitespace(part.cast(pa.string())) if config.trim else part
        renames = config.rename.get(name)
        if renames:
            text = _renamed(text, renames)
        texts[name] = text
    if not config.template:
        return _objects(pc.binary_join_element_wise(*texts.values(), config.separator))
    pieces: list[Any] = []
    for literal, field_name, spec, _ in string.Formatter().parse(config.template):
        if literal:
            pieces.append(pa.scalar(literal))
        if field_name is None:
            continue
        if field_name not in texts:
            raise ConfigError(
                f"ids.template: {field_name!r} is no column of the id; "
                f"there are: {', '.join(texts)}"
            )
        pieces.append(_padded(texts[field_name], spec or ""))
    return _objects(pc.binary_join_element_wise(*pieces, ""))


def _objects(texts: pa.Array) -> Array:
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def _renamed(text: pa.Array, renames: dict[str, str]) -> pa.Array:
    series = pd.Series(text.to_pandas(), dtype="str")
    return pa.array(series.map(renames).fillna(series), pa.string())


def _padded(text: pa.Array, spec: str) -> pa.Array:
    if not spec:
        return text
    match = re.fullmatch(r"(?:(.)?([<>^]))?(0)?(\d+)", spec)
    if not match:
        raise ConfigError(f"ids.template: {spec!r} is no width; write it like 0>3 or <10")
    fill = match[1] or ("0" if match[3] else " ")
    pad = {"<": pc.utf8_rpad, ">": pc.utf8_lpad, "^": pc.utf8_center, None: pc.utf8_lpad}
    return pad[match[2]](text, width=int(match[4]), padding=fill)


def _factors(column: Any, scale: dict[str, float]) -> Array:
    texts, codes = encode(column)
    known = {k.strip(): v for k, v in scale.items()}
    factors = np.array([known.get((t or "").strip(), np.nan) for t in texts.to_pylist()] + [np.nan])
    return factors[codes]


def read_covariate(column: Any, config: CovariateConfig, csv: Any) -> Column:
    """A covariate as numbers or as codes of categories, by its type or by what it holds."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    textual = is_text(kind)
    wanted = config.type
    numbers = None
    if wanted is None:
        wanted = "real"
        if textual:
            numbers = read_numbers(column, config, csv)
            readable = len(numbers.values) - len(numbers.unreadable) - len(numbers.codes)
            if len(numbers.unreadable) >= max(0.05 * readable, 1):
                wanted = "categorical"
    if wanted == "real" and isinstance(config.fill, str):
        raise ConfigError(f"covariates.{config.name}.fill = {config.fill!r} is not a number")
    if wanted == "real":
        numbers = numbers or _numbers(column, config.name, config, csv)
        return Column(config, numbers.values * config.scale, None, numbers)
    texts, codes = encode(column)
    text = pd.Series(pc.utf8_trim_whitespace(texts).to_pandas(), dtype="str")
    text = text.map(config.recode).fillna(text) if config.recode else text
    missing = text.isin(config.missing) | text.isna()
    if "" not in (config.fill, *config.recode.values()):
        missing |= text == ""
    number, names = pd.factorize(text.where(~missing))
    lookup = np.concatenate([number, [-1]]).astype(np.int32)
    return Column(config, lookup[codes], np.asarray(names, dtype=object))


def _matrix(raw: Raw, positions: list[int]) -> pa.ChunkedArray:
    """Cells of some columns, one column after the other."""
    table = raw.table.select(positions)
    kinds = {t for t in table.schema.types if not pa.types.is_null(t)}
    target = kinds.pop() if len(set(table.schema.types)) == 1 and kinds else None
    if target is None:
        target = pa.large_string() if any(is_text(k) for k in kinds) else pa.float64()
        table = table.cast(pa.schema([(n, target) for n in table.column_names]))
    return pa.chunked_array([c for column in table.columns for c in column.chunks], type=target)


def _wide(raw: Raw, config: DataConfig) -> Rows:
    ds_at = [raw.position(n, "ds") for n in config.ds or ()]
    shared = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    apart = {*ds_at, *shared}
    at = [i for i in range(len(raw.names)) if i not in apart]
    if not at:
        raise DataError("layout = wide: no column is left for the series beside ds")
    count, width = raw.table.num_rows, len(at)
    names = list(config.levels) or [f"level{i + 1}" for i in range(len(raw.headers))]
    if len(names) != len(raw.headers):
        raise ConfigError(
            f"levels names {len(names)} header lines, but the table has {len(raw.headers)}"
        )
    levels = [_filled([level[i] for i in at]) for level in raw.headers[:-1]]
    levels.append([raw.names[i] for i in at])
    parts = [pa.array(level, pa.string()) for level in levels]
    ids = compose(parts, names, config.ids)
    stamps = _stamps(raw, config)
    stamps.index = np.tile(stamps.index if stamps.index is not None else np.arange(count), width)
    csv = _csv(raw, config)
    rows = Rows(
        ids,
        np.repeat(np.arange(width, dtype=np.int32), count),
        stamps,
        _numbers(_matrix(raw, at), "of values", config.values, csv),
        np.tile(np.arange(1, count + 1), width),
        facts={"cells": "a row is a cell of the wide table"},
    )
    for covariate, i in zip(config.covariates, shared, strict=True):
        column = read_covariate(raw.table.column(i), covariate, csv)
        rows.columns[covariate.name] = Column(
            covariate, np.tile(column.values, width), column.categories
        )
    return rows


def _filled(level: list[str]) -> list[str]:
    """A header line of joined cells: a blank means what stands to its left."""
    out: list[str] = []
    for name in level:
        out.append(name or (out[-1] if out else ""))
    return out


def _per_series(raw: Raw, config: DataConfig) -> Rows:
    id_names = config.id or (raw.names[0],)
    id_at = [raw.position(n, "id") for n in id_names]
    static = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    moving = [c.name for c in config.covariates if c.role != "static"]
    if moving:
        raise ConfigError(
            f"layout = rows has one row per series: covariate {moving[0]!r} can be static only"
        )
    apart = {*id_at, *static}
    at = [i for i in range(len(raw.names)) if i not in apart]
    if not at:
        raise DataError("layout = rows: no column is left for the values beside id")
    count, width = raw.table.num_rows, len(at)
    ids, codes = _keys([raw.table.column(i) for i in id_at], list(id_names), config.ids)
    csv = _csv(raw, config)
    found = _numbers(_matrix(raw, at), "of values", config.values, csv)
    # From one column after the other to one series after the other.
    turn = np.arange(count * width).reshape(width, count).T.ravel()
    back = np.empty_like(turn)
    back[turn] = np.arange(len(turn))
    y = Numbers(
        found.values[turn],
        back[found.codes],
        found.code_text,
        back[found.unreadable],
        found.unreadable_text,
        found.facts,
    )
    stamps = _header_stamps([raw.names[i] for i in at], config)
    stamps.index = np.tile(np.arange(width), count)
    rows = Rows(
        ids,
        np.repeat(codes, width),
        stamps,
        y,
        np.repeat(np.arange(1, count + 1), width),
        facts={"cells": "a row is a cell of the table"},
    )
    for covariate, i in zip(config.covariates, static, strict=True):
        column = read_covariate(raw.table.column(i), covariate, csv)
        rows.columns[covariate.name] = Column(
            covariate, np.repeat(column.values, width), column.categories
        )
    return rows


def _header_stamps(names: list[str], config: DataConfig) -> Stamps:
    """Stamps in the header; plain steps 1, 2, … where it only numbers its columns."""
    numbered = all(re.fullmatch(r"[A-Za-z_. ]{0,12}\d{1,6}", n) for n in names)
    years = all(re.fullmatch(r"(1[6-9]|2[0-2])\d{2}", n) for n in names)
    quarters = all(re.fullmatch(r"(?i)\d{4}[ -]?q[1-4]|q[1-4][ -]?\d{4}", n) for n in names)
    if config.freq == "step" or (
        numbered and not years and not quarters and not config.stamps.formats
        and not all(n.isdigit() and len(n) == 8 for n in names)
    ):  # fmt: skip
        steps = np.arange(1, len(names) + 1)
        facts = {"stamps": f"columns {names[0]} … {names[-1]} are steps 1 to {len(names)}"}
        zone = np.full(len(names), NAIVE, np.int8)
        return Stamps(steps, zone, [], None, integer=True, texts=pa.array(names), facts=facts)
    found = read_stamps(pa.array(names, pa.string()), "of the header", config.stamps)
    rows = found.rows()
    if (rows == np.iinfo(np.int64).min).any():
        wrong = names[int(np.flatnonzero(rows == np.iinfo(np.int64).min)[0])]
        raise DataError(
            f"layout = rows: the column {wrong!r} is no time stamp; name it as id or as a static "
            "covariate, or give its format in stamps.formats"
        )
    return Stamps(
        rows, found.row_zones(), found.zones, None, found.integer, pa.array(names),
        facts=found.facts,
    )  # fmt: skip
