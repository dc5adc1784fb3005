"""A set-up as one machine has it: runs, two versions of a model, kept forecasts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from pipelines.config import ExperimentConfig, build_config
from pipelines.forecasts.forecast import forecast
from pipelines.machine.state import HOME_VARIABLE
from pipelines.moving.migrate import Move, Options
from pipelines.moving.places import source_of, target_of
from pipelines.registry.registry import Registry
from pipelines.tracking.moved import DATABASE, follow
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import Tracker
from tests.pipelines.small import small_bundle

NAME = "moved"


@dataclass(frozen=True)
class SetUp:
    """A state folder, its config, and a model's bundle."""

    home: Path
    config: ExperimentConfig
    bundle: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.home / 'mlflow.db'}"


def train(set_up: SetUp, number: int) -> int:
    """What a training leaves: a pipeline run, a candidate's with its history, a version."""
    config = set_up.config
    tracker = Tracker.open(config.name, system_metrics=False)
    registry = Registry(tracker.client)
    with tracker.run("pipeline", tags={"kind": "pipeline"}) as pipeline:
        pipeline.text(config.to_yaml(), "config.yaml")
        with tracker.run("gru", tags={"kind": "candidate"}, parent=pipeline) as run:
            run.params(
                {"model": {"hidden_size": 8, "layers": 1}, **{f"p{i}": i for i in range(101)}}
            )
            run.model(tracker.experiment_id, {"hidden_size": 8})
            run.dataset(
                name="sales.csv",
                digest="d1",
                source="sales.csv",
                profile={"rows": 60},
                columns=[("y", "float64")],
            )
            run.scores({"mase": 0.5 + number})
            # More than goes into one call, once.
            run.curve("val_loss", np.linspace(1, 0.1, 1010 if number == 0 else 5) + number)
            version = registry.register(
                config.name,
                run,
                set_up.bundle,
                judged=set_up.bundle,
                tags={"pipeline_run": pipeline.id, "gate": "passed"},
                description=f"From run {run.id}, beside #/experiments/{tracker.experiment_id}/runs",
            )
        pipeline.tags({"version": version, "winner_run": run.id})
    registry.promote(config.name, version, reason="test", action="promoted")
    return version


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> SetUp:
    """The set-up that tests copy, as making it takes seconds."""
    folder = tmp_path_factory.mktemp("built")
    home = folder / ".gatecast"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    stamps = pd.date_range("2015-01-01", periods=60, freq="MS")
    frame = pd.concat(
        pd.DataFrame({"unique_id": i, "ds": stamps, "y": [100.0 + k % 12 for k in range(60)]})
        for i in ("a", "b")
    )
    frame.to_csv(folder / "sales.csv", index=False)
    config = build_config(
        {
            "name": NAME,
            "horizon": 3,
            "data": {"source": str(folder / "sales.csv")},
            "candidates": {"gru": {"model": {"hidden_size": 8, "layers": 1}}},
            "training": {"start": "none", "threads": 1, "members": 1},
            "tracking": {"system_metrics": False},
        }
    )
    made = SetUp(home, config, small_bundle(config, Panel.from_frame(frame), folder / "bundle"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        train(made, 0)
        # A number that is given and taken back.
        client = connect()
        first = client.get_model_version(NAME, "1")
        client.create_model_version(NAME, first.source, first.run_id)
        client.delete_model_version(NAME, "2")
        train(made, 3)
        forecast(config)
    return made


@pytest.fixture
def home(built: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """A copy of the set-up of the test's own, which its commands work on."""
    _forget()
    own = tmp_path / "here" / ".gatecast"
    shutil.copytree(built.home, own)
    monkeypatch.setenv(HOME_VARIABLE, str(own))
    return SetUp(own, built.config, built.bundle)


@pytest.fixture(scope="module")
def once(built: SetUp, tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A state folder to which the set-up was moved."""
    state = tmp_path_factory.mktemp("once") / ".gatecast"
    state.mkdir()
    shutil.copy(empty_store, state / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(built.home))
        target = target_of(
            f"sqlite:///{state / 'mlflow.db'}", artifacts=None, state=None, dry=False
        )
        Move(source_of(None), target, Options()).carry()
    return state


@pytest.fixture
def moved(once: Path, tmp_path: Path) -> str:
    """The store of a copy of that folder."""
    _forget()
    state = tmp_path / "there" / ".gatecast"
    shutil.copytree(once, state)
    follow(state / DATABASE, state / "artifacts")
    return f"sqlite:///{state / DATABASE}"


@pytest.fixture
def there(tmp_path: Path, empty_store: Path) -> Callable[[], str]:
    """The store of another state folder, empty."""

    def make() -> str:
        state = tmp_path / "there" / ".gatecast"
        state.mkdir(parents=True)
        shutil.copy(empty_store, state / "mlflow.db")
        return f"sqlite:///{state / 'mlflow.db'}"

    return make


def _forget() -> None:
    """MLflow remembers in which folder a run's files lie; a copy of the run has them elsewhere."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
