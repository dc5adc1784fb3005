"""MLflow's scoring protocol: its JSON layouts in, its predictions out.

A table of the usual kind goes straight to the engine; any other through a data frame.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from forecasting.errors import DataError, heard
from serving.errors import RequestError, show
from serving.models.canary import Canaries, Split
from serving.models.keeper import Loaded
from serving.reading import body
from serving.reading.body import JSON
from serving.reading.columns import CATEGORIES
from serving.reading.frame import forecast_frame, read_parameters
from serving.reading.json_form import body_object
from serving.reading.query import Options, check_size, read_model_name
from serving.reading.rows import read_plain
from serving.reading.stamps import MAX_STEP
from serving.routes.route import Call, Reply, Route, Service
from serving.security import FORECAST
from serving.writing.answer import Canary
from serving.writing.rows import write_plain

if TYPE_CHECKING:
    import pandas as pd

LAYOUTS: Final = ("dataframe_split", "dataframe_records", "inputs", "instances")
MAX_ROWS: Final = 5_000_000  # of a table, with the steps between its rows
BYTES_OF_SERIES: Final = 1_000  # of a body, for an estimate
NUMERIC: Final = frozenset({int, float, type(None)})


async def invocations(call: Call) -> Reply:
    """Forecasts of the default model, or of the one in ``params``."""
    body.media_type(call.headers, (JSON,))
    sent = await call.body()
    service = call.service

    def parse() -> tuple[dict[str, Any], Loaded]:
        content = body_object(body.decode_json(call.unpacked(sent), service.settings.max_content))
        params = content.get("params")
        name = read_model_name(params) if isinstance(params, dict) else None
        return content, service.loaded(name)

    content, loaded = await call.parse(parse, len(sent))

    def work(stop: threading.Event) -> Reply:
        answer, canary, count = invoke(content, loaded.until(stop), service.canaries, stop)
        return call.packed(answer, JSON).of(canary, count)

    return await call.compute(work, _seconds(content, loaded, len(sent)))


def _seconds(content: Mapping[str, Any], loaded: Loaded, size: int) -> float:
    """What it may take, with as many series as a body of ``size`` bytes may well hold."""
    params = content.get("params")
    horizon = params.get("horizon") if isinstance(params, dict) else None
    steps = horizon if type(horizon) is int and horizon > 0 else loaded.spec.horizon
    return loaded.seconds_of(1 + size // BYTES_OF_SERIES, min(steps, loaded.spec.limits.horizon))


def invoke(
    content: Mapping[str, Any], loaded: Loaded, canaries: Canaries, stop: threading.Event
) -> tuple[bytes, Canary | None, int]:
    """The answer to a decoded body, which version answered which series, and of how many."""
    unknown = content.keys() - {*LAYOUTS, "params"}
    layouts = [name for name in LAYOUTS if name in content]
    if unknown or len(layouts) != 1:
        raise RequestError(
            422,
            "invalid_request",
            f"the body must hold one of {', '.join(LAYOUTS)}, and params if need be; "
            f"it holds: {', '.join(sorted(map(str, content))) or 'nothing'}",
        )
    params = content.get("params")
    if params is not None and type(params) is not dict:
        raise RequestError(422, "invalid_request", f"params must be an object, not {show(params)}")
    with heard() as notes:
        question = _Asked(layouts[0], params or {})
        try:
            columns = _columns(content[layouts[0]], layouts[0])
            predictions = _predictions(columns, question, loaded)
        except DataError as error:
            raise RequestError(422, "invalid_request", str(error)) from None
        ids = [*dict.fromkeys(str(row["unique_id"]) for row in predictions)]
        # Left out, it is each model's own.
        horizon = _options(question.params, loaded).horizon
        split = canaries.side(loaded, ids, horizon)
        canary = None
        if split is not None:
            question = replace(question, params={**question.params, "horizon": horizon})
            canary = _answer_by_two(columns, question, predictions, split, stop)
            canaries.count(split, canary)
    # An answer with the version keeps MLflow's clients working: they read `predictions` only.
    answer: dict[str, Any] = {"predictions": predictions, "model": loaded.origin.public()}
    if canary is not None:
        whole = len(canary.ids) == len(ids)
        answer |= {"canary": canary.public()} | ({"model": canary.origin.public()} if whole else {})
    if notes:
        answer["notes"] = list(dict.fromkeys(notes))
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), canary, len(ids)


@dataclass(frozen=True)
class _Asked:
    """The layout's name, and what is asked of the table."""

    name: str
    params: Mapping[str, Any]


