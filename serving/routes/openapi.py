"""The OpenAPI document of the service, and a page that shows it without loading anything else."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from forecasting.paths.hierarchy import MOST_LEVELS
from forecasting.paths.reconcile import HOWS
from forecasting.paths.sampling import LEAST_PATHS, MOST_PATHS
from forecasting.quantiles import ASKED
from forecasting.zero.patches import LONGEST_SEASON
from serving.errors import PROBLEM_TYPE, TITLES
from serving.reading.body import JSON
from serving.reading.joint import MOST_TOTALS
from serving.reading.query import MAX_LEVELS
from serving.routes.asked.schemas import NUMBER_OR_NULL, canary_schema, question_schemas
from serving.routes.route import Call, Reply, Route, Service
from serving.security import DOCS

VALUE = {"type": ["number", "string", "null"]}


@cache
def page() -> bytes:
    """The HTML of ``/docs``."""
    return files("serving").joinpath("web/docs.html").read_bytes()


async def show_openapi(call: Call) -> Reply:
    """The OpenAPI document, with an example of a model that is loaded."""
    return Reply.json(document(call.service))


async def show_docs(call: Call) -> Reply:
    """The page that shows the OpenAPI document; it may load nothing from elsewhere."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    headers = {"content-security-policy": f"{policy}; connect-src 'self'"}
    return Reply(page(), "text/html; charset=utf-8", headers=headers)


async def to_docs(call: Call) -> Reply:
    """From the root to the page of the API."""
    return Reply(b"", "text/plain", 307, {"location": "/docs"})


def release() -> str:
    """The version of what is installed; 0 where nothing is."""
    try:
        return version("gatecast")
    except PackageNotFoundError:
        return "0"


def document(service: Service) -> dict[str, Any]:
    """OpenAPI 3.1 of the service's routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in service.routes:
        if route.document is not None:
            described = route.document(service)
            path = paths.setdefault(route.path, {})
            path |= {key: described.pop(key) for key in ("parameters",) if key in described}
            path[route.method.lower()] = _operation(route, described, service)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatecast",
            "version": release(),
            "description": "Quantile forecasts of time series from the champion of each model.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(route: Route, described: dict[str, Any], service: Service) -> dict[str, Any]:
    statuses = {*route.statuses, 431}
    if not route.always:
        statuses.add(503)
    if not route.by_any_name:
        statuses |= {403, 421}
    if route.guard is not None:
        # A caller who gives a key has its limits, also where none is needed.
        statuses |= set() if route.always else {429}
        if route.guard.closed(service.settings, None):
            statuses |= {401, 403}
            described["security"] = [{"key": []}, {"header": []}]
    done = {"200": {"description": "done", "content": {JSON: {"schema": {"type": "object"}}}}}
    responses = {**described.pop("responses", done), **_problems(*sorted(statuses))}
    return {"summary": route.summary, **described, "responses": responses}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": TITLES[status], "content": content} for status in statuses}


def _joint_options() -> dict[str, Any]:
    """What may be asked of all series together."""
    names = {"type": "array", "items": {"type": "string"}}
    total = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "steps": {"type": "integer", "minimum": 1, "description": "the first so many"},
            "blocks": {"type": "boolean", "description": "every so many steps instead"},
            "by": {**names, "description": "static columns; none: all series in one total"},
            "groups": {"type": "object", "additionalProperties": names},
        },
    }
    hierarchy = {
        "type": "object",
        "required": ["levels"],
        "additionalProperties": False,
        "properties": {
            "levels": {"type": "array", "items": names, "minItems": 1, "maxItems": MOST_LEVELS},
            "how": {"enum": list(HOWS)},
            "nonnegative": {"type": "boolean", "default": False},
        },
    }
    return {
        "paths": {
            "type": "integer",
            "minimum": LEAST_PATHS,
            "maximum": MOST_PATHS,
            "description": "joint sample paths in the answer",
        },
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "aggregate": {"type": "array", "items": total, "minItems": 1, "maxItems": MOST_TOTALS},
        "hierarchy": hierarchy,
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": ["string", "null"]}},
            "description": "columns of categories to add up by, one for each series",
        },
    }


def _joint_answers(numbers: dict[str, Any]) -> dict[str, Any]:
    """What is told of all series together."""
    common = {
        "id": {"type": "string"},
        "mean": numbers,
        "quantiles": {"type": "object", "additionalProperties": numbers},
    }
    stamps = {"type": "array", "items": {"type": ["string", "integer"]}}
    steps = {"type": "array", "items": {"type": "integer"}}
    total = {"type": "object", "properties": {**common, "ds": stamps}}
    node = {"type": "object", "properties": {"level": {"type": "string"}, **common}}
    aggregate = {
        "first_step": steps,
        "last_step": steps,
        "totals": {"type": "array", "items": total},
        "errors": {"type": "array", "items": {"type": "object"}},
    }
    hierarchy = {
        "how": {"enum": list(HOWS)},
        "ds": stamps,
        "nodes": {"type": "array", "items": node},
    }
    return {
        "joint": {
            "type": "object",
            "properties": {
                "paths": {"type": "integer"},
                "seed": {"type": "integer"},
                "dependence": {"enum": ["learned", "usual"]},
            },
        },
        "aggregates": {"type": "array", "items": {"type": "object", "properties": aggregate}},
        "hierarchy": {"type": "object", "properties": hierarchy},
    }


def schemas() -> dict[str, Any]:
    """The shapes of bodies by name, each whole in itself."""
    columns = {"type": "object", "additionalProperties": {"type": "array", "items": VALUE}}
    options = {
        "model": {"type": "string", "description": "left out: the default model"},
        "horizon": {"type": "integer", "minimum": 1, "description": "left out: as trained"},
        "quantiles": {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "minItems": 1,
            "maxItems": MAX_LEVELS,
            "default": list(ASKED),
        },
        "extend": {
            "type": "boolean",
            "default": False,
            "description": "go beyond the trained horizon by recursion",
        },
        "tz": {"type": "string", "description": "zone of the stamps, such as Europe/Madrid"},
        "freq": {"type": "string", "description": "of the model zero alone: h, D, MS, …"},
        "season": {
            "type": "integer",
            "minimum": 1,
            "maximum": LONGEST_SEASON,
            "description": "of the model zero alone: in steps, 1 for none; left out: looked for",
        },
        **_joint_options(),
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
            "paths": {"type": "array", "items": numbers, "description": "each over all steps"},
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
        **question_schemas(series, columns),
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
                "canary": canary_schema(),
                "forecasts": {"type": "array", "items": forecast},
                "extended": {"type": "object"},
                **_joint_answers(numbers),
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


ROUTES = (
    Route("GET", "/openapi.json", show_openapi, guard=DOCS),
    Route("GET", "/docs", show_docs, guard=DOCS),
)
