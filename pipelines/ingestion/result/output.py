"""A clean table on disk: everything is written aside first, then moved into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from forecasting.arrays import Array
from forecasting.data.panel import public_stamps
from forecasting.errors import DataError
from pipelines.ingestion.clean import Clean
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.report.page import write_html
from pipelines.ingestion.report.report import Report
from pipelines.ingestion.result.result import IngestResult

PANEL, STATIC, REPAIRS = "panel.parquet", "static.parquet", "repairs.parquet"
JSON, HTML = "report.json", "report.html"
FILES = (PANEL, STATIC, REPAIRS, JSON, HTML)
ROWS = 1 << 20


def write_result(result: IngestResult, folder: str | Path) -> list[Path]:
    """Panel, static covariates, report and list of repairs; all of them or none.

    Returns
    -------
    The files written: ``panel.parquet``, ``report.json``, ``report.html``, and, where there is
    something in them, ``static.parquet`` and ``repairs.parquet``.
    """
    with aside(folder) as scratch:
        with panel_writer(scratch, result.clean) as writer:
            for table in tables(result.clean):
                writer.write_table(table)
        if result.static is not None:
            result.static.to_parquet(scratch / STATIC, index=False)
        write_report(result.report, scratch)
        repairs = result.report.repairs()
        if len(repairs):
            write_repairs(repairs, scratch)
    return written(folder)


def written(folder: str | Path) -> list[Path]:
    """Those of the files that are there."""
    return [Path(folder) / name for name in FILES if (Path(folder) / name).exists()]


def write_report(report: Report, folder: Path) -> None:
    """The report for machines and for people."""
    report.write_json(folder / JSON)
    write_html(report, folder / HTML)


def write_repairs(repairs: pd.DataFrame, folder: Path) -> None:
    """Every place of every finding."""
    repairs["ds"] = repairs["ds"].astype("str")
    repairs.to_parquet(folder / REPAIRS, index=False)


@contextmanager
def aside(folder: str | Path) -> Iterator[Path]:
    """A folder to write into, whose files move to the real one when all went well."""
    target = Path(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise DataError(f"cannot write to {target}: {error.strerror}") from None
    try:
        yield scratch
        if target.exists() and not target.is_dir():
            raise DataError(f"{target} is a file; name a folder to write to")
        scratch.chmod(0o755)
        if not target.exists():
            scratch.rename(target)
            return
        ready = {path.name for path in scratch.iterdir()}
        for name in sorted(ready):
            os.replace(scratch / name, target / name)
        # What an earlier ingestion left and this one has not, is of another table.
        for name in set(FILES) - ready:
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def panel_writer(folder: Path, clean: Clean) -> pq.ParquetWriter:
    """A writer for the panel's columns."""
    return pq.ParquetWriter(folder / PANEL, next(tables(clean)).schema, compression="zstd")


def tables(clean: Clean, rows: int = ROWS) -> Iterator[pa.Table]:
    """The long table in pieces of whole series, so that none of them is large."""
    marks = np.searchsorted(clean.offsets, np.arange(0, clean.offsets[-1], rows))
    cuts = np.unique(np.append(marks, len(clean.ids)))
    for first, last in pairwise(cuts.tolist()):
        yield _piece(clean, first, last)


def _piece(clean: Clean, first: int, last: int) -> pa.Table:
    begin, end = int(clean.offsets[first]), int(clean.offsets[last])
    sizes = np.diff(clean.offsets[first : last + 1])
    series = np.repeat(np.arange(last - first, dtype=np.int32), sizes)
    names = pa.array(clean.ids[first:last], pa.string())
    start = clean.start[first:last]
    step = np.arange(end - begin) - (clean.offsets[first:last] - begin)[series]
    origin = start if clean.freq.integer else start.astype("datetime64[us]")
    ds = public_stamps(clean.freq.shift(origin[series], step), clean)
    columns = {
        "unique_id": names.take(pa.array(series)),
        "ds": pa.array(ds) if isinstance(ds, np.ndarray) else _zoned(ds),
        "y": _numbers(clean.y[begin:end]),
    }
    for name, column in clean.columns.items():
        columns[name] = _arrow(column, slice(begin, end))
    return pa.table(columns)


def _zoned(ds: pd.DatetimeIndex) -> pa.Array:
    instants = ds.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    return pa.array(instants.astype(np.int64)).cast(pa.timestamp("us", str(ds.tz)))


def _numbers(values: Array) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _arrow(column: Column, rows: slice) -> pa.Array:
    values = column.values[rows]
    if column.categories is None:
        return _numbers(values)
    index = pa.array(values, mask=values < 0)
    return pa.array(column.categories, pa.string()).take(index)
