"""A forecast as an Arrow table."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from serving.reading.arrow_form import KEY
from serving.writing.answer import JSON_OPTIONS, Answer


def write_arrow(answer: Answer) -> bytes:
    """The answer as an Arrow IPC stream."""
    import pyarrow as pa

    query = answer.query
    count, horizon = answer.mean.shape
    offsets = pa.array(np.arange(0, (count + 1) * horizon, horizon, dtype=np.int32)[: count + 1])
    start = answer.stamps[:, 0] if count else answer.stamps[:0, 0]
    zone = query.tz if query.tz is not None and answer.freq.sub_daily else None
    kind = pa.int64() if answer.freq.integer else pa.timestamp("us", tz=zone)
    columns: dict[str, Any] = {
        "id": pa.array([query.ids[i] for i in answer.position.tolist()], pa.string()),
        "start": pa.array(start).cast(kind) if zone is None else pa.array(start).cast(
            pa.timestamp("us")).cast(pa.int64()).cast(kind),
        "mean": _lists(answer.mean, offsets),
    }  # fmt: skip
    if count and answer.freq.unit == "month" and _cut(answer):
        # Which day is meant cannot be told from the first step.
        columns["ds"] = _lists(answer.stamps.astype("datetime64[us]"), offsets)
    for k, key in enumerate(answer.keys):
        columns[f"q{key}"] = _lists(answer.quantiles[:, :, k], offsets)
    if answer.together is not None and answer.together.paths is not None:
        width = answer.together.paths.shape[1] * horizon
        ends = pa.array(np.arange(count + 1, dtype=np.int32) * np.int32(width))
        columns["paths"] = _lists(answer.together.paths, ends)
    content: dict[str, Any] = {
        "model": answer.origin.public(),
        "horizon": horizon,
        "freq": answer.freq.alias,
        "tz": query.tz,
        "errors": answer.errors,
    }
    if answer.canary is not None:
        content["canary"] = answer.canary.public()
    content |= answer.joint
    if answer.extended:
        content["extended"] = answer.extended
    if query.notes:
        content["notes"] = [
            {"id": query.ids[i], **note}
            for i, notes in sorted(query.notes.items())
            for note in notes
        ]
    table = pa.table(columns).replace_schema_metadata(
        {KEY: orjson.dumps(content, option=JSON_OPTIONS)}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _cut(answer: Answer) -> bool:
    """Whether a short month cut the day of a first step."""
    plain = Frequency.parse(answer.freq.alias)
    plain_stamps = plain.stamps(answer.stamps[:, 0], 0, answer.stamps.shape[1])
    return bool((plain_stamps != answer.stamps).any())


def _lists(values: Array, offsets: Any) -> Any:
    import pyarrow as pa

    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()))
