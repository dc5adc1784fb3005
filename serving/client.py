"""A Python client: long tables in, long tables out.

client = Client("http://127.0.0.1:3000")
forecast = client.forecast(df, quantiles=[0.1, 0.9])   # unique_id, ds, mean, q0.1, q0.9
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd

from forecasting.data.calendar import Frequency
from forecasting.data.encoding import category, decode
from forecasting.data.panel import Panel
from forecasting.errors import DataError, GatecastError, lacking
from forecasting.paths.planned import ahead_in
from forecasting.quantiles import ASKED

try:
    import httpx
    import orjson
except ModuleNotFoundError as absent:
    raise lacking("the client of the service", absent) from None

from forecasting.schema import Covariate, Schema
from serving.reading.body import ARROW, JSON
from serving.reading.stamps import OFFSET, write_stamps

if TYPE_CHECKING:
    from types import TracebackType

RETRIED = frozenset({429, 502, 503, 504})
LONGEST_WAIT = 30.0


class ServiceError(GatecastError):
    """The service refused a request, or could not be reached.

    Attributes
    ----------
    status : HTTP status, or None when there was no answer. code : machine-readable name.
    errors : the wrong values, as the service lists them. request_id : to find it in the log.
    """

    def __init__(self, message: str, status: int | None, problem: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.code: str | None = problem.get("code")
        self.errors: list[dict[str, Any]] = problem.get("errors", [])
        self.request_id: str | None = problem.get("request_id")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of the series that could be forecast.

    Attributes
    ----------
    frame : ``unique_id, ds, mean, q<level>…``. model : name, version and run id.
    errors : the other series: ``id, code, detail, where``.
    notes : what to know of single series, such as a category that training never saw.
    together : what was asked of all series together: ``joint``, ``aggregates``, ``hierarchy``.
    paths : ``unique_id, ds, path, y``, where paths were asked for.
    """

    frame: pd.DataFrame
    model: dict[str, Any]
    errors: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    together: dict[str, Any] = field(default_factory=dict)
    paths: pd.DataFrame | None = None


