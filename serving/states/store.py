"""Series kept between requests, in one SQLite file that all workers of a service share.

An append is one transaction: it is acknowledged once it is written, and those of one series, or of
several workers, wait for each other. Where the file grows beyond its bound, the series that were
used longest ago make room.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from serving.errors import RETRY_SECONDS, RequestError
from serving.running import logs
from serving.states.kept import PIECE, Change, Kept, Rows, Y

FILE: Final = "series.db"
VERSION: Final = 1  # of the tables; kept as SQLite's user_version
WAIT_SECONDS: Final = 5.0  # for another worker's append
USED_SECONDS: Final = 60  # a series that is read is noted as used so often at most
BYTES_OF_SERIES: Final = 400  # of its row and the index, beside what is in it
TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS series (
        model TEXT NOT NULL, id TEXT NOT NULL, about BLOB NOT NULL, bytes INTEGER NOT NULL,
        used INTEGER NOT NULL, PRIMARY KEY (model, id)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS series_used ON series (used)",
    """CREATE TABLE IF NOT EXISTS pieces (
        model TEXT NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (model, id, place)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS whole (bytes INTEGER NOT NULL)",
    "INSERT INTO whole SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM whole)",
)


class BusyError(RequestError):
    """Another append is under way, and took longer than was waited for."""


Joined = Callable[[Kept | None, Callable[[int], Rows]], Change]


