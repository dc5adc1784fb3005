"""Tasks in processes are what they are in this process; a killed worker costs nothing but time."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import ConfigError, DataError, GatecastError
from pipelines.machine.state import cores
from pipelines.spread import fits
from pipelines.spread.processes import Processes
from pipelines.spread.task import Here, Task
from tests.pipelines.spread.tasks import fit_task, fitted, same, settings, waves, weights

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def place(said: list[str]) -> Iterator[Processes]:
    two = Processes(2, say=said.append)
    yield two
    two.close()


def children() -> list[int]:
    """Ids of the workers that this process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == os.getpid() and b"pipelines.spread.worker" in command:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_trainings_in_processes_are_those_of_one_process_bit_for_bit(
    place: Processes, tmp_path: Path
) -> None:
    here = fitted(Here(), tmp_path / "here", range(2))
    there = fitted(place, tmp_path / "there", range(2))
    for one, other in zip(here, there, strict=True):
        same(one, other)
    assert len(children()) == 2
    assert place.threads == max(cores() // 2, 1)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_training_ends_with_the_same_weights(
    place: Processes, said: list[str], tmp_path: Path
) -> None:
    (uncut,) = fitted(Here(), tmp_path / "here", range(1))
    rows: list[dict[str, Any]] = []
    killed: list[int] = []

    def kill(row: dict[str, Any]) -> None:
        rows.append(row)
        if len(rows) == 1:
            killed.extend(children())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    task = fit_task(place, tmp_path / "there", kill, seed=0)
    place.do(task)
    assert task.out is not None
    cut = weights(task.out)
    assert all(cut[name].tobytes() == value.tobytes() for name, value in uncut["weights"].items())
    assert any("its worker was lost" in line for line in said)
    assert killed
    assert not set(killed) & set(children())


def test_errors_come_back_as_what_they_are(place: Processes, tmp_path: Path) -> None:
    panel = place.share(waves())
    with pytest.raises(ConfigError, match="horizon = 0"):
        place.do(Task("bad", fits.ANEW, {"settings": {"horizon": 0}}, (panel,), out=tmp_path))
    early = {"settings": settings(), "back": 60, "levels": [0.5], "metric": "mase"}
    with pytest.raises(DataError):
        place.do(Task("early", fits.TRIAL, early, (panel,)))
    with pytest.raises(RuntimeError, match=r"KeyError: 'settings'\nin a worker:\nTraceback"):
        place.do(Task("worse", fits.ANEW, {}, (panel,), out=tmp_path))
    with pytest.raises(GatecastError, match="is no work of Gatecast's"):
        place.do(Task("foreign", "os:getcwd", {}))


def test_what_is_warned_of_in_a_worker_is_warned_of_here(place: Processes, tmp_path: Path) -> None:
    panel = waves()
    with_zero = replace(panel, y=panel.y - panel.y.min())
    logs = settings()
    logs["model"]["transform"] = "log"

    def warned(at: Any, folder: Path) -> set[str]:
        folder.mkdir()
        task = Task("logs", fits.ANEW, {"settings": logs}, (at.share(with_zero),), out=folder)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            at.do(task)
        return {str(one.message) for one in told if one.category is UserWarning}

    here = warned(Here(), tmp_path / "here")
    assert any("cannot read 1 values of 0" in text for text in here)
    assert warned(place, tmp_path / "there") == here
