"""A key that stands twice in a JSON object is refused by its name, wherever it stands."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.reading.body import decode_json
from tests.serving.conftest import Caller
from tests.serving.reading.test_arrow_form import ask, table
from tests.serving.test_forecast import series

MOST = 1 << 20
NAMES = st.text(st.sampled_from('ab":\\\\ '), max_size=3)
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(tuple)
    ),
    max_leaves=12,
)


def written(value: Any, blank: str) -> str:
    """JSON of a value whose tuples are objects, keys as they come."""
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(k)}{blank}:{written(v, blank)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(v, blank) for v in value) + "]"
    return json.dumps(value)


def twice(value: Any) -> bool:
    """Whether an object names a key twice: the slow and obvious way."""
    if isinstance(value, tuple):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(twice(v) for _, v in value)
    return isinstance(value, list) and any(map(twice, value))


@given(VALUES, st.sampled_from(["", " ", "\n\t"]))
@settings(max_examples=300, deadline=None)
def test_a_body_is_refused_where_a_key_stands_twice_and_only_there(value: Any, blank: str) -> None:
    body = written(value, blank).encode()
    if twice(value):
        with pytest.raises(RequestError, match="stands twice in one object"):
            decode_json(body, MOST)
    else:
        assert decode_json(body, MOST) == orjson.loads(body)


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/v1/forecast", '{"series": [SERIES], "horizon": 1, "horizon": 3}', "horizon"),
        (
            "/v1/forecast",
            '{"series": [{"id": "a", "y": [9], "y": []}]}',
            "y",
        ),
        ("/v1/forecast", '{"series": [SERIES, {"id": "b", "id": "c"}]}', "id"),
        ("/invocations", '{"dataframe_records": [{"y": 1, "y": 2}]}', "y"),
        ("/invocations", '{"inputs": {"ds": [1], "ds": [2]}}', "ds"),
    ],
)
def test_the_service_names_the_key(call: Caller, path: str, body: str, key: str) -> None:
    text = body.replace("SERIES", json.dumps(series()))
    answer = call("POST", path, content=text.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert f'the key \\"{key}\\" stands twice' in answer.text


def test_options_of_a_table_are_looked_at_too(call: Caller) -> None:
    given = table([series()]).replace_schema_metadata({"gatecast": '{"horizon": 1, "horizon": 3}'})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, given.schema) as writer:
        writer.write_table(given)
    answer = ask(call, bytes(sink.getvalue()))
    assert answer.status_code == 400
    assert "horizon" in answer.text
