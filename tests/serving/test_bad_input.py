"""Every field wrong in every way: its status, its code, its place; and nothing costs too much."""

from __future__ import annotations

import gzip
import time
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard

from forecasting.data.calendar import Frequency
from serving.app import Application
from serving.errors import MAX_FAULTS, Faults, place, pointer
from serving.reading import stamps
from serving.settings import ServingSettings
from tests.serving.conftest import KEY, Caller
from tests.serving.test_forecast import rich_series, series

JSON = {"content-type": "application/json"}
HALF_GZIP = gzip.compress(b"{}", mtime=0)[:-9]
S = {"id": "a", "start": "2020-01-01", "y": [1.0, 2.0, 3.0]}


def with_series(**change: Any) -> dict[str, Any]:
    return {"series": [S, {**S, "id": "b", **change}]}


def rich(**change: Any) -> dict[str, Any]:
    return {"model": "retail", "series": [rich_series(0), {**rich_series(1), **change}]}


@pytest.mark.parametrize(
    ("body", "where", "code"),
    [
        ({}, "series", "missing"),
        ({"series": None}, "series", "missing"),
        ({"series": {}}, "series", "wrong_type"),
        ({"series": []}, "series", "empty"),
        ({"series": [S], "horizons": 3}, "horizons", "unknown_key"),
        ({"series": [S], "y": [1]}, "y", "unknown_key"),
        ({"series": [S], "horizon": 0}, "horizon", "out_of_range"),
        ({"series": [S], "horizon": -1}, "horizon", "out_of_range"),
        ({"series": [S], "horizon": 2.0}, "horizon", "wrong_type"),
        ({"series": [S], "horizon": "2"}, "horizon", "wrong_type"),
        ({"series": [S], "horizon": True}, "horizon", "wrong_type"),
        ({"series": [S], "horizon": 7}, "horizon", "horizon_too_long"),
        ({"series": [S], "horizon": 10**9, "extend": True}, "horizon", "horizon_too_long"),
        ({"series": [S], "extend": 1}, "extend", "wrong_type"),
        ({"series": [S], "extend": None}, "extend", "wrong_type"),
        ({"series": [S], "quantiles": []}, "quantiles", "wrong_type"),
        ({"series": [S], "quantiles": 0.5}, "quantiles", "wrong_type"),
        ({"series": [S], "quantiles": [0.5, "0.9"]}, "quantiles[1]", "wrong_type"),
        ({"series": [S], "quantiles": [0.5, True]}, "quantiles[1]", "wrong_type"),
        ({"series": [S], "quantiles": [0.5, 1.0]}, "quantiles[1]", "out_of_range"),
        ({"series": [S], "quantiles": [0]}, "quantiles[0]", "out_of_range"),
        ({"series": [S], "quantiles": [0.5, 0.1, 0.5]}, "quantiles[2]", "duplicate"),
        ({"series": [S], "quantiles": [k / 200 for k in range(1, 101)]}, "quantiles",
         "out_of_range"),
        ({"series": [S], "model": 7}, "model", "wrong_type"),
        ({"series": [S], "model": ""}, "model", "wrong_type"),
        ({"series": [S], "tz": 1}, "tz", "wrong_type"),
        ({"series": [S], "tz": "Mars/Base"}, "tz", "unknown_zone"),
        ({"series": [S], "tz": "../../etc/passwd"}, "tz", "unknown_zone"),
        ({"series": [S, 3]}, "series[1]", "wrong_type"),
        ({"series": [S, [1, 2]]}, "series[1]", "wrong_type"),
        (with_series(id=None), "series[1].id", "missing"),
        (with_series(id=7), "series[1].id", "wrong_type"),
        (with_series(id=""), "series[1].id", "wrong_type"),
        (with_series(id="x" * 2000), "series[1].id", "wrong_type"),
        (with_series(id="a"), "series[1].id", "duplicate"),
        (with_series(start=None), "series[1].start", "missing"),
        (with_series(start=20200101), "series[1].start", "wrong_type"),
        (with_series(start="20200101"), "series[1].start", "not_a_stamp"),
        (with_series(start="yesterday"), "series[1].start", "not_a_stamp"),
        (with_series(start="2020-02-30"), "series[1].start", "not_a_stamp"),
        (with_series(start="0020-02-03"), "series[1].start", "not_a_stamp"),
        (with_series(start="9999-01-01"), "series[1].start", "not_a_stamp"),
        (with_series(start="2020-01-01T00:00:00Z"), "series[0].start", "mixed_zones"),
        (with_series(y=None), "series[1].y", "missing"),
        (with_series(y=3), "series[1].y", "wrong_type"),
        (with_series(y={"0": 3}), "series[1].y", "wrong_type"),
        (with_series(y=[1, "2"]), "series[1].y[1]", "wrong_type"),
        (with_series(y=[1, True]), "series[1].y[1]", "wrong_type"),
        (with_series(y=[1, 2, [3]]), "series[1].y[2]", "wrong_type"),
        (with_series(y=[{}]), "series[1].y[0]", "wrong_type"),
        (with_series(ds="2020-01-01"), "series[1].ds", "unknown_key"),
        (with_series(past=[1]), "series[1].past", "wrong_type"),
        (with_series(past={"temp": [1, 2, 3]}), "series[1].past.temp", "unknown_covariate"),
        (with_series(static={"x": 1}), "series[1].static.x", "unknown_covariate"),
        (rich(past={"temp": 3}), "series[1].past.temp", "wrong_type"),
        (rich(past={"temp": ["x"] * 68}), "series[1].past.temp[0]", "wrong_type"),
        (rich(future={"promo": [0] * 17 + ["x"]}), "series[1].future.promo[17]", "wrong_type"),
        (rich(future={"promo": None}), "series[1].future.promo", "missing"),
        (rich(static={"region": ["north"]}), "series[1].static.region", "wrong_type"),
        (rich(static={"region": "north", "area": "big"}), "series[1].static.area",
         "wrong_type"),
        ({"y": [1, 2]}, "sizes", "missing"),
        ({"sizes": [1]}, "y", "missing"),
        ({"y": [1, 2], "sizes": [], "start": "2020-01-01"}, "sizes", "empty"),
        ({"y": [1, 2], "sizes": [1], "start": "2020-01-01"}, "sizes", "length_mismatch"),
        ({"y": [1, 2], "sizes": [3, -1], "start": "2020-01-01"}, "sizes[0]", "wrong_type"),
        ({"y": [1, 2], "sizes": [1, True], "start": "2020-01-01"}, "sizes[1]", "wrong_type"),
        ({"y": [1, "2"], "sizes": [2], "start": "2020-01-01"}, "y[1]", "wrong_type"),
        ({"y": [1, 2], "sizes": [1, 1], "start": ["2020-01-01"]}, "start", "length_mismatch"),
        ({"y": [1, 2], "sizes": [1, 1], "start": ["2020-01-01", 3]}, "start[1]", "wrong_type"),
        ({"y": [1, 2], "sizes": [1, 1]}, "start", "missing"),
        ({"y": [1, 2], "sizes": [2], "start": "2020-01-01", "ids": ["a", "b"]}, "ids",
         "length_mismatch"),
        ({"y": [1, 2], "sizes": [1, 1], "start": "2020-01-01", "ids": ["a", "a"]}, "ids[1]",
         "duplicate"),
        ({"y": [1, 2], "sizes": [2], "start": "2020-01-01", "model": "retail",
          "past": {"temp": [1]}, "future": {"promo": [1] * 4}}, "past.temp", "length_mismatch"),
        ({"y": [1, 2], "sizes": [2], "start": "2020-01-01", "model": "retail",
          "future": {"promo": [1] * 4}}, "past.temp", "missing"),
    ],
)  # fmt: skip
def test_a_wrong_value_has_its_place(call: Caller, body: Any, where: str, code: str) -> None:
    answer = call.post(body)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert (where, code) in [(e["place"], e["code"]) for e in problem["errors"]], problem["errors"]
    assert all(e["detail"] for e in problem["errors"])
    assert where.split(".")[0].split("[")[0] in problem["detail"]


