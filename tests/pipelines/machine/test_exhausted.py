"""A machine that has run out of something is named as that, and a run goes on once it has not."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines.machine.exhausted import exhausted

ROOT = Path(__file__).resolve().parents[3]
KIB = 1 << 10


def full_device() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def full_database() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (zeroblob(100000))")


def wrapped() -> None:
    try:
        full_device()
    except OSError:
        raise RuntimeError("could not write the artifact") from None


def by_a_library() -> None:
    raise RuntimeError("IoError: No space left on device (os error 28)")


@pytest.mark.parametrize("meets", [full_device, full_database, wrapped, by_a_library])
def test_a_full_disk_is_named_whoever_met_it(meets: Callable[[], None]) -> None:
    with pytest.raises((OSError, RuntimeError, sqlite3.Error)) as caught:
        meets()
    said = exhausted(caught.value)
    assert said is not None
    assert said.startswith("no space is left on the disk")
    assert "the same command again" in said


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.EMFILE, "Too many open files", "/a/b"), "ulimit"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
    ],
)
def test_other_things_run_out_too(error: Exception, word: str) -> None:
    assert word in str(exhausted(error))


@pytest.mark.parametrize("error", [KeyError("x"), OSError(errno.ENOENT, "no such file", "x")])
def test_what_is_no_want_of_the_machine_is_none(error: Exception) -> None:
    assert exhausted(error) is None


def test_errors_that_lead_to_each_other_are_looked_through_once() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert exhausted(first) is None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many KiB, or makes it that large."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(kib: int) -> Path:
        again = "remount," if os.path.ismount(place) else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"{again}size={kib}k", "tmpfs", str(place)],
            capture_output=True, check=False, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
        return place

    yield sized
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_met_a_full_disk_goes_on_when_there_is_room(
    disk: Callable[[int], Path], tmp_path: Path
) -> None:
    """Wherever it was met: a line of ours that says so, nothing half written, then the whole."""
    table = tmp_path / "sales.csv"
    stamps = pd.date_range("2019-01-01", periods=48, freq="MS").strftime("%Y-%m-%d")
    pd.DataFrame({"id": "a", "date": stamps, "y": range(100, 148)}).to_csv(table, index=False)
    settings = ("training.max_steps=2", "training.members=1", "training.start=none")
    words = [sys.executable, "-m", "pipelines.cli", "train", str(table), "--horizon", "3"]
    words += [word for setting in settings for word in ("--set", setting)]
    for kib in (200, 900, 1500, 2200):
        home = disk(kib) / "home"
        done = _run(words, home)
        assert done.returncode in (1, 2), done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("gatecast: ")]
        assert len(lines) == 1, done.stderr
        assert "no space" in lines[0] or "disk" in lines[0], lines
    home = disk(64 * KIB) / "home"
    done = _run(words, home)
    # Two steps of training may not earn a promotion; the run is whole all the same.
    assert done.returncode in (0, 3), done.stderr
    assert "mase" in done.stderr


def _run(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GATECAST_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, capture_output=True, check=False, text=True, timeout=300, env=environment,
        cwd=home.parent,
    )  # fmt: skip
