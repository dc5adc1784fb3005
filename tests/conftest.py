"""What every test shares: quiet libraries, a state folder of its own, data where it is, marks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipelines.machine.state import HOME_VARIABLE, quiet
from tests.datasets import DATA

ROOT = Path(__file__).resolve().parent.parent
FOREIGN_STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL")

quiet()
# Of tests that name no number of examples: `make properties` draws sixteen times as many.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=400, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep tests away from the developer's own runs, models and servers."""
    folder = tmp_path_factory.mktemp("state") / ".gatecast"
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN_STORES:
            patch.delenv(name, raising=False)
        patch.setenv(HOME_VARIABLE, str(folder))
        yield folder


@event.listens_for(Engine, "connect")
def no_waiting_for_disks(connection: Any, _: Any) -> None:
    """Stores of tests need not outlive a loss of power."""
    if isinstance(connection, sqlite3.Connection):
        # A file that is no database is for those to find who read it.
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """The same draws in every run, whatever ran before; what needs no torch does not load it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of further data sets; tests that need it skip themselves without it."""
    if not DATA.is_dir():
        pytest.skip(f"no data in {DATA}: set GATECAST_DATA to the folder of data sets")
    return DATA


# Files that take longest are begun first, so that no process waits for another at the end.
LONG = ("test_readme.py", "test_smoke.py", "test_demo.py", "test_train.py", "test_outages.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            _skip(items, "gpu", "torch sees no CUDA device")
    if not os.environ.get("GATECAST_TEST_POSTGRES"):
        _skip(items, "postgres", "GATECAST_TEST_POSTGRES names no PostgreSQL server")


def _skip(items: list[pytest.Item], mark: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(mark):
            item.add_marker(pytest.mark.skip(reason=reason))
