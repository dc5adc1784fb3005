"""Which version answers: swaps without a gap, damage kept out, starts without a registry."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import httpx
import pytest

from forecasting.errors import GatecastError
from forecasting.prediction.example import example_panel
from serving.app import Application
from serving.models.keeper import VersionError, check_golden
from serving.models.registry import RegistryError, UnknownModelError, Version, fetch, open_registry
from serving.settings import ServingSettings
from tests.forecasting.samples import settings, untrained
from tests.serving.conftest import KEY, Caller
from tests.serving.store import Store
from tests.serving.test_forecast import series


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("registry"))


def service(store: Store, name: str, home: Path, **more: Any) -> Application:
    settings = ServingSettings.read(
        {},
        models=(name,),
        home=home,
        tracking_uri=store.uri,
        api_key=KEY,
        threads=1,
        log_level="error",
        **more,
    )
    application = Application(settings)
    application.service.models.load()
    return application


def sample(app: Application, name: str) -> float:
    return sum(
        s.value for m in app.service.metrics.registry.collect() for s in m.samples if s.name == name
    )


def test_a_new_champion_is_swapped_in_while_requests_go_on(
    registry: Store, plain: Path, plain_again: Path, tmp_path: Path
) -> None:
    first = registry.register("swap", plain)
    app = service(registry, "swap", tmp_path, poll_seconds=0.02)
    call = Caller(app)
    expected = {first: call.post({"series": [series()]}).json()["forecasts"]}
    second = registry.register("swap", plain_again, alias=None)
    seen: list[tuple[int, Any]] = []

    async def scenario() -> None:
        following = asyncio.create_task(app.service.models.follow())
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            for turn in range(200):
                if turn == 20:
                    await asyncio.to_thread(registry.alias, "swap", second)
                answers = await asyncio.gather(
                    *(client.post("/v1/forecast", json={"series": [series()]}) for _ in range(3))
                )
                for answer in answers:
                    assert answer.status_code == 200
                    seen.append((answer.json()["model"]["version"], answer.json()["forecasts"]))
                if seen[-1][0] == second and turn > 40:
                    break
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(scenario())
    versions = [version for version, _ in seen]
    assert set(versions) == {first, second}
    assert versions == sorted(versions)
    expected[second] = call.post({"series": [series()]}).json()["forecasts"]
    assert expected[first] != expected[second]
    for version, forecasts in seen:
        assert forecasts[0]["mean"] == pytest.approx(expected[version][0]["mean"], rel=1e-5)
    assert sample(app, "gatecast_swaps_total") == 1
    registry.alias("swap", first)
    assert app.service.models.keepers["swap"].refresh()
    assert call.post({"series": [series()]}).json()["model"]["version"] == first


def _damage(registry: Store, name: str, version: int, file: str) -> None:
    source = registry.client.get_model_version(name, str(version)).source
    path = Path(urlparse(source).path) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.onnx", "config.json", "manifest.json"])
def test_a_damaged_version_leaves_the_one_that_answers(
    registry: Store, plain: Path, plain_again: Path, tmp_path: Path, file: str
) -> None:
    name = f"damaged-{file.split('.')[0]}"
    first = registry.register(name, plain)
    app = service(registry, name, tmp_path)
    second = registry.register(name, plain_again, alias=None)
    _damage(registry, name, second, file)
    registry.alias(name, second)
    call = Caller(app)
    answer = call("POST", f"/v1/models/{name}/refresh", headers={"x-api-key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_failed")
    assert call.post({"series": [series()]}).json()["model"]["version"] == first
    assert sample(app, "gatecast_load_failures_total") == 1
    assert "problem" in call("GET", "/v1/models").json()["models"][0]
    registry.alias(name, first)
    answer = call("POST", f"/v1/models/{name}/refresh", headers={"x-api-key": KEY})
    assert answer.json() == {
        "model": {**answer.json()["model"], "version": first},
        "swapped": False,
    }
    assert "problem" not in call("GET", "/v1/models").json()["models"][0]


def test_polling_leaves_a_failed_version_alone_for_a_while(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    registry.register("unfinished", plain)
    app = service(registry, "unfinished", tmp_path)
    registry.register("unfinished", plain, finished=False)
    keeper = app.service.models.keepers["unfinished"]
    with pytest.raises(VersionError, match="never finished"):
        keeper.refresh(patient=True)
    assert keeper.refresh(patient=True) is False
    with pytest.raises(VersionError):
        keeper.refresh()


def test_a_version_with_other_answers_than_it_had_is_kept_out(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(plain, wrong)
    manifest = json.loads((wrong / "manifest.json").read_text())
    manifest["golden"]["mean"][2] += 1.0
    (wrong / "manifest.json").write_text(json.dumps(manifest))
    registry.register("golden", wrong)
    app = service(registry, "golden", tmp_path / "home")
    assert not app.service.models.ready
    answer = Caller(app)("GET", "/readyz")
    assert answer.status_code == 503
    assert "no longer gives the mean" in answer.json()["detail"]
    assert Caller(app).post({"series": [series()]}).json()["code"] == "not_ready"


def test_a_start_without_the_registry_takes_what_was_followed_last(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    version = registry.register("offline", plain)
    assert service(registry, "offline", tmp_path).service.models.ready
    settings = ServingSettings.read(
        {},
        models=("offline",),
        home=tmp_path,
        tracking_uri="http://127.0.0.1:9",
        log_level="error",
    )
    app = Application(settings)
    app.service.models.load()
    assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == version
    assert sample(app, "gatecast_load_failures_total") == 1
    unknown = Application(settings.model_copy(update={"models": ("other",)}))
    unknown.service.models.load()
    assert not unknown.service.models.ready


def test_a_damaged_cache_is_fetched_again(registry: Store, plain: Path, tmp_path: Path) -> None:
    registry.register("cached", plain)
    app = service(registry, "cached", tmp_path)
    loaded = app.service.models.keepers["cached"].current
    assert loaded is not None
    (loaded.folder / "model.onnx").write_bytes(b"rubbish")
    assert service(registry, "cached", tmp_path).service.models.ready


def test_an_unknown_model_is_named_with_those_there_are(registry: Store, plain: Path) -> None:
    registry.register("known", plain)
    registry.register("waiting", plain, alias=None)
    reader = open_registry(registry.uri)
    with pytest.raises(UnknownModelError, match=r"no registered model 'x'; there are: .*known"):
        reader.resolve("x", "champion")
    with pytest.raises(UnknownModelError, match="has no version with the alias 'champion'"):
        reader.resolve("waiting", "champion")


def test_a_missing_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="gatecast train"):
        open_registry(f"sqlite:///{tmp_path / 'none.db'}").resolve("a", "champion")


def test_reading_sqlite_directly_agrees_with_mlflows_client(registry: Store, plain: Path) -> None:
    from serving.models.registry import ClientRegistry

    registry.register("both", plain)
    direct = open_registry(registry.uri).resolve("both", "champion")
    client = ClientRegistry(registry.uri).resolve("both", "champion")
    assert (direct.number, direct.run_id, direct.tags) == (
        client.number,
        client.run_id,
        client.tags,
    )
    assert urlparse(direct.source).path == urlparse(client.source).path


class _Server(BaseHTTPRequestHandler):
    """The part of MLflow's REST interface that is read."""

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = parse_qs(url.query)
        content: dict[str, Any]
        if url.path.endswith("registered-models/alias") and query["name"] == ["m"]:
            status = 200
            content = {
                "model_version": {
                    "name": "m",
                    "version": "7",
                    "run_id": "r",
                    "source": "s3://b/x",
                    "tags": [{"key": "bundle_sha256", "value": "f"}],
                }
            }
        elif url.path.endswith("registered-models/search"):
            status, content = 200, {"registered_models": [{"name": "m"}]}
        else:
            status, content = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_tracking_server_is_read_over_rest() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        reader = open_registry(f"http://127.0.0.1:{server.server_port}")
        version = reader.resolve("m", "champion")
        assert (version.number, version.run_id, version.digest) == (7, "r", "f")
        with pytest.raises(UnknownModelError, match="there are: m"):
            reader.resolve("n", "champion")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(RegistryError, match="cannot reach"):
        reader.resolve("m", "champion")


