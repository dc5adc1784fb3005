"""`ingest`: one call from a source to a clean table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.engine import clean
from pipelines.ingestion.fast import (
    clean_parquet,
    clean_raw,
    clean_stream,
    clean_table,
    dictionary_columns,
    may_be_fast,
)
from pipelines.ingestion.future import note_future
from pipelines.ingestion.mapping import settle
from pipelines.ingestion.report import Report
from pipelines.ingestion.result import IngestResult
from pipelines.ingestion.sources import SAMPLE_ROWS, Source, open_text, parquet_file, read


def ingest(
    config: DataConfig,
    *,
    strict: bool = False,
    freq: str | None = None,
    source: Source | None = None,
    horizon: int | None = None,
) -> IngestResult:
    """A clean panel from a raw table, and the report of every repair.

    Parameters
    ----------
    strict : refuse instead of repairing.
    freq : a pandas alias or ``step``, before the config's.
    source : a path, URL, pandas or Arrow table, before the config's.
    horizon : steps for which known-future covariates are looked for; what a forecast would lack
        is in the report.

    Raises
    ------
    DataError : what cannot be mended or, when strict, what would have to be; with its place.
    MappingError : the columns' roles are neither configured nor plain to see.
    """
    if source is None:
        source = config.source
    if source is None:
        raise ConfigError("data.source: required, but not given; name a file, folder or URL")
    if isinstance(source, str | Path):
        config = config.replace(source=str(source))
    if freq is not None:
        config = config.replace(freq=freq)
    result = fast_way(source, config)
    if result is None:
        raw, settled = read(source, config)
        found = clean_raw(raw, settled) if may_be_fast(settled) else None
        result = IngestResult(found or clean(raw, settled, _name(source)), settled)
    if horizon is not None:
        note_future(result.clean, horizon)
    if strict:
        refuse_repairs(result.report)
    return result


def fast_way(source: Source, config: DataConfig) -> IngestResult | None:
    """A table that is typed and clean already, in one pass; None for all others."""
    found = None
    if isinstance(source, pa.Table) and source.num_rows:
        names = list(source.column_names)
        config = settle(config, [names], source.slice(0, SAMPLE_ROWS))
        if may_be_fast(config):
            found = clean_table(source, config)
    elif (file := parquet_file(source, config)) is not None and file.metadata.num_rows:
        head = next(file.iter_batches(SAMPLE_ROWS, use_threads=False))
        config = settle(config, [list(head.schema.names)], pa.Table.from_batches([head]))
        if may_be_fast(config):
            texts = dictionary_columns(file.schema_arrow, config)
            again = parquet_file(source, config, texts)
            found = clean_parquet(again, config) if again is not None else None
    elif (text := open_text(source, config)) is not None:
        config = text.config
        if may_be_fast(config):
            found = clean_stream(text.batches, config, text.facts)
    return IngestResult(found, config) if found is not None else None


def _name(source: Source) -> str:
    """The only series of a table without ids bears the table's name."""
    if not isinstance(source, str | Path):
        return "series"
    return Path(str(source).split("?")[0].rstrip("/")).name.split(".")[0] or "series"


def refuse_repairs(report: Report) -> None:
    """An error that names all repairs, if there are any."""
    repaired = report.repaired
    left_out = report.values["rows"]["lines_left_out"]
    if not repaired and not left_out.get("malformed line"):
        return
    parts = [f"{f['count']:,} {f['code']}" for f in repaired]
    parts += [f"{n:,} {reason}" for reason, n in left_out.items() if reason == "malformed line"]
    where = ""
    if repaired and repaired[0]["positions"]:
        first = repaired[0]["positions"][0]
        places = [f"{k} {first[k]!r}" for k in ("unique_id", "ds", "row", "column") if k in first]
        where = f"; the first: {repaired[0]['detail']} ({', '.join(places)})"
    raise DataError(
        f"the table needs repairs, which strict forbids: {', '.join(parts)}{where}; mend the "
        "source, or ingest without strict"
    )