@dataclass(frozen=True)
class Scenarios:
    """Forecasts in scenarios, of the series that could be forecast.

    Attributes
    ----------
    table : ``scenario, unique_id, ds, mean, q<level>…``. differences : the same less those of the
        base, and ``median``. totals : differences over all steps, without ``ds``.
    base : the scenario that others are compared with. errors, model : as `Forecasts` has them.
    notes : what to know of a series, or of a ``scenario``.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    totals: pd.DataFrame
    base: str
    model: dict[str, Any]
    errors: list[dict[str, Any]]
    notes: list[dict[str, Any]]


class Client:
    """Talks to one service; safe to share between threads.

    Parameters
    ----------
    retries : how often a request is sent again after 429, 502, 503, 504 or a broken connection;
        ``Retry-After`` is honoured. timeout : seconds for one attempt.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:3000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(
            base_url=address, timeout=timeout, headers=headers, transport=transport
        )
        self.retries = retries
        self._described: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """The models served."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/models")["models"]
        return found

    def model(self, name: str) -> dict[str, Any]:
        """What a model expects, its scores and its lineage."""
        return self._json("GET", f"/v1/models/{name}")

    def refresh(self, name: str) -> dict[str, Any]:
        """Make the service follow the alias now; needs the key."""
        return self._json("POST", f"/v1/models/{name}/refresh")

    def forecast(
        self,
        df: pd.DataFrame,
        *,
        future: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
        model: str | None = None,
    ) -> pd.DataFrame:
        """Forecast a long table, as `Forecaster.predict` does; a refused series is an error."""
        found = self.forecasts(
            df,
            future=future,
            static=static,
            horizon=horizon,
            quantiles=quantiles,
            extend=extend,
            model=model,
        )
        if found.errors:
            first = found.errors[0]
            raise DataError(
                f"{len(found.errors)} series cannot be forecast; first: series "
                f"{first['id']!r}: {first['detail']}"
            )
        return found.frame

    def forecasts(
        self,
        df: pd.DataFrame,
        *,
        future: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
        model: str | None = None,
        together: Mapping[str, Any] | None = None,
    ) -> Forecasts:
        """Forecast what can be forecast; the other series are in ``errors``.

        ``together`` : what is asked of all series, such as ``{"paths": 200, "seed": 1}``; see
        docs/paths.md. ``labels`` in it are in the order in which series come first in ``df``.
        """
        about = self._about(model)
        steps = horizon if horizon is not None else int(about["horizon"])
        panel = Panel.from_frame(
            df,
            freq=about["freq"],
            static=static,
            schema=_schema(about, (df, future, static)),
            future_frame=future,
        )
        options = {
            "model": about["name"],
            "horizon": steps,
            "quantiles": [float(q) for q in quantiles],
            "extend": extend,
            **(together or {}),
        }
        body = _write(panel, options, steps)
        answer = self._send("POST", "/v1/forecast", body, {"content-type": ARROW, "accept": ARROW})
        return _read(answer.content)

    def scenarios(
        self,
        df: pd.DataFrame,
        scenarios: Mapping[str, Any],
        *,
        base: str | None = None,
        future: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        model: str | None = None,
    ) -> Scenarios:
        """What if: as `Forecaster.scenarios`, for the series that can be forecast."""
        about = self._about(model)
        steps = horizon if horizon is not None else int(about["horizon"])
        tables = [told for told in scenarios.values() if isinstance(told, pd.DataFrame)]
        schema = _schema(about, (df, future, static, *tables))
        panel = Panel.from_frame(
            df, freq=about["freq"], static=static, schema=schema, future_frame=future
        )
        plans = [_plan(panel, steps, name, told) for name, told in scenarios.items()]
        body = {
            "model": about["name"],
            "horizon": steps,
            "quantiles": [float(q) for q in quantiles],
            "scenarios": plans,
            **({} if base is None else {"base": base}),
            **_flat(panel, steps),
        }
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._send("POST", "/v1/scenarios", content, {"content-type": JSON})
        return _scenarios(orjson.loads(answer.content), panel.tz)

    def append(
        self,
        series: str,
        rows: pd.DataFrame,
        *,
        begin: bool = False,
        future: pd.DataFrame | None = None,
        static: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Append rows to a series that the service keeps, or ``begin`` one.

        Parameters
        ----------
        rows : ``ds, y`` and the model's past and known-future covariates; rows left out between
            are missing values. future : ``ds`` and known-future covariates of the steps after.
        static : by name; the first time is enough.

        Returns
        -------
        What is kept now: ``rows``, ``first``, ``last``, ``next`` and how many were ``appended``.

        Raises
        ------
        ServiceError : with the code ``unknown_series``, ``gap``, ``contradiction`` and the like.
        """
        about = self._about(model)
        body = {"model": about["name"], "begin": begin, **_appended(about, rows, future)}
        if static:
            body["static"] = {name: _given(value) for name, value in static.items()}
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        path = f"/v1/series/{quote(series, safe='')}/append"
        answer = self._send("POST", path, content, {"content-type": JSON})
        told: dict[str, Any] = orjson.loads(answer.content)["series"]
        return told

    def forecast_of(
        self,
        series: str,
        *,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        model: str | None = None,
    ) -> pd.DataFrame:
        """Forecast a series that the service keeps: ``unique_id, ds, mean, q<level>…``."""
        name = self._about(model)["name"]
        asked = {"model": name, "quantiles": ",".join(str(float(q)) for q in quantiles)}
        if horizon is not None:
            asked["horizon"] = str(horizon)
        path = f"/v1/series/{quote(series, safe='')}/forecast?{urlencode(asked)}"
        answer = self._json("GET", path)
        if answer["errors"]:
            raise DataError(f"series {series!r}: {answer['errors'][0]['detail']}")
        (one,) = answer["forecasts"]
        frame = {"unique_id": series, "ds": one["ds"], "mean": one["mean"], **_by_level(one)}
        about = self._json(
            "GET", f"/v1/series/{quote(series, safe='')}?{urlencode({'model': name})}"
        )
        return _stamped([pd.DataFrame(frame)], about["series"]["tz"])

    def forget(self, series: str, *, model: str | None = None) -> None:
        """Delete a series that the service keeps."""
        name = self._about(model)["name"]
        self._json("DELETE", f"/v1/series/{quote(series, safe='')}?{urlencode({'model': name})}")

    def _about(self, model: str | None) -> dict[str, Any]:
        if model is None:
            model = next(m["name"] for m in self.models() if m["default"])
        if model not in self._described:
            # Horizon and covariates belong to a name; a swap keeps them.
            described = self.model(model)
            if not described["ready"]:
                raise ServiceError(f"model {model!r} is not ready", 503, {"code": "not_ready"})
            self._described[model] = described
        return self._described[model]

    def _json(self, method: str, path: str) -> dict[str, Any]:
        content: dict[str, Any] = orjson.loads(self._send(method, path).content)
        return content

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                answer = self._http.request(method, path, content=content, headers=headers)
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.ReadTimeout):
                    message = f"no answer from {self._http.base_url}: {error}"
                    raise ServiceError(message, None, {}) from error
                time.sleep(_pause(attempt, None))
                continue
            if answer.status_code < 300:
                return answer
            if last or answer.status_code not in RETRIED:
                raise _refused(answer)
            time.sleep(_pause(attempt, answer.headers.get("retry-after")))
        raise AssertionError("the last attempt returns or raises")


