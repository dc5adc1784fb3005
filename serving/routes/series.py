"""``/v1/series/{id}``: series that are kept here, so that callers send what is new alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from serving.errors import Faults, RequestError
from serving.models.keeper import Loaded
from serving.reading import body
from serving.reading.body import JSON
from serving.reading.json_form import body_object
from serving.reading.query import (
    Options,
    Query,
    check_size,
    read_model_name,
    read_options,
    refuse_unknown,
)
from serving.routes.asked.asking import LARGE_BODY
from serving.routes.forecast import answered
from serving.routes.route import Call, Reply, Route, Service
from serving.security import FORECAST
from serving.states.asked import (
    FORECAST_KEYS,
    check_id,
    enough_for,
    query_of,
    read_append,
    rows_looked_at,
)
from serving.states.kept import Change, Kept, joined, unknown_series
from serving.states.store import BusyError

MOST_PARAMETERS: Final = 10
# The version that answers, what was written, notes of it, and the forecast that is asked for.
Appended = tuple[Loaded, Change, list[dict[str, Any]], Query | None]


async def append(call: Call) -> Reply:
    """Add rows to a series, or begin it; with the forecast that follows, where it is asked for."""
    began = perf_counter()
    service, series = call.service, _series(call)
    body.media_type(call.headers, (JSON,))
    sent = await call.body()
    stage = service.metrics.stage
    stage["read"].observe(perf_counter() - began)

    def work(wait: bool) -> Appended:
        content = body_object(body.decode_json(call.unpacked(sent), service.settings.max_content))
        loaded = service.loaded(read_model_name(content))
        model, store = loaded.origin.name, service.states
        request = read_append(content, series, loaded.spec, store.about(model, series))
        looked_at = _rows_looked_at(service, loaded)
        keep = max(service.settings.series_rows, looked_at)
        change = store.append(
            model, series, lambda kept, load: joined(kept, load, request.given, keep), wait=wait
        )
        query = None
        if request.forecast is not None:
            query = _query(service, loaded, series, request.forecast)
        return loaded, change, request.notes, query

    small = len(sent) <= LARGE_BODY and "content-encoding" not in call.headers
    done: Appended | None = None
    if small and not service.settings.series_sync:
        # A page or two, written without waiting for the disk or for others.
        with suppress(BusyError):
            done = work(False)
    if done is None:
        done = await call.parse(lambda: work(True), len(sent))
    loaded, change, notes, query = done
    about = {
        **_about(series, change.kept),
        "appended": change.appended,
        "known": change.known,
        "passed": change.passed,
    }
    if notes:
        about["notes"] = notes
    if query is None:
        return Reply.json({"series": about, "model": loaded.origin.public()})
    return await answered(call, loaded, query, JSON, beside=orjson.dumps(about))


async def forecast(call: Call) -> Reply:
    """Forecast a kept series, as a request with all of its rows would."""
    service, series = call.service, _series(call)
    parameters = _parameters(call, FORECAST_KEYS)
    loaded = service.loaded(read_model_name(parameters))
    faults = Faults()
    options = read_options(parameters, loaded.spec, faults)
    faults.stop()
    check_size(1, options, loaded.spec)
    query = _query(service, loaded, series, options)
    await _note_use(service, loaded, series)
    return await answered(call, loaded, query, JSON)


async def show_series(call: Call) -> Reply:
    """From where to where a series is kept, and which stamp comes next."""
    service, series = call.service, _series(call)
    loaded = service.loaded(read_model_name(_parameters(call, frozenset())))
    state = service.states.about(loaded.origin.name, series)
    if state is None:
        raise unknown_series()
    return Reply.json({"series": _about(series, state), "model": loaded.origin.public()})


async def delete(call: Call) -> Reply:
    """Forget a series."""
    service, series = call.service, _series(call)
    loaded = service.loaded(read_model_name(_parameters(call, frozenset())))
    name = loaded.origin.name
    if not await service.lanes.run(lambda: service.states.delete(name, series)):
        raise unknown_series()
    return Reply.json({"deleted": series, "model": loaded.origin.public()})


def _series(call: Call) -> str:
    series = call.arguments["id"]
    check_id(series)
    return series


def _query(service: Service, loaded: Loaded, series: str, options: Options) -> Query:
    """What a request with all rows of a series would ask."""
    enough = enough_for(_rows_looked_at(service, loaded))
    state = service.states.newest(loaded.origin.name, series, enough)
    if state is None:
        raise unknown_series()
    return query_of(series, *state, options, loaded.spec)


def _rows_looked_at(service: Service, loaded: Loaded) -> int:
    """Rows that the champion reads, or its challenger where that one reads more."""
    rival = service.canaries.rival(loaded)
    versions = [loaded] if rival is None else [loaded, rival]
    return max(rows_looked_at(version.predictor) for version in versions)


async def _note_use(service: Service, loaded: Loaded, series: str) -> None:
    """What is read stays; noted beside the event loop, and seldom."""
    name = loaded.origin.name
    if service.states.is_stale(name, series):
        await service.lanes.run(lambda: service.states.touch(name, series))


def _about(series: str, kept: Kept) -> dict[str, Any]:
    return {
        "id": series,
        "rows": kept.count - kept.first,
        "first": kept.stamp(kept.first),
        "last": kept.stamp(kept.count - 1),
        "next": kept.stamp(kept.count),
        "freq": kept.freq,
        "tz": kept.tz,
    }


def _parameters(call: Call, allowed: frozenset[str]) -> dict[str, Any]:
    """What stands behind the ``?`` of the address, as a body would have it."""
    faults = Faults()
    try:
        pairs = parse_qsl(
            call.parameters,
            keep_blank_values=True,
            strict_parsing=bool(call.parameters),
            max_num_fields=MOST_PARAMETERS,
            errors="strict",
        )
    except ValueError:
        raise RequestError(
            422, "invalid_request", "the address must end in ?name=value&name=value"
        ) from None
    parameters: dict[str, Any] = {}
    for name, text in pairs:
        if name in parameters:
            faults.add((name,), "duplicate", "stands twice in the address")
        parameters[name] = text
    refuse_unknown(parameters, allowed | {"model"}, (), faults)
    faults.stop()
    return {name: READ.get(name, str)(text) for name, text in parameters.items()}


def _whole(text: str) -> Any:
    return int(text) if text.isdecimal() and len(text) < 10 else text


def _levels(text: str) -> Any:
    return [_level(part) for part in text.split(",")]


def _level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _truth(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text)


READ: Final[Mapping[str, Any]] = {"horizon": _whole, "quantiles": _levels, "extend": _truth}


def _document(
    answer: str, described: str, asked: str | None = None, *, options: bool = False
) -> Any:
    """What the document says of a route: of the schemas of these names."""

    def operation(service: Service) -> dict[str, Any]:
        parameters = [_parameter("id", {"type": "string"}, where="path")]
        if asked is None:
            parameters.append(_parameter("model", {"type": "string"}))
        if options:
            levels = {"type": "string", "description": "levels with commas, such as 0.1,0.5,0.9"}
            parameters += [
                _parameter("horizon", {"type": "integer", "minimum": 1}),
                _parameter("quantiles", levels),
                _parameter("extend", {"type": "boolean"}),
            ]
        content = {JSON: {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
        details: dict[str, Any] = {
            "parameters": parameters,
            "responses": {"200": {"description": described, "content": content}},
        }
        if asked is not None:
            schema = {"schema": {"$ref": f"#/components/schemas/{asked}"}}
            details["requestBody"] = {"required": True, "content": {JSON: schema}}
        return details

    return operation


def _parameter(name: str, schema: dict[str, Any], where: str = "query") -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


ROUTES = (
    Route(
        "POST",
        "/v1/series/{id}/append",
        append,
        summary="Append rows to a series that is kept here, or begin one",
        document=_document("AppendAnswer", "What is kept now, and the forecast", "AppendRequest"),
        statuses=(400, 404, 408, 409, 413, 415, 422),
        guard=FORECAST,
    ),
    Route(
        "GET",
        "/v1/series/{id}/forecast",
        forecast,
        summary="Forecast a series that is kept here",
        document=_document("Answer", "As POST /v1/forecast with all rows", options=True),
        statuses=(404, 409, 413, 422),
        guard=FORECAST,
    ),
    Route(
        "GET",
        "/v1/series/{id}",
        show_series,
        summary="What is kept of a series",
        document=_document("SeriesAnswer", "First and last stamp, and the next one"),
        statuses=(404, 422),
        guard=FORECAST,
    ),
    Route(
        "DELETE",
        "/v1/series/{id}",
        delete,
        summary="Forget a series",
        document=_document("DeletedAnswer", "Its name"),
        statuses=(404, 422),
        guard=FORECAST,
    ),
)
