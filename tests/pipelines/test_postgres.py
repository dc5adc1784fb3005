"""PostgreSQL as the memory and as the clock's: what docker-compose.yml sets up, without docker.

``GATECAST_TEST_POSTGRES=postgresql://user:password@host:port/db`` names a server on which this may
make databases of its own.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pipelines.config import ExperimentConfig
from pipelines.demo.processes import pick_port
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.store import connect
from pipelines.training.train import train
from serving.settings import ServingSettings
from tests.pipelines.waiting import answers, until

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PATIENCE = 300.0  # seconds for servers to start on new databases


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


@contextmanager
def started(command: list[str], ready: str, log: Path, **variables: str) -> Iterator[None]:
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            command, stdout=sink, stderr=sink, env=os.environ | variables, start_new_session=True
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or answers(ready), PATIENCE)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


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


def test_the_servers_of_the_compose_file_keep_time_and_models_on_postgresql(
    tmp_path: Path, experiment: Callable[..., ExperimentConfig]
) -> None:
    mlflow, prefect = (pick_port("127.0.0.1", 0) for _ in range(2))
    state = tmp_path / ".gatecast"
    clients = {
        HOME_VARIABLE: str(state),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "PREFECT_API_AUTH_STRING": "gatecast:secret",
        "PREFECT_HOME": str(tmp_path / "prefect-client"),
    }

    def gatecast(*arguments: str) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=tmp_path,
            env=os.environ | clients,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    config = experiment("composed", schedule={"retry_delay": [0.1]})
    path = tmp_path / "composed.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    with (
        database("mlflow") as runs,
        database("prefect") as times,
        server("mlflow", mlflow, runs, tmp_path),
        server("prefect", prefect, times, tmp_path),
        started(
            [sys.executable, "-m", "pipelines.cli", "schedule", "--serve"],
            f"http://127.0.0.1:{prefect}/api/health",
            tmp_path / "worker.log",
            **clients,
        ),
    ):
        added = until(lambda: try_to(gatecast, "schedule", str(path), "--every", "20s"), PATIENCE)
        assert "every 20s" in added
        until(lambda: "composed: champion 1" in try_to(gatecast, "history", "composed"), PATIENCE)
        assert "Promoted" in until(
            lambda: "last run" in (t := gatecast("schedule", "--list")) and t, PATIENCE
        ) or "Unchanged" in gatecast("schedule", "--list")
        gatecast("schedule", "composed", "--remove")
        assert not (state / "mlflow.db").exists()
        assert not (state / "prefect" / "prefect.db").exists()


def try_to(gatecast: Callable[..., str], *arguments: str) -> str:
    try:
        return gatecast(*arguments)
    except AssertionError:
        return ""


@contextmanager
def server(name: str, port: int, url: str, folder: Path) -> Iterator[None]:
    """A service of the compose file with its own command and settings, here."""
    service = COMPOSE[name]
    user = urlsplit(url)
    values = {}
    for key, value in service["environment"].items():
        text = str(value)
        if text.startswith("postgresql+"):
            scheme = text.partition("://")[0]
            text = f"{scheme}://{user.netloc}{user.path}"
        values[key] = text
    values["PREFECT_HOME"] = str(folder / "prefect-server")
    if name == "prefect":
        values["PREFECT_SERVER_API_AUTH_STRING"] = "gatecast:secret"
        values["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
    given = service["command"]
    command = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
    kept = [word for word in command if not word.startswith(("--host", "--port"))]
    kept = [
        word.replace("/var/lib/mlflow", str(folder / "artifacts")).replace(":5000", f":{port}")
        for word in kept
    ]
    here = [sys.executable, "-m", *kept, "--host=127.0.0.1", f"--port={port}"]
    path = urlsplit(service["environment"]["UP"]).path
    with started(here, f"http://127.0.0.1:{port}{path}", folder / f"{name}.log", **values):
        yield
