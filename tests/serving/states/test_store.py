"""The file of kept series: whole appends or none, a bound that holds, and nothing lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.errors import RequestError
from serving.states.kept import PIECE, Given, joined
from serving.states.store import FILE, USED_SECONDS, Store

ROWS = 50


def append(store: Store, series: str, start: int, y: list[Any], keep: int = 10_000) -> int:
    """Append numbered rows, one a step; how many were new."""
    given = Given("step", None, start, {"y": y}, begin=start == 0)
    change = store.append("m", series, lambda kept, load: joined(kept, load, given, keep))
    return change.appended


def rows_of(store: Store, series: str) -> list[Any]:
    found = store.newest("m", series, lambda rows: False)
    assert found is not None
    return found[2]["y"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "series", 2**20)


def bytes_of(folder: Path) -> tuple[int, int]:
    """What the file says it holds, and what it does."""
    file = sqlite3.connect(folder / FILE)
    said = file.execute("SELECT bytes FROM whole").fetchone()[0]
    summed = file.execute("SELECT coalesce(sum(bytes), 0) FROM series").fetchone()[0]
    file.close()
    return said, summed


def test_rows_come_back_as_they_went_in_whatever_their_number(store: Store) -> None:
    draw = random.Random(0)
    wanted: list[Any] = []
    while len(wanted) < 3 * PIECE + 7:
        new = [draw.choice([None, draw.random(), 1e300]) for _ in range(draw.randint(1, 60))]
        back = draw.randint(0, min(len(wanted), 20))
        start = len(wanted) - back
        assert append(store, "a", start, [*wanted[start:], *new]) == len(new)
        wanted += new
    assert rows_of(store, "a") == wanted
    said, summed = bytes_of(store.folder)
    assert said == summed


def test_only_as_much_is_read_as_is_enough(store: Store) -> None:
    append(store, "a", 0, [float(k) for k in range(3 * PIECE)])
    found = store.newest("m", "a", lambda rows: len(rows["y"]) >= 5)
    assert found is not None
    assert found[1] == 2 * PIECE
    assert found[2]["y"] == [float(k) for k in range(2 * PIECE, 3 * PIECE)]


def test_what_is_older_than_is_kept_goes(store: Store) -> None:
    for start in range(0, 10 * PIECE, 100):
        append(store, "a", start, [1.0] * 100, keep=PIECE)
    assert PIECE <= len(rows_of(store, "a")) < 2 * PIECE + 100
    said, summed = bytes_of(store.folder)
    assert said == summed
    assert said < 2_000 + 3 * PIECE * 4


def test_a_refusal_leaves_everything_as_it_was(store: Store) -> None:
    append(store, "a", 0, [1.0, 2.0])
    with pytest.raises(RequestError, match="409 gap"):
        append(store, "a", 3, [4.0])

    def broken(kept: Any, load: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.append("m", "a", broken)
    assert rows_of(store, "a") == [1.0, 2.0]
    assert append(store, "a", 2, [3.0]) == 1


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    now = [0.0]
    store = Store(tmp_path, 20_000, clock=lambda: now[0])
    for k in range(60):
        now[0] += 100
        append(store, str(k), 0, [1.5] * ROWS)
        # The first one is asked for all the time.
        if store.is_stale("m", "0"):
            store.touch("m", "0")
    kept = [k for k in range(60) if store.about("m", str(k)) is not None]
    assert kept[0] == 0
    assert kept[1:] == list(range(61 - len(kept), 60))
    assert 20 < len(kept) < 60
    said, summed = bytes_of(tmp_path)
    assert said == summed <= 20_000
    with pytest.raises(RequestError, match="404 unknown_series"):
        append(store, "1", ROWS, [1.0])
    assert store.delete("m", "0")
    assert not store.delete("m", "0")
    assert bytes_of(tmp_path)[0] == bytes_of(tmp_path)[1]


def test_use_is_noted_once_in_a_while(tmp_path: Path) -> None:
    now = [1000.0]
    store = Store(tmp_path, 2**20, clock=lambda: now[0])
    append(store, "a", 0, [1.0])
    assert not store.is_stale("m", "a")
    now[0] += USED_SECONDS
    assert store.is_stale("m", "a")
    store.touch("m", "a")
    assert not store.is_stale("m", "a")
    assert not store.is_stale("m", "nobody")


def test_threads_and_workers_lose_nothing(tmp_path: Path) -> None:
    stores = [Store(tmp_path, 2**24) for _ in range(2)]
    append(stores[0], "a", 0, [0.0])
    failed: list[Exception] = []

    def work(store: Store, mine: int) -> None:
        try:
            append(store, f"own {mine}", 0, [0.0])
            for k in range(1, 20):
                append(store, f"own {mine}", k, [float(k)])
                append(store, "a", k, [float(k)])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(stores[k % 2], k)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for series in ("a", *(f"own {k}" for k in range(4))):
        assert rows_of(stores[1], series) == [float(k) for k in range(20)]


WRITER = """
import sys
from tests.serving.states.test_store import append
from serving.states.store import Store
from pathlib import Path
store = Store(Path(sys.argv[1]), 2**24)
append(store, "a", 0, [0.0])
for k in range(1, 100_000):
    append(store, "a", k, [float(k)])
    print(k, flush=True)