def test_a_pointer_can_be_followed() -> None:
    path = ("series", 3, "future", "pro/mo~", 17)
    assert pointer(path) == "/series/3/future/pro~1mo~0/17"
    assert place(("series", 3, "future", "promo", 17)) == "series[3].future.promo[17]"


def test_all_faults_are_named_at_once(call: Caller) -> None:
    body = {"series": [{**S, "y": 1}, {**S, "id": 2}], "horizon": 0, "extra": 1}
    places = [e["place"] for e in call.post(body).json()["errors"]]
    assert places == ["extra", "horizon", "series[0].y", "series[1].id"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", JSON, 400, "malformed_json"),
        (b"{", JSON, 400, "malformed_json"),
        (b'{"series": [NaN]}', JSON, 400, "malformed_json"),
        (b'{"series": [{"y": [1e400]}]}', JSON, 400, "malformed_json"),
        (b'{"a": Infinity}', JSON, 400, "malformed_json"),
        (b'"\xff"', JSON, 400, "malformed_json"),
        (b"[" * 5000, JSON, 400, "malformed_json"),
        (b"[]", JSON, 422, "invalid_request"),
        (b"null", JSON, 422, "invalid_request"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"content-type": "multipart/form-data; boundary=x"}, 415,
         "unsupported_media_type"),
        (b"{}", {"content-type": "application/json; charset=utf-16"}, 415,
         "unsupported_media_type"),
        (b"{}", {**JSON, "content-encoding": "br"}, 415, "unsupported_encoding"),
        (b"{}", {**JSON, "content-encoding": "gzip"}, 400, "malformed_body"),
        (b"{}", {**JSON, "content-encoding": "zstd"}, 400, "malformed_body"),
        (HALF_GZIP, {**JSON, "content-encoding": "gzip"}, 400, "malformed_body"),
        (b"{}", {**JSON, "accept": "text/html"}, 406, "not_acceptable"),
        (b"{}", {**JSON, "x-long": "x" * 40_000}, 431, "headers_too_large"),
        (b"x", {"content-type": "application/vnd.apache.arrow.stream"}, 400, "malformed_arrow"),
    ],
)  # fmt: skip
def test_a_wrong_body_has_its_status(
    call: Caller, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = call("POST", "/v1/forecast", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "unknown_path"),
        ("GET", "/v1/forecast", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nobody", 404, "unknown_model"),
        ("POST", "/v1/models/monthly", 405, "method_not_allowed"),
        ("GET", "/v1/models/monthly/refresh", 405, "method_not_allowed"),
        ("POST", "/v1/models/monthly/refresh", 401, "key_needed"),
        ("GET", "/v1/models/%2e%2e%2fx", 404, "unknown_path"),
    ],
)
def test_a_wrong_address_has_its_status(
    call: Caller, method: str, path: str, status: int, code: str
) -> None:
    answer = call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if status == 405:
        assert answer.headers["allow"]


