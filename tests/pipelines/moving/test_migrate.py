"""A set-up that was moved is the one it was: whole, verified, and never twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasting.data.forecast import Forecast
from forecasting.errors import ConfigError, GatecastError
from forecasting.prediction.predictor import Predictor
from forecasting.signing import SigningKey
from pipelines.forecasts.kept import read_forecasts
from pipelines.machine.state import HOME_VARIABLE
from pipelines.moving import migrate, runs
from pipelines.moving.migrate import Migration, Move, Options
from pipelines.moving.models import models_of, versions_of
from pipelines.moving.places import source_of, target_of
from pipelines.moving.renamed import MOVED_FROM
from pipelines.moving.verify import UnlikeError
from pipelines.registry.registered import registered_config
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import Tracker
from tests.pipelines.moving.conftest import NAME, SetUp, train

There = Callable[[], str]
HELD = {"experiments": 1, "runs": 5, "models": 1, "versions": 2, "forecasts": 1, "schedules": 0}


def move(
    uri: str, *, dry: bool = False, artifacts: str | None = None, **given: object
) -> Migration:
    source = source_of(None)
    target = target_of(uri, artifacts=artifacts, state=None, dry=dry)
    made = Move(source, target, Options(**given))  # type: ignore[arg-type]
    return made.dry() if dry else made.carry()


def test_all_of_a_set_up_is_in_another_folder(
    home: SetUp, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = moved
    came = move(uri)
    assert vars(came.held) == HELD
    assert set(vars(came.new).values()) == {0}
    here, other = Registry(connect(home.uri)), Registry(connect(uri))
    # The number that was given and taken back is passed over, and stays so.
    assert list(versions_of(other.client, NAME)) == [1, 3]
    assert other.aliases(NAME) == here.aliases(NAME) == {"champion": 3, "previous": 1}
    assert other.history(NAME) == here.history(NAME)
    champion = other.version(NAME, CHAMPION)
    run = other.client.get_run(str(champion.run_id))
    old = here.version(NAME, CHAMPION)
    assert run.data.tags[MOVED_FROM] == old.run_id != run.info.run_id
    assert champion.description == str(old.description).replace(
        str(old.run_id), run.info.run_id
    ).replace(
        f"/{here.client.get_run(str(old.run_id)).info.experiment_id}/",
        (f"/{run.info.experiment_id}/"),
    )
    # Runs find one another, and a model its settings, by the new ids.
    parent = other.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["winner_run"] == run.info.run_id
    assert champion.tags["pipeline_run"] == parent.info.run_id
    assert registered_config(NAME, uri=uri).horizon == home.config.horizon
    (model,) = other.client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    assert {(m.key, m.value, m.dataset_name) for m in model.metrics} == {("mase", 3.5, "sales.csv")}
    assert run.outputs.model_outputs[0].model_id == model.model_id
    # Nothing of it lies here any more.
    state = Path(uri.removeprefix("sqlite:///")).parent
    assert str(champion.source).startswith((state / "artifacts").as_uri())
    frame = read_forecasts(str(state / "forecasts" / NAME), "forecasts", NAME)
    assert set(frame["run_id"]) == {champion.run_id}
    monkeypatch.setenv(HOME_VARIABLE, str(state))
    assert other.download(champion, state / "cache").is_dir()


def test_a_dry_run_writes_nothing(home: SetUp, tmp_path: Path) -> None:
    came = move(f"sqlite:///{tmp_path}/new/mlflow.db", dry=True)
    assert vars(came.held) == HELD == vars(came.new)
    assert not (tmp_path / "new").exists()


def test_a_scheduler_that_was_stopped_is_not_started(home: SetUp, there: There) -> None:
    (home.home / "prefect").mkdir()
    came = move(there(), dry=True)
    assert "the scheduler is stopped" in " ".join(came.left)
    assert not (home.home / "prefect" / "server.json").exists()


def test_a_second_move_brings_what_is_new_and_nothing_else(home: SetUp, moved: str) -> None:
    uri = moved
    train(home, 5)
    dry, came = move(uri, dry=True), move(uri)
    assert (came.new.runs, came.new.versions) == (2, 1) == (dry.new.runs, dry.new.versions)
    assert Registry(connect(uri)).aliases(NAME)[CHAMPION] == 4
    assert len(runs.all_runs(connect(uri), "1")) == HELD["runs"] + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "after", [15, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 8, 25, 35, 50))]
)
def test_a_move_that_was_killed_goes_on_and_copies_nothing_twice(
    home: SetUp, there: There, after: int
) -> None:
    uri = there()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, uri, str(after)], env=dict(os.environ), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    came = move(uri)
    assert came.held.runs == HELD["runs"]
    client = connect(uri)
    copies = runs.all_runs(client, "1")
    origins = [run.data.tags[MOVED_FROM] for run in copies]
    assert len(origins) == len(set(origins)) == HELD["runs"]
    models = client.search_logged_models(["1"])
    assert len({m.tags[MOVED_FROM] for m in models}) == len(models) == 2
    assert all(len(run.outputs.model_outputs) <= 1 for run in copies)
    assert list(versions_of(client, NAME)) == [1, 3]


# The move in a process that dies in the middle of its n-th writing call.
KILLED = """
import os, signal, sys
from mlflow.tracking import MlflowClient
from pipelines.machine.state import quiet
quiet()
from tests.pipelines.moving.test_migrate import move
left = int(sys.argv[2])
def dying(call):
    def run(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return run
for name in dir(MlflowClient):
    if name.startswith(("create_", "log_", "set_", "finalize_", "delete_", "update_")):
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
move(sys.argv[1])
"""


@pytest.mark.slow
def test_a_target_with_anothers_model_of_the_name_is_refused_unless_told(
    home: SetUp, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = there()
    with monkeypatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(Path(uri.removeprefix("sqlite:///")).parent))
        train(home, 9)
    with pytest.raises(ConfigError, match=f"{NAME}.*another set-up's.*--replace {NAME}"):
        move(uri)
    assert len(runs.all_runs(connect(uri), "1")) == 2
    came = move(uri, replaced=(NAME,))
    assert came.deleted == (NAME,)
    assert list(versions_of(connect(uri), NAME)) == [1, 3]
    # It is ours now.
    assert move(uri, dry=True).deleted == ()


def test_what_a_model_became_in_the_target_is_not_lost(home: SetUp, moved: str) -> None:
    uri = moved
    Registry(connect(uri)).rollback(NAME, reason="over there")
    with pytest.raises(ConfigError, match="trained or promoted there"):
        move(uri)
    assert Registry(connect(uri)).aliases(NAME)[CHAMPION] == 1


def test_a_run_under_way_is_waited_for(home: SetUp, there: There) -> None:
    tracker = Tracker.open(NAME, system_metrics=False)
    with tracker.run("busy"), pytest.raises(GatecastError, match=r"busy.*still under way"):
        move(there())


@pytest.mark.slow
def test_what_was_signed_is_signed_again_or_left_unsigned(
    home: SetUp, there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecasting.signing import RING_VARIABLE, Ring

    key = SigningKey.create(tmp_path / "mine.key")
    Ring(tmp_path / "ring").add("mine", key)
    registry = Registry(connect())
    registry.sign(registry.version(NAME, CHAMPION), key)
    uri = there()
    with pytest.raises(ConfigError, match=f"{NAME}@3 is signed.*--key"):
        move(uri)
    move(uri, signer=key)
    monkeypatch.setenv(RING_VARIABLE, str(tmp_path / "ring"))
    other = Registry(connect(uri))
    assert other.download(other.version(NAME, CHAMPION), tmp_path / "fetched").is_dir()
    with pytest.raises(GatecastError, match="not signed"):
        other.download(other.version(NAME, 1), tmp_path / "fetched")


def test_what_differs_afterwards_is_named(
    home: SetUp, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = moved
    copy_models = migrate.copy_models

    def careless(*args: object, **kwargs: object) -> int:
        """A registry that loses an alias, and a disk that loses a file's end."""
        made = copy_models(*args, **kwargs)  # type: ignore[arg-type]
        client = connect(uri)
        client.delete_registered_model_alias(NAME, "previous")
        run_id = str(versions_of(client, NAME)[1].run_id)
        root = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
        (root / "model" / "manifest.json").write_text("{}")
        return made

    monkeypatch.setattr(migrate, "copy_models", careless)
    with pytest.raises(UnlikeError, match=r"model/manifest\.json.*aliases.*version 1: "):
        move(uri)


def test_a_champion_that_forecasts_otherwise_is_named_though_all_else_is_alike(
    home: SetUp, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, asked = Predictor.predict_panel, []

    def otherwise(self: Predictor, *args: Any, **options: Any) -> Forecast:
        """The last bit of one number, on the second side that is asked."""
        told = predict(self, *args, **options)
        asked.append(told)
        if len(asked) % 2 == 0:
            told.mean[0, 0] = np.nextafter(told.mean[0, 0], np.inf)
        return told

    monkeypatch.setattr(Predictor, "predict_panel", otherwise)
    with pytest.raises(UnlikeError, match=f"model {NAME}: its champion forecasts otherwise"):
        move(moved)
    assert len(asked) == 2


def test_nothing_to_move_and_nowhere_to_go(
    home: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="to itself"):
        move(home.uri)
    with pytest.raises(ConfigError, match="--artifacts"):
        move("postgresql://me:secret@127.0.0.1:1/mlflow")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="no store to move"):
        move(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_forecasts_go_into_a_database_once(home: SetUp, moved: str, tmp_path: Path) -> None:
    uri, url = moved, f"sqlite:///{tmp_path}/forecasts.db"
    for _ in range(2):
        assert move(uri, forecasts=url, table="kept").new.forecasts == 1
    frame = read_forecasts(url, "kept", NAME)
    old = read_forecasts(str(home.home / "forecasts" / NAME), "kept", NAME)
    assert list(frame["q0.5"]) == list(old["q0.5"])
    assert len(models_of(connect(uri))) == 1


def test_a_back_up_of_one_machine_is_restored_in_a_folder_of_another_name(
    home: SetUp, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    part = page.split("### Of one machine")[1].split("\n## ")[0]
    back_up, restore = (block.split("```")[0] for block in part.split("```sh\n")[1:])
    shell = f"set -e; PATH={Path(sys.executable).parent}:$PATH\n"
    subprocess.run(["sh", "-c", shell + back_up], cwd=home.home.parent, check=True)
    other = tmp_path / "restored"
    (home.home.parent / "backup").rename(tmp_path / "backup")
    here = Registry(connect(home.uri))
    story, old = here.history(NAME), here.version(NAME, CHAMPION)
    wanted = (old.version, old.tags)
    # Nothing of the old place is left to be read by mistake.
    home.home.parent.rename(tmp_path / "gone")
    other.mkdir()
    (tmp_path / "backup").rename(other / "backup")
    subprocess.run(["sh", "-c", shell + restore], cwd=other, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(other / ".gatecast"))
        registry = Registry(connect())
        assert registry.history(NAME) == story
        champion = registry.version(NAME, CHAMPION)
        assert (champion.version, champion.tags) == wanted
        assert registry.download(champion, tmp_path / "fetched").is_dir()
        kept = str(other / ".gatecast" / "forecasts" / NAME)
        assert len(read_forecasts(kept, "forecasts", NAME)) == 6
