"""What made the service fail once, and others of its kind: a refusal that names the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.errors import MAX_BODY, Fault, RequestError
from serving.reading.body import MAX_HEADERS
from tests.serving.conftest import Caller
from tests.serving.reading.test_arrow_form import ask, stream, table
from tests.serving.test_forecast import rich_series

DAY = 86_400_000  # milliseconds
UNITS = [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")] + [pa.date32(), pa.date64()]


def started(start: Any, **more: Any) -> pa.Table:
    return pa.table({"id": ["a"], "start": start, "y": [[1.0, 2.0, 3.0]], **more})


def stamp(value: int, kind: Any, zone: str | None = None) -> Any:
    if pa.types.is_date32(kind):
        return pa.array([max(min(value, 2**31 - 1), -(2**31))], pa.int32()).cast(kind)
    if pa.types.is_date64(kind):
        value = value // DAY * DAY if value > -(2**62) else -(2**62) // DAY * DAY
    kind = pa.timestamp(kind.unit, tz=zone) if zone is not None else kind
    return pa.Array.from_buffers(
        kind, 1, [None, pa.py_buffer(np.array([value], np.int64).tobytes())]
    )


@pytest.mark.parametrize("model", ["monthly", "power"])
@pytest.mark.parametrize("kind", UNITS, ids=str)
@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**62, 10**18, 253402300800, 0])
def test_no_stamp_overflows(call: Caller, model: str, kind: Any, value: int) -> None:
    answer = ask(call, stream(started(stamp(value, kind)), model=model))
    assert answer.status_code in (200, 422), answer.text
    if abs(value) > 2**62 and kind != pa.timestamp("ns"):
        assert "out_of_range" in answer.text


@pytest.mark.parametrize("model", ["monthly", "power"])
@pytest.mark.parametrize("asked", [None, "Europe/Madrid", "Mars/Base"])
@pytest.mark.parametrize(
    "zone", ["Mars/Base", "Europe/Madrid", "+05:30", "+99:99", "x" * 5000, "../UTC", "\x00", ""]
)
def test_no_zone_makes_it_fail(call: Caller, model: str, asked: str | None, zone: str) -> None:
    table = started(stamp(1_577_836_800, pa.timestamp("s"), zone))
    options = {"model": model} | ({"tz": asked} if asked else {})
    answer = ask(call, stream(table, **options))
    assert answer.status_code in (200, 422), answer.text
    if "Mars/Base" in (zone, asked):
        assert answer.status_code == 422
    assert len(answer.content) <= MAX_BODY


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(UNITS[:4]),
    st.one_of(st.none(), st.sampled_from(["UTC", "America/New_York", "-03:00", "Asia/Kolkata"])),
    st.sampled_from(["monthly", "power", "retail"]),
)
def test_any_stamp_is_read_or_refused(
    call: Caller, value: int, kind: Any, zone: str | None, model: str
) -> None:
    answer = ask(call, stream(started(stamp(value, kind, zone)), model=model))
    assert answer.status_code in (200, 422), answer.text


def invoke(call: Caller, columns: dict[str, Any], model: str) -> Any:
    return call.post({"inputs": columns, "params": {"model": model}}, "/invocations")


ODD: list[Any] = [["a"], {"a": 1}, None, True, 1e300, 2**70, "", "x" * 100_000]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("column", ["unique_id", "ds", "y", "temp", "promo", "region", "area"])
def test_no_value_of_a_table_makes_invocations_fail(call: Caller, column: str, value: Any) -> None:
    columns: dict[str, Any] = {
        "unique_id": ["a"] * 3,
        "ds": ["2020-01-01", "2020-02-01", "2020-03-01"],
        "y": [1.0, 2.0, 3.0],
        "temp": [1.0] * 3,
        "promo": [0.0] * 3,
        "region": ["north"] * 3,
        "area": [1.0] * 3,
    }
    columns[column] = [value, *columns[column][1:]]
    answer = invoke(call, columns, "retail")
    assert answer.status_code in (200, 422), answer.text
    assert len(answer.content) <= MAX_BODY


@pytest.mark.parametrize(
    ("model", "ds"),
    [
        ("power", ["1700-01-01T00:00:00", "9000-01-01T00:00:00"]),
        ("power", ["2020-01-01T00:00:00+02:00", "2020-01-01T01:00:00+05:00"]),
        ("power", ["2020-03-29T02:30:00", "2020-03-29T03:30:00"]),
        ("power", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z"]),
        ("monthly", ["0001-01-01", "9999-12-01"]),
        ("monthly", ["2020-01-01", "2020-01-01"]),
    ],
)
def test_no_distance_between_stamps_makes_invocations_fail(
    call: Caller, model: str, ds: list[str]
) -> None:
    answer = invoke(call, {"unique_id": ["a", "a"], "ds": ds, "y": [1.0, 2.0]}, model)
    assert answer.status_code in (200, 422), answer.text


@given(st.lists(st.text(max_size=400), max_size=12), st.text(max_size=5000))
def test_no_refusal_is_long(names: list[str], detail: str) -> None:
    names = [name.encode("utf-8", "replace").decode() for name in names]
    detail = detail.encode("utf-8", "replace").decode()
    faults = [Fault((*names, k), "code", detail * 50) for k in range(20)]
    body = RequestError(422, "invalid_request", detail * 100, faults, 7).body("id")
    assert len(body) <= MAX_BODY
    content = orjson.loads(body)
    assert len(content.get("errors", [])) + content["errors_omitted"] == 27


def test_a_refusal_of_headers_names_the_request(call: Caller) -> None:
    headers = {"x-request-id": "order-9", **{f"x-{k}": "v" for k in range(MAX_HEADERS + 1)}}
    answer = call("GET", "/livez", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (431, "order-9")


@pytest.mark.parametrize("name", ["static.region", "static.area", "id", "future.promo"])
def test_two_columns_of_one_name_are_refused(call: Caller, name: str) -> None:
    asked = table([rich_series(0), rich_series(1)])
    twice = asked.append_column(name, asked[name])
    answer = ask(call, stream(twice, model="retail"))
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["place"], error["code"]) in ((name, "duplicate"), (name, "missing"))
