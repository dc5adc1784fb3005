"""Tracking: what is written, and how a store that is away, locked or no store is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forecasting.errors import GatecastError
from pipelines.tracking import store
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import PROCESS_TAG, Tracker


@pytest.fixture(scope="module")
def tracker(state: Path) -> Tracker:
    return Tracker.open("tracking", system_metrics=False)


def test_state_lies_below_the_state_folder(tracker: Tracker, state: Path) -> None:
    assert (state / "mlflow.db").is_file()
    with tracker.run("a run") as run:
        run.text("hello", "notes/hello.txt")
    assert run.artifact_uri.startswith((state / "artifacts" / "tracking").as_uri())
    assert list((state / "artifacts").rglob("hello.txt"))


def test_a_store_that_hangs_holds_up_no_training_and_gets_every_epoch_later(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tracking.run.FLUSH_SECONDS", -1.0)
    answering, asked = threading.Event(), threading.Event()
    log_batch = type(tracker.client).log_batch

    def slowly(*args: Any, **options: Any) -> Any:
        asked.set()
        assert answering.wait(60)
        return log_batch(*args, **options)

    with tracker.run("a run") as run:
        monkeypatch.setattr(type(tracker.client), "log_batch", slowly)
        for step in range(2500):
            run.epoch({"train_loss": float(step)}, step)
        # All steps are taken while the store has not answered the first call.
        assert asked.wait(60)
        assert not answering.is_set()
        answering.set()
    history = tracker.client.get_metric_history(run.id, "train_loss")
    assert sorted(m.step for m in history) == list(range(2500))


def test_everything_a_run_is_given_can_be_read_back(tracker: Tracker) -> None:
    with tracker.run("parent") as parent, tracker.run("child", parent=parent) as run:
        run.params({"model": {"cell": "lstm", "layers": 2}, "none": None, "empty": {}})
        run.tags({"gate": "passed", "none": None})
        run.metrics({"mase": 0.8, "broken": float("nan")})
        run.curve("horizon/mase", [0.1, 0.2, float("inf"), 0.4])
        for step in range(5):
            run.epoch({"train_loss": 1.0 / (step + 1)}, step)
        run.table(pd.DataFrame({"ds": pd.date_range("2026", periods=2), "y": [1, 2]}), "t.json")
        run.dataset(
            name="sales",
            digest="d" * 40,
            source="sales.csv",
            profile={"rows": 2},
            columns=[("unique_id", "str"), ("ds", "datetime64[us]"), ("y", "float64")],
        )
    seen = tracker.client.get_run(run.id)
    assert seen.info.status == "FINISHED"
    assert seen.data.params == {"model.cell": "lstm", "model.layers": "2", "empty": "{}"}
    assert seen.data.tags["gate"] == "passed"
    assert seen.data.tags["mlflow.parentRunId"] == parent.id
    assert seen.data.metrics["mase"] == 0.8
    assert "broken" not in seen.data.metrics
    curve = tracker.client.get_metric_history(run.id, "horizon/mase")
    assert [(m.step, m.value) for m in curve] == [(1, 0.1), (2, 0.2), (4, 0.4)]
    assert len(tracker.client.get_metric_history(run.id, "train_loss")) == 5
    (data,) = seen.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("sales", "d" * 36)


def test_a_run_that_fails_keeps_its_error(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="boom"), tracker.run("fails") as run:
        raise ValueError("boom\nand a long trace")
    seen = tracker.client.get_run(run.id)
    assert (seen.info.status, seen.data.tags["error"]) == ("FAILED", "ValueError: boom")
    with pytest.raises(KeyboardInterrupt), tracker.run("stopped") as run:
        raise KeyboardInterrupt
    assert tracker.client.get_run(run.id).info.status == "KILLED"


def test_only_runs_of_dead_processes_of_this_machine_are_closed(tracker: Tracker) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    owners = {"dead": f"{host}:{dead.pid}", "alive": f"{host}:{os.getpid()}", "far": "other:1"}
    made = {
        name: tracker.client.create_run(tracker.experiment_id, tags={PROCESS_TAG: owner}).info
        for name, owner in owners.items()
    }
    assert tracker.close_abandoned() == 1
    status = {n: tracker.client.get_run(info.run_id).info.status for n, info in made.items()}
    assert status == {"dead": "FAILED", "alive": "RUNNING", "far": "RUNNING"}


def test_a_dead_server_is_told_at_once_and_by_name(state: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(
        GatecastError, match=f"MLflow store http://me:\\*+@127.0.0.1:{port} cannot be used"
    ):
        connect(f"http://me:secret@127.0.0.1:{port}")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:secret@127.0.0.1:1/mlflow",
        "postgresql://127.0.0.1:1/mlflow?user=me&password=secret",
        "postgresql://me:se@cr%65et@127.0.0.1:1/mlflow",
    ],
)
def test_a_database_that_is_away_is_told_at_once_and_without_its_password(
    state: Path, uri: str
) -> None:
    began = time.monotonic()
    with pytest.raises(GatecastError, match=r"127\.0\.0\.1:1/mlflow\S* cannot be used") as caught:
        connect(uri)
    assert "secret" not in str(caught.value)
    assert "et@" not in str(caught.value)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
def test_a_file_store_is_refused_with_what_works(state: Path, uri: str) -> None:
    with pytest.raises(GatecastError, match="give sqlite:///path"):
        connect(uri)


def test_a_file_that_is_no_database_is_told(state: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.db"
    wrong.write_text("this is no database, and long enough to be taken for one" * 20)
    with pytest.raises(GatecastError, match="cannot be used"):
        connect(f"sqlite:///{wrong}")


def test_a_database_locked_for_a_moment_is_waited_for(tracker: Tracker, state: Path) -> None:
    code = (
        "import sys, time, sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('begin immediate'); print('held', flush=True); time.sleep(1.5); c.rollback()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(state / "mlflow.db")], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        began = time.monotonic()
        with tracker.run("waits") as run:
            run.metric("mase", 1.0)
        assert time.monotonic() - began > 0.5
    assert tracker.client.get_run(run.id).info.status == "FINISHED"


def test_a_deleted_experiment_is_brought_back(tracker: Tracker) -> None:
    tracker.client.delete_experiment(tracker.experiment_id)
    again = Tracker.open("tracking", system_metrics=False)
    assert again.experiment_id == tracker.experiment_id
    with again.run("works") as run:
        pass
    assert again.client.get_run(run.id).info.status == "FINISHED"


def test_a_store_whose_making_was_cut_off_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MLflow can't mend a half migrated file: none may ever stand where the store belongs."""
    opened = store._open

    def cut_off(*arguments: object) -> None:
        opened(*arguments)
        raise OSError(28, "No space left on device")

    place = tmp_path / "new" / "mlflow.db"
    monkeypatch.setattr(store, "_open", cut_off)
    with pytest.raises(GatecastError, match="No space left"):
        connect(f"sqlite:///{place}")
    assert not list(place.parent.iterdir())
    # What a killed process left is swept away.
    (place.parent / "mlflow.db.half-0").write_bytes(b"half of it")
    monkeypatch.setattr(store, "_open", opened)
    assert connect(f"sqlite:///{place}").search_experiments()
    assert [file.name for file in place.parent.iterdir()] == ["mlflow.db"]
