"""Reads a table from wherever it is: file, folder, archive, object store, database, memory."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from forecasting.data.encoding import is_truth, truths_apart
from forecasting.errors import DataError
from forecasting.masking import conceals
from pipelines.ingestion.columns.units import unit_columns
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.raw import Raw, is_text
from pipelines.ingestion.read.databases import is_database, read_database
from pipelines.ingestion.read.encodings import SAMPLE, decompress, is_packed, refuse_other_content
from pipelines.ingestion.read.lakes import (
    DELTA,
    ICEBERG,
    LOG,
    lake_of,
    read_delta,
    read_iceberg,
)
from pipelines.ingestion.read.mapping import settle, wanted_columns
from pipelines.ingestion.read.newer import Newer
from pipelines.ingestion.read.textfile import Stream, read_text, text_stream

PARQUET = (".parquet", ".parq", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".arrows")
TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat", ".psv")
SAMPLE_ROWS = 1000
PACKED = (".gz", ".zst", ".zstd", ".bz2", ".xz")

Source: TypeAlias = Any  # a path or URL, or a pandas or Arrow table
# Reads a whole table; says what is known of where it came from, ``kind`` at least.
Opener = Callable[[str, DataConfig], tuple[pa.Table, dict[str, Any]]]

# What is neither file nor database, by its URL's scheme: a new source is an entry here.
OPENERS: dict[str, Opener] = {}
# Readers of the columns that are wanted.
LAKES = {DELTA: read_delta, ICEBERG: read_iceberg}


@conceals
def read(source: Source, config: DataConfig) -> tuple[Raw, DataConfig]:
    """The source's table, and the config with the roles of its columns.

    Raises
    ------
    MappingError : the roles are neither configured nor plain to see.
    DataError : no such source, or none that can be read.
    """
    if isinstance(source, pd.DataFrame):
        source = _from_pandas(source)
    if isinstance(source, pa.Table):
        _refuse_newer(config, "a table in memory")
        return _from_table(source, {"kind": "table in memory"}, config)
    text = str(source)
    if opener := _opener(text, config):
        return _from_table(*opener(text, config), config)
    kind, paths, filesystem = locate(text, config)
    facts = {"kind": kind, "files": len(paths)}
    if kind == "parquet":
        return _read_parquet(paths, filesystem, text, config, facts)
    _refuse_newer(config, text)
    if kind == "arrow":
        tables = [_read_arrow(_bytes(filesystem, p), p) for p in paths]
        return _from_table(_joined(tables, text), facts, config)
    raws = []
    for path in paths:
        raw, config = read_text(_text_buffer(filesystem, path), path, config)
        raws.append(raw)
    return (_together(raws, paths) if len(raws) > 1 else raws[0]), config


def _opener(source: str, config: DataConfig) -> Opener | None:
    """What reads a source that is no file."""
    if is_database(source, config):
        return _from_database
    if lake_of(source):
        return _from_lake
    scheme, separator, _ = source.partition("://")
    return OPENERS.get(scheme.lower()) if separator else None


def _from_database(source: str, config: DataConfig) -> tuple[pa.Table, dict[str, Any]]:
    return read_database(source, config, _wanted(config))


def _from_lake(source: str, config: DataConfig) -> tuple[pa.Table, dict[str, Any]]:
    return LAKES[str(lake_of(source))](source, config, _wanted(config))


def _wanted(config: DataConfig) -> set[str] | None:
    """The columns that are read, where the config names all of them."""
    complete = config.ds and config.y and config.layout in (None, "long")
    return wanted_columns(config.replace(layout="long")) if complete else None


def _refuse_newer(config: DataConfig, source: str) -> None:
    if config.newer is not None:
        raise DataError(
            f"data.newer: {source} is read whole; it can be asked of Parquet, Delta, Iceberg and "
            "the tables of databases"
        )


@conceals
def locate(source: str, config: DataConfig) -> tuple[str, list[str], Any]:
    """Kind of files (``csv``, ``parquet``, ``arrow``), their paths, and their file system."""
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
        if any(sign in path for sign in "*?["):
            files = sorted(filesystem.glob(path))
            if not files and "://" not in source:
                files = sorted(glob.glob(glob.escape(path)))
            if not files:
                raise DataError(f"no file matches {source}")
            return _kind(files, filesystem, config), files, filesystem
        if not filesystem.exists(path):
            aside = "" if "://" in source or Path(source).is_absolute() else f" in {Path.cwd()}"
            raise DataError(f"{source} does not exist{aside}")
        if filesystem.isdir(path):
            return _folder(path, filesystem, source, config)
    except DataError:
        raise
    except Exception as error:  # every store has errors of its own
        raise DataError(f"{source} cannot be opened: {_first_line(error)}") from None
    return _kind([path], filesystem, config), [path], filesystem


def _folder(
    path: str, filesystem: Any, source: str, config: DataConfig
) -> tuple[str, list[str], Any]:
    every = sorted(filesystem.find(path))
    _refuse_lake(every, path, source)
    files = [
        f
        for f in every
        if not any(part.startswith((".", "_")) for part in f[len(path) :].strip("/").split("/"))
    ]
    for kind, ends in (("parquet", PARQUET), ("arrow", ARROW), ("csv", TEXT)):
        chosen = [f for f in files if _suffix(f) in ends]
        if chosen and config.format in (None, kind):
            # Parquet is read as one data set, whose folders may be columns.
            return kind, [path] if kind == "parquet" else chosen, filesystem
    seen = ", ".join(f.rsplit("/", 1)[-1] for f in files[:5]) or "nothing"
    raise DataError(f"the folder {source} holds no table (Parquet, Arrow or CSV); it has: {seen}")


def _refuse_lake(files: list[str], path: str, source: str) -> None:
    """Files that a log no longer counts are rows that were deleted or replaced."""
    inside = [f[len(path) :].strip("/") for f in files]
    if any(f.startswith(f"{LOG}/") for f in inside):
        scheme, mark, rest = source.partition("://")
        address = f"delta+{scheme}://{rest}" if mark else f"delta://{source}"
        raise DataError(
            f"{source} is a Delta table, whose log says which files count: write {address}"
        )
    metadata = [f for f in inside if f.startswith("metadata/") and f.endswith(".metadata.json")]
    if metadata:
        raise DataError(
            f"{source} is an Iceberg table, whose metadata say which files count: write "
            f"iceberg://CATALOG/NAMESPACE.TABLE, or iceberg://{source.rstrip('/')}/{metadata[-1]}"
        )


def _suffix(path: str) -> str:
    pure = Path(path)
    suffix = pure.suffix.lower()
    return Path(pure.stem).suffix.lower() if suffix in PACKED else suffix


def _kind(paths: list[str], filesystem: Any, config: DataConfig) -> str:
    if config.format in ("csv", "parquet", "arrow"):
        return config.format
    with filesystem.open(paths[0], "rb") as file:
        head = file.read(8)
    if not head:
        raise DataError(f"{paths[0]} is empty")
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    for kind, ends in (("Parquet", PARQUET), ("Arrow", ARROW)):
        if paths[0].lower().endswith(ends):
            raise DataError(
                f"{paths[0]} is no {kind} file, as its name says, for it begins with {head!r}; if "
                "it is a text table, set data.format: csv"
            )
    return "csv"


def _text_buffer(filesystem: Any, path: str) -> pa.Buffer:
    """The bytes of a text; those of a local file stay where they are."""
    if _is_local(filesystem):
        try:
            mapped = pa.memory_map(path).read_buffer()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read: {_first_line(error)}") from None
        head = mapped[: min(len(mapped), SAMPLE)].to_pybytes()
        if not is_packed(head):
            refuse_other_content(head, path)
            return mapped
    data = decompress(_bytes(filesystem, path), path)
    refuse_other_content(data[:SAMPLE], path)
    return pa.py_buffer(data)


def _bytes(filesystem: Any, path: str) -> bytes:
    try:
        with filesystem.open(path, "rb") as file:
            return bytes(file.read())
    except Exception as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}") from None


@conceals
def parquet_file(
    source: Source, config: DataConfig, dictionary: Iterable[str] = ()
) -> pq.ParquetFile | None:
    """The source as one Parquet file to be read in pieces; None when it is something else.

    ``dictionary`` names text columns to be read as codes.
    """
    if not isinstance(source, (str, Path)) or _opener(str(source), config):
        return None
    kind, paths, filesystem = locate(str(source), config)
    if kind != "parquet" or len(paths) != 1 or filesystem.isdir(paths[0]):
        return None
    try:
        file = paths[0] if _is_local(filesystem) else filesystem.open(paths[0], "rb")
        return pq.ParquetFile(file, read_dictionary=list(dictionary))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read as Parquet: {_first_line(error)}") from None


def columns_of(data: pq.ParquetFile | pads.Dataset, columns: list[str]) -> pa.Table:
    """Some columns of Parquet, in their places; the others are blank."""
    names = data.schema_arrow.names if isinstance(data, pq.ParquetFile) else data.schema.names
    present = [n for n in columns if n in names]
    if isinstance(data, pq.ParquetFile):
        table = data.read(present, use_threads=False)
    else:
        table = data.to_table(columns=present, use_threads=False)
    blank = pa.nulls(table.num_rows)
    return pa.table([table[n] if n in columns else blank for n in names], names=names)


@conceals
def open_text(source: Source, config: DataConfig) -> Stream | None:
    """The source as one text table to be read in blocks; None when it is something else."""
    if not isinstance(source, (str, Path)) or _opener(str(source), config):
        return None
    kind, paths, filesystem = locate(str(source), config)
    if kind != "csv" or len(paths) != 1:
        return None
    path = paths[0]
    data = _text_buffer(filesystem, path)
    mapped = _is_local(filesystem) and len(data) == Path(path).stat().st_size
    return text_stream(data, path if mapped else None, path, config)


@conceals
def open_dataset(
    source: str, config: DataConfig, dictionary: Iterable[str] = ()
) -> pads.Dataset | None:
    """A Parquet source, one file or many, to be read in batches; None for other sources.

    ``dictionary`` names text columns to be read as codes.
    """
    if _opener(source, config) or config.newer is not None:
        return None
    kind, paths, filesystem = locate(source, config)
    if kind != "parquet":
        return None
    try:
        return _dataset(paths, filesystem, set(dictionary))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read as Parquet: {_first_line(error)}") from None


def _dataset(paths: list[str], filesystem: Any, dictionary: set[str]) -> pads.Dataset:
    reading = pads.ParquetReadOptions(dictionary_columns=dictionary)
    return pads.dataset(
        paths if len(paths) > 1 else paths[0],
        filesystem=None if _is_local(filesystem) else filesystem,
        format=pads.ParquetFileFormat(read_options=reading),
        partitioning="hive",
    )


def _read_parquet(
    paths: list[str], filesystem: Any, source: str, config: DataConfig, facts: dict[str, Any]
) -> tuple[Raw, DataConfig]:
    try:
        plain = _dataset(paths, filesystem, set())
        newer = Newer.of(config, plain.schema, source)
        if newer is not None:
            plain = plain.filter(newer.expression)
        _check_width(len(plain.schema.names), config)
        head = plain.head(SAMPLE_ROWS, use_threads=False)
        config = settle(config, [plain.schema.names], head, partial(columns_of, plain))
        names = plain.schema.names
        needed = wanted_columns(config, unit_columns(names, head))
        every = names
        if needed is not None:
            stripped = {w.strip() for w in needed}
            names = [n for n in names if n.strip() in stripped] or names
        kinds = {n: plain.schema.field(n).type for n in config.id or () if n in names}
        texts = {n for n, k in kinds.items() if is_text(k)}
        table = _dataset(paths, filesystem, texts).to_table(
            columns=names, use_threads=False, filter=newer and newer.expression
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read as Parquet: {_first_line(error)}") from None
    if not table.num_rows:
        after = f" with {newer.column} after {newer.than}" if newer is not None else ""
        raise DataError(f"{source} has no rows{after}")
    return Raw(table, [list(table.column_names)], facts, every=every), config


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def _read_arrow(data: bytes, path: str) -> pa.Table:
    buffer = pa.BufferReader(data)
    try:
        if data[:6] == b"ARROW1":
            return pa.ipc.open_file(buffer).read_all()
        return pa.ipc.open_stream(buffer).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Arrow: {_first_line(error)}") from None


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame = frame.copy(deep=False)
    frame.columns = [str(c) for c in frame.columns]
    for place in np.flatnonzero([d.kind == "O" for d in frame.dtypes]):
        column: Any = frame.iloc[:, int(place)]
        if not (column.map(is_truth) | column.isna()).all():
            # True beside 1 would be 1.
            frame.isetitem(int(place), truths_apart(column).array)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError):
        # A column of mixed Python values: its text says as much.
        mixed = [c for c in frame.columns if pd.api.types.is_object_dtype(frame[c].dtype)]
        frame[mixed] = frame[mixed].map(lambda v: None if v is None or v != v else str(v))
        return pa.Table.from_pandas(frame, preserve_index=False)


def _check_width(width: int, config: DataConfig) -> None:
    if width > config.max_columns:
        raise DataError(
            f"the table has {width:,} columns, more than max_columns = {config.max_columns:,}; "
            "keep it long (one row per value), or raise max_columns"
        )


def _from_table(
    table: pa.Table, facts: dict[str, Any], config: DataConfig
) -> tuple[Raw, DataConfig]:
    _check_width(table.num_columns, config)
    if not table.num_rows:
        raise DataError("the table has no rows")
    names = list(table.column_names)
    config = settle(config, [names], table.slice(0, SAMPLE_ROWS), lambda columns: table)
    every = names
    needed = wanted_columns(config, unit_columns(names, table.slice(0, SAMPLE_ROWS)))
    if needed is not None:
        stripped = {w.strip() for w in needed}
        names = [n for n in table.column_names if n.strip() in stripped]
        table = table.select(names) if names else table
    return Raw(table, [list(table.column_names)], facts, every=every), config


def _joined(tables: list[pa.Table], source: str) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{source}: its files do not fit together: {_first_line(error)}") from None


def _together(raws: list[Raw], paths: list[str]) -> Raw:
    """Several text files with the same header as one table."""
    first = raws[0]
    for place, (raw, path) in enumerate(zip(raws, paths, strict=True)):
        if raw.headers == first.headers:
            continue
        alike = len(raw.headers) == 1 and sorted(raw.names) == sorted(first.names)
        if not alike or len(set(raw.names)) < len(raw.names):
            raise DataError(
                f"{path} has another header than {paths[0]}: {raw.names[:8]}, {first.names[:8]}"
            )
        # The same columns in another order.
        order = [raw.names.index(n) for n in first.names]
        moved = raw.table.select(order).rename_columns(first.table.column_names)
        raws[place] = replace(raw, table=moved)
    columns = []
    for i in range(first.table.num_columns):
        parts = [raw.table.column(i) for raw in raws]
        if len({p.type for p in parts}) > 1:
            parts = [p.cast(pa.string()) for p in parts]
        columns.append(pa.chunked_array([c for p in parts for c in p.chunks], type=parts[0].type))
    removed: dict[str, int] = {}
    for raw in raws:
        for reason, count in raw.removed.items():
            removed[reason] = removed.get(reason, 0) + count
    table = pa.table(columns, names=first.table.column_names)
    facts = {**first.facts, "files": len(raws)}
    return replace(first, table=table, facts=facts, removed=removed)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
