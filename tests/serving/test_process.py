"""The service as users start it: a process, sockets, signals."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.__main__ import main
from tests.serving.process import Server, environment
from tests.serving.store import Store
from tests.serving.test_forecast import rich_series


def steps_series(name: str = "a", rows: int = 40, level: float = 100.0) -> dict[str, Any]:
    y = level + 10 * np.sin(np.arange(rows) / 2)
    return {"id": name, "start": 1, "y": y.tolist()}


def test_a_started_service_answers_every_path(server: Server) -> None:
    for path in ("/livez", "/healthz", "/readyz", "/ping", "/metrics", "/openapi.json", "/docs"):
        assert server.http.get(path).status_code == 200, path
    assert server.http.get("/", follow_redirects=True).url.path == "/docs"
    names = [m["name"] for m in server.http.get("/v1/models").json()["models"]]
    assert names == ["m3-monthly", "retail"]
    for name in names:
        about = server.http.get(f"/v1/models/{name}").json()
        body = server.forecast(about["example"])
        assert body["model"]["name"] == name
        assert len(body["forecasts"][0]["mean"]) == about["horizon"]


def test_every_path_of_the_document_is_served_and_described(server: Server) -> None:
    document = server.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/forecast", "/invocations", "/v1/models/{name}/refresh"} <= document["paths"].keys()
    for path, methods in document["paths"].items():
        for method in methods.keys() - {"parameters"}:
            url = path.replace("{name}", "m3-monthly").replace("{id}", "never-seen")
            answer = server.http.request(method, url, follow_redirects=False)
            # There is the route, though no such series.
            unknown = answer.status_code == 404 and answer.json()["code"] == "unknown_series"
            assert answer.status_code not in (404, 405) or unknown, (method, path)
            assert str(answer.status_code) in methods[method]["responses"], (method, path)


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory, steps: Path) -> Iterator[Server]:
    """A service that logs each request and has answered nothing but JSON."""
    store = Store(tmp_path_factory.mktemp("talkative"))
    store.register("m", steps)
    variables = {"GATECAST_ACCESS_LOG": "true", "GATECAST_LOG_LEVEL": "debug"}
    with Server(store, "m", **variables) as started:
        yield started


def test_log_lines_carry_the_requests_id(talkative: Server) -> None:
    talkative.forecast({"series": [steps_series()]}, headers={"x-request-id": "order-17"})
    answer = talkative.http.post("/v1/forecast", json={}, headers={"x-request-id": "order-18"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (422, "order-18")
    talkative.http.get("/livez")
    lines = talkative.lines()
    by_id = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert (by_id["order-17"]["status"], by_id["order-18"]["status"]) == (200, 422)
    assert by_id["order-17"]["path"] == "/v1/forecast"
    refused = next(line for line in lines if line["event"] == "refused")
    assert refused["request_id"] == "order-18"
    assert {"at", "level", "event"} <= set.intersection(*(set(line) for line in lines))


def test_a_worker_that_answers_json_loads_neither_torch_nor_pandas(talkative: Server) -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    talkative.forecast({"series": [steps_series()]})
    process = Path(f"/proc/{talkative.process.pid}")
    loaded = (process / "maps").read_text()
    assert "onnxruntime" in loaded
    for name in ("libtorch", "/pandas/", "/pyarrow/", "/mlflow/"):
        assert name not in loaded
    status = (process / "status").read_text()
    kilobytes = int(next(row for row in status.splitlines() if "VmRSS" in row).split()[1])
    assert kilobytes < 300_000


def test_what_cannot_start_says_so_in_one_line(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_HOME", str(server.store.home))
    monkeypatch.setenv("GATECAST_API_KEY", "a-key")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = str(taken.getsockname()[1])
        cases: list[tuple[list[str], str]] = [
            (["--model", "m3-monthly", "--port", busy], "in use"),
            (
                ["--model", "nope", "--port", "0"],
                "no registered model 'nope'",
            ),
            (["--model", "m3-monthly", "--alias", "x", "--port", "0"], "no version with the alias"),
            (["--port", "0"], "--model"),
            (["--model", "m3-monthly", "--port", "99999"], "GATECAST_PORT"),
            (["--model", "m3-monthly", "--host", "256.1.1.1", "--port", "0"], "cannot listen"),
        ]
        for arguments, reason in cases:
            assert main(arguments) == 2, arguments
            said = capsys.readouterr().err
            assert reason in said
            assert said.startswith("gatecast: ")
            assert said.count("\n") == 1


def test_a_port_in_use_ends_the_process_with_code_two(server: Server) -> None:
    command = [sys.executable, "-m", "serving", "--model", "retail", "--port", str(server.port)]
    done = subprocess.run(
        command, env=environment(server.store), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stderr


@pytest.mark.slow
def test_sixty_four_threads_get_the_answers_of_one(server: Server) -> None:
    rng = np.random.default_rng(0)
    bodies: list[dict[str, Any]] = []
    for k in range(64):
        if k % 4 == 3:
            bodies.append({"model": "retail", "series": [rich_series(k % 12)]})
            continue
        count, rows = int(rng.integers(1, 5)), int(rng.integers(1, 90))
        several = [steps_series(f"{k}-{i}", rows + i, 50.0 + k) for i in range(count)]
        bodies.append({"series": several, "horizon": 1 + k % 18, "quantiles": [0.1 + k / 100]})
    alone = [server.forecast(body) for body in bodies]
    barrier = threading.Barrier(64)

    def ask(body: dict[str, Any]) -> Any:
        with httpx.Client(base_url=server.address, trust_env=False, timeout=60) as http:
            barrier.wait()
            return [http.post("/v1/forecast", json=body).json() for _ in range(3)]

    with ThreadPoolExecutor(64) as pool:
        crowd = list(pool.map(ask, bodies))
    for answers, expected in zip(crowd, alone, strict=True):
        for answer in answers:
            assert_same(answer, expected)


def assert_same(found: Any, expected: Any) -> None:
    """Equal texts, and numbers to 1e-5 of their size."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list) and expected and isinstance(expected[0], float):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.slow
