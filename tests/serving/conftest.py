"""A service on a real registry with two real models, trained in seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from forecasting.prediction.predictor import Predictor
from serving.app import Application
from serving.settings import ServingSettings, quiet
from tests.serving.process import Server
from tests.serving.store import Store

quiet()
KEY = "a-key-for-tests"
STEPS = {"training": {"max_steps": 8, "batch_size": 16, "threads": 1}}
SMALL = {"model": {"hidden_size": 16, "layers": 1}, **STEPS}


def sales(count: int = 12, rows: int = 72, seed: int = 0) -> pd.DataFrame:
    """Monthly series with a past and a known-future covariate; some values are missing."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    parts = []
    for i in range(count):
        promo = rng.integers(0, 2, rows).astype(float)
        y = 100 + 10 * i + 20 * np.sin(2 * np.pi * t / 12) + 8 * promo + rng.normal(0, 2, rows)
        y[rng.random(rows) < 0.05] = np.nan
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"store-{i}",
                    "ds": pd.date_range("2015-01-01", periods=rows, freq="MS"),
                    "y": y,
                    "temp": rng.normal(10, 5, rows),
                    "promo": promo,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def stores(count: int = 12) -> pd.DataFrame:
    """A category and a number for each series."""
    return pd.DataFrame(
        {
            "unique_id": [f"store-{i}" for i in range(count)],
            "region": ["north" if i % 2 else "south" for i in range(count)],
            "area": np.linspace(50, 500, count),
        }
    )


def _train(folder: Path, frame: pd.DataFrame, seed: int = 0, **options: Any) -> Path:
    from forecasting import Forecaster

    return Forecaster.fit(frame, **{"config": SMALL, "seed": seed, **options}).save(folder)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a monthly model without covariates, horizon 6."""
    frame = sales()[["unique_id", "ds", "y"]]
    return _train(tmp_path_factory.mktemp("bundles") / "plain", frame, horizon=6, freq="MS")


@pytest.fixture(scope="session")
def plain_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the same model, with other answers."""
    frame = sales(seed=1)[["unique_id", "ds", "y"]]
    folder = tmp_path_factory.mktemp("bundles") / "again"
    return _train(folder, frame, seed=3, horizon=6, freq="MS")


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with past, future and static covariates, horizon 4."""
    return _train(
        tmp_path_factory.mktemp("bundles") / "rich",
        sales(),
        horizon=4,
        freq="MS",
        past=["temp"],
        future=["promo"],
        static=stores(),
    )


@pytest.fixture(scope="session")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of hourly series in a zone, horizon 5, with calendar features."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2026-03-01", periods=240, freq="h", tz="Europe/Madrid")
    wave = 10 + 3 * np.sin(2 * np.pi * np.arange(240) / 24)
    parts = [
        pd.DataFrame({"unique_id": f"m{i}", "ds": stamps, "y": wave + rng.normal(0, 1, 240)})
        for i in range(6)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return _train(tmp_path_factory.mktemp("bundles") / "hourly", frame, horizon=5, freq="h")


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the demo's: stamps are numbers of steps, horizon 18."""
    frame = sales()[["unique_id", "ds", "y"]]
    frame["ds"] = frame.groupby("unique_id").cumcount() + 1
    config = {**SMALL, "season": 12}
    folder = tmp_path_factory.mktemp("bundles") / "steps"
    return _train(folder, frame, horizon=18, freq="step", config=config)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, plain: Path, rich: Path, hourly: Path) -> Store:
    """A registry with the models monthly, retail and power."""
    store = Store(tmp_path_factory.mktemp("home"))
    for name, bundle in (("monthly", plain), ("retail", rich), ("power", hourly)):
        store.register(name, bundle)
    return store


@pytest.fixture(scope="session")
def settings(store: Store) -> ServingSettings:
    return ServingSettings.read(
        {},
        models=("monthly", "retail", "power"),
        home=store.home,
        api_key=KEY,
        threads=1,
        log_level="error",
    )


@pytest.fixture(scope="session")
def app(settings: ServingSettings) -> Iterator[Application]:
    application = Application(settings)
    application.service.models.load()
    assert application.service.models.ready
    yield application
    application.service.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, steps: Path, rich: Path) -> Iterator[Server]:
    """A started service with the models m3-monthly and retail."""
    store = Store(tmp_path_factory.mktemp("served"))
    store.register("m3-monthly", steps)
    store.register("retail", rich)
    with Server(store, "m3-monthly", "retail") as started:
        yield started


class Caller:
    """Sends requests to the application without a socket; exceptions inside it are raised."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._send([(method, path, options)]))[0]

    def post(self, body: Any, path: str = "/v1/forecast", **options: Any) -> httpx.Response:
        return self("POST", path, json=body, **options)

    def together(self, bodies: list[Any]) -> list[httpx.Response]:
        """Forecast requests that are all under way at once."""
        return asyncio.run(self._send([("POST", "/v1/forecast", {"json": b}) for b in bodies]))

    async def _send(self, calls: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.request(m, p, **o) for m, p, o in calls))


@pytest.fixture
def call(app: Application) -> Caller:
    return Caller(app)


@pytest.fixture(scope="session")
def monthly(plain: Path) -> Predictor:
    return Predictor.load(plain)


@pytest.fixture(scope="session")
def retail(rich: Path) -> Predictor:
    return Predictor.load(rich)


@pytest.fixture(scope="session")
def power(hourly: Path) -> Predictor:
    return Predictor.load(hourly)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("GATECAST_") and n != "GATECAST_DATA"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