@pytest.mark.slow
def test_artifacts_behind_mlflow_are_fetched_by_a_process_of_their_own(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    number = registry.register("fetched", plain)
    run_id = registry.client.get_model_version("fetched", str(number)).run_id
    version = Version("fetched", number, run_id, f"runs:/{run_id}/model")
    fetch(version, tmp_path, registry.uri)
    assert {"model.onnx", "manifest.json", "MLmodel"} <= {p.name for p in tmp_path.iterdir()}
    lost = Version("fetched", number, run_id, f"runs:/{run_id}/nothing")
    with pytest.raises(RegistryError, match="cannot fetch"):
        fetch(lost, tmp_path / "other", registry.uri)


def test_a_lost_folder_is_named(tmp_path: Path) -> None:
    version = Version("m", 1, None, (tmp_path / "gone").as_uri())
    with pytest.raises(GatecastError, match="has lost its files"):
        fetch(version, tmp_path / "to", "sqlite://")


def test_what_a_model_says_of_itself(call: Caller) -> None:
    models = call("GET", "/v1/models").json()["models"]
    assert [(m["name"], m["default"]) for m in models] == [
        ("monthly", True),
        ("retail", False),
        ("power", False),
    ]
    about = call("GET", "/v1/models/retail").json()
    assert [(c["name"], c["role"], c["type"]) for c in about["covariates"]] == [
        ("temp", "past", "real"),
        ("promo", "future", "real"),
        ("region", "static", "categorical"),
        ("area", "static", "real"),
    ]
    assert about["covariates"][2]["categories"] == ["north", "south"]
    assert about["scores"] == {"mase": 0.8}
    assert about["lineage"]["git_commit"] == "a" * 40
    assert about["context"] > 0
    assert (about["freq"], about["horizon"]) == ("MS", 4)


def test_refresh_needs_a_key_to_be_set(settings: ServingSettings, app: Application) -> None:
    other = Application(settings.model_copy(update={"api_key": None}))
    other.service.models = app.service.models
    answer = Caller(other)("POST", "/v1/models/monthly/refresh", headers={"x-api-key": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "no_key_configured")


def test_a_refresh_swaps_at_once_with_the_key_only(
    registry: Store, plain: Path, plain_again: Path, tmp_path: Path
) -> None:
    registry.register("asked", plain)
    call = Caller(service(registry, "asked", tmp_path))
    newer = registry.register("asked", plain_again)
    path = "/v1/models/asked/refresh"
    assert call("POST", path).status_code == 401
    assert call("POST", path, headers={"x-api-key": "x"}).status_code == 401
    answer = call("POST", path, headers={"authorization": f"Bearer {KEY}"}).json()
    assert (answer["model"]["version"], answer["swapped"]) == (newer, True)
    assert call.post({"series": [series()]}).json()["model"]["version"] == newer


@pytest.mark.parametrize("altered", ["mean", "quantiles"])
def test_an_old_golden_mean_of_logs_is_passed_over_and_nothing_else(
    altered: str, tmp_path: Path
) -> None:
    """Means of logs were once made without their upper tail; such bundles still load."""
    engine = untrained(settings(model={"transform": "log"}))
    panel = example_panel(engine, 1)
    forecast = engine.predict_panel(panel, quantiles=(0.1, 0.5, 0.9))
    answer = {"mean": forecast.mean[0], "quantiles": forecast.quantiles[0]}
    answer[altered] = answer[altered] * 1.05
    golden = {k: v.tolist() for k, v in answer.items()} | {"levels": [0.1, 0.5, 0.9]}
    if altered == "mean":
        check_golden(engine, {"golden": golden}, tmp_path)
        golden["arithmetic"] = 2
    with pytest.raises(VersionError, match=f"no longer gives the {altered}"):
        check_golden(engine, {"golden": golden}, tmp_path)