class Store:
    """The series of a service; safe under any number of threads and workers.

    Parameters
    ----------
    folder : made when first needed, for its owner only. most : bytes of what is kept.
    sync : whether an append waits until the disk has it, and not the system alone.
    clock : seconds.
    """

    def __init__(
        self, folder: Path, most: int, *, sync: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder, self.most, self.sync, self.clock = folder, most, sync, clock
        self._own = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def append(self, model: str, series: str, join: Joined, *, wait: bool = True) -> Change:
        """Write what ``join`` makes of a series, whole, or nothing where it refuses.

        ``wait`` : for another append that is under way, which else is ``too_busy``.

        Raises
        ------
        RequestError : of ``join``; 503 where the file cannot be used.
        """
        with self._file() as file:
            # Who must not wait leaves the turn to others, and comes again beside the event loop.
            file.execute(f"PRAGMA busy_timeout = {int(1e3 * WAIT_SECONDS) if wait else 0}")
            with _written(file):
                change, gone = self._append(file, model, series, join)
        if gone:
            logs.info("series that were used longest ago made room for others", count=gone)
        return change

    def _append(
        self, file: sqlite3.Connection, model: str, series: str, join: Joined
    ) -> tuple[Change, int]:
        record = file.execute(
            "SELECT about, bytes FROM series WHERE model = ? AND id = ?", (model, series)
        ).fetchone()
        kept = None if record is None else Kept(**orjson.loads(record[0]))
        change = join(kept, lambda place: _piece(file, model, series, place))
        about = orjson.dumps(change.kept)
        size = 0 if record is None else record[1]
        grown = len(about) + _write(file, model, series, change)
        if record is None:
            grown += len(model) + len(series) + BYTES_OF_SERIES
        else:
            grown -= len(record[0])
        file.execute(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, id) DO UPDATE SET "
            "about = excluded.about, bytes = excluded.bytes, used = excluded.used",
            (model, series, about, size + grown, int(self.clock())),
        )
        file.execute("UPDATE whole SET bytes = bytes + ?", (grown,))
        return change, self._make_room(file, model, series)

    def about(self, model: str, series: str) -> Kept | None:
        """What is kept of a series beside its rows; None where nothing is."""
        with self._file() as file:
            return _kept(file, model, series)

    def newest(
        self, model: str, series: str, enough: Callable[[Rows], bool]
    ) -> tuple[Kept, int, dict[str, list[Any]]] | None:
        """The newest rows of a series, as many as are ``enough`` or all; None where it is not kept.

        Returns
        -------
        kept, row, rows : ``row`` is the number of the first of the rows.
        """
        with self._file() as file, _read(file):
            kept = _kept(file, model, series)
            if kept is None:
                return None
            rows: dict[str, list[Any]] = {}
            held = 0
            place = -(-kept.count // PIECE)
            while place * PIECE > kept.first and not (held and enough(rows)):
                place -= 1
                before = _piece(file, model, series, place)
                size = len(before[Y])
                rows = {
                    name: [*before.get(name, [None] * size), *rows.get(name, [None] * held)]
                    for name in {*before, *rows}
                }
                held += size
            return kept, kept.count - held, rows

    def is_stale(self, model: str, series: str) -> bool:
        """Whether a series that is used now was last noted as used some time ago."""
        with self._file() as file:
            record = file.execute(
                "SELECT used FROM series WHERE model = ? AND id = ?", (model, series)
            ).fetchone()
        return record is not None and self.clock() - record[0] >= USED_SECONDS

    def touch(self, model: str, series: str) -> None:
        """Note that a series was used."""
        with self._file() as file, _written(file):
            file.execute(
                "UPDATE series SET used = ? WHERE model = ? AND id = ?",
                (int(self.clock()), model, series),
            )

    def delete(self, model: str, series: str) -> bool:
        """Forget a series; False where it was not kept."""
        with self._file() as file, _written(file):
            return _forget(file, model, series)

    def close(self) -> None:
        """Close every connection; none is in use any more."""
        for file in self._opened:
            file.close()
        self._opened.clear()
        self._own = threading.local()

    def _make_room(self, file: sqlite3.Connection, model: str, series: str) -> int:
        """Forget what was used longest ago until the rest fits; never what is written now."""
        gone = 0
        (held,) = file.execute("SELECT bytes FROM whole").fetchone()
        while held > self.most:
            oldest = file.execute(
                "SELECT model, id, bytes FROM series WHERE NOT (model = ? AND id = ?) "
                "ORDER BY used LIMIT 1",
                (model, series),
            ).fetchone()
            if oldest is None:
                break
            _forget(file, oldest[0], oldest[1])
            held -= oldest[2]
            gone += 1
        return gone

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection; what SQLite cannot do is a refusal."""
        try:
            file = getattr(self._own, "file", None)
            if file is None:
                file = self._own.file = self._open()
            yield file
        except (sqlite3.Error, OSError, orjson.JSONDecodeError) as error:
            busy = "locked" in str(error) or "busy" in str(error)
            raise (BusyError if busy else RequestError)(
                503,
                "too_busy" if busy else "series_unavailable",
                f"series cannot be read or written in {self.folder.name}/{FILE} of the service's "
                f"home: {error}",
                headers={"retry-after": RETRY_SECONDS},
            ) from None

    def _open(self) -> sqlite3.Connection:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / FILE
        # SQLite gives the files beside it the rights of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        file = sqlite3.connect(
            path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(file)
        except BaseException:
            # It is opened anew by the next request: none may be left behind by each.
            file.close()
            raise
        self._opened.append(file)
        return file

    def _prepare(self, file: sqlite3.Connection) -> None:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(f"PRAGMA synchronous = {'FULL' if self.sync else 'NORMAL'}")
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, from a newer Gatecast")
        if version < VERSION:
            with _written(file):
                for table in TABLES:
                    file.execute(table)
                file.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def _written(file: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes: whole, or nothing."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        # A full disk may have ended it already, or stop its very end.
        if file.in_transaction:
            file.execute("ROLLBACK")
        raise


@contextmanager
def _read(file: sqlite3.Connection) -> Iterator[None]:
    """What is read in here is of one moment."""
    file.execute("BEGIN")
    try:
        yield
    finally:
        file.execute("COMMIT")


def _kept(file: sqlite3.Connection, model: str, series: str) -> Kept | None:
    record = file.execute(
        "SELECT about FROM series WHERE model = ? AND id = ?", (model, series)
    ).fetchone()
    return None if record is None else Kept(**orjson.loads(record[0]))


def _piece(file: sqlite3.Connection, model: str, series: str, place: int) -> Rows:
    record = file.execute(
        "SELECT content FROM pieces WHERE model = ? AND id = ? AND place = ?",
        (model, series, place),
    ).fetchone()
    if record is None:
        raise sqlite3.DatabaseError(f"piece {place} of a series is missing")
    rows: Rows = orjson.loads(record[0])
    return rows


def _write(file: sqlite3.Connection, model: str, series: str, change: Change) -> int:
    """Put the pieces of a change in place, and drop those before what is kept: bytes more."""
    more = 0
    for place, rows in change.pieces.items():
        record = file.execute(
            "SELECT length(content) FROM pieces WHERE model = ? AND id = ? AND place = ?",
            (model, series, place),
        ).fetchone()
        content = orjson.dumps(rows)
        more += len(content) - (record[0] if record else 0)
        file.execute(
            "INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?)", (model, series, place, content)
        )
    low = change.kept.first // PIECE
    key = (model, series, low)
    (dropped,) = file.execute(
        "SELECT coalesce(sum(length(content)), 0) FROM pieces "
        "WHERE model = ? AND id = ? AND place < ?",
        key,
    ).fetchone()
    if dropped:
        file.execute("DELETE FROM pieces WHERE model = ? AND id = ? AND place < ?", key)
    return more - int(dropped)


def _forget(file: sqlite3.Connection, model: str, series: str) -> bool:
    record = file.execute(
        "SELECT bytes FROM series WHERE model = ? AND id = ?", (model, series)
    ).fetchone()
    if record is None:
        return False
    for table in ("series", "pieces"):
        file.execute(f"DELETE FROM {table} WHERE model = ? AND id = ?", (model, series))
    file.execute("UPDATE whole SET bytes = bytes - ?", (record[0],))
    return True
