"""Batch forecasts in a table of SQLite, PostgreSQL or DuckDB.

One row per model, series, cutoff and step; one that is there is replaced: the same forecast written
twice is one row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from forecasting.errors import DataError
from forecasting.masking import conceals, masked
from pipelines.forecasts.job import KEY, Job, iso_text
from pipelines.machine.databases import reason, refused_by, with_driver

PATIENCE_SECONDS = 60.0  # for a database another process is writing to
_QUANTILE = re.compile(r"q0\.\d+")


class SqlTarget:
    """A table that is made when it is not there; columns of further quantiles are added."""

    def __init__(self, url: str, table: str) -> None:
        import sqlalchemy as sa

        self.sa = sa
        self.url, self.name = url, f"{masked(url)}, table {table}"
        self.engine, self.schema, self.table = open_engine(url), *split_name(table)
        if self.engine.dialect.name not in ("sqlite", "postgresql", "duckdb"):
            raise DataError(
                f"{masked(url)}: forecasts are written to SQLite, PostgreSQL or DuckDB only"
            )

    @property
    def _sqlite(self) -> bool:
        return bool(self.engine.dialect.name == "sqlite")

    def open(self, job: Job) -> None:
        """Take the job; the table is made or checked with the first piece."""
        self.job = job
        self._kinds: dict[str, str] = {}

    def _prepare(self, sample: pa.Table) -> None:
        """Make the table, or check the one that is there, and add what it lacks."""
        if self._kinds:
            return
        kinds = {field.name: self._kind(field.type) for field in sample.schema}
        quoted = self._quote
        with refused_by(self.name, self.url), self.engine.begin() as connection:
            columns = ", ".join(
                f"{quoted(name)} {kind}{' NOT NULL' if name in KEY else ''}"
                for name, kind in kinds.items()
            )
            keys = ", ".join(map(quoted, KEY))
            # The key is the longer part of a row: SQLite need not hold it twice.
            once = " WITHOUT ROWID" if self._sqlite else ""
            connection.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS {self._full} ({columns}, PRIMARY KEY ({keys})){once}"
            )
            table_columns = self.sa.inspect(connection).get_columns(self.table, schema=self.schema)
            there = {c["name"]: c["type"] for c in table_columns}
            lacking = [name for name in kinds if name not in there]
            foreign = [name for name in lacking if not _QUANTILE.fullmatch(name)]
            if foreign:
                raise DataError(
                    f"{self.name} is no table of forecasts: it has no column "
                    f"{', '.join(foreign)}; name another with --table"
                )
            whole = isinstance(there["cutoff"], self.sa.Integer)
            if whole != pa.types.is_integer(sample.schema.field("cutoff").type):
                raise DataError(
                    f"{self.name} holds forecasts whose stamps are "
                    f"{'integers' if whole else 'dates'}, these are not; use another table"
                )
            for name in lacking:
                connection.exec_driver_sql(
                    f"ALTER TABLE {self._full} ADD COLUMN {quoted(name)} {kinds[name]}"
                )
        self._kinds = kinds

    def done(self, ids: Sequence[str]) -> np.ndarray:
        """[N] bool, the series all of whose steps this job has written."""
        there: set[str] = set()
        with refused_by(self.name, self.url), self.engine.connect() as connection:
            if self.sa.inspect(connection).has_table(self.table, schema=self.schema):
                there = self._complete(connection)
        return np.fromiter((i in there for i in ids), bool, len(ids))

    def _complete(self, connection: Any) -> set[str]:
        """Series all of whose steps this job has written."""
        columns = self.sa.inspect(connection).get_columns(self.table, schema=self.schema)
        if "job" not in {c["name"] for c in columns}:
            return set()
        statement = self.sa.text(
            f"SELECT unique_id FROM {self._full} WHERE model = :model AND version = :version "
            "AND job = :job GROUP BY unique_id HAVING COUNT(*) = :steps"
        )
        values = {
            "model": self.job.model,
            "version": self.job.version,
            "job": self.job.digest,
            "steps": self.job.horizon,
        }
        return {str(row[0]) for row in connection.execute(statement, values)}

    def write(self, piece: int, table: pa.Table) -> None:
        """Add one piece in one transaction; a row that is there already is replaced."""
        self._prepare(table)
        with refused_by(self.name, self.url), self.engine.begin() as connection:
            ways = {"postgresql": self._copy, "duckdb": self._register}
            ways.get(self.engine.dialect.name, self._insert)(connection, table)

    def finish(self) -> str:
        """Close the connections; returns the table's URL, without its password, and name."""
        self.engine.dispose()
        return self.name

    # -- the dialects ----------------------------------------------------------------------

    def _upsert(self, source: str) -> str:
        names = list(self._kinds)
        listed = ", ".join(map(self._quote, names))
        keys = ", ".join(map(self._quote, KEY))
        sets = ", ".join(
            f"{self._quote(n)} = excluded.{self._quote(n)}" for n in names if n not in KEY
        )
        return (
            f"INSERT INTO {self._full} ({listed}) {source} "
            f"ON CONFLICT ({keys}) DO UPDATE SET {sets}"
        )

    def _insert(self, connection: Any, table: pa.Table) -> None:
        marks = ", ".join("?" * len(self._kinds))
        columns = []
        for column in table.columns:
            if pa.types.is_timestamp(column.type):
                column = iso_text(column)
            columns.append(column.to_pylist())
        rows = list(zip(*columns, strict=True))
        connection.exec_driver_sql(self._upsert(f"VALUES ({marks})"), rows)

    def _copy(self, connection: Any, table: pa.Table) -> None:
        """COPY into a scratch table, then one statement: many times faster than row by row."""
        import io

        import pyarrow.csv as pacsv

        scratch = self._quote(f"gatecast_{self.job.digest[:16]}")
        listed = ", ".join(map(self._quote, self._kinds))
        columns = ", ".join(f"{self._quote(n)} {k}" for n, k in self._kinds.items())
        connection.exec_driver_sql(f"CREATE TEMP TABLE {scratch} ({columns}) ON COMMIT DROP")
        text = io.BytesIO()
        pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=False))
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY {scratch} ({listed}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(text.getbuffer())
        connection.exec_driver_sql(self._upsert(f"SELECT {listed} FROM {scratch}"))

    def _register(self, connection: Any, table: pa.Table) -> None:
        """DuckDB reads Arrow where it lies."""
        scratch = f"gatecast_{self.job.digest[:16]}"
        listed = ", ".join(map(self._quote, self._kinds))
        driver = connection.connection.driver_connection
        driver.register(scratch, table)
        try:
            connection.exec_driver_sql(self._upsert(f"SELECT {listed} FROM {self._quote(scratch)}"))
        finally:
            driver.unregister(scratch)

    def _kind(self, kind: pa.DataType) -> str:
        if pa.types.is_timestamp(kind):
            zone = " WITH TIME ZONE" if kind.tz is not None else ""
            return "TEXT" if self._sqlite else f"TIMESTAMP{zone}"
        if pa.types.is_integer(kind):
            return "INTEGER" if self._sqlite else "BIGINT"
        if pa.types.is_floating(kind):
            return "REAL" if self._sqlite else "DOUBLE PRECISION"
        return "TEXT"

    def _quote(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    @property
    def _full(self) -> str:
        own = self._quote(self.table)
        return f"{self._quote(self.schema)}.{own}" if self.schema else own


@conceals
def open_engine(url: str) -> Any:
    """A SQLAlchemy engine, or one clear line."""
    import sqlalchemy as sa

    address = with_driver(url)
    waiting = {"timeout": PATIENCE_SECONDS} if address.startswith("sqlite") else {}
    try:
        return sa.create_engine(address, connect_args=waiting)
    except ModuleNotFoundError as error:
        raise DataError(
            f"{url}: the driver {error.name} is not installed; "
            "pip install 'gatecast[postgres]' for PostgreSQL"
        ) from None
    except sa.exc.NoSuchModuleError:
        raise DataError(
            f"{url}: SQLAlchemy's dialect for it is not installed; "
            "pip install 'gatecast[duckdb]' for DuckDB"
        ) from None
    except Exception as error:
        raise DataError(f"{url} is no database URL: {reason(error)}") from None


def split_name(table: str) -> tuple[str | None, str]:
    """Schema and name of ``schema.table``."""
    schema, _, name = table.rpartition(".")
    return schema or None, name
