"""Typed tables that are clean already: checked batch by batch, straight into flat arrays.

A batch is looked at once and let go, so a Parquet file may be larger than memory: what stays is
y and one start per series. Whatever is not clean in every respect is left to the long way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from forecasting.data.calendar import Frequency
from forecasting.data.mapped import Filling
from pipelines.ingestion.clean import Clean
from pipelines.ingestion.columns.units import names_units, unit_columns
from pipelines.ingestion.config import DataConfig, IdConfig, StampConfig, ValueConfig
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.raw import Raw, is_text
from pipelines.ingestion.read.mapping import settle
from pipelines.ingestion.read.sources import (
    SAMPLE_ROWS,
    Source,
    columns_of,
    open_dataset,
    open_text,
    parquet_file,
)
from pipelines.ingestion.result.result import IngestResult
from pipelines.ingestion.series.ends import blank_ends
from pipelines.ingestion.series.steps import common_alias
from pipelines.ingestion.stamps.numbered import WEEKDAYS
from pipelines.ingestion.ways.scan import (
    NotCleanError,
    Scan,
    check_limits,
    ids_of,
    maybe_years_or_epochs,
    take,
)
from pipelines.machine.memory import usable
from pipelines.machine.state import home

BATCH = 1 << 17
# Share of the memory at hand from which on values are mapped: a run holds a few panels at a time.
SHARE = 1 / 16
# Folder of mapped values, in that of all local state.
MAPPED = "mapped"


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
    facts = {
        "kind": "parquet",
        "row groups": file.metadata.num_row_groups,
    }
    every = list(file.schema_arrow.names)
    return _clean(batches, file.metadata.num_rows, names, config, facts, every)


def clean_dataset(data: pads.Dataset, config: DataConfig) -> Clean | None:
    """The clean table of Parquet in several files; None when it has to go the long way."""
    names = _columns(data.schema, config)
    if names is None:
        return None
    batches = data.to_batches(
        columns=names, batch_size=BATCH, batch_readahead=1, fragment_readahead=1, use_threads=False
    )
    facts = {"kind": "parquet", "files": len(getattr(data, "files", ()))}
    try:
        return _clean(batches, data.count_rows(), names, config, facts, list(data.schema.names))
    except (pa.ArrowException, OSError):  # the long way says which file does not fit, and why
        return None


def clean_table(table: pa.Table, config: DataConfig) -> Clean | None:
    """The clean table of an Arrow table; None when it has to go the long way."""
    names = _columns(table.schema, config)
    if names is None:
        return None
    batches = iter(table.select(names).to_batches(BATCH))
    facts = {"kind": "table in memory"}
    return _clean(batches, table.num_rows, names, config, facts, list(table.column_names))


def clean_stream(
    batches: Iterator[pa.RecordBatch], config: DataConfig, facts: dict[str, Any], every: list[str]
) -> Clean | None:
    """The clean table of blocks of text; None when it has to go the long way.

    Parameters
    ----------
    every : names of all columns, those that are not read among them.
    """
    try:
        first = next(batches, None)
        names = _columns(first.schema, config) if first is not None else None
        if first is None or names is None:
            return None
        chosen = (batch.select(names) for batch in chain([first], batches))
        return _clean(chosen, None, names, config, facts, every)
    except pa.ArrowInvalid:  # a cell of another type, a line of another length
        return None


def clean_raw(raw: Raw, config: DataConfig) -> Clean | None:
    """The clean table of what a source handed over; None when it has to go the long way."""
    table = raw.table.rename_columns([n.strip() for n in raw.names])
    names = _columns(table.schema, config)
    if names is None or _units(table.slice(0, SAMPLE_ROWS), config):
        return None
    batches = iter(table.select(names).to_batches(BATCH))
    clean = _clean(batches, table.num_rows, names, config, dict(raw.facts), raw.every)
    return replace(clean, removed_lines=raw.removed) if clean is not None else None


def _units(sample: pa.Table, config: DataConfig) -> bool:
    """Whether a column that is not used holds units: which ones is looked at."""
    used = {*(config.id or ()), *(config.ds or ()), config.y}
    return bool(unit_columns(sample.column_names, sample) - used)


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
    if pa.types.is_integer(stamp) and WEEKDAYS.fullmatch(names[1].strip()):
        return None
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


def _clean(
    batches: Iterator[pa.RecordBatch], rows: int | None, names: list[str], config: DataConfig,
    facts: dict[str, Any], every: list[str],
) -> Clean | None:  # fmt: skip
    aside = [n for n in every if n and n.strip() not in names]
    if any(names_units(n.strip()) for n in aside):
        return None  # which units they say is looked at
    scan = Scan(_room(rows, config), config)
    integer, tz = False, None
    try:
        for batch in batches:
            if not batch.num_rows:
                continue
            kind = batch.column(1).type
            integer, tz = pa.types.is_integer(kind), getattr(kind, "tz", None)
            take(scan, batch, integer)
        return _finish(scan, config, integer, tz, facts, aside)
    except NotCleanError:
        return None


def _room(rows: int | None, config: DataConfig) -> Filling:
    """Where y goes: values beyond `SHARE` of the memory at hand are mapped, if not said."""
    if config.store == "memory":
        return Filling(None, rows)
    most = 0 if config.store == "mapped" else int(SHARE * usable())
    return Filling(home() / MAPPED, rows, most=most)


def _finish(
    scan: Scan, config: DataConfig, integer: bool, tz: str | None, facts: dict[str, Any],
    aside: list[str],
) -> Clean:  # fmt: skip
    freq = scan.freq
    if freq is None or freq.integer != integer:
        raise NotCleanError
    ids = ids_of(scan, config)
    start = np.concatenate(scan.starts)
    offsets = np.concatenate([*scan.begins, [scan.row]]).astype(np.int64)
    if not integer:
        if tz is not None and not freq.sub_daily:
            raise NotCleanError
        check_limits(start, np.diff(offsets), freq, config)
    elif maybe_years_or_epochs(start, config):
        raise NotCleanError
    if config.freq is None:
        freq = Frequency.parse(common_alias(freq, start))
    y = scan.y.done()
    facts |= blank_ends(ids, y, offsets, start, freq, config)
    facts |= {
        "stamps": "integers, read as step" if integer else "typed",
        "zone": tz or "none: stamps are wall clock",
        "checked": "in one pass: every id, every step and every value",
    }
    return Clean(
        ids, ids, offsets, start, y, freq, tz, {}, {}, Ledger(), None, scan.row, {}, facts,
        None, aside,
    )  # fmt: skip


def fast_way(source: Source, config: DataConfig) -> IngestResult | None:
    """A table that is typed and clean already, in one pass; None for all others."""
    clean = None
    if config.newer is not None:
        return None
    if isinstance(source, pa.Table) and source.num_rows:
        names = list(source.column_names)
        config = settle(config, [names], source.slice(0, SAMPLE_ROWS), lambda columns: source)
        if may_be_fast(config) and not _units(source.slice(0, SAMPLE_ROWS), config):
            clean = clean_table(source, config)
    elif (file := parquet_file(source, config)) is not None and file.metadata.num_rows:
        head = next(file.iter_batches(SAMPLE_ROWS, use_threads=False))
        first = pa.Table.from_batches([head])
        config = settle(config, [list(head.schema.names)], first, partial(columns_of, file))
        if may_be_fast(config) and not _units(first, config):
            texts = dictionary_columns(file.schema_arrow, config)
            again = parquet_file(source, config, texts)
            clean = clean_parquet(again, config) if again is not None else None
    elif (partitioned := _partitioned(source, config)) is not None:
        data, head = partitioned
        config = settle(config, [data.schema.names], head, partial(columns_of, data))
        if may_be_fast(config) and not _units(head, config):
            texts = dictionary_columns(data.schema, config)
            again = open_dataset(str(source), config, texts)
            clean = clean_dataset(again, config) if again is not None else None
    elif (text := open_text(source, config)) is not None:
        config = text.config
        if may_be_fast(config):
            clean = clean_stream(text.batches, config, text.facts, text.every)
    return IngestResult(clean, config) if clean is not None else None


def _partitioned(source: Source, config: DataConfig) -> tuple[pads.Dataset, pa.Table] | None:
    """Parquet in several files and its first rows; None for what cannot be read so."""
    if not isinstance(source, str | Path):
        return None
    data = open_dataset(str(source), config)
    if data is None or len(data.schema.names) > config.max_columns:
        return None
    try:
        head = data.head(SAMPLE_ROWS, use_threads=False)
        return (data, head) if head.num_rows else None
    except (pa.ArrowException, OSError):
        return None
