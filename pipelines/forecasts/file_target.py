"""Where batch forecasts go: a Parquet or CSV file, a folder of them, a table of a database.

A target takes forecasts piece by piece and knows which pieces it already has, so that a run that
was cut off is taken up where it ended and nothing is written twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from forecasting.errors import DataError, GatecastError
from pipelines.forecasts.job import Job, readable
from pipelines.machine.files import aside
from pipelines.machine.state import home

SUFFIXES = (".parquet", ".csv")


class FileTarget:
    """A file that is replaced, or a folder that gets a file per job.

    Pieces wait in the state folder until all are there; then the file appears by a rename.
    """

    def __init__(self, out: str) -> None:
        self.name = out
        self.path = Path(out).expanduser()
        self.folder = out.endswith(("/", os.sep)) or self.path.is_dir() or not self.path.suffix
        if not self.folder and self.path.suffix not in SUFFIXES:
            raise DataError(f"{out}: forecasts are written as .parquet or .csv; name the file so")
        where = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16]
        self._staging = home() / "forecasts-under-way" / where
        self._pieces = self._staging

    def open(self, job: Job) -> None:
        """Try the folder, clear away the pieces of other jobs and keep those of this one."""
        self.job = job
        if self.folder:
            name = f"{job.model}-{job.newest}-v{job.version}-{job.digest[:8]}.parquet"
            self.path = self.path / name
        with _file_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path.parent).close()
            for other in self._staging.glob("*"):
                if other.name != job.digest:
                    shutil.rmtree(other)
            self._pieces = self._staging / job.digest
            self._pieces.mkdir(parents=True, exist_ok=True)

    def done(self, ids: Sequence[str]) -> np.ndarray:
        """[N] bool, the series that are in a piece of this job."""
        there: set[str] = set()
        for piece in self._pieces.glob("*.arrow"):
            there.update(_read(piece).column("unique_id").unique().to_pylist())
        return np.fromiter((i in there for i in ids), bool, len(ids))

    def write(self, piece: int, table: pa.Table) -> None:
        """Add a piece as a file of its own, by a rename."""
        del piece  # a run that is taken up again numbers its pieces anew
        with _file_errors(self._pieces):
            handle, scratch = tempfile.mkstemp(suffix=".part", dir=self._pieces)
            os.close(handle)
            # Arrow's own form: a piece is read again in a moment, and never by anybody else.
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_file(scratch, table.schema, options=options) as writer:
                writer.write_table(table)
            Path(scratch).rename(Path(scratch).with_suffix(".arrow"))

    def finish(self) -> str:
        """Join the pieces into the file, which appears by a rename; returns its path."""
        pieces = sorted(self._pieces.glob("*.arrow"), key=lambda p: p.stat().st_mtime_ns)
        with _file_errors(self.path):
            join = _join_csv if self.path.suffix == ".csv" else _join_parquet
            with aside(self.path) as scratch, scratch.open("wb") as file:
                join(pieces, file)
        shutil.rmtree(self._pieces, ignore_errors=True)
        return str(self.path)


def parquet_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes tables of forecasts into a file or a path."""
    # Forecasts are all different: looking for equal ones takes longer than all the rest.
    often_equal = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return pq.ParquetWriter(file, schema, use_dictionary=often_equal)


def _join_parquet(pieces: Sequence[Path], file: Any) -> None:
    with parquet_writer(file, _read(pieces[0]).schema) as writer:
        for piece in pieces:
            writer.write_table(_read(piece))


def _join_csv(pieces: Sequence[Path], file: Any) -> None:
    for place, piece in enumerate(pieces):
        options = pacsv.WriteOptions(include_header=place == 0)
        pacsv.write_csv(readable(_read(piece)), file, options)


def _read(piece: Path) -> pa.Table:
    with pa.memory_map(str(piece)) as file:
        return pa.ipc.open_file(file).read_all()


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GatecastError(f"cannot write {path}: {error.strerror or error}") from error
