"""Tables larger than memory: series are parted into files, and mended one file after another."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.columns import encode
from pipelines.ingestion.columns.naming import trimmed
from pipelines.ingestion.columns.units import unit_columns
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.entry import ingest
from pipelines.ingestion.raw import Raw, is_text
from pipelines.ingestion.read.mapping import settle, wanted_columns
from pipelines.ingestion.read.sources import SAMPLE_ROWS, open_dataset
from pipelines.ingestion.report.merging import Merged
from pipelines.ingestion.report.report import Report
from pipelines.ingestion.report.strict import refuse_repairs
from pipelines.ingestion.result.future import note_future, note_leaks
from pipelines.ingestion.result.output import (
    REPAIRS,
    STATIC,
    aside,
    panel_writer,
    tables,
    write_report,
    write_result,
)
from pipelines.ingestion.result.result import IngestResult
from pipelines.ingestion.series.anchors import refuse_other_anchor
from pipelines.ingestion.ways.careful import clean
from pipelines.ingestion.ways.fast import fast_way
from pipelines.machine.memory import usable

ROW = "__row__"
PANEL_KEY = "panel"
BYTES_PER_ROW = 160  # what the long way holds at its widest, beside the columns themselves
SHARE = 0.5
MOST_PIECES = 256
BATCH = 1 << 18


def ingest_to(
    config: DataConfig,
    folder: str | Path | None,
    *,
    strict: bool = False,
    freq: str | None = None,
    horizon: int | None = None,
    piece_rows: int | None = None,
) -> Report:
    """Ingest into a folder, see `output.FILES`; a large Parquet table goes piece by piece.

    Parameters
    ----------
    folder : None to look only.
    horizon : steps for which known-future covariates are looked for.
    piece_rows : rows mended at once when the table is parted; default: what memory allows.

    Raises
    ------
    DataError : as `ingest`; nothing is written then.
    """
    if folder is not None and config.source is not None:
        config = config.replace(freq=freq) if freq is not None else config
        report = _in_pieces(config, Path(folder), strict, horizon, piece_rows)
        if report is not None:
            return report
    result = ingest(config, strict=strict, freq=freq, horizon=horizon)
    note_leaks(result.clean, horizon)
    if folder is not None:
        write_result(result, folder)
    return result.report


def refuse_guesses_of(source: str, config: DataConfig) -> None:
    """DataError where a file that is one of several is read by what its own text looks like."""
    data = open_dataset(source, config)
    if data is not None:
        head = data.head(SAMPLE_ROWS, use_threads=False)
        refuse_guesses(data.schema, settle(config, [data.schema.names], head))


def refuse_guesses(schema: pa.Schema, config: DataConfig) -> None:
    """DataError where text is read by what all of it looks like, which no piece can tell."""

    def textual(name: str) -> bool:
        return name in schema.names and is_text(schema.field(name).type)

    if any(textual(n) for n in config.ds or ()) and not config.stamps.formats:
        raise DataError("a table read in pieces needs stamps.formats, since its stamps are text")
    if config.y and textual(config.y) and config.csv.decimal is None:
        raise DataError("a table read in pieces needs csv.decimal, since its values are text")


def _in_pieces(
    config: DataConfig, folder: Path, strict: bool, horizon: int | None, piece_rows: int | None
) -> Report | None:
    """The report of a table that was parted; None when it fits into memory."""
    if config.stream is False:
        return None
    data = open_dataset(str(config.source), config)
    if data is None:
        return None
    rows = data.count_rows()
    fitting = max(int(SHARE * usable() / BYTES_PER_ROW), 1)
    if not rows or (rows <= fitting and config.stream is not True):
        return None
    settled = settle(config, [data.schema.names], data.head(SAMPLE_ROWS, use_threads=False))
    if settled.layout != "long" or not settled.id:
        return None
    # A table that is clean already needs no parting: one pass holds little of it.
    result = fast_way(str(config.source), settled)
    if result is not None:
        panel = result.clean
        refuse_other_anchor(panel.ids, panel.start, panel.freq, config.freq)
        write_result(result, folder)
        return result.report
    pieces = min(max(math.ceil(rows / (piece_rows or fitting // 2)), 2), MOST_PIECES)
    refuse_guesses(data.schema, settled)
    with aside(folder) as scratch:
        paths = _part(data, settled, scratch, pieces)
        report = _mend(paths, settled, scratch, horizon)
        if strict:
            refuse_repairs(report)
        write_report(report, scratch)
    return report


def _part(data: pads.Dataset, config: DataConfig, scratch: Path, pieces: int) -> list[Path]:
    """Rows into files, all rows of a series into the same one, each with its number."""
    units = unit_columns(data.schema.names, data.head(SAMPLE_ROWS, use_threads=False))
    columns = wanted_columns(config, units) or set()
    stripped = {w.strip() for w in columns}
    names = [n for n in data.schema.names if n.strip() in stripped]
    schema = pa.schema([*(data.schema.field(n) for n in names), pa.field(ROW, pa.int64())])
    parts = scratch / "parts"
    parts.mkdir()
    paths = [parts / f"{i:04d}.arrow" for i in range(pieces)]
    row = 1
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(p), schema)) for p in paths]
        scan = data.to_batches(
            columns=names, batch_size=BATCH, batch_readahead=1, fragment_readahead=1,
            use_threads=False,
        )  # fmt: skip
        for batch in scan:
            numbers = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            numbered = pa.record_batch([*batch.columns, numbers], schema=schema)
            home = _homes(batch, config, pieces)
            order = np.argsort(home, kind="stable")
            edges = np.searchsorted(home[order], np.arange(pieces + 1))
            for piece in np.unique(home):
                index = order[edges[piece] : edges[piece + 1]]
                writers[piece].write_batch(numbered.take(pa.array(index)))
    return [p for p in paths if p.stat().st_size > 0]


def _homes(batch: pa.RecordBatch, config: DataConfig, pieces: int) -> Array:
    """[rows] the piece of each row, by its id however it is spelled."""
    total = np.zeros(batch.num_rows, np.uint64)
    for name in config.id or ():
        texts, codes = encode(batch.column(name))
        folded = pc.utf8_lower(pc.utf8_normalize(trimmed(texts), form="NFKC"))
        keys = np.asarray(pc.fill_null(folded, "").to_numpy(zero_copy_only=False), dtype=object)
        hashed = pd.util.hash_array(keys, categorize=False) if len(keys) else np.empty(0, np.uint64)
        total = total * np.uint64(31) + np.concatenate([hashed, [np.uint64(0)]])[codes]
    return np.asarray(total % np.uint64(pieces)).astype(np.int64)


def _mend(paths: list[Path], config: DataConfig, scratch: Path, horizon: int | None) -> Report:
    """Each piece the long way; the first one settles what the others follow."""
    merged, freq = Merged(config.report), config.freq
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for path in paths:
            with pa.ipc.open_stream(str(path)) as reader:
                table = reader.read_all()
            path.unlink()
            if not table.num_rows:
                continue
            piece = _one(table, config)
            panel = piece.clean
            refuse_other_anchor(panel.ids, panel.start, panel.freq, freq)
            config = _follow(config, piece)
            if horizon is not None and len(piece.clean.ids):
                note_future(piece.clean, horizon)
            if len(piece.clean.ids) and PANEL_KEY not in writers:
                # All pieces hold series of the same kind, and the first is looked at.
                note_leaks(piece.clean, horizon)
                writers[PANEL_KEY] = stack.enter_context(panel_writer(scratch, piece.clean))
            for part in tables(piece.clean):
                writers[PANEL_KEY].write_table(part)
            if piece.static is not None:
                _append(writers, stack, scratch / STATIC, piece.static)
            repairs = piece.report.repairs()
            if len(repairs):
                repairs["ds"] = repairs["ds"].astype("str")
                _append(writers, stack, scratch / REPAIRS, repairs)
            merged.add(piece.report)
    (scratch / "parts").rmdir()
    report = merged.report()
    if not report.values["series"]["out"]:
        raise DataError(f"no row is left: {report.summary}")
    return report


def _one(table: pa.Table, config: DataConfig) -> IngestResult:
    names = [n for n in table.column_names if n != ROW]
    numbers = table.column(ROW).to_numpy()
    facts = {"kind": "parquet, parted by series"}
    raw = Raw(table.select(names), [names], facts, row=numbers)
    return IngestResult(clean(raw, config, "series", part=True), config)


def _follow(config: DataConfig, piece: IngestResult) -> DataConfig:
    """What the first piece found out, for the others to keep."""
    if config.freq is None and len(piece.clean.ids):
        # A step of some hours keeps to one axis in all pieces, whatever zone the stamps have.
        axis = config.stamps.axis
        if axis == "auto":
            axis = "time" if piece.clean.tz is not None else "clock"
        config = config.replace(freq=piece.freq, stamps={"axis": axis})
    return config


def _append(
    writers: dict[str, pq.ParquetWriter], stack: ExitStack, path: Path, frame: pd.DataFrame
) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    key = path.name
    if key not in writers:
        writers[key] = stack.enter_context(pq.ParquetWriter(path, table.schema))
    writers[key].write_table(table.cast(writers[key].schema))
