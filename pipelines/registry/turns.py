"""Whose turn it is to move a model's aliases: one at a time, on all machines of a database.

MLflow has no compare-and-swap on aliases. Where the store is PostgreSQL, or ``GATECAST_LOCKS``
names a PostgreSQL database (a tracking server shows its clients none), promotions of a model take
turns by an advisory lock there; elsewhere by a file lock of this machine.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from forecasting.errors import ConfigError, GatecastError
from forecasting.masking import concealed, masked
from pipelines.machine.databases import POSTGRES, with_driver
from pipelines.machine.state import locked
from pipelines.tracking.store import brief

if TYPE_CHECKING:
    import sqlalchemy as sa

VARIABLE = "GATECAST_LOCKS"
WAIT_SECONDS = 60.0
CONNECT_SECONDS = 10
NAME_BYTES = 63  # of an application's name in PostgreSQL

# The other sessions that hold a lock, by its two halves.
HOLDERS = """
SELECT a.application_name, date_trunc('second', clock_timestamp() - a.xact_start)
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = :high AND l.objid = :low
"""


def turn(name: str, store: str, *, wait: float = WAIT_SECONDS) -> AbstractContextManager[None]:
    """Wait for one's turn to move the aliases of a model, and keep it.

    Parameters
    ----------
    store
        URI of the MLflow store.
    wait
        Seconds to wait for somebody else's.

    Raises
    ------
    GatecastError
        The turn did not come, and whose it is; the database cannot be reached; or it went away in
        the middle, so that somebody else may have promoted beside.
    """
    database = _database(store)
    if database is None:
        return locked(f"promote-{name}", wait=wait)
    return _in_database(name, database, wait)


def who() -> str:
    """The user and the machine, as a history shows them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{platform.node()}"


def _database(store: str) -> str | None:
    """The database that holds the locks; None where there is none."""
    address = os.environ.get(VARIABLE, "").strip()
    if address:
        if address.partition("://")[0].partition("+")[0] not in POSTGRES:
            raise ConfigError(
                f"{VARIABLE} = {masked(address)} is no PostgreSQL database: give "
                "postgresql://user:password@host/database, or leave it out"
            )
        return with_driver(address)
    scheme = store.partition("://")[0].partition("+")[0]
    return with_driver(store) if scheme in POSTGRES else None


def key(name: str) -> int:
    """The lock's number: 64 bits, signed."""
    digest = hashlib.sha256(f"gatecast promote {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _in_database(name: str, database: str, wait: float) -> Iterator[None]:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    arguments = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": f"gatecast {who()}".encode()[:NAME_BYTES].decode(errors="ignore"),
    }
    engine = sa.create_engine(database, poolclass=NullPool, connect_args=arguments)
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise GatecastError(
            concealed(f"cannot take the turn to promote {name!r}: {brief(error)}", database)
        ) from None
    with connection:
        _take(connection, name, database, wait)
        yield
        try:
            # The lock is the transaction's: poolers that share sessions keep it, too.
            connection.commit()
        except SQLAlchemyError as error:
            raise GatecastError(
                concealed(
                    f"the database that holds the turns went away while {name!r} was promoted "
                    f"({brief(error)}); somebody else may have done so, too: look at "
                    f"`gatecast history {name}`",
                    database,
                )
            ) from None


def _take(connection: sa.Connection, name: str, database: str, wait: float) -> None:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    number = key(name)
    try:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(wait * 1000)}")
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})
    except SQLAlchemyError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # type: ignore[attr-defined]
            raise GatecastError(
                concealed(f"cannot take the turn to promote {name!r}: {brief(error)}", database)
            ) from None
        connection.rollback()
        raise GatecastError(
            f"{name!r} is being promoted by {_holder(connection, number)}, which was waited for "
            f"for {wait:.0f} s; look at `gatecast history {name}`, then give the command again"
        ) from None


def _holder(connection: sa.Connection, number: int) -> str:
    import sqlalchemy as sa

    unsigned = number % (1 << 64)
    halves = {"high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF}
    row = connection.execute(sa.text(HOLDERS), halves).first()
    if row is None:
        return "somebody else"
    return f"{str(row[0]).removeprefix('gatecast ')} (since {row[1]})"
