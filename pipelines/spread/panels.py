"""A panel as bytes: Arrow tables of its rows, its series and what is known ahead of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.schema import Schema
from pipelines.spread.parcel import pack, unpack


def panel_bytes(panel: Panel) -> bytes:
    """All of a panel; `panel_of` makes the same one of it, bit for bit."""
    starts = panel.start.astype(np.int64)
    ids = pa.array([str(i) for i in panel.ids], pa.string())
    ahead = panel.horizon
    return pack(
        {
            "freq": asdict(panel.freq),
            "day": panel.freq.day,
            "tz": panel.tz,
            "schema": panel.schema.model_dump_json(),
            "steps": None if ahead is None else int(ahead.shape[1]),
            "rows": _written({"y": panel.y, **_columns(panel.past, "past")}
                             | _columns(panel.future, "future")),
            "series": _written(
                {"id": ids, "length": panel.lengths, "start": starts}
                | _columns(panel.static, "static")
            ),
            "ahead": b""
            if ahead is None
            else _written(_columns(ahead.reshape(-1, ahead.shape[2]), "ahead")),
        }
    )  # fmt: skip


def panel_of(data: bytes) -> Panel:
    """The panel of `panel_bytes`."""
    values = unpack(data)
    freq = Frequency(**values["freq"])
    schema = Schema.model_validate_json(values["schema"])
    rows, series = _read(values["rows"]), _read(values["series"])
    lengths = _array(series, "length")
    start = _array(series, "start")
    horizon = None
    if values["steps"] is not None:
        width = len(schema.future)
        flat = _block(_read(values["ahead"]), "ahead", len(lengths) * values["steps"], width)
        horizon = flat.reshape(len(lengths), values["steps"], width)
    return Panel(
        ids=np.array(series.column("id").to_pylist(), dtype=object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=_array(rows, "y"),
        start=start if freq.integer else start.astype("datetime64[us]"),
        freq=freq,
        tz=values["tz"],
        schema=schema,
        past=_block(rows, "past", len(rows), len(schema.past)),
        future=_block(rows, "future", len(rows), len(schema.future)),
        horizon=horizon,
        static=_block(series, "static", len(series), len(schema.static)),
    )


def _columns(block: Array, name: str) -> dict[str, Array]:
    return {f"{name}{k}": np.ascontiguousarray(block[:, k]) for k in range(block.shape[1])}


def _written(columns: dict[str, Any]) -> bytes:
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _read(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def _array(table: pa.Table, name: str) -> Array:
    # A copy: torch takes no arrays that may not be written to.
    return np.array(table.column(name).to_numpy())


def _block(table: pa.Table, name: str, rows: int, width: int) -> Array:
    out = np.empty((rows, width))
    for k in range(width):
        out[:, k] = table.column(f"{name}{k}").to_numpy()
    return out
