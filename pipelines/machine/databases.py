"""Addresses of databases, and what databases say when they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forecasting.errors import GatecastError
from forecasting.masking import concealing

if TYPE_CHECKING:
    import sqlalchemy as sa

POSTGRES = ("postgres", "postgresql")
REASON_LENGTH = 300  # characters of a refusal that are shown


def with_driver(url: str) -> str:
    """A URL with PostgreSQL's driver in it, where it names none: the one that we install."""
    scheme, mark, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if mark and scheme in POSTGRES else url


def reason(error: BaseException) -> str:
    """First line of what the database said."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0][:REASON_LENGTH]


@contextmanager
def refused_by(name: str, url: str) -> Iterator[None]:
    """What a store or its library raises within, as a `GatecastError` of one line without secrets.

    Parameters
    ----------
    name : of the store, for people. url : whose password is hidden.
    """
    with concealing(url):
        try:
            yield
        except GatecastError:
            raise
        except Exception as error:  # SQLAlchemy's, the drivers', Arrow's, the stores' own
            raise GatecastError(f"{name}: {reason(error)}") from error


def table_in(bind: Any, name: str, schema: str | None = None) -> sa.Table:
    """A table with its columns and nothing else: DuckDB's dialect cannot tell its indexes.

    Parameters
    ----------
    bind : an engine, or a connection.

    Raises
    ------
    sqlalchemy.exc.NoSuchTableError
    """
    import sqlalchemy as sa

    columns = sa.inspect(bind).get_columns(name, schema=schema)
    if not columns:
        raise sa.exc.NoSuchTableError(name)
    return sa.Table(
        name, sa.MetaData(), *(sa.Column(c["name"], c["type"]) for c in columns), schema=schema
    )