def _pause(attempt: int, asked: str | None) -> float:
    """Seconds to wait: what the service asked for, else longer each time, never in step."""
    if asked is not None and asked.isdigit():
        return min(float(asked), LONGEST_WAIT)
    return float(min(0.1 * 2**attempt, LONGEST_WAIT)) * random.uniform(0.5, 1.0)


def _refused(answer: httpx.Response) -> ServiceError:
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    detail = problem.get("detail") or answer.text[:200] or "no reason given"
    return ServiceError(f"{answer.status_code}: {detail}", answer.status_code, problem)


def _schema(about: dict[str, Any], tables: Sequence[pd.DataFrame | None]) -> Schema:
    """The model's covariates; the categories are those of the tables, the service knows its own."""
    covariates = []
    for about_one in about["covariates"]:
        name, found = about_one["name"], set()
        if about_one["type"] == "categorical":
            for table in tables:
                if table is not None and name in table.columns:
                    found |= {str(value) for value in table[name].dropna().unique()}
        covariates.append(
            Covariate(
                name=name,
                role=about_one["role"],
                type=about_one["type"],
                categories=tuple(sorted(found)),
            )
        )
    return Schema(covariates=tuple(covariates))


def _flat(panel: Panel, steps: int) -> dict[str, Any]:
    """The series of a panel in the flat form of JSON."""
    start = write_stamps(panel.start[:, None], panel.freq, panel.tz)
    body: dict[str, Any] = {
        "ids": panel.ids.tolist(),
        "sizes": panel.lengths,
        "start": [_stamp(one[0]) for one in start],
        "y": panel.y,
    }
    if panel.tz is not None and not OFFSET.fullmatch(panel.tz):
        body["tz"] = panel.tz
    schema = panel.schema
    columns: dict[str, dict[str, Any]] = {"past": {}, "future": {}, "static": {}}
    for j, covariate in enumerate(schema.past):
        columns["past"][covariate.name] = _listed(panel.past[:, j], covariate)
    for j, covariate in enumerate(schema.future):
        columns["future"][covariate.name] = _listed(_with_ahead(panel, steps, j)[0], covariate)
    for j, covariate in enumerate(schema.static):
        columns["static"][covariate.name] = _listed(panel.static[:, j], covariate)
    return {**body, **{role: told for role, told in columns.items() if told}}