"""


def test_a_crash_in_the_middle_loses_nothing_acknowledged(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    last = int(said[-1])
    kept = rows_of(Store(tmp_path, 2**24), "a")
    assert kept[: last + 1] == [float(k) for k in range(last + 1)]
    assert len(kept) <= last + 2
    said_bytes, summed = bytes_of(tmp_path)
    assert said_bytes == summed


def test_a_file_from_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, 2**20)
    append(store, "a", 0, [1.0])
    store.close()
    file = sqlite3.connect(tmp_path / FILE)
    file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(RequestError, match="from a newer Gatecast") as refused:
        Store(tmp_path, 2**20).about("m", "a")
    assert (refused.value.status, refused.value.code) == (503, "series_unavailable")


def test_a_lock_that_is_held_is_busy_and_not_broken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.states.store.WAIT_SECONDS", 0.01)
    append(store, "a", 0, [1.0])
    store.close()
    other = sqlite3.connect(store.folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RequestError) as refused:
        append(store, "a", 1, [2.0])
    assert (refused.value.status, refused.value.code) == (503, "too_busy")
    other.close()
    assert append(store, "a", 1, [2.0]) == 1


def test_a_file_that_cannot_be_opened_holds_no_handle_for_each_that_asks(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 200)
    store = Store(tmp_path, 2**20)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(RequestError):
            store.about("m", "a")
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize("end", [False, True], ids=["a row", "the very end"])
def test_a_disk_that_is_full_is_said_and_keeps_nobody_waiting_for_ever(
    store: Store, end: bool
) -> None:
    append(store, "a", 0, [1.0])
    file = store._own.file
    if end:
        file.execute("PRAGMA cache_size = 100000")
        file.execute("PRAGMA foreign_keys = ON")
        # A promise that is looked at when the transaction ends, and not before.
        file.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
        file.execute(
            "CREATE TABLE late (id INTEGER REFERENCES other (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        file.execute(
            "CREATE TRIGGER broken AFTER UPDATE ON series BEGIN INSERT INTO late VALUES (7); END"
        )
    else:
        pages = file.execute("PRAGMA page_count").fetchone()[0]
        file.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RequestError, match="constraint" if end else "full") as refused:
        append(store, "a", 1, [0.1 + k for k in range(5_000)])
    assert (refused.value.status, refused.value.code) == (503, "series_unavailable")
    file.execute("DROP TRIGGER IF EXISTS broken")
    file.execute("PRAGMA max_page_count = 100000")
    other = Store(store.folder, 2**20)
    assert append(other, "a", 1, [2.0]) == append(store, "a", 2, [3.0]) == 1
    assert rows_of(store, "a") == [1.0, 2.0, 3.0]
    other.close()
