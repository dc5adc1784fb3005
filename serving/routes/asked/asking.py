"""What routes that ask of histories share: parse a question in JSON, answer it beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import orjson

from forecasting.errors import DataError
from serving.errors import RequestError
from serving.models.keeper import Loaded
from serving.reading import body
from serving.reading.body import JSON
from serving.reading.json_form import body_object, read_json
from serving.reading.pairs import may_hold_booleans
from serving.reading.query import FORECAST, Query, Question, read_model_name
from serving.routes.route import Call, Reply, Service

LARGE_BODY: Final = 64 * 1024  # bytes; more are parsed beside the event loop
LARGE_ANSWER: Final = 20_000  # numbers; more are written there, too
DRAWS_PER_SECOND: Final = 10_000_000  # numbers of paths drawn and ordered, about
DRAWS_OF_NUMBER: Final = 2  # that take as long as a number of an answer, about


def parse_json(
    service: Service, content: bytes, question: Question = FORECAST
) -> tuple[Loaded, Query]:
    """The version that is to answer, and what it is asked; `RequestError` says what is wrong."""
    decoded = body_object(body.decode_json(content, service.settings.max_content))
    loaded = service.loaded(read_model_name(decoded))
    plain = not may_hold_booleans(content)
    return loaded, read_json(decoded, loaded.spec, question, no_booleans=plain)


async def answer_question(
    call: Call,
    question: Question,
    seconds: Callable[[Loaded, Query], float],
    answer: Callable[[Loaded, Query], bytes],
    small: Callable[[Loaded, Query], bool] | None = None,
) -> Reply:
    """Read, parse, answer beside the event loop, write.

    Parameters
    ----------
    seconds : an estimate of what the answer takes; it refuses what would take too much.
    answer : of a version that stops when nobody waits; what it finds wrong with the data as a
        whole is a refusal.
    small : whether an answer takes so little that going beside the loop would take longer; None:
        none does.
    """
    began = perf_counter()
    body.media_type(call.headers, (JSON,))
    sent = await call.body()
    stage = call.service.metrics.stage
    stage["read"].observe(perf_counter() - began)
    began = perf_counter()
    if small is not None and len(sent) <= LARGE_BODY and "content-encoding" not in call.headers:
        loaded, query = parse_json(call.service, sent, question)
    else:
        loaded, query = await call.parse(
            lambda: parse_json(call.service, call.unpacked(sent), question), len(sent)
        )
    estimate = seconds(loaded, query)
    stage["parse"].observe(perf_counter() - began)

    split = call.service.canaries.split(loaded, query, as_one=True)
    if split is not None and split.part is not None:
        estimate += seconds(split.rival, split.part)

    def ask(version: Loaded, asked: Query, stop: threading.Event | None) -> bytes:
        return answer(version if stop is None else version.until(stop), asked)

    def work(stop: threading.Event | None) -> Reply:
        began = perf_counter()
        content, canary = None, None
        if split is not None:
            content = split.asked(lambda rival, part: _sound(ask(rival, part, stop), query))
            canary = split.told(split.places if content is not None else [])
            call.service.canaries.count(split, canary)
        try:
            content = content or ask(loaded, query, stop)
        except DataError as error:
            raise RequestError(422, "invalid_request", str(error)) from None
        if canary is not None:
            content = b'{"canary":%b,%b' % (orjson.dumps(canary.public()), content[1:])
        stage["compute"].observe(perf_counter() - began)
        return call.packed(content, JSON).of(canary, len(query.ids))

    heavy = loaded.heavy or (split is not None and split.rival.heavy)
    if small is not None and not heavy and small(loaded, query):
        reply = work(None)
    else:
        reply = await call.compute(work, estimate)
    call.service.metrics.series.labels(loaded.origin.name).inc(len(query.position))
    return reply


def _sound(content: bytes, query: Query) -> bytes | None:
    """A challenger's answer, unless it leaves out series that the request itself leaves in."""
    return content if len(orjson.loads(content)["errors"]) == len(query.problems) else None


def document(name: str, described: str) -> Callable[[Service], dict[str, Any]]:
    """The operation in the document, of the schemas ``<name>Request`` and ``<name>Answer``."""

    def operation(service: Service) -> dict[str, Any]:
        request, answer = (
            {JSON: {"schema": {"$ref": f"#/components/schemas/{name}{kind}"}}}
            for kind in ("Request", "Answer")
        )
        return {
            "requestBody": {"required": True, "content": request},
            "responses": {"200": {"description": described, "content": answer}},
        }

    return operation
