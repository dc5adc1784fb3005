"""Traces as a collector gets them: OTLP over HTTP, decoded as the protocol says."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.serving.process import Server
from tests.serving.store import Store
from tests.serving.test_process import steps_series

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
protocol = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def attributes(owner: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in owner.attributes}


class Collector:
    """Keeps the requests for spans that it gets."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.exports: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.headers["content-type"] == "application/x-protobuf"
                collector.paths.append(self.path)
                collector.exports.append(protocol.ExportTraceServiceRequest.FromString(body))
                answer = protocol.ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[tuple[str, Any]]:
        """Service name and span of each."""
        resources = [r for export in self.exports for r in export.resource_spans]
        return [
            (attributes(resource.resource)["service.name"], span)
            for resource in resources
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    Thread(target=made.server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def store(tmp_path: Path, steps: Path) -> Store:
    store = Store(tmp_path / "home")
    store.register("m3-monthly", steps)
    return store


def test_a_collector_gets_a_span_of_each_request_in_the_callers_trace(
    collector: Collector, store: Store
) -> None:
    body = {"series": [steps_series()]}
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_SERVICE_NAME": "forecasts"}
    with Server(store, "m3-monthly", **more) as server:
        server.forecast(body, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert server.http.post("/v1/forecast", json={"series": 3}).status_code == 422
        server.http.get("/metrics")
        assert server.stop() == 0
        assert "opentelemetry" not in server.text().lower()
    assert set(collector.paths) == {"/v1/traces"}
    found = collector.spans()
    assert {name for name, _ in found} == {"forecasts"}
    assert [span.name for _, span in found] == ["POST /v1/forecast", "POST /v1/forecast"]
    first, second = (span for _, span in found)
    assert first.trace_id.hex() == TRACE
    assert first.parent_span_id.hex() == PARENT
    assert second.trace_id.hex() != TRACE
    statuses = [attributes(span)["http.status_code"] for span in (first, second)]
    assert statuses == [200, 422]
    assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 60e9


@pytest.mark.slow
def test_a_collector_that_is_away_costs_no_answer(collector: Collector, store: Store) -> None:
    collector.server.shutdown()
    collector.server.server_close()
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with Server(store, "m3-monthly", **more) as server:
        for _ in range(5):
            began = time.perf_counter()
            server.forecast({"series": [steps_series()]})
            assert time.perf_counter() - began < 5
        assert server.stop() == 0
