"""What operators see: metrics, traces, and a service that stays responsive."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest

from forecasting.errors import GatecastError
from pipelines.monitoring.finding import Verdict
from serving.app import Application
from serving.running import memory, tracing
from serving.running.metrics import Metrics
from serving.settings import ServingSettings
from tests.serving.conftest import Caller
from tests.serving.test_forecast import series

# What `gatecast monitor` may say; the two packages meet in the registry only.
VERDICTS = [str(verdict) for verdict in Verdict]
NAMES = (
    "requests_total",
    "errors_total",
    "request_seconds",
    "stage_seconds",
    "batch_requests",
    "batch_series",
    "series_total",
    "requests_under_way",
    "model_version",
    "model_created_seconds",
    "model_loaded_seconds",
    "registry_seen_seconds",
    "model_drift",
    "model_watched_seconds",
    "swaps_total",
    "load_failures_total",
    "challenger_version",
    "challenger_failures_total",
    "canary_series_total",
    "shadow_requests_total",
    "shadow_series_total",
    "shadow_seconds_total",
)


def test_what_the_last_watch_said_is_a_metric() -> None:
    metrics = Metrics()

    def shown(watch: str | None) -> tuple[float, float]:
        metrics.judged("m", watch)
        names = ("gatecast_model_drift", "gatecast_model_watched_seconds")
        drift, at = (metrics.registry.get_sample_value(n, {"model": "m"}) for n in names)
        assert drift is not None
        assert at is not None
        return drift, at

    said = '{"verdict": "%s", "at": "2026-11-26T10:00:00+00:00"}'
    assert [shown(said % verdict)[0] for verdict in VERDICTS[:3]] == [0.0, 1.0, 2.0]
    assert shown(said % "retrain")[1] == 1_795_687_200.0
    # Too little history says nothing of drift, but that somebody looked.
    drift, at = shown(said % VERDICTS[3])
    assert math.isnan(drift)
    assert at == 1_795_687_200.0
    for nothing in (None, "", "{}", "[]", "no json", '{"verdict": "fine", "at": 3}'):
        assert all(math.isnan(value) for value in shown(nothing)), nothing


def test_metrics_count_what_was_answered(app: Application, call: Caller) -> None:
    def value(name: str, **labels: str) -> float:
        return app.service.metrics.registry.get_sample_value(f"gatecast_{name}", labels) or 0.0

    before = value("requests_total", route="/v1/forecast", status="200")
    refused = value("errors_total", code="no_observations")
    forecast = value("series_total", model="monthly")
    stages = {s: value("stage_seconds_count", stage=s) for s in ("read", "parse", "write")}
    call.post({"series": [series("a"), series("b"), {**series("c"), "y": [None]}]})
    call.post({"series": 3})
    assert value("requests_total", route="/v1/forecast", status="200") == before + 1
    assert value("errors_total", code="no_observations") == refused + 1
    assert value("series_total", model="monthly") == forecast + 2
    for stage, count in stages.items():
        assert value("stage_seconds_count", stage=stage) > count
    assert value("model_version", model="monthly") == 1
    begun = psutil.Process().create_time()
    assert begun < value("registry_seen_seconds", model="monthly") <= time.time()
    assert value("requests_under_way") == 0


def test_every_metric_is_exposed_by_its_name(call: Caller) -> None:
    text = call("GET", "/metrics").text
    for name in NAMES:
        assert f"# TYPE gatecast_{name.removesuffix('_total')}" in text, name


def test_strange_paths_make_no_new_labels(app: Application, call: Caller) -> None:
    for k in range(5):
        assert call("GET", f"/stray/{k}").status_code == 404
    text = call("GET", "/metrics").text
    assert "stray" not in text
    assert 'route="other"' in text


def test_a_span_per_request_continues_the_callers_trace(
    settings: ServingSettings, app: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    traced = tracing.Tracing(app, settings.model_copy(update={"traces": "console"}))
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = Caller(traced.answer).post({"series": [series()]}, headers=headers)
    assert answer.status_code == 200
    traced.close()
    said = capsys.readouterr().out
    assert said.count('"trace_id"') == 1
    assert trace in said
    assert "POST /v1/forecast" in said


def test_traces_that_cannot_be_sent_stop_the_start(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_installed", lambda name: False)
    with pytest.raises(GatecastError, match=r"pip install 'gatecast\[traces\]'"):
        tracing.check(settings.model_copy(update={"traces": "otlp"}))


def test_a_heavy_models_batches_leave_the_event_loop_free(
    app: Application, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = app.service.models.keepers["monthly"]
    loaded = keeper.current
    assert loaded is not None
    bodies = [{"series": [series(f"s{i}", 20 + i)]} for i in range(12)]
    expected = [call.post(body).json()["forecasts"] for body in bodies]
    monkeypatch.setattr(keeper, "current", replace(loaded, heavy=True))
    compute, sizes = app.service.batcher.compute, []

    def slowly(model: Any, queries: Any) -> Any:
        sizes.append(len(queries))
        time.sleep(0.15)
        return compute(model, queries)

    monkeypatch.setattr(app.service.batcher, "compute", slowly)

    async def scenario() -> tuple[list[httpx.Response], float]:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            work = asyncio.gather(*(client.post("/v1/forecast", json=b) for b in bodies[:6]))
            await asyncio.sleep(0.05)
            more = asyncio.gather(*(client.post("/v1/forecast", json=b) for b in bodies[6:]))
            began = time.perf_counter()
            assert (await client.get("/livez")).status_code == 200
            alive = time.perf_counter() - began
            return [*await work, *await more], alive

    answers, alive = asyncio.run(scenario())
    assert alive < 0.1
    # Those who come while a batch is computed share the next one.
    assert sum(sizes) == 12
    assert len(sizes) <= 3
    for answer, wanted in zip(answers, expected, strict=True):
        found = answer.json()["forecasts"]
        np.testing.assert_allclose(found[0]["mean"], wanted[0]["mean"], rtol=1e-5)


def test_a_fault_in_a_batch_is_paid_by_its_own_request(
    app: Application, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = app.service.models.keepers["monthly"]
    loaded = keeper.current
    assert loaded is not None
    compute = app.service.batcher.compute

    def failing(model: Any, queries: Any) -> Any:
        if any("bad" in query.ids for query in queries):
            raise RuntimeError("broken")
        return compute(model, queries)

    monkeypatch.setattr(app.service.batcher, "compute", failing)
    for heavy in (False, True):
        monkeypatch.setattr(keeper, "current", replace(loaded, heavy=heavy))
        names = ["a", "bad", "c", "d"]
        answers = call.together([{"series": [series(name)]} for name in names])
        assert [answer.status_code for answer in answers] == [200, 500, 200, 200]


def test_memory_is_released_once_after_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(memory, "release", lambda: calls.append(1))

    async def burst() -> None:
        keeper = memory.Memory()
        for _ in range(5):
            keeper.release_soon()
        await asyncio.sleep(0.1)
        assert len(calls) == 1
        keeper.release_soon()
        await asyncio.sleep(0.1)

    asyncio.run(burst())
    assert len(calls) == 2


def test_releasing_memory_harms_nobody() -> None:
    kept = pa.array(range(100_000))
    pool = pa.default_memory_pool()
    held = pool.bytes_allocated()
    memory.release()
    assert pool.bytes_allocated() == held
    assert kept.sum().as_py() == 99_999 * 50_000
