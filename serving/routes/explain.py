"""``POST /v1/explain``: what each step's median is made of, adding up to it."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any, Final

from forecasting.errors import DataError
from forecasting.prediction.answers import Answers
from forecasting.prediction.why.explain import explain
from serving.errors import RequestError
from serving.models.keeper import Loaded
from serving.reading import body
from serving.reading.body import JSON
from serving.reading.json_form import body_object, read_json
from serving.reading.query import Query, read_model_name
from serving.reading.why_options import WHY, WhyOptions, windows_of
from serving.routes.route import Call, Reply, Route, Service
from serving.security import FORECAST
from serving.writing.explained import write_explained

# A window of a path takes about so much of the time that one of a forecast does: no head is read,
# no classical forecast is made, but gradients are.
LIKE_A_FORECAST: Final = 0.5


async def explain_forecast(call: Call) -> Reply:
    """Read, parse, explain beside the event loop, write."""
    began = perf_counter()
    body.media_type(call.headers, (JSON,))
    sent = await call.body()
    stage = call.service.metrics.stage
    stage["read"].observe(perf_counter() - began)
    began = perf_counter()
    loaded, query = await call.parse(lambda: _parse(call, sent), len(sent))
    windows = windows_of(query, loaded.spec)
    stage["parse"].observe(perf_counter() - began)

    def work(stop: threading.Event) -> Reply:
        began = perf_counter()
        content = _explained(loaded.until(stop), query)
        stage["compute"].observe(perf_counter() - began)
        return call.packed(content, JSON)

    reply = await call.compute(work, LIKE_A_FORECAST * loaded.seconds_of(windows, 1))
    call.service.metrics.series.labels(loaded.origin.name).inc(len(query.position))
    return reply


def _parse(call: Call, sent: bytes) -> tuple[Loaded, Query]:
    content = call.unpacked(sent)
    asked = body_object(body.decode_json(content, call.service.settings.max_content))
    loaded = call.service.loaded(read_model_name(asked))
    plain = b"true" not in content and b"false" not in content
    return loaded, read_json(asked, loaded.spec, WHY, no_booleans=plain)


def _explained(loaded: Loaded, query: Query) -> bytes:
    options, engine = query.options, loaded.predictor
    if not isinstance(options, WhyOptions) or not isinstance(engine, Answers):
        raise AssertionError("a body read as WHY has its options, and a loaded model its networks")
    if not len(query.sizes):
        return write_explained(None, query, loaded.origin)
    try:
        found = explain(
            engine,
            engine.members(),
            query.panel(loaded.spec),
            horizon=options.horizon,
            points=options.points,
        )
    except DataError as error:
        raise RequestError(422, "invalid_request", str(error)) from None
    return write_explained(found, query, loaded.origin)


def _document(service: Service) -> dict[str, Any]:
    asked = {"schema": {"$ref": "#/components/schemas/WhyRequest"}}
    answer = {"schema": {"$ref": "#/components/schemas/WhyAnswer"}}
    return {
        "requestBody": {"required": True, "content": {JSON: asked}},
        "responses": {
            "200": {
                "description": "What every median is made of, and the series that could not be "
                "forecast",
                "content": {JSON: answer},
            }
        },
    }


ROUTES = (
    Route(
        "POST",
        "/v1/explain",
        explain_forecast,
        summary="What the median of every step is made of",
        document=_document,
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