def _answer_by_two(
    columns: Mapping[str, list[Any]],
    asked: _Asked,
    rows: list[dict[str, Any]],
    split: Split,
    stop: threading.Event,
) -> Canary:
    """Put the challenger's rows in the places of the champion's, for the series on its side."""
    ids = {split.ids[place] for place in split.places}
    keep = [str(name) in ids for name in columns["unique_id"]]
    part = {name: [*compress(values, keep)] for name, values in columns.items()}

    def forecast(rival: Loaded) -> list[dict[str, Any]]:
        return _predictions(part, asked, rival.until(stop))

    challenger_rows = {(row["unique_id"], row["ds"]): row for row in split.tried(forecast) or ()}
    lacking = {
        str(row["unique_id"])
        for row in rows
        if str(row["unique_id"]) in ids
        and not _sound(challenger_rows.get((row["unique_id"], row["ds"])))
    }
    better = ids - lacking
    for k, row in enumerate(rows):
        if str(row["unique_id"]) in better:
            rows[k] = challenger_rows[row["unique_id"], row["ds"]]
    return split.told([place for place in split.places if split.ids[place] not in lacking])


def _sound(row: Mapping[str, Any] | None) -> bool:
    return row is not None and all(
        isfinite(value) for name, value in row.items() if name not in ("unique_id", "ds")
    )


def _columns(layout: Any, name: str) -> dict[str, list[Any]]:
    return _split(layout) if name == "dataframe_split" else _records_or_columns(layout, name)


def _predictions(
    columns: dict[str, list[Any]], asked: _Asked, loaded: Loaded
) -> list[dict[str, Any]]:
    name, params = asked.name, asked.params
    options = _options(params, loaded)
    query = read_plain(columns, options, loaded.spec)
    if query is not None:
        check_size(len(query.ids), options, loaded.spec)
        panel = query.panel(loaded.spec)
        loaded.predictor.say_odd(panel, query.ids)
        forecast = loaded.predictor.predict_panel(
            panel,
            horizon=options.horizon,
            quantiles=options.levels,
            extend=options.extend,
        )
        rows = write_plain(query, forecast)
        if rows is not None:
            return rows
    frame = _frame(columns, name, loaded)
    count = frame["unique_id"].nunique() if "unique_id" in frame.columns else 0
    check_size(count, options, loaded.spec)
    result = forecast_frame(loaded.predictor, frame, params)
    stamps = result.pop("ds")
    integer = loaded.spec.freq.integer
    result["ds"] = stamps if integer else [stamp.isoformat() for stamp in stamps]
    ordered = ["unique_id", "ds", *(c for c in result.columns if c not in ("unique_id", "ds"))]
    return [dict(zip(ordered, row, strict=True)) for row in result[ordered].to_numpy(object)]


def _options(params: Mapping[str, Any], loaded: Loaded) -> Options:
    """What is asked, within the limits of `/v1/forecast`."""
    horizon, levels, extend = read_parameters(params)
    most = max(loaded.spec.limits.horizon, loaded.spec.horizon)
    if horizon is not None and horizon > most:
        raise DataError(f"horizon = {horizon} is beyond {most}, this service's limit")
    return Options(loaded.spec.horizon if horizon is None else horizon, levels, extend)


def _frame(columns: dict[str, list[Any]], name: str, loaded: Loaded) -> pd.DataFrame:
    import pandas as pd

    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise DataError(f"{name}: the columns have different lengths")
    real = {"y"} | {c.name for c in loaded.spec.schema.covariates if c.type == "real"}
    frame: dict[str, Any] = {}
    for column, values in columns.items():
        frame[column] = _numbers(values, column) if column in real else values
    if "ds" in frame and not loaded.spec.freq.integer:
        frame["ds"] = _stamps(frame["ds"])
    if "unique_id" in frame:
        for row, value in enumerate(frame["unique_id"]):
            if type(value) is not str and type(value) is not int:
                raise DataError(f"unique_id, row {row}: must be text, not {show(value)}")
    _check_values(frame, loaded)
    table = pd.DataFrame(frame)
    if {"unique_id", "ds"} <= frame.keys():
        _check_span(table, loaded)
    return table