def test_each_answer_comes_from_one_version_while_champions_change(
    steps: Path, plain: Path, plain_again: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    versions = {store.register("m", bundle) for bundle in (plain, plain_again)}
    first, second = sorted(versions)
    body = {"series": [{**steps_series(), "start": "2020-01-01"}]}
    several = {"series": [{**steps_series(f"s{i}"), "start": "2020-01-01"} for i in range(80)]}
    expected: dict[int, Any] = {}
    seen: list[Any] = []
    stop = threading.Event()

    def hammer(address: str, body: Any) -> int:
        count = 0
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
            while not stop.is_set():
                answer = http.post("/v1/forecast", json=body)
                assert answer.status_code == 200, answer.text
                seen.append(answer.json())
                count += 1
        return count

    with Server(store, "m", GATECAST_POLL_SECONDS="0.02") as server:

        def wait_for(version: int) -> None:
            end = time.monotonic() + 20
            while server.forecast(body)["model"]["version"] != version:
                assert time.monotonic() < end
                time.sleep(0.02)

        for version in (first, second):
            store.alias("m", version)
            wait_for(version)
            expected[version] = server.forecast(body)["forecasts"][0]
        assert expected[first]["mean"] != expected[second]["mean"]
        with ThreadPoolExecutor(6) as pool:
            work = [
                pool.submit(hammer, server.address, b) for b in (body, body, body, body, several)
            ]
            try:
                # Forth and back: a roll back takes the same path.
                for version in (first, second, first):
                    store.alias("m", version)
                    wait_for(version)
            finally:
                stop.set()
            assert all(w.result() for w in work)
        text = server.http.get("/metrics").text
        # The first start took the newer one: first, second, first, second, first.
        assert 'gatecast_swaps_total{model="m"} 5.0' in text
    assert {answer["model"]["version"] for answer in seen} == {first, second}
    for answer in seen:
        wanted = expected[answer["model"]["version"]]
        for forecast in answer["forecasts"]:
            np.testing.assert_allclose(forecast["mean"], wanted["mean"], rtol=1e-5)
            assert forecast["ds"] == wanted["ds"]


def test_requests_under_way_are_answered_when_it_is_stopped(steps: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.register("m", steps)
    with Server(store, "m") as server:
        body = json.dumps({"series": [steps_series(f"s{i}", 60) for i in range(20)]}).encode()
        head = (
            f"POST /v1/forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as half_sent:
            half_sent.sendall(head.encode() + body[:100])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            half_sent.sendall(body[100:])
            half_sent.settimeout(20)
            received = b""
            while part := half_sent.recv(1 << 16):
                received += part
        assert received.startswith(b"HTTP/1.1 200")
        assert received.rstrip().endswith(b"}")
        assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_bentoml_starts_the_same_service(server: Server, workers: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:ForecastService",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    models = {"GATECAST_MODELS": "m3-monthly,retail", "GATECAST_WORKERS": str(workers)}
    with Server(server.store, command=command, port=port, **models) as other:
        body = {"series": [steps_series()]}
        assert_same(other.forecast(body), server.forecast(body))
        assert other.http.get("/v1/models").json() == server.http.get("/v1/models").json()
        assert "gatecast_requests_total" in other.http.get("/metrics").text
        assert other.stop() == 0
