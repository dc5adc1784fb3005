"""Typed tables that are clean already: checked batch by batch, straight into flat arrays.

A batch is looked at once and let go, so a Parquet file may be larger than memory: what stays is
y and one start per series. Whatever is not clean in every respect is left to the long way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forecasting.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig, IdConfig, StampConfig, ValueConfig
from pipelines.ingestion.engine import Clean
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.naming import fold_text
from pipelines.ingestion.raw import Raw, is_text
from pipelines.ingestion.stamps import DAY
from pipelines.ingestion.steps import common_alias, find_steps
from pipelines.ingestion.values import SENTINELS

Array = npt.NDArray[Any]
BATCH = 1 << 17
FREQUENCY_ROWS = 1 << 14  # rows whose steps are looked at; all others must keep the same
_STRAY = "^$|^\\s|\\s$|\\s\\s|[\\t\\n\\r\u00a0\u200b\u200e\u200f\ufeff\u00ad]"
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}


class _NotCleanError(Exception):
    """Something has to be mended, or looked at more closely."""


def may_be_fast(config: DataConfig) -> bool:
    """Whether the config asks for nothing but the checks made here."""
    flags = config.flags
    changing = (flags.spikes, flags.flat_policy, flags.negative)
    limits = {"earliest": config.stamps.earliest, "latest": config.stamps.latest}
    return (
        config.layout == "long"
        and not config.covariates
        and config.static is None
        and config.blanks != "trim"
        and len(config.ds or ()) == 1
        and len(config.id or ()) == 1
        and config.values == ValueConfig()
        and config.ids == IdConfig(max_length=config.ids.max_length)
        and config.stamps == StampConfig(**limits)
        and config.irregular.policy != "resample"
        and not {"missing", "refuse"} & set(changing)
    )


def clean_parquet(file: pq.ParquetFile, config: DataConfig) -> Clean | None:
    """The clean table of a Parquet file; None when it has to go the long way."""
    names = _columns(file.schema_arrow, config)
    if names is None:
        return None
    batches = file.iter_batches(BATCH, columns=names, use_threads=False)
    facts = {"kind": "parquet", "row groups": file.metadata.num_row_groups}
    return _clean(batches, file.metadata.num_rows, names, config, facts)


def clean_table(table: pa.Table, config: DataConfig) -> Clean | None:
    """The clean table of an Arrow table; None when it has to go the long way."""
    names = _columns(table.schema, config)
    if names is None:
        return None
    batches = iter(table.select(names).to_batches(BATCH))
    return _clean(batches, table.num_rows, names, config, {"kind": "table in memory"})


def clean_stream(
    batches: Iterator[pa.RecordBatch], config: DataConfig, facts: dict[str, Any]
) -> Clean | None:
    """The clean table of blocks of text; None when it has to go the long way."""
    try:
        first = next(batches, None)
        names = _columns(first.schema, config) if first is not None else None
        if first is None or names is None:
            return None
        chosen = (batch.select(names) for batch in chain([first], batches))
        return _clean(chosen, None, names, config, facts)
    except pa.ArrowInvalid:  # a cell of another type, a line of another length
        return None


def clean_raw(raw: Raw, config: DataConfig) -> Clean | None:
    """The clean table of what a source handed over; None when it has to go the long way."""
    table = raw.table.rename_columns([n.strip() for n in raw.names])
    names = _columns(table.schema, config)
    if names is None:
        return None
    batches = iter(table.select(names).to_batches(BATCH))
    found = _clean(batches, table.num_rows, names, config, dict(raw.facts))
    return replace(found, removed_lines=raw.removed) if found is not None else None


def dictionary_columns(schema: pa.Schema, config: DataConfig) -> list[str]:
    """The id, where it is text: read as dictionary it costs four bytes a row."""
    return [n for n in config.id or () if n in schema.names and is_text(schema.field(n).type)]


def _columns(schema: pa.Schema, config: DataConfig) -> list[str] | None:
    """id, ds and y, when their types need no reading; None otherwise."""
    if not config.id or not config.ds or not config.y:
        return None
    names = [config.id[0], config.ds[0], config.y]
    if any(schema.names.count(n) != 1 for n in names) or len(set(names)) < 3:
        return None
    key, stamp, value = (schema.field(n).type for n in names)
    if pa.types.is_dictionary(key):
        key = key.value_type
    fitting = (
        (is_text(key) or pa.types.is_integer(key))
        and (
            pa.types.is_timestamp(stamp) or pa.types.is_date32(stamp) or pa.types.is_integer(stamp)
        )
        and (pa.types.is_floating(value) or pa.types.is_integer(value))
        and not pa.types.is_float16(value)
        and not pa.types.is_uint64(value)
    )
    return names if fitting else None


@dataclass
class _Scan:
    """What is known after some batches.

    Attributes
    ----------
    names : per batch, the ids that begin in it; begins : the rows they begin at.
    last : id of the row before the next batch; stamp : its ds; position : its place in its series.
    """

    y: Array
    config: DataConfig
    freq: Frequency | None = None
    names: list[pa.Array] = field(default_factory=list)
    begins: list[Array] = field(default_factory=list)
    starts: list[Array] = field(default_factory=list)
    row: int = 0
    last: Any = None
    stamp: int = 0
    start: int = 0
    position: int = 0


def _clean(
    batches: Iterator[pa.RecordBatch], rows: int | None, names: list[str], config: DataConfig,
    facts: dict[str, Any],
) -> Clean | None:  # fmt: skip
    scan = _Scan(np.empty(0 if rows is None else rows), config)
    integer, tz = False, None
    try:
        for batch in batches:
            if not batch.num_rows:
                continue
            kind = batch.column(1).type
            integer, tz = pa.types.is_integer(kind), getattr(kind, "tz", None)
            _take(scan, batch, integer)
        if rows is None:
            scan.y = scan.y[: scan.row].copy()
        return _finish(scan, config, names, integer, tz, facts)
    except _NotCleanError:
        return None


def _take(scan: _Scan, batch: pa.RecordBatch, integer: bool) -> None:
    """Check one batch and keep what is needed of it."""
    count = batch.num_rows
    key, ds = batch.column(0), _stamps(batch.column(1))
    if key.null_count:
        raise _NotCleanError
    new, first = np.empty(count, bool), key[0].as_py()
    new[0] = scan.row == 0 or first != scan.last
    _changes(key, new[1:])
    heads = np.flatnonzero(new)
    if scan.freq is None:
        scan.freq = _frequency(ds, heads, scan.config, integer)
    _check_steps(scan, ds, new, heads)
    if len(heads):
        scan.names.append(key.take(pa.array(heads)).cast(pa.large_string()))
        scan.begins.append(heads + scan.row)
        scan.starts.append(ds[heads])
        scan.start, scan.position = int(ds[heads[-1]]), count - 1 - int(heads[-1])
    else:
        scan.position += count
    scan.last = key[count - 1].as_py()
    scan.stamp = int(ds[-1])
    if scan.row + count > len(scan.y):  # the number of rows is not known beforehand
        scan.y = np.concatenate([scan.y[: scan.row], np.empty(max(count, scan.row // 2))])
    out = scan.y[scan.row : scan.row + count]
    _values(batch.column(2), out)
    scan.row += count


def _changes(key: pa.Array, out: Array) -> None:
    """Where an id differs from the one in the row before, into place."""
    if pa.types.is_dictionary(key.type):
        key = key.indices
    if is_text(key.type):
        differs = pc.not_equal(key.slice(1), key.slice(0, len(key) - 1))
        out[:] = differs.to_numpy(zero_copy_only=False)
    else:
        codes = key.to_numpy()
        np.not_equal(codes[1:], codes[:-1], out=out)


def _stamps(column: pa.Array) -> Array:
    """[rows] int64 microseconds or steps."""
    if column.null_count:
        raise _NotCleanError
    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.int32()).to_numpy().astype(np.int64) * DAY
    if pa.types.is_integer(kind):
        values = column.to_numpy()
        if values.dtype == np.uint64:
            raise _NotCleanError
        return values.astype(np.int64, copy=False)
    values = column.cast(pa.int64()).to_numpy()
    factor = _UNITS[kind.unit]
    if factor == 1:
        return values
    if factor:
        return values * factor
    whole = values // 1000
    if (whole * 1000 != values).any():
        raise _NotCleanError
    return whole


def _frequency(ds: Array, heads: Array, config: DataConfig, integer: bool) -> Frequency:
    """The step of the first batch; all later ones must keep it."""
    if config.freq is not None:
        return Frequency.parse(config.freq)
    ds, heads = ds[:FREQUENCY_ROWS], heads[heads < FREQUENCY_ROWS]
    codes = np.zeros(len(ds), np.int32)
    codes[heads[heads > 0]] = 1
    codes = np.cumsum(codes, dtype=np.int32)
    ids = np.arange(int(codes[-1]) + 1).astype(object)
    try:
        return find_steps(codes, ds, ids, None, integer).freq
    except DataError:
        raise _NotCleanError from None


def _check_steps(scan: _Scan, ds: Array, new: Array, heads: Array) -> None:
    """Every row follows the one before it by one step, or begins a series."""
    freq = scan.freq
    assert freq is not None
    if freq.unit in ("step", "time"):
        good = np.equal(ds[1:] - ds[:-1], freq.size)
        good |= new[1:]
        if not good.all() or not (new[0] or ds[0] - scan.stamp == freq.size):
            raise _NotCleanError
        return
    carried = 0 if new[0] else 1
    starts = np.concatenate([[scan.start] * carried, ds[heads]]).astype(np.int64)
    which = np.cumsum(new) - 1 + carried
    begin = np.concatenate([[-1 - scan.position] * carried, heads])
    steps = np.arange(len(ds)) - begin[which]
    wanted = freq.shift(starts.astype("datetime64[us]")[which], steps).astype(np.int64)
    if not np.array_equal(wanted, ds):
        raise _NotCleanError


def _values(column: pa.Array, out: Array) -> None:
    """The numbers of y, into place; infinite ones and sentinels need the long way."""
    kind = column.type
    if pa.types.is_integer(kind):
        if column.null_count:
            column = column.cast(pa.float64(), safe=False)
        else:
            out[:] = column.to_numpy()
    if not pa.types.is_integer(column.type):
        if column.null_count:
            column = pc.fill_null(column, pa.scalar(float("nan"), column.type))
        out[:] = column.to_numpy()
    low, high = out.min(), out.max()
    if low != low:
        low, high = np.fmin.reduce(out), np.fmax.reduce(out)
    if np.isinf(low) or np.isinf(high):
        raise _NotCleanError
    if low <= -9.0 and np.isin(out, SENTINELS).any():
        raise _NotCleanError
    if pa.types.is_int64(kind) and max(abs(low), abs(high)) > 2.0**53:
        raise _NotCleanError


def _finish(
    scan: _Scan, config: DataConfig, names: list[str], integer: bool, tz: str | None,
    facts: dict[str, Any],
) -> Clean:  # fmt: skip
    freq = scan.freq
    if freq is None or freq.integer != integer or scan.row != len(scan.y):
        raise _NotCleanError
    ids = _ids(scan, config)
    start = np.concatenate(scan.starts)
    offsets = np.concatenate([*scan.begins, [scan.row]]).astype(np.int64)
    if not integer:
        if tz is not None and not freq.sub_daily:
            raise _NotCleanError
        _check_limits(start, np.diff(offsets), freq, config)
    elif _maybe_years_or_epochs(start, config):
        raise _NotCleanError
    if config.freq is None:
        freq = Frequency.parse(common_alias(freq, start))
    aside = [n for n in facts.get("all columns", ()) if n not in names]
    if aside:
        facts["columns left aside"] = aside[:100]
    facts |= {
        "stamps": "integers, read as step" if integer else "typed",
        "zone": tz or "none: stamps are wall clock",
        "checked": "in one pass: every id, every step and every value",
    }
    return Clean(
        ids,
        ids,
        offsets,
        start,
        scan.y,
        freq,
        tz,
        {},
        {},
        Ledger(),
        None,
        scan.row,
        {},
        facts,
        None,
    )


def _ids(scan: _Scan, config: DataConfig) -> Array:
    """The names, when each stands in one block and none needs mending."""
    texts = pa.concat_arrays(scan.names)
    lengths = pc.min_max(pc.utf8_length(texts)).as_py()
    if lengths["min"] == 0 or lengths["max"] > config.ids.max_length:
        raise _NotCleanError
    if not _visible(texts) and pc.any(pc.match_substring_regex(texts, _STRAY)).as_py():
        raise _NotCleanError
    folded = fold_text(texts)
    rising = pc.all(pc.less(folded.slice(0, len(folded) - 1), folded.slice(1))).as_py()
    if not rising and pc.count_distinct(folded).as_py() != len(folded):
        raise _NotCleanError
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def _visible(texts: pa.Array) -> bool:
    """Whether all signs are plain visible ones, none a blank: told by their bytes, quickly."""
    signs = np.frombuffer(texts.buffers()[2], np.uint8)
    return bool(signs.min() > ord(" ") and signs.max() < 0x7F)


def _check_limits(start: Array, sizes: Array, freq: Frequency, config: DataConfig) -> None:
    low, high = (
        np.datetime64(t, "us").astype(np.int64)
        for t in (config.stamps.earliest, config.stamps.latest)
    )
    last = freq.shift(start.astype("datetime64[us]"), sizes - 1).astype(np.int64)
    if start.min() < low or last.max() >= high + DAY:
        raise _NotCleanError


def _maybe_years_or_epochs(start: Array, config: DataConfig) -> bool:
    """Whether integers may be anything but plain steps."""
    if config.freq is not None:
        return False
    return bool(start.min() >= 1000)
