"""A project folder that is moved or copied keeps its models, and writes into itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registered import load
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.moved import follow
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import Tracker
from tests.pipelines.small import crown, small_bundle

pytestmark = pytest.mark.timeout(600)


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("original_is_gone", [True, False])
def test_models_are_found_and_new_runs_stay_in_the_new_place(
    experiment: Callable[..., ExperimentConfig],
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    original_is_gone: bool,
) -> None:
    config = experiment()
    crown(config, small_bundle(config, prepare(config).panel, tmp_path / "bundle"))
    old = tmp_path / "old place" / ".gatecast"
    new = tmp_path / "new place" / ".gatecast"
    shutil.copytree(state, old)
    monkeypatch.setenv(HOME_VARIABLE, str(old))
    connect()  # the fixture's folder was copied too: now it is at home here
    new.parent.mkdir()
    if original_is_gone:
        old.rename(new)
    else:
        shutil.copytree(old, new)
    shutil.rmtree(new / "cache", ignore_errors=True)
    before = files(old) if old.exists() else set()
    monkeypatch.setenv(HOME_VARIABLE, str(new))
    tracker = Tracker.open(config.name, system_metrics=False)
    registry = Registry(tracker.client)
    champion = registry.alias(config.name, CHAMPION)
    assert champion is not None
    assert load(registry, champion).config.horizon > 0
    with tracker.run("after the move") as run:
        run.text("hello", "note.txt")
    assert list((new / "artifacts").rglob("note.txt"))
    assert (files(old) if old.exists() else set()) == before


def test_a_root_of_the_users_own_choice_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    home, elsewhere = tmp_path / ".gatecast", tmp_path / "disk" / "artifacts"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    (home / "artifacts").mkdir()
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    tracker = Tracker.open("chosen", artifacts=str(elsewhere), system_metrics=False)
    with tracker.run("one") as run:
        run.text("hello", "note.txt")
    connect()
    experiment = tracker.client.get_experiment(tracker.experiment_id)
    assert experiment.artifact_location == f"{elsewhere.as_uri()}/chosen"


def test_where_there_is_no_database_yet_nothing_is_followed(tmp_path: Path) -> None:
    assert follow(tmp_path / "mlflow.db", tmp_path) == []
    (tmp_path / "mlflow.db").touch()
    assert follow(tmp_path / "mlflow.db", tmp_path) == []
