"""Arrow in and out: the same answers as JSON, and faults as exact."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from serving.reading.body import ARROW
from tests.serving.conftest import Caller
from tests.serving.test_forecast import rich_series, series

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
HEADERS = {"content-type": ARROW}


def stream(table: pa.Table, **options: Any) -> bytes:
    table = table.replace_schema_metadata({"gatecast": orjson.dumps(options)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table(asked: list[dict[str, Any]], kind: Any = None) -> pa.Table:
    """A table of readable series."""
    start = pa.array(np.array([s["start"] for s in asked], "datetime64[us]"))
    columns: dict[str, Any] = {
        "id": pa.array([s["id"] for s in asked]),
        "start": start if kind is None else start.cast(kind),
        "y": pa.array([s["y"] for s in asked], pa.list_(pa.float64())),
    }
    for role in ("past", "future", "static"):
        for name in asked[0].get(role, {}):
            columns[f"{role}.{name}"] = pa.array([s[role][name] for s in asked])
    return pa.table(columns)


def read(content: bytes) -> tuple[pa.Table, dict[str, Any]]:
    with pa.ipc.open_stream(content) as reader:
        found = reader.read_all()
    return found, orjson.loads(found.schema.metadata[b"gatecast"])


def ask(call: Caller, content: bytes, **headers: str) -> Any:
    return call("POST", "/v1/forecast", content=content, headers={**HEADERS, **headers})


@pytest.mark.parametrize("kind", [None, pa.timestamp("ms"), pa.timestamp("ns"), pa.date32()])
def test_arrow_and_json_agree(call: Caller, kind: Any) -> None:
    asked = [series("a"), series("b", 7), {**series("gone"), "y": [None, None]}]
    answer = ask(call, stream(table(asked, kind), horizon=3, quantiles=[0.25, 0.5]))
    assert answer.headers["content-type"] == ARROW
    found, about = read(answer.content)
    body = call.post({"series": asked, "horizon": 3, "quantiles": [0.25, 0.5]}).json()
    assert found.column_names == ["id", "start", "mean", "q0.25", "q0.5"]
    assert about["model"] == body["model"]
    assert about["errors"] == body["errors"]
    assert about["horizon"] == 3
    assert found["id"].to_pylist() == ["a", "b"]
    assert [s.isoformat() for s in found["start"].to_pylist()] == [
        f["ds"][0] for f in body["forecasts"]
    ]
    for row, forecast in zip(found.to_pylist(), body["forecasts"], strict=True):
        np.testing.assert_allclose(row["mean"], forecast["mean"], **TOLERANCE)
        np.testing.assert_allclose(row["q0.25"], forecast["quantiles"]["0.25"], **TOLERANCE)


@pytest.mark.parametrize("encode", [False, True], ids=["text", "dictionary"])
@pytest.mark.parametrize("history", [False, True], ids=["horizon", "history and horizon"])
def test_covariates_are_read(call: Caller, history: bool, encode: bool) -> None:
    asked = [rich_series(i, history=history) for i in (0, 1, 5)]
    asked[1]["static"]["region"] = "mars"
    given = table(asked)
    if encode:
        at = given.column_names.index("static.region")
        column = given["static.region"].combine_chunks().dictionary_encode()
        given = given.set_column(at, "static.region", column)
    found, about = read(ask(call, stream(given, model="retail")).content)
    body = call.post({"model": "retail", "series": asked}).json()
    for row, forecast in zip(found.to_pylist(), body["forecasts"], strict=True):
        np.testing.assert_allclose(row["mean"], forecast["mean"], **TOLERANCE)
    assert about["notes"][0]["id"] == "store-1"


def test_a_large_table_is_answered(call: Caller) -> None:
    asked = [series(f"s{i}", 30 + i % 9) for i in range(700)]
    found, _ = read(ask(call, stream(table(asked), horizon=2)).content)
    alone = call.post({"series": [asked[600]], "horizon": 2}).json()["forecasts"][0]
    assert found.num_rows == 700
    np.testing.assert_allclose(found["mean"][600].as_py(), alone["mean"], **TOLERANCE)


def test_sliced_chunked_and_fixed_lists_are_read(call: Caller) -> None:
    asked = [series(f"s{i}", 20) for i in range(6)]
    asked = [{**s, "y": [v + i for v in s["y"]]} for i, s in enumerate(asked)]
    whole = table(asked)
    expected = read(ask(call, stream(whole)).content)[0].slice(2)["mean"].to_pylist()
    fixed = pa.FixedSizeListArray.from_arrays(pa.array([v for s in asked for v in s["y"]]), 20)
    for given in (
        whole.slice(2),
        pa.concat_tables([whole.slice(2, 1), whole.slice(3)]),
        whole.set_column(2, "y", fixed).slice(2),
        whole.set_column(2, "y", whole["y"].cast(pa.large_list(pa.float32()))).slice(2),
    ):
        found = read(ask(call, stream(given)).content)[0]["mean"].to_pylist()
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_answers_type_can_be_chosen(call: Caller) -> None:
    answer = ask(call, stream(table([series()])), accept="application/json")
    assert answer.json()["forecasts"][0]["id"] == "a"
    answer = call.post({"series": [series()]}, headers={"accept": ARROW})
    assert read(answer.content)[0]["id"].to_pylist() == ["a"]


def test_zones_are_kept(call: Caller) -> None:
    asked = [{"id": "m", "start": "2026-03-28", "y": [1.0] * 30}]
    given = table(asked, pa.timestamp("us", tz="Europe/Madrid"))
    found, about = read(ask(call, stream(given, model="power")).content)
    assert about["tz"] == "Europe/Madrid"
    assert found["start"].type == pa.timestamp("us", tz="Europe/Madrid")


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        (lambda t: t.drop_columns(["y"]), "y", "missing"),
        (lambda t: t.append_column("ds", pa.array([1])), "ds", "unknown_column"),
        (lambda t: t.set_column(0, "id", pa.array([7])), "id", "wrong_type"),
        (lambda t: t.set_column(0, "id", pa.array([None], pa.string())), "id[0]", "missing"),
        (lambda t: t.set_column(1, "start", pa.array([7])), "start", "wrong_type"),
        (lambda t: t.set_column(1, "start", pa.array(["x"])), "start[0]", "not_a_stamp"),
        (lambda t: t.set_column(2, "y", pa.array([7])), "y", "wrong_type"),
        (lambda t: t.set_column(2, "y", pa.array([["a"]])), "y", "wrong_type"),
        (lambda t: t.set_column(2, "y", pa.array([[np.inf]])), "y", "not_finite"),
        (
            lambda t: t.set_column(2, "y", pa.array([None], pa.list_(pa.float64()))),
            "y[0]",
            "missing",
        ),
        (lambda t: t.slice(1), "", "empty"),
        (lambda t: pa.concat_tables([t, t]), "id[1]", "duplicate"),
    ],
)
def test_a_wrong_column_has_its_place(call: Caller, change: Any, where: str, code: str) -> None:
    answer = ask(call, stream(change(table([series()]))))
    assert answer.status_code == 422
    found = [(e["place"], e["code"]) for e in answer.json()["errors"]]
    assert (where, code) in found


def test_wrong_options_and_broken_streams_are_refused(call: Caller) -> None:
    given = table([series()])
    assert ask(call, stream(given, horizon="x")).status_code == 422
    assert ask(call, stream(given, model="nobody")).status_code == 404
    content = stream(given)
    for broken in (content[:40], content[: len(content) // 2], content[:200] + b"x" * 300):
        assert ask(call, broken).status_code in (400, 422)
    bad = given.replace_schema_metadata({"gatecast": b"[]"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, bad.schema) as writer:
        writer.write_table(bad)
    assert ask(call, bytes(sink.getvalue())).status_code == 422


@pytest.mark.parametrize("change", [-1, 1], ids=["short", "long"])
def test_a_column_of_the_wrong_length_is_a_problem_of_its_series(call: Caller, change: int) -> None:
    asked = [rich_series(0), rich_series(1), rich_series(2)]
    right = read(ask(call, stream(table(asked[2:]), model="retail")).content)[0]
    temp, promo = asked[0]["past"]["temp"], asked[1]["future"]["promo"]
    asked[0]["past"]["temp"] = (temp + temp[:1])[: len(temp) + change]
    asked[1]["future"]["promo"] = (promo + promo[:1])[: len(promo) + change]
    found, about = read(ask(call, stream(table(asked), model="retail")).content)
    assert [(e["id"], e["code"]) for e in about["errors"]] == [
        ("store-0", "length_mismatch"),
        ("store-1", "length_mismatch"),
    ]
    # The one beside them has its own values, not those that slid along.
    assert found.column("id").to_pylist() == ["store-2"]
    for name in right.column_names:
        assert found.column(name).to_pylist() == right.column(name).to_pylist()


STARTS = {
    "s": pa.timestamp("s"), "ms": pa.timestamp("ms"), "us": pa.timestamp("us"),
    "ns": pa.timestamp("ns"), "date32": pa.date32(), "date64": pa.date64(), "text": pa.string(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
    "stamps in a dictionary": pa.dictionary(pa.int32(), pa.timestamp("s")),
}  # fmt: skip
VALUES = st.one_of(st.none(), st.integers(-500, 500), st.floats(-1e6, 1e6, width=32))


@hypothesis.given(
    rows=st.lists(st.lists(VALUES, min_size=20, max_size=44), min_size=1, max_size=5),
    days=st.integers(-20_000, 30_000), kind=st.sampled_from(sorted(STARTS)),
    lists=st.sampled_from([pa.list_, pa.large_list]), whole=st.booleans(), nan=st.booleans(),
    cut=st.integers(0, 3),
)  # fmt: skip
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_types_say_the_same_are_answered_as_json(
    call: Caller, rows: list[list[Any]], days: int, kind: str, lists: Any, whole: bool, nan: bool,
    cut: int,
) -> None:  # fmt: skip
    if whole:
        rows = [[None if v is None else int(v) for v in y] for y in rows]
    first = np.datetime64("1990-01-01") + days % 11_000
    asked = [{"id": f"s{i}", "start": str(first + i), "y": y} for i, y in enumerate(rows)]
    filled = [[float("nan") if v is None and nan and not whole else v for v in y] for y in rows]
    numbers = pa.int32() if whole else pa.float32()
    texts = pa.array([s["start"] for s in asked])
    stamps = pa.array(np.array([s["start"] for s in asked], "datetime64[D]"))
    wanted = STARTS[kind]
    if pa.types.is_dictionary(wanted):
        plain = texts if wanted.value_type == pa.string() else stamps.cast(wanted.value_type)
        start = plain.dictionary_encode()
    else:
        start = texts if wanted == pa.string() else stamps.cast(wanted)
    given_table = pa.table(
        {"id": [s["id"] for s in asked], "start": start, "y": pa.array(filled, lists(numbers))}
    )
    parts = [given_table.slice(0, cut), given_table.slice(cut)]
    answer = ask(call, stream(pa.concat_tables(parts), horizon=2, quantiles=[0.5]))
    body = call.post({"series": asked, "horizon": 2, "quantiles": [0.5]}).json()
    if answer.status_code != 200:
        assert "forecasts" not in body or not body["forecasts"]
        return
    found, about = read(answer.content)
    assert about["errors"] == body["errors"]
    assert [s.isoformat() for s in found["start"].to_pylist()] == [
        f["ds"][0] for f in body["forecasts"]
    ]
    for row, forecast in zip(found.to_pylist(), body["forecasts"], strict=True):
        assert row["id"] == forecast["id"]
        np.testing.assert_allclose(row["mean"], forecast["mean"], rtol=1e-4, atol=1e-3)
