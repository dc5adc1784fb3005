"""The OpenAPI document of the service, and a page that shows it without loading anything else."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from serving.errors import PROBLEM_TYPE, TITLES
from serving.reading.body import ARROW, JSON
from serving.reading.query import DEFAULT_LEVELS, MAX_LEVELS
from serving.settings import ServingSettings

NUMBER_OR_NULL = {"type": ["number", "null"]}
VALUE = {"type": ["number", "string", "null"]}


@cache
def page() -> bytes:
    """The HTML of ``/docs``."""
    return files("serving").joinpath("web/docs.html").read_bytes()


def document(
    models: list[str], example: dict[str, Any] | None, settings: ServingSettings
) -> dict[str, Any]:
    """OpenAPI 3.1."""
    try:
        release = version("gatecast")
    except PackageNotFoundError:
        release = "0"
    key: list[dict[str, list[str]]] = [{"key": []}, {"header": []}]
    body: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    if example is not None:
        body["example"] = example
    stream = {"schema": {"type": "string", "contentMediaType": ARROW}}
    forecast: dict[str, Any] = {
        "summary": "Forecast one to thousands of series",
        "requestBody": {"required": True, "content": {JSON: body, ARROW: stream}},
        "responses": {
            "200": {
                "description": "Forecasts, and the series that could not be forecast",
                "content": {
                    JSON: {"schema": {"$ref": "#/components/schemas/Answer"}},
                    ARROW: stream,
                },
            },
            **_problems(400, 406, 408, 413, 415, 422, 431, 503),
        },
    }
    if settings.protect:
        forecast["security"] = key
        forecast["responses"] |= _problems(401)
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": models},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatecast",
            "version": release,
            "description": "Quantile forecasts of time series from the champion of each model.",
        },
        "paths": {
            "/v1/forecast": {"post": forecast},
            "/v1/models": {"get": _get("The models served")},
            "/v1/models/{name}": {
                "parameters": [name],
                "get": _get("What a model expects, its scores and its lineage", 404),
            },
            "/v1/models/{name}/refresh": {
                "parameters": [name],
                "post": {
                    **_get("Follow the alias now", 401, 403, 404, 503),
                    "security": key,
                },
            },
            "/invocations": {
                "post": {
                    "summary": "MLflow's scoring protocol",
                    "requestBody": {
                        "required": True,
                        "content": {JSON: {"schema": {"type": "object"}}},
                    },
                    "responses": {
                        "200": {"description": "predictions"},
                        **_problems(400, 408, 413, 415, 422, 431, 503),
                    },
                }
            },
            "/livez": {"get": _get("The process answers")},
            "/readyz": {"get": _get("Every model has a version that answers", 503)},
            "/metrics": {
                "get": {
                    "summary": "Prometheus metrics",
                    "responses": {"200": {"description": "text exposition"}},
                }
            },
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _get(summary: str, *statuses: int) -> dict[str, Any]:
    answer = {"description": "done", "content": {JSON: {"schema": {"type": "object"}}}}
    return {"summary": summary, "responses": {"200": answer, **_problems(*statuses)}}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": TITLES[status], "content": content} for status in statuses}


def _schemas() -> dict[str, Any]:
    columns = {"type": "object", "additionalProperties": {"type": "array", "items": VALUE}}
    options = {
        "model": {"type": "string", "description": "left out: the default model"},
        "horizon": {"type": "integer", "minimum": 1, "description": "left out: as trained"},
        "quantiles": {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "minItems": 1,
            "maxItems": MAX_LEVELS,
            "default": list(DEFAULT_LEVELS),
        },
        "extend": {
            "type": "boolean",
            "default": False,
            "description": "go beyond the trained horizon by recursion",
        },
        "tz": {"type": "string", "description": "zone of the stamps, such as Europe/Madrid"},
    }
    series = {
        "type": "object",
        "required": ["id", "start", "y"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "start": {"type": ["string", "integer"], "description": "stamp of the first value"},
            "y": {"type": "array", "items": NUMBER_OR_NULL, "description": "null is missing"},
            "past": columns,
            "future": {
                **columns,
                "description": "values of the horizon, or of history and horizon",
            },
            "static": {"type": "object", "additionalProperties": VALUE},
        },
    }
    readable = {
        "type": "object",
        "required": ["series"],
        "additionalProperties": False,
        "properties": {**options, "series": {"type": "array", "minItems": 1, "items": series}},
    }
    flat = {
        "type": "object",
        "required": ["y", "sizes", "start"],
        "additionalProperties": False,
        "properties": {
            **options,
            "y": {"type": "array", "items": NUMBER_OR_NULL},
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "start": {"description": "one stamp for each series, or one for all"},
            "ids": {"type": "array", "items": {"type": "string"}},
            "past": columns,
            "future": columns,
            "static": columns,
        },
    }
    numbers = {"type": "array", "items": {"type": "number"}}
    forecast = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "ds": {"type": "array", "items": {"type": ["string", "integer"]}},
            "mean": numbers,
            "quantiles": {"type": "object", "additionalProperties": numbers},
            "notes": {"type": "array", "items": {"type": "object"}},
        },
    }
    error = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "where": {"type": "object"},
        },
    }
    fault = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("pointer", "place", "code", "detail")},
    }
    return {
        "Request": {"oneOf": [readable, flat]},
        "Answer": {
            "type": "object",
            "properties": {
                "model": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "version": {"type": "integer"},
                        "run_id": {"type": ["string", "null"]},
                    },
                },
                "forecasts": {"type": "array", "items": forecast},
                "extended": {"type": "object"},
                "errors": {"type": "array", "items": error},
            },
        },
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "request_id": {"type": "string"},
                "errors": {"type": "array", "items": fault},
                "errors_omitted": {"type": "integer"},
            },
        },
    }
