"""Schemas of the OpenAPI document for what is asked of histories: why, what if, is this odd."""

from __future__ import annotations

from typing import Any

from forecasting.paths.sampling import LEAST_PATHS, MOST_PATHS, PATHS
from forecasting.paths.scenarios import BASE, MOST_SCENARIOS
from forecasting.prediction.anomalies.found import KINDS
from forecasting.prediction.anomalies.watch import MOST
from forecasting.prediction.answers import RATE
from forecasting.prediction.why.explain import MOST_POINTS, POINTS

NUMBER_OR_NULL = {"type": ["number", "null"]}
TEXT = {"type": "string"}
STAMPS = {"type": "array", "items": {"type": ["string", "integer"]}}
OBJECTS = {"type": "array", "items": {"type": "object"}}


def canary_schema() -> dict[str, Any]:
    """What an answer says where series of it are on the challenger's side."""
    ids = {"type": "array", "items": {"type": "string"}}
    because = {"enum": ["failed", "other_question", "together"]}
    return {
        "type": "object",
        "description": "only where the service has a canary, and series are on its side",
        "properties": {
            "alias": {"type": "string"},
            "version": {"type": "integer"},
            "run_id": {"type": ["string", "null"]},
            "share": {"type": "number"},
            "ids": {**ids, "description": "answered by this version"},
            "fell_back": {
                "type": "object",
                "description": "on its side, and answered by the model's",
                "properties": {"because": because, "ids": ids},
            },
        },
    }


