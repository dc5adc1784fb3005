"""``POST /v1/anomalies``: what was expected of every point of a history, and which are odd."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

from forecasting.errors import DataError
from forecasting.prediction.anomalies.watch import watch
from serving.errors import RequestError
from serving.models.keeper import Loaded
from serving.reading import body
from serving.reading.body import JSON
from serving.reading.json_form import body_object, read_json
from serving.reading.query import Query, read_model_name
from serving.reading.watch_options import WATCH, WatchOptions, check_points
from serving.routes.route import Call, Reply, Route, Service
from serving.security import FORECAST
from serving.writing.watched import write_watched


async def anomalies(call: Call) -> Reply:
    """Read, parse, judge beside the event loop, write."""
    began = perf_counter()
    body.media_type(call.headers, (JSON,))
    sent = await call.body()
    stage = call.service.metrics.stage
    stage["read"].observe(perf_counter() - began)
    began = perf_counter()
    loaded, query = await call.parse(lambda: _parse(call, sent), len(sent))
    points = check_points(query, loaded.spec)
    stage["parse"].observe(perf_counter() - began)

    def work(stop: threading.Event) -> Reply:
        began = perf_counter()
        content = _judged(loaded.until(stop), query)
        stage["compute"].observe(perf_counter() - began)
        return call.packed(content, JSON)

    reply = await call.compute(work, loaded.seconds_of(points, 1))
    call.service.metrics.series.labels(loaded.origin.name).inc(len(query.position))
    return reply


def _parse(call: Call, sent: bytes) -> tuple[Loaded, Query]:
    content = call.unpacked(sent)
    asked = body_object(body.decode_json(content, call.service.settings.max_content))
    loaded = call.service.loaded(read_model_name(asked))
    plain = b"true" not in content and b"false" not in content
    return loaded, read_json(asked, loaded.spec, WATCH, no_booleans=plain)


def _judged(loaded: Loaded, query: Query) -> bytes:
    options = query.options
    if not isinstance(options, WatchOptions):
        raise AssertionError("a body read as WATCH has its options")
    if not len(query.sizes):
        return write_watched(None, query, loaded.origin, options.rate)
    try:
        found, _ = watch(
            loaded.predictor, query.panel(loaded.spec), options.rate, last=options.last
        )
    except DataError as error:
        raise RequestError(422, "invalid_request", str(error)) from None
    return write_watched(found, query, loaded.origin, options.rate)


def _document(service: Service) -> dict[str, Any]:
    asked = {"schema": {"$ref": "#/components/schemas/WatchRequest"}}
    answer = {"schema": {"$ref": "#/components/schemas/WatchAnswer"}}
    return {
        "requestBody": {"required": True, "content": {JSON: asked}},
        "responses": {
            "200": {
                "description": "Every point beside what was expected, and the series that could "
                "not be judged",
                "content": {JSON: answer},
            }
        },
    }


ROUTES = (
    Route(
        "POST",
        "/v1/anomalies",
        anomalies,
        summary="Judge every point of a history by the points before it",
        document=_document,
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
