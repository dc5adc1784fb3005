"""Where batch forecasts go: a Parquet or CSV file, a folder of them, a table of a database.

A target takes forecasts piece by piece and knows which pieces it already has, so that a run that
was cut off is taken up where it ended and nothing is written twice.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from forecasting.errors import DataError, GatecastError
from forecasting.panel import public_stamps
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.databases import is_database
from pipelines.masking import masked
from pipelines.state import home

if TYPE_CHECKING:
    from forecasting.forecast import Forecast

KEY = ("model", "version", "unique_id", "cutoff", "step")
FIXED = ("model", "version", "run_id", "unique_id", "cutoff", "step", "ds", "mean")
LAST = ("created", "job")
SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Job:
    """One batch of forecasts: who forecasts what.

    Attributes
    ----------
    digest
        Of model, data, horizon and levels: the same job run again has the same one.
    newest
        Latest cutoff of the series, as text that may stand in a file's name.
    """

    model: str
    version: int
    run_id: str
    digest: str
    newest: str
    horizon: int
    levels: tuple[float, ...]
    created: datetime.datetime

    @property
    def columns(self) -> list[str]:
        """Columns of the output, in order."""
        return [*FIXED, *(f"q{level:g}" for level in self.levels), *LAST]


def table_of(forecast: Forecast, cutoffs: Any, job: Job) -> pa.Table:
    """Forecasts as rows of the output, one per series and step.

    Parameters
    ----------
    cutoffs : [N]
        Stamp of the last known row of each forecast series.
    """
    count, steps = forecast.mean.shape
    rows = count * steps
    columns: dict[str, Any] = {
        "model": pa.repeat(job.model, rows),
        "version": pa.repeat(pa.scalar(job.version, pa.int32()), rows),
        "run_id": pa.repeat(job.run_id, rows),
        "unique_id": pa.array(forecast.ids.astype(object), pa.string()).take(
            pa.array(np.repeat(np.arange(count), steps))
        ),
        "cutoff": pa.array(public_stamps(np.repeat(cutoffs, steps), forecast)),
        "step": pa.array(np.tile(np.arange(1, steps + 1, dtype=np.int32), count)),
        "ds": pa.array(public_stamps(forecast.stamps().ravel(), forecast)),
        "mean": pa.array(forecast.mean.ravel()),
    }
    for k, level in enumerate(forecast.levels):
        columns[f"q{level:g}"] = pa.array(np.ascontiguousarray(forecast.quantiles[:, :, k]).ravel())
    stamp = pa.scalar(job.created, pa.timestamp("us", tz="UTC"))
    columns["created"] = pa.repeat(stamp, rows)
    columns["job"] = pa.repeat(job.digest, rows)
    return pa.table(columns)


class Target(Protocol):
    """A place for the forecasts of one job."""

    name: str

    def open(self, job: Job) -> None:
        """Make sure it can be written to, before any work is done."""

    def done(self, ids: Sequence[str]) -> np.ndarray:
        """[N] bool, the series whose forecasts of this job are there already."""

    def write(self, piece: int, table: pa.Table) -> None:
        """Add one piece, whole or not at all."""

    def finish(self) -> str:
        """Put the result in place; returns where it is."""


def target_of(out: str, table: str) -> Target:
    """The target an output names: ``x.parquet``, ``x.csv``, a folder, or a database URL."""
    if is_database(out, DataConfig()):
        from pipelines.output_table import SqlTarget

        return SqlTarget(out, table)
    if "://" in out:
        raise DataError(
            f"{masked(out)} cannot be written to: give a .parquet or .csv file, a folder, or a "
            "sqlite:/// or postgresql:// URL"
        )
    return FileTarget(out)


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
        for piece in self._pieces.glob("*.parquet"):
            there.update(pq.read_table(piece, columns=["unique_id"])[0].unique().to_pylist())
        return np.fromiter((i in there for i in ids), bool, len(ids))

    def write(self, piece: int, table: pa.Table) -> None:
        """Add a piece as a Parquet file of its own, by a rename."""
        del piece  # a run that is taken up again numbers its pieces anew
        with _file_errors(self._pieces):
            handle, scratch = tempfile.mkstemp(suffix=".part", dir=self._pieces)
            os.close(handle)
            pq.write_table(table, scratch, compression="snappy")
            Path(scratch).rename(Path(scratch).with_suffix(".parquet"))

    def finish(self) -> str:
        """Join the pieces into the file, which appears by a rename; returns its path."""
        pieces = sorted(self._pieces.glob("*.parquet"), key=lambda p: p.stat().st_mtime_ns)
        with _file_errors(self.path):
            handle, scratch = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    (_join_csv if self.path.suffix == ".csv" else _join_parquet)(pieces, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(scratch, 0o644)
                os.replace(scratch, self.path)
            except BaseException:
                Path(scratch).unlink(missing_ok=True)
                raise
        shutil.rmtree(self._pieces, ignore_errors=True)
        return str(self.path)


def _join_parquet(pieces: Sequence[Path], file: Any) -> None:
    with pq.ParquetWriter(file, pq.read_schema(pieces[0])) as writer:
        for piece in pieces:
            writer.write_table(pq.read_table(piece))


def _join_csv(pieces: Sequence[Path], file: Any) -> None:
    for place, piece in enumerate(pieces):
        options = pacsv.WriteOptions(include_header=place == 0)
        pacsv.write_csv(readable(pq.read_table(piece)), file, options)


def readable(table: pa.Table) -> pa.Table:
    """Stamps as ISO 8601 text, with their offset where there is one."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            text = iso_text(table.column(place))
            table = table.set_column(place, field.name, text)
    return table


def iso_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 text of a stamp column: seconds, or microseconds where some stamp has them."""
    import pyarrow.compute as pc

    unique = column.combine_chunks().dictionary_encode()
    stamps = unique.dictionary.to_pandas()
    fine = bool((stamps.dt.microsecond != 0).any())
    texts = [s.isoformat(timespec="microseconds" if fine else "seconds") for s in stamps]
    return pa.chunked_array([pc.take(pa.array(texts, pa.string()), unique.indices)])


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GatecastError(f"cannot write {path}: {error.strerror or error}") from error
