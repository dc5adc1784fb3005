"""What a worker says, and what it keeps of work that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import GatecastError
from forecasting.training import checkpoints
from pipelines.spread.carrying import Listener, Worker, call_of, packed
from pipelines.spread.parcel import pack, unpack
from pipelines.spread.task import Here, Task
from tests.pipelines.spread.tasks import fit_task, waves, weights


def carried(task: Task, folder: Path, cut_after: int | None = None) -> list[dict[str, Any]]:
    """The messages of a task, the files of which are put where it says, up to a cut."""
    panel, heard = packed(waves()), []
    listener = Listener(task)

    def hear(message: bytes) -> None:
        heard.append(unpack(message))
        listener.hear(message)
        rows = [one for one in heard if one["kind"] == "file" and one["where"] == "kept"]
        if cut_after is not None and len(rows) == cut_after:
            raise SystemExit

    worker = Worker(folder)
    worker.carry_out(call_of(task, [panel.key], threads=1), [lambda: panel.data], hear)
    return heard


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sets its process's environment, which a test must leave as it was."""
    for name in ("OMP_NUM_THREADS", "GATECAST_CORES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("pipelines.spread.carrying.quiet", lambda: None)


def test_work_goes_on_elsewhere_from_what_it_had_sent_and_ends_with_the_same_weights(
    settled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    steps = {"max_steps": 60, "epoch_steps": 10}
    here = fit_task(Here(), tmp_path / "here", **steps)
    assert here.out is not None
    Here().do(here)
    task = fit_task(Here(), tmp_path / "there", **steps)
    (tmp_path / "first").mkdir()
    with pytest.raises(SystemExit):
        carried(task, tmp_path / "first", cut_after=3)
    assert task.kept is not None
    assert [path.suffix for path in task.kept.iterdir()] == [".safetensors"]
    (tmp_path / "second").mkdir()
    told: list[dict[str, Any]] = []
    again = Task(task.name, task.work, task.parcel, (), told.append, task.out, task.kept)
    heard = carried(again, tmp_path / "second")
    # What was trained before the cut is told again and not done again: fewer states are written.
    assert sum(one["kind"] == "file" and one["where"] == "kept" for one in heard) < 6
    assert [row["step"] for row in told] == [10, 20, 30, 40, 50, 60]
    assert task.out is not None
    expected, found = weights(here.out), weights(task.out)
    assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())


def test_other_versions_are_refused(
    settled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task("old", "pipelines.spread.fits:anew", {})
    call = call_of(task, [], threads=1)
    monkeypatch.setattr("pipelines.spread.carrying._versions", lambda: "gatecast 9")
    answers: list[bytes] = []
    Worker(tmp_path).carry_out(call, [], answers.append)
    with pytest.raises(GatecastError, match=r"has gatecast 9.*install the same versions"):
        Listener(task).hear(answers[0])


def test_no_file_is_written_outside_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    task = Task("evil", "pipelines.spread.fits:anew", {}, out=out)
    message = pack({"kind": "file", "where": "out", "name": "../stray", "body": b"x"})
    with pytest.raises(GatecastError, match="outside its folder"):
        Listener(task).hear(message)
    assert not (tmp_path / "stray").exists()
