"""A few bytes never become gigabytes: whatever a caller claims is checked before it is believed."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.reading.arrow_form import open_table
from serving.reading.arrow_guard import check_stream
from serving.reading.body import decode_json, unpack
from tests.serving.conftest import Caller
from tests.serving.reading.test_arrow_form import ask, stream

MOST = 16 << 20
ALLOWED = 4 * MOST  # bytes that a refusal may take


def written(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def with_y(y: Any) -> pa.Table:
    return pa.table({"id": ["a"], "start": np.array(["2020-01-01"], "datetime64[us]"), "y": y})


def nulls(count: int = 200_000_000) -> bytes:
    """576 bytes that claim as many nulls."""
    offsets = pa.array([0, count], pa.int32())
    return written(with_y(pa.ListArray.from_arrays(offsets, pa.nulls(count))))


def fixed_nulls() -> bytes:
    kind = pa.list_(pa.null(), 100_000_000)
    return written(with_y(pa.FixedSizeListArray.from_arrays(pa.nulls(100_000_000), type=kind)))


def rows_of_nothing() -> bytes:
    return written(pa.table({"id": pa.nulls(300_000_000)}))


def runs() -> bytes:
    run = pa.RunEndEncodedArray.from_arrays(pa.array([200_000_000], pa.int32()), pa.array(["a"]))
    return written(pa.table({"id": run}))


def packed_zeros() -> bytes:
    zeros = pa.array(np.zeros(8_000_000))
    return written(with_y(pa.ListArray.from_arrays([0, len(zeros)], zeros)), "zstd")


def packed_claim() -> bytes:
    """A compressed buffer that says it unpacks to 2^40 bytes."""
    body = bytearray(written(with_y([[1.0] * 500]), "zstd"))
    place = body.rfind((4000).to_bytes(8, "little"))
    body[place : place + 8] = (1 << 40).to_bytes(8, "little")
    return bytes(body)


def small_numbers() -> bytes:
    """Bytes that become eight times as many as doubles."""
    tiny = pa.array(np.zeros(4_000_000, np.int8))
    return written(with_y(pa.ListArray.from_arrays([0, len(tiny)], tiny)))


def many_batches() -> bytes:
    schema = pa.schema({"id": pa.string()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(10_001):
            writer.write_batch(pa.record_batch([pa.array([], pa.string())], schema))
    return bytes(sink.getvalue())


HOSTILE = [
    nulls, fixed_nulls, rows_of_nothing, runs, packed_zeros, packed_claim, small_numbers,
    many_batches,
]  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_claim_beyond_the_limits_is_refused_before_memory_is_taken(
    make: Callable[[], bytes],
) -> None:
    body = make()
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    high = pool.max_memory() or 0
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as refused:
            open_table(body, MOST)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.status in (400, 413)
    assert peak < ALLOWED
    assert pa.total_allocated_bytes() - before < ALLOWED
    assert (pool.max_memory() or 0) - max(high, before) < ALLOWED


@pytest.mark.parametrize("count", [10_000, 1_000_000])
def test_a_claim_within_the_limits_needs_its_bytes_too(count: int) -> None:
    body = nulls(count)
    assert count * 8 < MOST
    with pytest.raises(ValueError, match=f"claims {count} values, and has"):
        check_stream(body, MOST)
    with pytest.raises(RequestError) as refused:
        open_table(body, MOST)
    assert refused.value.status == 400


def test_a_dictionary_is_measured_before_it_is_decoded(call: Caller) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), ["x" * 100_000])
    starts = np.array(["2020-01-01"] * 2000, "datetime64[us]")
    table = pa.table({"id": long, "start": starts, "y": [[1.0, 2.0]] * 2000})
    answer = ask(call, stream(table))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_hostile_stream_is_refused_by_the_service(call: Caller) -> None:
    answer = ask(call, nulls())
    assert (answer.status_code, answer.json()["code"]) in (
        (413, "body_too_large"),
        (400, "malformed_arrow"),
    )


@given(
    st.lists(st.lists(st.one_of(st.none(), st.floats(width=32, allow_nan=False)), max_size=9),
             min_size=1, max_size=6),
    st.sampled_from([None, "zstd", "lz4"]),
    st.sampled_from([pa.float64(), pa.float32()]),
    st.booleans(),
)  # fmt: skip
def test_every_honest_table_passes(
    rows: list[Any], compression: str | None, kind: Any, encoded: bool
) -> None:
    ids: Any = pa.array([f"series {i}" for i in range(len(rows))])
    table = pa.table(
        {
            "id": ids.dictionary_encode() if encoded else ids,
            "start": np.array(["2020-01-01"] * len(rows), "datetime64[us]"),
            "y": pa.array(rows, pa.list_(kind)),
            "static.nothing": pa.nulls(len(rows)),
        }
    )
    body = written(table, compression)
    check_stream(body, MOST)
    assert open_table(body, MOST)[0].equals(table)


@given(st.data())
def test_changed_bytes_are_refused_or_read_never_a_crash(data: st.DataObject) -> None:
    body = bytearray(written(with_y([[1.0, 2.0, None]]), data.draw(st.sampled_from([None, "lz4"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RequestError):
        open_table(bytes(body), MOST)


@pytest.mark.parametrize("unit", ["[],", "{},", "1,", '"",'])
def test_json_that_would_fill_memory_is_refused_before_it_is_decoded(unit: str) -> None:
    sent = gzip.compress(b'{"series":[' + (unit * (30_000_000 // len(unit))).encode() + b"1]}", 1)
    assert len(sent) < 400_000
    body = unpack(sent, {"content-encoding": "gzip"}, 32 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as refused:
            decode_json(body, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert (refused.value.status, refused.value.code) == (413, "body_too_large")


def test_ordinary_json_of_the_largest_size_is_decoded() -> None:
    values = [12.5] * 400_000
    body = orjson.dumps({"y": values})
    assert decode_json(body, 4 * len(body))["y"] == values


def test_gzip_files_without_end_are_refused() -> None:
    body = gzip.compress(b"") * 2000
    with pytest.raises(RequestError) as refused:
        unpack(body, {"content-encoding": "gzip"}, MOST)
    assert refused.value.status == 400