def test_an_unknown_model_names_those_there_are(call: Caller) -> None:
    answer = call.post({"model": "nobody", "series": [S]})
    assert answer.status_code == 404
    assert "monthly, retail, power" in answer.json()["detail"]


def test_a_wrong_key_is_refused(call: Caller) -> None:
    for headers in ({"authorization": "Bearer no"}, {"x-api-key": "é".encode("latin-1")}):
        answer = call("POST", "/v1/models/monthly/refresh", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "wrong_key")


def test_five_megabytes_of_nulls_cost_little(call: Caller) -> None:
    nulls = b",".join([b"null"] * 1_000_000)
    began = time.perf_counter()
    for body in (
        b'{"series":[{"id":"a","start":"2020-01-01","y":[' + nulls + b"]}]}",
        b'{"series":[' + nulls + b"]}",
        b'{"y":[' + nulls + b'],"sizes":[' + nulls + b'],"start":"2020-01-01"}',
        b'{"series":[{"id":"a","start":"2020-01-01","y":[["x"],' + nulls + b"]}]}",
    ):
        answer = call("POST", "/v1/forecast", content=body, headers=JSON)
        assert answer.status_code in (200, 413, 422)
        assert len(answer.content) < 10_000
    assert time.perf_counter() - began < 12


def test_a_million_faults_are_counted_not_listed(call: Caller) -> None:
    problem = call.post(with_series(y=["x"] * 50_000)).json()
    assert len(problem["errors"]) == MAX_FAULTS
    assert problem["errors_omitted"] == 50_000 - MAX_FAULTS


def _limited(settings: ServingSettings, app: Application, **limits: Any) -> Caller:
    other = Application(settings.model_copy(update=limits))
    other.service.models = app.service.models
    return Caller(other)


def test_bodies_are_held_to_their_limits(settings: ServingSettings, app: Application) -> None:
    call = _limited(settings, app, max_body=2000, max_content=5000)
    assert call.post({"series": [series(rows=300)]}).json()["code"] == "body_too_large"
    bomb = orjson.dumps({"series": [{**S, "y": [0] * 50_000}]})
    for name, packed in (
        ("gzip", gzip.compress(bomb, mtime=0)),
        ("zstd", zstandard.ZstdCompressor().compress(bomb)),
    ):
        headers = {**JSON, "content-encoding": name}
        answer = call("POST", "/v1/forecast", content=packed, headers=headers)
        assert (answer.status_code, answer.json()["limit"]) == (413, 5000)


