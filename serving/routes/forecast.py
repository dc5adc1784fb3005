"""``POST /v1/forecast``: forecasts in the JSON forms and in Arrow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

from serving.errors import RequestError
from serving.models import describe
from serving.models.batcher import SMALL
from serving.models.canary import Split
from serving.models.keeper import Loaded
from serving.models.pretrained import Pretrained, first_stamp
from serving.reading import arrow_form, body
from serving.reading.body import ARROW, JSON
from serving.reading.json_form import body_object, read_json
from serving.reading.pairs import may_hold_booleans
from serving.reading.query import Query, read_model_name
from serving.routes.asked.asking import (
    DRAWS_OF_NUMBER,
    DRAWS_PER_SECOND,
    LARGE_ANSWER,
    LARGE_BODY,
)
from serving.routes.route import Call, Reply, Route, Service
from serving.security import FORECAST
from serving.writing.answer import Answer, write_json
from serving.writing.arrow_form import write_arrow

# What may answer: a trained version, or the pretrained network under a request's frequency.
Model = Loaded | Pretrained


async def forecast(call: Call) -> Reply:
    """Read, parse, compute, write; what is large or can become large goes beside the loop."""
    began = perf_counter()
    kind = body.media_type(call.headers, (JSON, ARROW))
    accepted = _accepted(call.headers, kind)
    sent = await call.body()
    stage = call.service.metrics.stage
    stage["read"].observe(perf_counter() - began)
    began = perf_counter()
    if len(sent) > LARGE_BODY or kind == ARROW or "content-encoding" in call.headers:
        loaded, query = await call.parse(
            lambda: _parse(call.service, call.unpacked(sent), kind), len(sent)
        )
    else:
        loaded, query = _parse(call.service, sent, kind)
    stage["parse"].observe(perf_counter() - began)
    return await answered(call, loaded, query, accepted)


async def answered(
    call: Call, loaded: Model, query: Query, wanted: str, *, beside: bytes | None = None
) -> Reply:
    """Compute and write; ``beside`` : the JSON of ``series``, told before the forecasts."""
    service = call.service
    stage, split = service.metrics.stage, service.canaries.split(loaded, query)
    if _is_large(query, loaded):

        def work(stop: threading.Event) -> Reply:
            began = perf_counter()
            answer = service.batcher.compute(loaded.until(stop), [query])[0]
            other = None if split is None else split.asked(
                lambda rival, part: service.batcher.compute(rival.until(stop), [part])[0]
            )  # fmt: skip
            stage["compute"].observe(perf_counter() - began)
            return _written(call, Forecast(loaded, answer, split, other), wanted, beside)

        seconds = _seconds(query, loaded)
        if split is not None and split.part is not None:
            seconds += _seconds(split.part, split.rival)
        return await call.compute(work, seconds)
    began = perf_counter()
    if split is not None and split.part is not None:
        answer, other = await _both(service, loaded, query, split, split.part)
    else:
        answer, other = await service.batcher.forecast(loaded, query), None
    stage["compute"].observe(perf_counter() - began)
    return _written(call, Forecast(loaded, answer, split, other), wanted, beside)


@dataclass(frozen=True)
class Forecast:
    """The champion's answer; ``other`` : the challenger's to its part of the ``split``."""

    loaded: Model
    answer: Answer
    split: Split | None = None
    other: Answer | None = None


async def _both(
    service: Service, loaded: Model, query: Query, split: Split, part: Query
) -> tuple[Answer, Answer | None]:
    """The champion's answer, and the challenger's unless it failed, computed at the same time."""
    answer, other = await asyncio.gather(
        service.batcher.forecast(loaded, query),
        service.batcher.forecast(split.rival, part),
        return_exceptions=True,
    )
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(other, BaseException):
        split.failed(other)
        return answer, None
    return answer, other


def _parse(service: Service, content: bytes, kind: str) -> tuple[Model, Query]:
    """What is to answer, and what it is asked; `RequestError` says what is wrong."""
    if kind == JSON:
        decoded = body_object(body.decode_json(content, service.settings.max_content))
        model = service.answering(read_model_name(decoded))
        if isinstance(model, Pretrained):
            model, decoded = model.reading(decoded, first_stamp(decoded))
        plain = not may_hold_booleans(content)
        return model, read_json(decoded, model.spec, no_booleans=plain)
    table, options = arrow_form.open_table(content, service.settings.max_content)
    model = service.answering(read_model_name(options))
    if isinstance(model, Pretrained):
        model, options = model.reading(options, arrow_form.first_stamp(table))
    return model, arrow_form.read_arrow(table, options, model.spec)


def _written(call: Call, found: Forecast, wanted: str, beside: bytes | None) -> Reply:
    began = perf_counter()
    loaded, answer = found.loaded, found.answer
    if found.split is not None:
        answer = call.service.canaries.merged(found.split, answer, found.other)
    content = write_json(answer) if wanted == JSON else write_arrow(answer)
    if beside is not None:
        content = b'{"series":%b,%b' % (beside, content[1:])
    reply = call.packed(content, wanted)
    metrics = call.service.metrics
    metrics.stage["write"].observe(perf_counter() - began)
    metrics.series.labels(loaded.origin.name).inc(len(answer.position))
    for _, problem in answer.problems:
        metrics.errors.labels(problem.code).inc()
    shadow = call.service.shadow
    if shadow is None:
        return reply
    rival = call.service.canaries.rival(loaded)
    if rival is not None and isinstance(loaded, Loaded):
        offered = partial(shadow.offer, loaded, rival, found.answer, found.other)
        reply = replace(reply, after=offered)
    return reply.of(answer.canary, len(answer.position))


def _is_large(query: Query, loaded: Model) -> bool:
    """Whether a request would hold up the event loop, and is worth two thread switches."""
    options, count = query.options, len(query.sizes)
    numbers = count * options.horizon * (len(options.levels) + 1)
    joint = options.joint
    if joint is not None:
        samples = count * options.horizon * joint.draws.paths * joint.passes
        numbers += samples // DRAWS_OF_NUMBER
        if joint.levels is not None:
            count *= joint.runs()
    return count > SMALL or numbers > LARGE_ANSWER or options.horizon > loaded.spec.horizon


def _seconds(query: Query, loaded: Model) -> float:
    """An estimate of what a request takes."""
    count, options = len(query.sizes), query.options
    joint = options.joint
    if joint is None:
        return loaded.seconds_of(count, options.horizon)
    samples = count * options.horizon * joint.draws.paths * joint.passes
    return loaded.seconds_of(count * joint.runs(), options.horizon) + samples / DRAWS_PER_SECOND


def _accepted(headers: Mapping[str, str], sent: str) -> str:
    """The type of the answer: as asked, else as sent."""
    accepted = headers.get("accept")
    if accepted is None:
        return sent
    kinds = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
    for kind in kinds:
        if kind in (JSON, ARROW):
            return kind
    if any(kind in ("*/*", "application/*", "") for kind in kinds):
        return sent
    raise RequestError(406, "not_acceptable", f"answers are {JSON} or {ARROW}")


def _document(service: Service) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    loaded = next((k.current for k in service.models.keepers.values() if k.current), None)
    # The example shows categories and levels of the series: where there is a key, it is for those
    # who have it, at /v1/models/NAME.
    if loaded is not None and not service.settings.protected:
        media["example"] = describe.example(loaded)
    stream = {"schema": {"type": "string", "contentMediaType": ARROW}}
    answer = {"schema": {"$ref": "#/components/schemas/Answer"}}
    return {
        "requestBody": {"required": True, "content": {JSON: media, ARROW: stream}},
        "responses": {
            "200": {
                "description": "Forecasts, and the series that could not be forecast",
                "content": {JSON: answer, ARROW: stream},
            }
        },
    }


ROUTES = (
    Route(
        "POST",
        "/v1/forecast",
        forecast,
        summary="Forecast one to thousands of series",
        document=_document,
        statuses=(400, 404, 406, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
