"""A Python client: long tables in, long tables out.

client = Client("http://127.0.0.1:3000")
forecast = client.forecast(df, quantiles=[0.1, 0.9])   # unique_id, ds, mean, q0.1, q0.9
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pandas as pd

from forecasting.data.panel import Panel
from forecasting.errors import DataError, GatecastError, lacking
from forecasting.quantiles import ASKED

try:
    import httpx
    import orjson
except ModuleNotFoundError as absent:
    raise lacking("the client of the service", absent) from None

from serving.calling.answers import Forecasts as Forecasts
from serving.calling.answers import Scenarios as Scenarios
from serving.calling.answers import (
    by_level,
    read_forecasts,
    read_scenarios,
    said_of_notes,
    stamped,
)
from serving.calling.bodies import appended, flat_series, plain, plan, schema_of, write_arrow
from serving.reading.body import ARROW, JSON

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
        models: list[dict[str, Any]] = self._json("GET", "/v1/models")["models"]
        return models

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
        forecasts = self.forecasts(
            df,
            future=future,
            static=static,
            horizon=horizon,
            quantiles=quantiles,
            extend=extend,
            model=model,
        )
        if forecasts.errors:
            first = forecasts.errors[0]
            raise DataError(
                f"{len(forecasts.errors)} series cannot be forecast; first: series "
                f"{first['id']!r}: {first['detail']}"
            )
        for sentence in said_of_notes(forecasts.notes):
            warnings.warn(sentence, stacklevel=2)
        return forecasts.frame

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
        pretrained = about.get("kind") == "pretrained"
        if pretrained and horizon is None:
            raise DataError(f"say how far: {about['name']} has no horizon of its own")
        steps = horizon if horizon is not None else int(about["horizon"])
        panel = Panel.from_frame(
            df,
            freq=about["freq"],
            static=static,
            schema=schema_of(about, (df, future, static)),
            future_frame=future,
        )
        options = {
            **({"freq": panel.freq.alias} if pretrained else {}),
            "model": about["name"],
            "horizon": steps,
            "quantiles": [float(q) for q in quantiles],
            "extend": extend,
            **(together or {}),
        }
        body = write_arrow(panel, options, steps)
        answer = self._send("POST", "/v1/forecast", body, {"content-type": ARROW, "accept": ARROW})
        return read_forecasts(answer.content)

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
        tables = [values for values in scenarios.values() if isinstance(values, pd.DataFrame)]
        schema = schema_of(about, (df, future, static, *tables))
        panel = Panel.from_frame(
            df, freq=about["freq"], static=static, schema=schema, future_frame=future
        )
        plans = [plan(panel, steps, name, values) for name, values in scenarios.items()]
        body = {
            "model": about["name"],
            "horizon": steps,
            "quantiles": [float(q) for q in quantiles],
            "scenarios": plans,
            **({} if base is None else {"base": base}),
            **flat_series(panel, steps),
        }
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._send("POST", "/v1/scenarios", content, {"content-type": JSON})
        return read_scenarios(orjson.loads(answer.content), panel.tz)

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
        DataError : rows that are no series, or that begin on a day which a short month cut.
        """
        about = self._about(model)
        body = {
            "model": about["name"],
            "begin": begin,
            **appended(about, rows, future, begin=begin),
        }
        if static:
            body["static"] = {name: plain(value) for name, value in static.items()}
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        path = f"/v1/series/{quote(series, safe='')}/append"
        answer = self._send("POST", path, content, {"content-type": JSON})
        series_state: dict[str, Any] = orjson.loads(answer.content)["series"]
        return series_state

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
        query = {"model": name, "quantiles": ",".join(str(float(q)) for q in quantiles)}
        if horizon is not None:
            query["horizon"] = str(horizon)
        path = f"/v1/series/{quote(series, safe='')}/forecast?{urlencode(query)}"
        answer = self._json("GET", path)
        if answer["errors"]:
            raise DataError(f"series {series!r}: {answer['errors'][0]['detail']}")
        (one,) = answer["forecasts"]
        for sentence in said_of_notes([{"id": series, **n} for n in one.get("notes", [])]):
            warnings.warn(sentence, stacklevel=2)
        frame = {"unique_id": series, "ds": one["ds"], "mean": one["mean"], **by_level(one)}
        about = self._json(
            "GET", f"/v1/series/{quote(series, safe='')}?{urlencode({'model': name})}"
        )
        return stamped([pd.DataFrame(frame)], about["series"]["tz"])

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
