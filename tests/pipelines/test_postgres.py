"""PostgreSQL as the store of runs and models, without a server between; tests/stack has the rest.

``GATECAST_TEST_POSTGRES=postgresql://user:password@host:port/db`` names a server on which this may
make databases of its own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipelines.config import ExperimentConfig
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.store import connect
from pipelines.training.train import train
from serving.settings import ServingSettings

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1200)]


@contextmanager
def database(name: str) -> Iterator[str]:
    """The URL of a new database, which is gone afterwards."""
    import sqlalchemy as sa

    url = os.environ["GATECAST_TEST_POSTGRES"]
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(driver, isolation_level="AUTOCOMMIT")
    made = f"gatecast_{name}_{secrets.token_hex(4)}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {made}")
        yield urlsplit(url)._replace(path=f"/{made}").geturl()
        connection.exec_driver_sql(f"DROP DATABASE {made} WITH (FORCE)")
    engine.dispose()


def test_a_database_named_without_a_driver_holds_runs_and_models(
    tmp_path: Path, experiment: Callable[..., ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / ".gatecast"))
    with database("store") as url:
        config = experiment("stored", tracking={"uri": url})
        outcome = train(config)
        assert outcome.promoted
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        client = connect()
        assert int(Registry(client).version("stored", CHAMPION).version) == 1
        assert client.get_run(outcome.run_id).info.status == "FINISHED"
        for command in (["history", "stored"], ["forecast", "stored", "--out", "f.csv"]):
            run = subprocess.run(
                [sys.executable, "-m", "pipelines.cli", *command],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            assert urlsplit(url).password not in run.stdout + run.stderr
        settings = ServingSettings.read(dict(os.environ), models=("stored",))
        assert settings.store.startswith("postgresql+psycopg://")
