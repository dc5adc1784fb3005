"""Broken and hostile champions and registries: named, counted, and never the end of the service."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from forecasting.errors import BundleError, GatecastError
from forecasting.prediction.graph import check_graph
from forecasting.prediction.predictor import Predictor
from serving.app import Application
from serving.models import keeper as keeping
from serving.models.registry import RegistryError, open_registry
from serving.settings import ServingSettings
from tests.serving.conftest import KEY, Caller
from tests.serving.models.test_keeper import sample, service
from tests.serving.store import Store
from tests.serving.test_forecast import series


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("hostile"))


def rehashed(bundle: Path, to: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """A bundle with another graph, whose hashes are right."""
    shutil.copytree(bundle, to)
    model = onnx.load(to / "model.onnx")
    change(model)
    (to / "model.onnx").write_bytes(model.SerializeToString())
    text = (to / "manifest.json").read_text()
    before = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    after = hashlib.sha256((to / "model.onnx").read_bytes()).hexdigest()
    assert before in text
    (to / "manifest.json").write_text(text.replace(before, after))
    return to


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type, tensor.data_location = "w", 1, TensorProto.EXTERNAL
    tensor.dims.append(4)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Run", [], ["x"], domain="evil.ops"))


def foreign_set(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))


def nested(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Run", [], ["x"], domain="evil")], "g", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=inner))


def huge(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type = "w", 1
    tensor.dims.extend([1 << 20, 1 << 20])


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("own", "f", [], [], [], []))


HOSTILE = [external, foreign, foreign_set, nested, huge, function]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_a_graph_is_refused_before_a_session_opens_it(
    plain: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    bundle = rehashed(plain, tmp_path / "bundle", change)
    with pytest.raises(BundleError):
        check_graph(bundle / "model.onnx")
    # Nor does whoever loads it from its folder.
    with pytest.raises(BundleError):
        Predictor.load(bundle)


def test_honest_graphs_pass_and_damaged_ones_are_named(
    plain: Path, rich: Path, hourly: Path, steps: Path, tmp_path: Path
) -> None:
    for bundle in (plain, rich, hourly, steps):
        check_graph(bundle / "model.onnx")
    for content in (b"", b"\xff" * 40, (plain / "model.onnx").read_bytes()[:-7]):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(BundleError):
            check_graph(tmp_path / "x.onnx")


def test_the_old_champion_goes_on_beside_a_hostile_one(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    first = registry.register("kept", plain)
    app = service(registry, "kept", tmp_path / "home")
    registry.register("kept", rehashed(plain, tmp_path / "bundle", external))
    answer = Caller(app)("POST", "/v1/models/kept/refresh", headers={"x-api-key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_failed")
    assert "another file" in answer.json()["detail"]
    answer = Caller(app).post({"series": [series()]})
    assert answer.json()["model"]["version"] == first


FAILURES = [
    RuntimeError("[ONNXRuntimeError] : 1 : FAIL"),
    OSError(28, "No space left on device"),
    IndexError("list index out of range"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_whatever_a_champion_raises_is_named_counted_and_backed_off(
    registry: Store,
    plain: Path,
    tmp_path: Path,
    failure: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = type(failure).__name__
    registry.register(name, plain)
    registry.register("good", plain)

    opened = keeping.open_bundle

    def broken(folder: Path, settings: ServingSettings) -> Any:
        if threading.current_thread().name == f"load {name}":
            raise failure
        return opened(folder, settings)

    monkeypatch.setattr(keeping, "open_bundle", broken)
    settings = ServingSettings.read(
        {}, models=(name, "good"), home=tmp_path, tracking_uri=registry.uri, api_key=KEY, threads=1
    )
    app = Application(settings)
    app.service.models.load()
    call = Caller(app)
    # The good model answers, the other is named.
    assert call.post({"model": "good", "series": [series()]}).status_code == 200
    assert call("GET", "/readyz").status_code == 503
    assert name in call("GET", "/v1/models").json()["models"][0]["problem"]
    assert sample(app, "gatecast_load_failures_total") == 1
    answer = call("POST", f"/v1/models/{name}/refresh", headers={"x-api-key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_failed")
    assert app.service.models.keepers[name].refresh(patient=True) is False


def test_a_graph_without_end_holds_up_neither_a_rollback_nor_another_try(
    registry: Store,
    plain: Path,
    plain_again: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = registry.register("endless", plain)
    app = service(registry, "endless", tmp_path, load_seconds=20)
    keeper = app.service.models.keepers["endless"]
    monkeypatch.setattr(
        keeper, "settings", keeper.settings.model_copy(update={"load_seconds": 0.05})
    )
    begun, release, check = [], threading.Event(), keeping.check_golden

    def endless(*arguments: Any) -> None:
        begun.append(1)
        release.wait(30)
        check(*arguments)

    monkeypatch.setattr(keeping, "check_golden", endless)
    registry.register("endless", plain_again)
    try:
        for _ in range(3):
            with pytest.raises(keeping.VersionError, match="did not answer its golden input"):
                keeper.refresh()
        assert len(begun) == 1
        registry.alias("endless", first)
        assert keeper.refresh() is False
        assert keeper.problem is None
    finally:
        release.set()
    assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == first


def without_end(model: onnx.ModelProto) -> None:
    """Adds 0 times what a loop gives that counts for ever."""
    made = next(o.name for o in model.graph.output if o.name == "params")
    for node in model.graph.node:
        node.output[:] = [f"{made}_before" if name == made else name for name in node.output]
    flag, number = TensorProto.BOOL, TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("Add", ["count", "one"], ["counted"]),
        ],
        "rounds",
        [helper.make_tensor_value_info("round", TensorProto.INT64, []),
         helper.make_tensor_value_info("go_on", flag, []),
         helper.make_tensor_value_info("count", number, [])],
        [helper.make_tensor_value_info("goes_on", flag, []),
         helper.make_tensor_value_info("counted", number, [])],
    )  # fmt: skip
    model.graph.initializer.extend(
        [helper.make_tensor("true", flag, [], [True]), helper.make_tensor("one", number, [], [1.0]),
         helper.make_tensor("none", number, [], [0.0])]
    )  # fmt: skip
    model.graph.node.extend(
        [helper.make_node("Loop", ["", "true", "none"], ["total"], body=body),
         helper.make_node("Mul", ["total", "none"], ["nothing"]),
         helper.make_node("Add", [f"{made}_before", "nothing"], [made])]
    )  # fmt: skip


def test_a_graph_without_end_is_stopped_and_leaves_no_thread_at_work(
    registry: Store, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registry.register("loops", plain)
    app = service(registry, "loops", tmp_path)
    registry.register("loops", rehashed(plain, tmp_path / "loops", without_end))
    keeper = app.service.models.keepers["loops"]
    # A good version may take longer on a busy machine; this one takes for ever.
    hasty = keeper.settings.model_copy(update={"load_seconds": 2})
    monkeypatch.setattr(keeper, "settings", hasty)
    with pytest.raises(keeping.VersionError, match="did not answer its golden input"):
        keeper.refresh()
    for thread in threading.enumerate():
        if thread.name == "load loops":
            thread.join(60)
            assert not thread.is_alive()
    assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == first


def test_a_restart_beside_a_broken_champion_takes_the_last_good_version(
    registry: Store, plain: Path, plain_again: Path, tmp_path: Path
) -> None:
    first = registry.register("restart", plain)
    assert service(registry, "restart", tmp_path).service.models.ready
    registry.register("restart", plain_again)
    second = registry.client.get_model_version_by_alias("restart", "champion")
    registry.client.set_model_version_tag("restart", second.version, "bundle_sha256", "0" * 64)
    app = service(registry, "restart", tmp_path)
    assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == first
    assert (
        "not what was registered" in Caller(app)("GET", "/v1/models").json()["models"][0]["problem"]
    )
    assert sample(app, "gatecast_load_failures_total") == 1


@pytest.mark.parametrize("digest", ["../../escape", "A" * 64, "f", "0" * 65])
def test_a_hash_that_is_none_names_no_folder(
    registry: Store, plain: Path, tmp_path: Path, digest: str
) -> None:
    name = f"digest-{len(digest)}-{digest[:1].isalpha()}"
    version = registry.register(name, plain)
    registry.client.set_model_version_tag(name, str(version), "bundle_sha256", digest)
    app = service(registry, name, tmp_path)
    assert "no SHA-256" in str(app.service.models.keepers[name].problem)


def test_what_is_fetched_is_for_its_owner_only(
    registry: Store, plain: Path, tmp_path: Path
) -> None:
    registry.register("private", plain)
    loaded = service(registry, "private", tmp_path).service.models.keepers["private"].current
    assert loaded is not None
    for folder in (loaded.folder, loaded.folder.parent, loaded.folder.parent.parent):
        assert folder.stat().st_mode & 0o077 == 0


ANSWERS = {
    "an empty object": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "another version": b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"model_version": [1, 2]}',
    "cut off": b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"model_version": {',
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ht>",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "cut off in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_registry_that_talks_nonsense_does_not_end_a_warm_start(
    registry: Store, plain: Path, tmp_path: Path, name: str
) -> None:
    warm = f"warm {name}"
    version = registry.register(warm, plain)
    assert service(registry, warm, tmp_path).service.models.ready
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(ANSWERS[name])

        threading.Thread(target=answer, daemon=True).start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RegistryError):
            open_registry(uri).resolve(warm, "champion")
        settings = ServingSettings.read({}, models=(warm,), home=tmp_path, tracking_uri=uri)
        app = Application(settings)
        app.service.models.load()
        assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == version


def test_any_error_of_a_registry_is_the_registrys(
    registry: Store, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("odd", plain)
    app = service(registry, "odd", tmp_path)
    keeper = app.service.models.keepers["odd"]

    def broken(*_: Any) -> Any:
        raise json.JSONDecodeError("odd", "", 0)

    monkeypatch.setattr(keeper.registry, "resolve", broken)
    with pytest.raises(GatecastError, match="JSONDecodeError"):
        keeper.refresh()
    assert Caller(app).post({"series": [series()]}).status_code == 200
