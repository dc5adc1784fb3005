"""A disk that is full: said in a line, and what was there before is there still."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.bundle import verify
from forecasting.errors import GatecastError
from forecasting.prediction.predictor import Predictor
from pipelines.machine.exhausted import exhausted
from pipelines.machine.files import write_table
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker
from pipelines.training.stages import stage
from serving.app import Application
from serving.settings import ServingSettings
from tests.faults.rows import Measure
from tests.serving.store import Store

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """Take all the space, but for so many bytes."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    os.truncate(path, max(path.stat().st_size - left, 0))
    return path


def said_full(work: Callable[[], Any]) -> None:
    with pytest.raises((GatecastError, OSError, sqlite3.Error, Exception)) as caught:
        work()
    text = exhausted(caught.value) or str(caught.value)
    assert "space" in text.lower() or "full" in text.lower(), repr(caught.value)


def output(disk: Path) -> None:
    """Forecasts: the table of yesterday stays whole."""
    frame = pd.DataFrame({"y": np.random.default_rng(0).random(200_000)})
    for name in ("old.parquet", "old.csv"):
        path = disk / name
        write_table(frame.head(10), path)
        before = path.read_bytes()
        filler = fill(disk, 1000)
        said_full(lambda path=path: write_table(frame, path))  # type: ignore[misc]
        assert path.read_bytes() == before
        assert {p.name for p in disk.iterdir()} <= {"old.parquet", "old.csv", "filler"}
        filler.unlink()


def stages(disk: Path) -> None:
    """Results of training: a half-built one is none."""
    stage("x", "fit", {"a": 1}, lambda folder, _: (folder / "r").write_text("done") and None)
    filler = fill(disk, 1000)

    def build(folder: Path, _unfinished: Path) -> None:
        (folder / "r").write_bytes(b"x" * 100_000)

    said_full(lambda: stage("x", "fit", {"a": 2}, build))
    filler.unlink()
    assert stage("x", "fit", {"a": 1}, build).skipped
    assert not stage("x", "fit", {"a": 2}, build).skipped
    assert len(list((disk / "stages" / "x").iterdir())) == 2


def database(disk: Path) -> None:
    """The registry: its champion is read as before, and written again once there is room."""
    tracker = Tracker.open("disk", system_metrics=False)
    registry = Registry(tracker.client)
    with tracker.run("a") as run:
        first = registry.register("full", run, BUNDLE, tags={}, description="")
    registry.promote("full", first, reason="", action="promoted")
    filler = fill(disk)

    def another() -> None:
        for number in range(40):
            registry.refuse("full", first, f"{number} " + "x" * 3900)

    said_full(another)
    assert int(registry.version("full", None).version) == first
    filler.unlink()
    registry.refuse("full", first, "there is room")
    assert registry.history("full")[-1].reason == "there is room"


def cache(disk: Path, folder: Path) -> None:
    """The service: a new champion that does not fit leaves the old one, and is taken later."""
    store = Store(folder / "store")
    first = store.register("m", BUNDLE)
    settings = ServingSettings.read(
        {}, models=("m",), home=disk / "served", tracking_uri=store.uri, threads=1,
        log_level="error",
    )  # fmt: skip
    app = Application(settings)
    app.service.models.load()
    keeper = app.service.models.keepers["m"]
    other = folder / "other"
    shutil.copytree(BUNDLE, other)
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    second = store.register("m", other)
    filler = fill(disk)
    said_full(keeper.refresh)
    assert keeper.current is not None
    assert keeper.current.version.number == first
    verify(keeper.current.folder)
    filler.unlink()
    assert keeper.refresh()
    assert keeper.current.version.number == second
    Predictor.load(keeper.current.folder)


@pytest.mark.fault("disk")
@pytest.mark.timeout(600)
def test_a_full_disk_loses_nothing_and_is_named(
    disk: Path,
    tmp_path: Path,
    empty_store: Path,
    measure: Measure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output(disk)
    monkeypatch.setenv(HOME_VARIABLE, str(disk))
    stages(disk)
    shutil.copy(empty_store, disk / "mlflow.db")
    database(disk)
    cache(disk, tmp_path)
    measure.says(
        "output, stages, database, cache on a disk of 4 MB: each says that no space is left, keeps "
        "what it had and goes on once there is room; a whole `gatecast train` on disks of 0.2 to "
        "2.2 MB: `make slow PYTEST_ARGS=tests/pipelines/machine`"
    )