def question_schemas(series: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """What `serving.routes.asked.explain` and `serving.routes.asked.anomalies` take and answer.

    ``series`` : the schema of a series to forecast. ``columns`` : of its columns of covariates.
    """
    numbers = {"type": "array", "items": {"type": "number"}}
    gaps = {"type": "array", "items": NUMBER_OR_NULL}
    history = {**columns, "description": "values of the history"}
    rate = {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": MOST,
        "default": RATE,
        "description": "of false alarms, a share of the points",
    }
    last = {
        "type": "integer",
        "minimum": 1,
        "description": "points judged at the end of each series; left out: all",
    }
    points = {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_POINTS,
        "default": POINTS,
        "description": "of the path that gradients are taken along",
    }
    parts = {
        "type": "object",
        "additionalProperties": numbers,
        "description": "by name; they add up to the median",
    }
    return {
        "WatchRequest": _asked(
            {"rate": rate, "last": last},
            {**series, "properties": {**series["properties"], "future": history}},
        ),
        "WatchAnswer": _answered(
            "series",
            {
                **dict.fromkeys(("expected", "low", "high", "p"), gaps),
                "anomaly": {"type": "array", "items": {"type": "boolean"}},
                "kind": {"type": "array", "items": {"enum": [*(k for k in KINDS if k), None]}},
            },
            rate={"type": "number"},
        ),
        "WhyRequest": _asked(
            {
                "horizon": {"type": "integer", "minimum": 1, "description": "left out: as trained"},
                "points": points,
            },
            series,
        ),
        "WhyAnswer": _answered(
            "explanations", {"median": numbers, "parts": parts, "notes": OBJECTS}
        ),
        **_plan_schemas(series, numbers),
        **_series_schemas(series),
    }


def _plan_schemas(series: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """What `serving.routes.asked.scenarios` takes and answers."""
    columns = {
        "type": "object",
        "description": "by known-future covariate a value for every step, or a list with one each",
    }
    plan = {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": TEXT,
            "future": {**columns, "description": f"of all series: {columns['description']}"},
            "series": {"type": "object", "additionalProperties": columns},
        },
    }
    by_level = {"type": "object", "additionalProperties": numbers}
    of_level = {"type": "object", "additionalProperties": {"type": "number"}}
    total = {"mean": {"type": "number"}, "quantiles": of_level}
    difference = {
        "mean": numbers,
        "median": numbers,
        "quantiles": by_level,
        "total": {"type": "object", "properties": total},
    }
    forecast = {
        "id": TEXT,
        "ds": STAMPS,
        "mean": numbers,
        "quantiles": by_level,
        "difference": {"type": "object", "properties": difference},
        "notes": OBJECTS,
    }
    one = {
        "name": TEXT,
        "forecasts": {"type": "array", "items": {"type": "object", "properties": forecast}},
        "notes": OBJECTS,
    }
    properties = {
        "scenarios": {
            "type": "array", "minItems": 1, "maxItems": MOST_SCENARIOS, "items": plan
        },
        "base": {**TEXT, "description": f"a scenario; left out: the series' own ({BASE})"},
        "horizon": {"type": "integer", "minimum": 1, "description": "left out: as trained"},
        "quantiles": numbers,
        "paths": {
            "type": "integer", "minimum": LEAST_PATHS, "maximum": MOST_PATHS, "default": PATHS
        },
        "seed": {"type": "integer", "minimum": 0, "default": 0},
    }  # fmt: skip
    common = {
        "canary": canary_schema(),
        "model": {"type": "object"},
        "base": TEXT,
        "joint": {"type": "object"},
    }
    scenarios = {"type": "array", "items": {"type": "object", "properties": one}}
    request = _asked(properties, series)
    return {
        "PlanRequest": {**request, "required": ["series", "scenarios"]},
        "PlanAnswer": {
            "type": "object",
            "properties": {**common, "scenarios": scenarios, "errors": OBJECTS},
        },
    }


def _series_schemas(series: dict[str, Any]) -> dict[str, Any]:
    """What `serving.routes.series` takes and answers."""
    own = {name: schema for name, schema in series["properties"].items() if name != "id"}
    whole, stamp = {"type": "integer"}, {"type": ["string", "integer"]}
    about = {
        "id": TEXT,
        "rows": {**whole, "description": "kept"},
        **dict.fromkeys(("first", "last", "next"), stamp),
        "freq": TEXT,
        "tz": {"type": ["string", "null"]},
    }
    counts = {
        "appended": {**whole, "description": "rows that were new"},
        "known": {**whole, "description": "rows that stood there already"},
        "passed": {**whole, "description": "rows before what is kept"},
        "notes": OBJECTS,
    }
    options = {
        "horizon": {"type": "integer", "minimum": 1},
        "quantiles": {"type": "array", "items": {"type": "number"}},
        "extend": {"type": "boolean"},
    }
    properties = {
        "model": TEXT,
        "tz": TEXT,
        "begin": {"type": "boolean", "description": "the series may begin with these rows"},
        **own,
        "forecast": {
            "description": "forecast then: true, or how",
            "oneOf": [{"type": "boolean"}, {"type": "object", "properties": options}],
        },
    }
    model = {"model": {"type": "object"}}
    answer = {"series": {"type": "object", "properties": about}, **model}
    appended = {
        "series": {"type": "object", "properties": {**about, **counts}},
        **model,
        "canary": canary_schema(),
        "forecasts": OBJECTS,
        "errors": OBJECTS,
    }
    return {
        "AppendRequest": {
            "type": "object",
            "required": ["start", "y"],
            "additionalProperties": False,
            "properties": properties,
        },
        "AppendAnswer": {"type": "object", "properties": appended},
        "SeriesAnswer": {"type": "object", "properties": answer},
        "DeletedAnswer": {"type": "object", "properties": {"deleted": TEXT, **model}},
    }


def _asked(options: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """A request: options of its own beside those of every question, and series."""
    properties = {
        "model": {**TEXT, "description": "left out: the default model"},
        **options,
        "tz": {**TEXT, "description": "zone of the stamps, such as Europe/Madrid"},
        "series": {"type": "array", "minItems": 1, "items": series},
    }
    return {
        "type": "object",
        "required": ["series"],
        "additionalProperties": False,
        "properties": properties,
    }


def _answered(name: str, one: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer: under ``name`` an object for each series, and what went wrong with the others."""
    each = {"type": "object", "properties": {"id": TEXT, "ds": STAMPS, **one}}
    about = {"canary": canary_schema(), "model": {"type": "object"}}
    properties = {**about, **more, name: {"type": "array", "items": each}}
    return {"type": "object", "properties": {**properties, "errors": OBJECTS}}