def _appended(
    about: dict[str, Any], rows: pd.DataFrame, future: pd.DataFrame | None
) -> dict[str, Any]:
    """Rows of one series, and what is known of the steps after, as an append has them."""
    schema = _schema(about, (rows, future))
    known = {c.name for c in schema.future if c.name in rows.columns}
    if future is not None:
        known |= {c.name for c in schema.future if c.name in future.columns}
    # All columns as if they were of the past: none of these rows is a horizon by itself.
    columns = [c for c in schema.past if c.name in rows.columns]
    columns += [c.replace(role="past") for c in schema.future if c.name in known]
    given = rows.assign(unique_id="series")
    parts = [given] if future is None else [given, future.assign(unique_id="series", y=np.nan)]
    whole = pd.concat(parts, ignore_index=True)
    freq, form = about["freq"], Schema(covariates=tuple(columns))
    panel = Panel.from_frame(whole, freq=freq, schema=form)
    count = int(Panel.from_frame(given[["unique_id", "ds", "y"]], freq=freq).lengths[0])
    body: dict[str, Any] = {
        "start": _stamp(write_stamps(panel.start[:, None], panel.freq, panel.tz)[0][0]),
        "y": panel.y[:count],
    }
    if panel.tz is not None and not OFFSET.fullmatch(panel.tz):
        body["tz"] = panel.tz
    for j, covariate in enumerate(columns):
        values = _listed(panel.past[:, j], covariate)
        role = "future" if covariate.name in known else "past"
        body.setdefault(role, {})[covariate.name] = values if role == "future" else values[:count]
    return body