def _check_values(frame: Mapping[str, Any], loaded: Loaded) -> None:
    """What a data frame would take, and fail on later."""
    if loaded.spec.freq.integer:
        for row, value in enumerate(frame.get("ds", ())):
            if type(value) is not int or abs(value) > MAX_STEP:
                raise DataError(f"ds, row {row}: must be a step within ±2^53, not {show(value)}")
    for covariate in loaded.spec.schema.covariates:
        if covariate.type == "categorical":
            for row, value in enumerate(frame.get(covariate.name, ())):
                if type(value) not in CATEGORIES:
                    raise DataError(
                        f"{covariate.name}, row {row}: must be a category, not {show(value)}"
                    )


def _check_span(table: pd.DataFrame, loaded: Loaded) -> None:
    """A series is a row for each step from its first stamp to its last, given or not."""
    freq = loaded.spec.freq
    ends = table.groupby("unique_id")["ds"].agg(["min", "max"]).dropna()
    first, last = (ends[name].to_numpy() for name in ("min", "max"))
    if not freq.integer:
        first, last = (_plain(ends[name]) for name in ("min", "max"))
    steps = np.array(
        [int(freq.steps_between(a, b.reshape(1))[0]) for a, b in zip(first, last, strict=True)]
    )
    if steps.astype(np.float64).sum() > MAX_ROWS:
        name = ends.index[int(steps.argmax())]
        raise DataError(
            f"unique_id {show(name)}: its stamps lie {steps.max()} steps apart; at most {MAX_ROWS} "
            "rows, given or between them, in one request"
        )


def _plain(stamps: pd.Series) -> Any:
    if stamps.dt.tz is not None:
        stamps = stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    return stamps.to_numpy().astype("datetime64[us]")


def _stamps(values: list[Any]) -> Any:
    import pandas as pd

    for row, value in enumerate(values):
        # pandas takes words for stamps, such as "today".
        if type(value) is not str or value[:1].isalpha():
            raise DataError(f"ds, row {row}: must be an ISO 8601 stamp, not {show(value)}")
    try:
        return pd.to_datetime(pd.Series(values), format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"ds: {str(error).splitlines()[0][:200]}") from None


def _numbers(values: list[Any], column: str) -> Any:
    if not NUMERIC.issuperset(map(type, values)):
        for row, value in enumerate(values):
            if type(value) not in NUMERIC:
                raise DataError(f"{column}, row {row}: must be a number, not {show(value)}")
    return np.array(values, dtype=np.float64)


def _split(layout: Any) -> dict[str, list[Any]]:
    if type(layout) is not dict or not layout.keys() <= {"columns", "data", "index"}:
        raise DataError("dataframe_split must be an object with columns and data")
    names, rows = layout.get("columns"), layout.get("data")
    if type(names) is not list or type(rows) is not list:
        raise DataError("dataframe_split must have columns and data, both arrays")
    if any(type(name) is not str for name in names) or len(set(names)) != len(names):
        raise DataError("dataframe_split.columns must be names, each once")
    for i, row in enumerate(rows):
        if type(row) is not list or len(row) != len(names):
            raise DataError(f"dataframe_split.data[{i}] must have {len(names)} values")
    return {name: [row[j] for row in rows] for j, name in enumerate(names)}


def _records_or_columns(layout: Any, name: str) -> dict[str, list[Any]]:
    if type(layout) is dict and name != "dataframe_records":
        for column, values in layout.items():
            if type(values) is not list:
                raise DataError(f"{name}.{column[:80]} must be an array, not {show(values)}")
        return layout
    if type(layout) is not list:
        raise DataError(f"{name} must be an array of rows")
    names: dict[str, None] = {}
    for i, row in enumerate(layout):
        if type(row) is not dict:
            raise DataError(f"{name}[{i}] must be an object, not {show(row)}")
        if not row.keys() <= names.keys():
            names.update(dict.fromkeys(row))
            if len(names) > 10_000:
                raise DataError(f"{name} has over 10000 different columns")
    return {column: [row.get(column) for row in layout] for column in names}


def _document(service: Service) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "predictions", "content": {JSON: {"schema": {"type": "object"}}}}
        },
    }


ROUTES = (
    Route(
        "POST",
        "/invocations",
        invocations,
        summary="MLflow's scoring protocol",
        document=_document,
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
