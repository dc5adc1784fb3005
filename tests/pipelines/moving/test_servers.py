"""A set-up is moved to a server of MLflow, to PostgreSQL, and its schedules to another clock."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.demo.processes import running
from pipelines.machine.state import HOME_VARIABLE
from pipelines.moving.models import versions_of
from pipelines.moving.verify import same_forecasts
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.scheduling import schedule, server
from pipelines.tracking.store import connect
from tests.faults.serving.proxy import free_port
from tests.pipelines.moving.conftest import NAME, SetUp
from tests.pipelines.moving.test_migrate import HELD, There, move
from tests.stack.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def check(home: SetUp, uri: str) -> None:
    here, other = Registry(connect(home.uri)), Registry(connect(uri))
    assert list(versions_of(other.client, NAME)) == [1, 3]
    assert other.aliases(NAME) == here.aliases(NAME)
    old, new = here.version(NAME, CHAMPION), other.version(NAME, CHAMPION)
    assert same_forecasts(here.client, other.client, old, new)


def test_a_server_with_artifacts_of_its_own(home: SetUp, there: There, tmp_path: Path) -> None:
    backend, port = there(), free_port()
    files = tmp_path / "served"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend),
        *("--artifacts-destination", str(files), "--serve-artifacts"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]
    uri = f"http://127.0.0.1:{port}"
    with running(command, f"{uri}/health", name="server"):
        came = move(uri)
        assert vars(came.held) == HELD
        assert "--forecasts" in came.left[0]
        check(home, uri)
        assert str(Registry(connect(uri)).version(NAME, CHAMPION).source).startswith("mlflow-")
        assert list(files.rglob("model.onnx"))
        assert move(uri).new.runs == 0


def test_postgresql(home: SetUp, tmp_path: Path) -> None:
    with Postgres() as postgres:
        uri = postgres.url()
        root = str(tmp_path / "shared")
        dry = move(uri, dry=True, artifacts=root)
        assert vars(dry.new) == {**HELD, "forecasts": 0}
        came = move(uri, artifacts=root, forecasts=uri, table="kept")
        assert came.new.runs == HELD["runs"]
        check(home, uri)
        assert list((tmp_path / "shared").rglob("model.onnx"))
        assert move(uri, artifacts=root, forecasts=uri, table="kept").new.versions == 0


def test_schedules_are_on_the_other_clock_and_paused(
    home: SetUp, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Path(moved.removeprefix("sqlite:///")).parent
    config = tmp_path / "moved.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(home.config.to_yaml())))
    try:
        made = schedule.add(config, cron="0 3 * * *", timezone="Europe/Paris")
        schedule.add(config, every="6h", job="forecast")
        came = move(moved)
        assert (came.held.schedules, came.new.schedules) == (2, 2)
        assert move(moved).new.schedules == 0
        assert os.environ[HOME_VARIABLE] == str(home.home)
        assert not schedule.listing()[1].paused
        monkeypatch.setenv(HOME_VARIABLE, str(state))
        found = schedule.listing()
        assert [(one.job, one.paused) for one in found] == [("forecast", True), ("train", True)]
        assert (found[1].when, found[1].timezone, found[1].config) == (
            made.when,
            "Europe/Paris",
            str(config),
        )
    finally:
        for place in (home.home, state):
            monkeypatch.setenv(HOME_VARIABLE, str(place))
            server.stop()
            shutil.rmtree(place / "prefect", ignore_errors=True)
