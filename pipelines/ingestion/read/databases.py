"""Tables from databases, through any SQLAlchemy URL."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from forecasting.errors import DataError
from forecasting.masking import conceals
from pipelines.ingestion.columns.units import names_units
from pipelines.ingestion.config import DataConfig, NewerConfig
from pipelines.ingestion.read.newer import value_of
from pipelines.machine.databases import reason, table_in, with_driver

CHUNK = 50_000
_SCHEMES = frozenset(
    [
        "sqlite",
        "postgresql",
        "postgres",
        "mysql",
        "mariadb",
        "mssql",
        "oracle",
        "duckdb",
        "snowflake",
        "bigquery",
        "redshift",
        "clickhouse",
        "trino",
        "presto",
        "cockroachdb",
        "databricks",
    ]
)


# Kinds of columns by what SQLAlchemy makes of them in Python.
KINDS = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    datetime.date: pa.date32(),
    datetime.datetime: pa.timestamp("us"),
}
# Databases that are a file of this machine; a path that is not there would be made.
IN_FILES = ("sqlite", "duckdb")
# What brings the dialects that are not SQLAlchemy's own.
DIALECTS = {
    "duckdb": "'gatecast[duckdb]'",
    "bigquery": "sqlalchemy-bigquery",
    "snowflake": "snowflake-sqlalchemy",
}


def is_database(source: str, config: DataConfig) -> bool:
    """Whether the source is a database rather than a file."""
    scheme = source.split("://", 1)[0].split("+")[0].lower() if "://" in source else ""
    return config.format == "sql" or scheme in _SCHEMES or bool(scheme and config.query)


@conceals
def read_database(
    source: str, config: DataConfig, wanted: Collection[str] | None
) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of the configured query or table, fetched in chunks.

    Raises
    ------
    DataError : a bad URL, a driver that is not installed, a refused connection or query.
    """
    import sqlalchemy as sa

    if not (config.query or config.table):
        raise DataError(f"{source} is a database: set data.query or data.table")
    source = with_driver(source)
    try:
        engine = sa.create_engine(source)
    except ModuleNotFoundError as error:
        raise DataError(f"{source}: the driver {error.name} is not installed") from None
    except sa.exc.NoSuchModuleError:
        raise DataError(
            f"{source}: SQLAlchemy's dialect for it is not installed; pip install {_cure(source)}"
        ) from None
    except Exception as error:
        raise DataError(f"{source} is no database URL: {reason(error)}") from None
    path = engine.url.database
    named = path and not path.startswith(("file:", ":memory:"))
    if engine.dialect.name in IN_FILES and named and not Path(str(path)).is_file():
        # They would make an empty database of a misspelt path.
        raise DataError(f"{source}: the database file {path} does not exist")
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            statement: Any
            if config.query:
                statement = sa.text(config.query)
            else:
                schema, _, name = str(config.table).rpartition(".")
                table = table_in(engine, name, schema or None)
                stripped = {w.strip() for w in wanted} if wanted is not None else None
                columns = [
                    c
                    for c in table.columns
                    if stripped is None or c.name in stripped or names_units(c.name)
                ]
                statement = sa.select(*(columns or table.columns))
                if config.newer is not None:
                    statement = statement.where(_newer(table, config.newer, source))
            result = connection.execute(statement)
            names = list(result.keys())
            chunks: list[list[pa.Array]] = [[] for _ in names]
            for rows in result.partitions(CHUNK):
                for chunk, values in zip(chunks, zip(*rows, strict=True), strict=True):
                    chunk.append(_array(values))
    except sa.exc.NoSuchTableError as error:
        raise DataError(f"{source} has no table {error}") from None
    except sa.exc.SQLAlchemyError as error:
        raise DataError(f"{source} refused: {reason(error)}") from None
    except (TypeError, ValueError) as error:
        # SQLite keeps any value in a column of any type: an integer in a DATE, words in a NUMERIC.
        raise DataError(
            f"{source}: a value is not of the type that its column declares ({reason(error)}); "
            "read the columns as they are, with data.query: SELECT CAST(ds AS TEXT) AS ds, …"
        ) from None
    finally:
        engine.dispose()
    if not any(chunks):
        raise DataError(f"{source}: {config.query or config.table} gives no rows")
    table = pa.table([_column(c) for c in chunks], names=names)
    return table, {"kind": "database", "dialect": engine.dialect.name}


def _newer(table: Any, asked: NewerConfig, source: str) -> Any:
    """The condition that leaves out older rows."""
    column = table.columns.get(asked.column)
    if column is None:
        there = ", ".join(table.columns.keys()[:20])
        raise DataError(
            f"data.newer.column: {source} has no column {asked.column!r}; it has {there}"
        )
    try:
        kind = KINDS[column.type.python_type]
        return column > value_of(asked.than, kind)
    except (KeyError, NotImplementedError, ValueError, OverflowError):
        raise DataError(
            f"data.newer.than: {asked.than!r} is no value of the column {asked.column!r}, which "
            f"holds {column.type}"
        ) from None


def _cure(source: str) -> str:
    scheme = source.split("://", 1)[0].split("+")[0].lower()
    return DIALECTS.get(scheme, f"its package for {scheme}")


def _array(values: tuple[Any, ...]) -> pa.Array:
    if any(isinstance(v, Decimal) for v in values):
        values = tuple(float(v) if isinstance(v, Decimal) else v for v in values)
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):
        # SQLite lets a column mix types: its text says as much.
        return pa.array([None if v is None else _text(v) for v in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _column(chunks: list[pa.Array]) -> pa.ChunkedArray:
    kinds = {c.type for c in chunks if c.type != pa.null()}
    if len(kinds) > 1:
        numeric = all(pa.types.is_integer(k) or pa.types.is_floating(k) for k in kinds)
        target = pa.float64() if numeric else pa.string()
    else:
        target = kinds.pop() if kinds else pa.null()
    return pa.chunked_array([c.cast(target) for c in chunks], type=target)