def _given(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _stamp(stamp: Any) -> Any:
    return stamp.item() if isinstance(stamp, np.integer) else str(stamp)


def _listed(values: Any, covariate: Covariate) -> Any:
    told = decode(values, covariate)
    return told.tolist() if told.dtype == object else np.ascontiguousarray(told)


def _plan(panel: Panel, steps: int, name: str, told: Any) -> dict[str, Any]:
    """A scenario as a request has it."""
    if isinstance(told, Mapping):
        return {"name": name, "future": dict(told)}
    block = ahead_in(panel, steps, name, told)
    where = {str(series): i for i, series in enumerate(panel.ids)}
    named = [category(series) for series in told["unique_id"].unique()]
    columns = [(j, c) for j, c in enumerate(panel.schema.future) if c.name in told.columns]
    own = {
        series: {c.name: _listed(block[where[series], :, j], c) for j, c in columns}
        for series in named
    }
    return {"name": name, "series": own}


def _scenarios(answer: dict[str, Any], zone: str | None) -> Scenarios:
    tables, differences, totals, notes = [], [], [], list[dict[str, Any]]()
    for scenario in answer["scenarios"]:
        name = scenario["name"]
        notes += [{"scenario": name, **note} for note in scenario.get("notes", [])]
        for one in scenario["forecasts"]:
            key = {"scenario": name, "unique_id": one["id"]}
            notes += [{"id": one["id"], **note} for note in one.get("notes", [])]
            stamps = {**key, "ds": one["ds"]}
            tables.append(pd.DataFrame({**stamps, "mean": one["mean"], **_by_level(one)}))
            moved = one.get("difference")
            if moved is not None:
                told = {"mean": moved["mean"], "median": moved["median"], **_by_level(moved)}
                differences.append(pd.DataFrame({**stamps, **told}))
                total = moved["total"]
                totals.append({**key, "mean": total["mean"], **_by_level(total)})
    return Scenarios(
        table=_stamped(tables, zone),
        differences=_stamped(differences, zone),
        totals=pd.DataFrame(totals),
        base=answer["base"],
        model=answer["model"],
        errors=answer["errors"],
        notes=notes,
    )


def _by_level(told: dict[str, Any]) -> dict[str, Any]:
    return {f"q{level}": values for level, values in told["quantiles"].items()}


def _stamped(frames: list[pd.DataFrame], zone: str | None) -> pd.DataFrame:
    """One table, its stamps read from text."""
    if not frames:
        return pd.DataFrame()
    whole = pd.concat(frames, ignore_index=True)
    if whole["ds"].dtype.kind not in "iu":
        read = pd.to_datetime(whole["ds"], utc=zone is not None, format="ISO8601")
        whole["ds"] = read if zone is None else read.dt.tz_convert(zone)
    return whole


def _write(panel: Panel, options: dict[str, Any], steps: int) -> bytes:
    import pyarrow as pa

    if panel.tz is not None and not panel.freq.sub_daily:
        options["tz"] = panel.tz
    kind = pa.int64() if panel.freq.integer else pa.timestamp("us")
    start = pa.array(panel.start, kind)
    if panel.tz is not None and panel.freq.sub_daily:
        start = start.cast(pa.int64()).cast(pa.timestamp("us", tz=panel.tz))
    columns: dict[str, Any] = {
        "id": pa.array(panel.ids.tolist(), pa.string()),
        "start": start,
        "y": _lists(panel.y, panel.offsets),
    }
    for j, covariate in enumerate(panel.schema.past):
        columns[f"past.{covariate.name}"] = _lists(
            decode(panel.past[:, j], covariate), panel.offsets
        )
    for j, covariate in enumerate(panel.schema.future):
        values, offsets = _with_ahead(panel, steps, j)
        columns[f"future.{covariate.name}"] = _lists(decode(values, covariate), offsets)
    for j, covariate in enumerate(panel.schema.static):
        columns[f"static.{covariate.name}"] = pa.array(decode(panel.static[:, j], covariate))
    table = pa.table(columns).replace_schema_metadata({"gatecast": orjson.dumps(options)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _with_ahead(panel: Panel, steps: int, column: int) -> tuple[Any, Any]:
    """A known-future column over history and horizon, and [N + 1] where each series begins."""
    offsets = panel.offsets + np.arange(len(panel) + 1) * steps
    values = np.full(int(offsets[-1]), np.nan)
    values[np.arange(panel.rows) + panel.series * steps] = panel.future[:, column]
    if panel.horizon is not None:
        ahead = panel.horizon[:, :steps, column]
        rows = (panel.offsets[1:] + np.arange(len(panel)) * steps)[:, None]
        values[rows + np.arange(ahead.shape[1])] = ahead
    return values, offsets


def _lists(values: Any, offsets: Any) -> Any:
    import pyarrow as pa

    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))


def _read(content: bytes) -> Forecasts:
    import pyarrow as pa

    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    about = orjson.loads(table.schema.metadata[b"gatecast"])
    freq, steps = Frequency.parse(about["freq"]), int(about["horizon"])
    zone = about["tz"]
    start = table.column("start").combine_chunks()
    if not freq.integer:
        start = start.cast(pa.int64())
    first = start.to_numpy(zero_copy_only=False)
    if not freq.integer:
        first = first.astype("datetime64[us]")
    ds: Any = freq.stamps(first, 0, steps).ravel()
    if zone is not None and not freq.integer:
        index = pd.DatetimeIndex(ds)
        ds = (
            index.tz_localize("UTC").tz_convert(zone)
            if freq.sub_daily
            else index.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
        )
    columns: dict[str, Any] = {
        "unique_id": np.repeat(np.array(table.column("id").to_pylist(), dtype=object), steps),
        "ds": ds,
    }
    for name in table.column_names:
        if name not in ("id", "start", "paths"):
            columns[name] = table.column(name).combine_chunks().flatten().to_numpy()
    return Forecasts(
        frame=pd.DataFrame(columns),
        model=about["model"],
        errors=about["errors"],
        notes=about.get("notes", []),
        together={k: about[k] for k in ("joint", "aggregates", "hierarchy") if k in about},
        paths=_paths(table, columns, steps) if "paths" in table.column_names else None,
    )


def _paths(table: Any, columns: dict[str, Any], steps: int) -> pd.DataFrame:
    values = table.column("paths").combine_chunks().flatten().to_numpy()
    count = table.num_rows
    paths = len(values) // max(count * steps, 1)
    # Each path goes over the steps of its series, whose stamps come again for the next one.
    place = np.arange(count * steps).reshape(count, 1, steps).repeat(paths, axis=1).ravel()
    return pd.DataFrame(
        {
            "unique_id": columns["unique_id"][place],
            "ds": columns["ds"][place],
            "path": np.tile(np.repeat(np.arange(1, paths + 1), steps), count),
            "y": values,
        }
    )
