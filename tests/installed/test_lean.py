"""The service from the wheel alone, elsewhere: without torch it forecasts what the library does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from forecasting import Forecaster, Predictor, datasets
from tests.installed.places import Place, build_wheel, install
from tests.serving.process import Server
from tests.serving.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What a service has no use for, as distributions are called.
HEAVY = {
    "torch", "pytorch-lightning", "onnx", "onnxscript", "matplotlib", "mlflow", "sqlalchemy",
    "prefect", "optuna", "flask", "scikit-learn",
}  # fmt: skip
LIBRARY = """
import json, sys
import pandas as pd
from forecasting import Predictor
table = pd.read_json(sys.stdin, convert_dates=False)
table["ds"] = pd.to_datetime(table["ds"])
print(json.dumps(Predictor.load(sys.argv[1]).predict(table)["q0.5"].tolist()))
"""
TOOLS = """
import asyncio, sys
from mcp import Client
async def main():
    async with Client(sys.argv[1]) as client:
        print((await client.call_tool("list_models", {})).content[0].text)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("lean")
    return install(folder, build_wheel(folder), ("serve", "mcp"))


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return datasets.load("air_passengers")


@pytest.fixture(scope="module")
def bundle(history: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {"model": {"hidden_size": 8, "layers": 1}, "training": {"max_steps": 8}}
    forecaster = Forecaster.fit(history, horizon=6, config=config, verbose=False)
    return forecaster.save(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="module")
def service(
    place: Place, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    store = Store(tmp_path_factory.mktemp("store"))
    store.register("kept", bundle)
    command = [str(place.bin / "gatecast"), "serve", "--model", "kept", "--port", "0"]
    with Server(store, "kept", command=command, PYTHONPATH="") as started:
        yield started


def test_nothing_heavy_is_installed(place: Place) -> None:
    names = place.installed()
    assert {"gatecast", "bentoml", "onnxruntime", "mlflow-skinny", "mcp"} <= names
    assert not HEAVY & names


def test_the_service_forecasts_as_the_library_does_here(
    service: Server, bundle: Path, history: pd.DataFrame
) -> None:
    one = {"id": "a", "start": "1949-01-01", "y": history["y"].tolist()}
    answer = service.http.post("/v1/forecast", json={"series": [one]})
    assert answer.status_code == 200, answer.text
    given = answer.json()["forecasts"][0]["quantiles"]["0.5"]
    expected = Predictor.load(bundle).predict(history)["q0.5"]
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_the_library_predicts_without_torch(
    place: Place, bundle: Path, history: pd.DataFrame
) -> None:
    done = subprocess.run(
        [str(place.bin / "python"), "-c", LIBRARY, str(bundle)],
        input=history.to_json(orient="records", date_format="iso"),
        cwd=place.work,
        env=place.variables({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = Predictor.load(bundle).predict(history)["q0.5"]
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-5)


def test_tools_and_pages_are_there(service: Server, place: Place) -> None:
    listed = place.run("python", "-c", TOOLS, f"{service.address}/mcp").stdout
    assert json.loads(listed)["models"][0]["name"] == "kept"
    for path in ("/docs", "/openapi.json", "/metrics", "/readyz"):
        assert service.http.get(path).status_code == 200
    page = httpx.get(service.address, headers={"accept": "text/html"}, trust_env=False)
    assert "<html" in page.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--version",), "gatecast "),
        (("doctor",), "Ready."),
        (("docs", "missing_group_error"), "pip install"),
        (("keys", "api", "new", "shop", "--scope", "forecast"), "gck_"),
        (("completion", "--help"), "completion"),
    ],
)
def test_commands_that_need_no_more_work(place: Place, words: tuple[str, ...], said: str) -> None:
    done = place.run("gatecast", *words)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "group"),
    [
        (("history", "kept"), "pipelines"),
        (("ui",), "pipelines"),
        (("schedule", "list"), "schedule"),
    ],
)
def test_other_commands_say_what_to_install(
    place: Place, words: tuple[str, ...], group: str
) -> None:
    done = place.run("gatecast", *words, code=2)
    assert f"pip install 'gatecast[{group}]'" in done.stderr
    assert "Traceback" not in done.stderr