def test_a_body_without_a_length_is_held_to_the_limit(
    settings: ServingSettings, app: Application
) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 1000

    call = _limited(settings, app, max_body=5000)
    answer = call("POST", "/v1/forecast", content=endless(), headers=JSON)
    assert answer.status_code == 413


def test_a_slow_body_is_given_up(settings: ServingSettings, app: Application) -> None:
    import asyncio

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    call = _limited(settings, app, body_seconds=0.05)
    answer = call("POST", "/v1/forecast", content=slow(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")


def test_too_much_at_once_is_refused_with_a_limit(settings: ServingSettings) -> None:
    fresh = Application(settings.model_copy(update={"max_series": 2, "max_output": 1000}))
    fresh.service.models.load()
    call = Caller(fresh)
    three = {"series": [series(n) for n in "abc"]}
    assert (call.post(three).status_code, call.post(three).json()["limit"]) == (413, 2)
    long = {"series": [series()], "horizon": 400, "extend": True}
    assert call.post(long).json()["code"] == "answer_too_large"


def test_a_full_service_says_when_to_come_back(settings: ServingSettings, app: Application) -> None:
    call = _limited(settings, app, max_waiting=1)
    answers = call.together([{"series": [series()]}] * 3)
    busy = [a for a in answers if a.status_code == 503]
    assert busy
    assert busy[0].json()["code"] == "too_busy"
    assert busy[0].headers["retry-after"] == "1"


def test_a_key_can_protect_forecasts(settings: ServingSettings, app: Application) -> None:
    call = _limited(settings, app, protect=True)
    assert call.post({"series": [series()]}).status_code == 401
    answer = call.post({"series": [series()]}, headers={"x-api-key": KEY})
    assert answer.status_code == 200


def test_a_bug_is_a_500_without_its_insides(
    app: Application, call: Caller, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app.service.batcher, "compute", fail)
    answer = call.post({"series": [series()]}, headers={"x-request-id": "abc-1"})
    assert answer.status_code == 500
    assert answer.json()["request_id"] == "abc-1"
    assert "secret" not in answer.text
    log = orjson.loads(capfd.readouterr().err.splitlines()[-1])
    assert log["request_id"] == "abc-1"
    assert "secret" in log["traceback"]


def test_a_strange_request_id_is_replaced(call: Caller) -> None:
    for given in ("a b", "x" * 200, "<script>"):
        assert call("GET", "/livez", headers={"x-request-id": given}).headers[
            "x-request-id"
        ] not in (given, "")


@pytest.mark.parametrize(
    ("alias", "start"), [("ME", "2020-01-15"), ("B", "2020-01-04"), ("QE-DEC", "2020-03-30")]
)
def test_a_start_off_the_grid_is_noticed(alias: str, start: str) -> None:
    freq = Frequency.parse(alias)
    assert stamps.off_grid(np.array([start], "datetime64[us]"), freq).all()


def test_a_time_that_the_clock_skips_is_noticed() -> None:
    faults = Faults()
    stamps.read_starts(
        ["2026-03-29T02:30:00"], Frequency.parse("h"), "Europe/Madrid", lambda i: ("s", i), faults
    )
    assert faults.found[0].code == "no_such_time"


def test_integer_starts_are_steps() -> None:
    faults = Faults()
    freq = Frequency.parse("step")
    start, zone = stamps.read_starts([5, -3], freq, None, lambda i: ("s", i), faults)
    assert (start.tolist(), zone) == ([5, -3], None)
    stamps.read_starts(["5", 2**60, None, True], freq, None, lambda i: ("s", i), faults)
    codes = ["wrong_type", "out_of_range", "missing", "wrong_type"]
    assert [f.code for f in faults.found] == codes


def test_booleans_are_no_numbers_wherever_else_they_stand(call: Caller) -> None:
    for value in (True, False):
        body = {"series": [{"id": "a", "start": "2020-01-01", "y": [1.0, value, 3.0]}]}
        (error,) = call.post(body).json()["errors"]
        assert (error["pointer"], error["code"]) == ("/series/0/y/1", "wrong_type")
        flat = {"y": [1.0, value], "sizes": [2], "start": "2020-01-01"}
        assert call.post(flat).json()["errors"][0]["pointer"] == "/y/1"


def test_numbers_at_the_ends_of_a_double_are_read(call: Caller) -> None:
    for y in ([2**63 - 1, -(2**62)], [5e-324, 1.7e308], [10**30, 1]):
        answer = call.post({"series": [{"id": "a", "start": "2020-01-01", "y": y}]})
        assert answer.status_code in (200, 400, 422)
