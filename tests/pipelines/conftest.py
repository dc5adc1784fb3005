"""A small experiment on real series, trained once for all tests that only look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.config import ExperimentConfig, build_config
from pipelines.config.file import merge
from pipelines.machine.state import HOME_VARIABLE
from pipelines.tracking.run import Run
from pipelines.tracking.store import connect
from pipelines.training import pages
from pipelines.training.session import Outcome
from pipelines.training.train import train
from tests.pipelines.sinks import hook, mailbox

__all__ = ["hook", "mailbox"]

SERIES, HORIZON, SEASON = 24, 6, 12
QUICK = {"max_steps": 40, "batch_size": 16, "validation": "none", "threads": 1}


@pytest.fixture(scope="session")
def monthly() -> pd.DataFrame:
    """[unique_id, ds, y] of some of M3's monthly series, histories only."""
    from pipelines.data.datasets import load

    (task,) = load("m3_monthly")
    panel = task.train.select(slice(0, 20 * SERIES, 20))
    return panel.to_frame()[["unique_id", "ds", "y"]]


@pytest.fixture(scope="session")
def table(monthly: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The series as a Parquet table."""
    path = tmp_path_factory.mktemp("table") / "monthly.parquet"
    monthly.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="session")
def experiment(table: Path) -> Callable[..., ExperimentConfig]:
    """An experiment on the table with two quick candidates; keyword groups change it.

    `candidates` are taken as they are given, so that there may be one only.
    """

    def make(name: str = "monthly", **changes: Any) -> ExperimentConfig:
        values: dict[str, Any] = {
            "name": name,
            "data": {"source": str(table)},
            "horizon": HORIZON,
            "season": SEASON,
            "model": {"layers": 1, "hidden_size": 16, "segment": 6, "steps": 6},
            "training": QUICK,
            "candidates": {"gru": {"model": {"cell": "gru"}}, "lstm": {"model": {"cell": "lstm"}}},
            "backtest": {"windows": 2, "step": 3},
            # Forty steps make no model that beats anything for sure; what a test asks of the
            # gate it sets itself.
            "gate": {"max_bias": 5.0, "coverage": [0.0, 1.0], "level": 0.51},
            "tracking": {"system_metrics": False},
        }
        candidates = changes.get("candidates", values["candidates"])
        return build_config(merge(values, changes) | {"candidates": candidates})

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder))
        connect()
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A state folder of the module's own, with an empty store."""
    folder = tmp_path_factory.mktemp("home") / ".gatecast"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder))
        yield folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures: they take most of the time of a small run, and `outcome` has them."""
    monkeypatch.setattr(Run, "figure", lambda *_: None)
    monkeypatch.setattr(pages, "log_diagnosis", lambda *_: None)


@pytest.fixture(scope="module")
def outcome(state: Path, experiment: Callable[..., ExperimentConfig]) -> Outcome:
    """The experiment trained once in the module's state folder."""
    return train(experiment())
