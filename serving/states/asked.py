"""What is asked of a kept series: rows to append, and a forecast as of a request with all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.encoding import category
from forecasting.data.wall import rows_for
from forecasting.errors import SeriesProblem
from forecasting.prediction.engine import Engine
from forecasting.schema import Covariate
from serving.errors import Fault, Faults, RequestError, show
from serving.reading.flat_form import check_columns
from serving.reading.json_form import MAX_ID, read_json
from serving.reading.query import (
    Options,
    Query,
    Question,
    Spec,
    check_size,
    read_options,
    read_zone,
    refuse_unknown,
)
from serving.reading.stamps import OFFSET
from serving.states.kept import Given, Kept, Rows, Y, at, other_step

APPEND_KEYS: Final = frozenset(
    {"model", "tz", "begin", "start", "y", "past", "future", "static", "forecast"}
)
SHORTEST_MONTH: Final = 28  # days
FORECAST_KEYS: Final = frozenset({"horizon", "quantiles", "extend"})


@dataclass(frozen=True)
class Append:
    """Rows to append, what a caller should know of them, and the forecast asked for with them."""

    given: Given
    notes: list[dict[str, Any]]
    forecast: Options | None


def check_id(series: str) -> None:
    """Refuse a name that no series of a request could bear."""
    if not 0 < len(series) <= MAX_ID:
        faults = Faults()
        faults.add(("id",), "wrong_type", f"must be text of 1 to {MAX_ID} characters")
        faults.stop()


def read_append(body: Mapping[str, Any], series: str, spec: Spec, kept: Kept | None) -> Append:
    """Check a decoded body.

    Raises
    ------
    RequestError : 422 naming each wrong value; 409 for another zone than the series'.
    """
    faults = Faults()
    refuse_unknown(body, APPEND_KEYS, (), faults)
    begin = body.get("begin", False)
    if type(begin) is not bool:
        faults.add(("begin",), "wrong_type", f"must be true or false, not {show(begin)}")
    options = _forecast_options(body.get("forecast"), spec, faults)
    one: dict[str, Any] = {"id": series}
    one |= {key: body[key] for key in ("start", "y", "past", "static") if key in body}
    if body.get("future") is not None:
        one["future"] = _whole_future(body, spec, faults)
    request: dict[str, Any] = {"series": [one]}
    zone = body.get("tz")
    if kept is not None and kept.tz is not None and not OFFSET.fullmatch(kept.tz):
        if type(zone) is str and zone != kept.tz:
            detail = f"the stamps of this series are of {kept.tz}, not of {show(zone)}"
            fault = Fault(("tz",), "other_zone", detail)
            raise RequestError(409, "other_zone", f"tz: {detail}", [fault])
        zone = kept.tz if zone is None else zone
    if zone is not None:
        request["tz"] = zone
    try:
        query = read_json(request, spec, ROWS)
    except RequestError as error:
        _take_over(error, faults)
        raise AssertionError("a refusal names what is wrong") from None
    if not len(query.ids) or (kept is None and not len(body["y"])):
        faults.add(("y",), "empty", "a series begins with at least one row")
    for _, problem in query.problems:
        column = str(problem.where.get("column", "start"))
        faults.add((column,), problem.code, problem.detail)
    faults.stop()
    names = set(kept.static) if kept is not None else set[str]()
    notes = [
        note
        for note in query.notes.get(0, [])
        if note["code"] != "missing_static" or note["where"]["column"] not in names
    ]
    return Append(_given(query, body, spec, bool(begin)), notes, options)


def _take_over(error: RequestError, faults: Faults) -> None:
    """Raise a refusal of the one series of a request as one of its own fields."""
    if error.status != 422 or not error.faults:
        raise error
    for fault in error.faults:
        path = fault.path[2:] if fault.path[:2] == ("series", 0) else fault.path
        faults.add(path, fault.code, fault.detail)
    faults.omitted += error.omitted
    faults.stop()


def _forecast_options(asked: Any, spec: Spec, faults: Faults) -> Options | None:
    if asked is None or asked is False:
        return None
    content = {} if asked is True else asked
    if type(content) is not dict:
        detail = f"must be true, or an object of horizon and quantiles, not {show(asked)}"
        faults.add(("forecast",), "wrong_type", detail)
        return None
    own = Faults()
    refuse_unknown(content, FORECAST_KEYS, (), own)
    options = read_options(content, spec, own)
    for fault in own.found:
        faults.add(("forecast", *fault.path), fault.code, fault.detail)
    if not own:
        check_size(1, options, spec)
    return options


def _rows_options(body: Mapping[str, Any], spec: Spec, faults: Faults) -> Options:
    return Options(horizon=spec.horizon, levels=(), tz=read_zone(body, faults))


ROWS: Final = Question(frozenset({"tz"}), _rows_options)


def _whole_future(body: Mapping[str, Any], spec: Spec, faults: Faults) -> Any:
    """Columns over the rows and a whole horizon, null where nothing is said."""
    future, y = body["future"], body.get("y")
    if type(future) is not dict or type(y) is not list:
        return future
    rows, columns = len(y), {}
    for name, values in future.items():
        if type(values) is not list or name not in {c.name for c in spec.schema.future}:
            columns[name] = values
            continue
        if not rows <= len(values) <= rows + spec.horizon:
            detail = (
                f"holds {len(values)} values for {rows} rows: give one for each of them, and for "
                f"up to {spec.horizon} steps ahead"
            )
            faults.add(("future", name), "length_mismatch", detail)
            values = values[: rows + spec.horizon]
        columns[name] = [*values, *[None] * (rows + spec.horizon - len(values))]
    return columns


def _given(query: Query, body: Mapping[str, Any], spec: Spec, begin: bool) -> Given:
    count = len(query.y)
    rows: dict[str, list[Any]] = {Y: _listed(query.y)}
    for name, values in query.past.items():
        rows[f"past.{name}"] = _listed(values)
    future = {}
    for name in body.get("future") or {}:
        values = _listed(query.future[name])
        while len(values) > count and values[-1] is None:
            values.pop()
        future[name] = values
    static = {name: _listed(values)[0] for name, values in query.static.items()}
    return Given(
        freq=spec.freq.alias,
        tz=query.tz,
        start=int(query.start.astype(np.int64)[0]),
        rows=rows,
        future=future,
        static={name: value for name, value in static.items() if value is not None},
        begin=begin,
    )


def _listed(values: Array) -> list[Any]:
    """Numbers or texts, None where missing."""
    return [None if value != value else value for value in values.tolist()]


def rows_looked_at(engine: Engine) -> int:
    """Rows of a series that a forecast can depend on."""
    rows = max(engine.context, engine.config.season + 1)
    return rows_for(rows, engine.freq) if engine.freq.sub_daily else rows


def enough_for(looked_at: int) -> Callable[[Rows], bool]:
    """Whether rows are as good as all: so many of them, counted from one with a value."""

    def enough(rows: Rows) -> bool:
        y = rows[Y]
        first = next((k for k, value in enumerate(y) if value is not None), len(y))
        return len(y) - first >= looked_at

    return enough


def query_of(series: str, kept: Kept, row: int, rows: Rows, options: Options, spec: Spec) -> Query:
    """The request of all rows, of which those from number ``row`` on are looked at.

    Raises
    ------
    RequestError : 409 where the model takes another step now.
    """
    freq = Frequency.parse(kept.freq)
    if not freq.same_step(spec.freq):
        raise other_step(kept, spec.freq.alias)
    if freq.unit == "month" and _late_in_month(kept, freq):
        # The day that the series means is that of its first stamp: February may cut it later.
        rows = {name: [*[None] * row, *values] for name, values in rows.items()}
        row = 0
    size, good = len(rows[Y]), np.ones(1, bool)
    query = Query(
        options=options,
        ids=[series],
        position=np.zeros(1, np.int64),
        y=np.array(rows[Y], np.float64),
        sizes=np.array([size]),
        start=at(kept.begun, row, freq),
        tz=kept.tz,
        past={},
        future={},
        static={c.name: _column(c, [kept.static.get(c.name)]) for c in spec.schema.static},
    )
    past, future = {}, {}
    for covariate in spec.schema.past:
        name = covariate.name
        if f"past.{name}" not in rows:
            detail = f"past covariate {name!r} was never appended"
            problem = SeriesProblem(series, "missing_past_covariate", detail, {"column": name})
            query.problems.append((0, problem))
            good[0] = False
        past[name] = _column(covariate, rows.get(f"past.{name}", [None] * size))
    for covariate in spec.schema.future:
        name, steps = covariate.name, options.horizon
        plan = kept.ahead.get(name, [])[:steps]
        ahead = [*plan, *[None] * (steps - len(plan))]
        before = rows.get(f"future.{name}", [None] * size)
        future[name] = _column(covariate, [*before, *ahead])
    query.past, query.future = past, future
    return check_columns(query, spec, good)


def _late_in_month(kept: Kept, freq: Frequency) -> bool:
    stamp = at(kept.begun, 0, freq)
    first = stamp.astype("datetime64[M]").astype("datetime64[us]")
    return not freq.end and bool(stamp[0] - first[0] >= np.timedelta64(SHORTEST_MONTH, "D"))


def _column(covariate: Covariate, values: list[Any]) -> Array:
    """As a request has it; what is of another kind than the model's is missing."""
    if covariate.type == "categorical":
        out = np.empty(len(values), dtype=object)
        out[:] = [None if v is None else category(v) for v in values]
        return out
    return np.array([v if type(v) is float else None for v in values], np.float64)
