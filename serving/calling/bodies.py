"""What a client sends: tables as the bodies that the service reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.encoding import category, decode
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.paths.planned import ahead_in
from forecasting.schema import Covariate, Schema
from serving.reading.stamps import OFFSET, write_stamps


def schema_of(about: dict[str, Any], tables: Sequence[pd.DataFrame | None]) -> Schema:
    """The model's covariates; the categories are those of the tables, the service knows its own."""
    covariates = []
    for about_one in about["covariates"]:
        name, categories = about_one["name"], set()
        if about_one["type"] == "categorical":
            for table in tables:
                if table is not None and name in table.columns:
                    categories |= {str(value) for value in table[name].dropna().unique()}
        covariates.append(
            Covariate(
                name=name,
                role=about_one["role"],
                type=about_one["type"],
                categories=tuple(sorted(categories)),
            )
        )
    return Schema(covariates=tuple(covariates))


# Steps around a first stamp among which others on the whole day are looked for.
AROUND = 12


def begun_whole(panel: Panel) -> Panel:
    """A panel each of whose first stamps says by itself the day that is meant.

    The service knows of a series where it starts, and takes 28 February for the 28th. Series of the
    30th that begin there get missing rows before, up to one on the 30th; such rows are no history.

    Parameters
    ----------
    panel : of any step; returned as it is where no start was cut.
    """
    if panel.freq.day == 0 or not len(panel):
        return panel
    alone = replace(panel.freq, day=0)
    # [N, more, step] what the service would make of a start so many rows earlier.
    more, step = np.arange(AROUND + 1), np.arange(AROUND + 1)
    earlier = panel.freq.shift(panel.start[:, None], -more)
    read = alone.shift(earlier[:, :, None], more[:, None] + step)
    meant = panel.freq.shift(panel.start[:, None], step)
    right = (read == meant[:, None]).all(axis=2)
    if right[:, 0].all():
        return panel
    # Steps of months soon reach a longer one, and whole years a leap year or none at all.
    return _with_rows_before(panel, right.argmax(axis=1))


def _with_rows_before(panel: Panel, added: Array) -> Panel:
    """Missing rows before each series, as many as ``added`` [N] says."""
    lengths = panel.lengths + added
    rows = int(lengths.sum())
    kept = np.arange(panel.rows) + np.cumsum(added)[panel.series]
    y, blocks = np.full(rows, np.nan), []
    y[kept] = panel.y
    for role, block in (("past", panel.past), ("future", panel.future)):
        missing = [0.0 if c.type == "categorical" else np.nan for c in panel.schema.role(role)]
        blocks.append(np.tile(missing, (rows, 1)))
        blocks[-1][kept] = block
    return replace(
        panel,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=y,
        start=panel.freq.shift(panel.start, -added),
        past=blocks[0],
        future=blocks[1],
    )


def flat_series(panel: Panel, steps: int) -> dict[str, Any]:
    """The series of a panel in the flat form of JSON, what is known ahead for so many ``steps``."""
    panel = begun_whole(panel)
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
    return {**body, **{role: by_name for role, by_name in columns.items() if by_name}}


def appended(
    about: dict[str, Any], rows: pd.DataFrame, future: pd.DataFrame | None, *, begin: bool
) -> dict[str, Any]:
    """Rows of one series, and what is known of the steps after, as an append has them.

    Raises
    ------
    DataError : naming what is wrong with the rows, as `Panel.from_frame` does; a series that is to
        ``begin`` on a day that a short month cut.
    """
    schema = schema_of(about, (rows, future))
    future_names = {c.name for c in schema.future if c.name in rows.columns}
    if future is not None:
        future_names |= {c.name for c in schema.future if c.name in future.columns}
    # All columns as if they were of the past: none of these rows is a horizon by itself.
    columns = [c for c in schema.past if c.name in rows.columns]
    columns += [c.replace(role="past") for c in schema.future if c.name in future_names]
    named = rows.assign(unique_id="series")
    parts = [named] if future is None else [named, future.assign(unique_id="series", y=np.nan)]
    whole = pd.concat(parts, ignore_index=True)
    freq, form = about["freq"], Schema(covariates=tuple(columns))
    panel = Panel.from_frame(whole, freq=freq, schema=form)
    if begin and begun_whole(panel) is not panel:
        raise DataError(
            f"the first row, {panel.start[0]}, is cut by a short month and meant as day "
            f"{panel.freq.day}: begin the series with a row on that day, its y empty if need be"
        )
    count = int(Panel.from_frame(named[["unique_id", "ds", "y"]], freq=freq).lengths[0])
    body: dict[str, Any] = {
        "start": _stamp(write_stamps(panel.start[:, None], panel.freq, panel.tz)[0][0]),
        "y": panel.y[:count],
    }
    if panel.tz is not None and not OFFSET.fullmatch(panel.tz):
        body["tz"] = panel.tz
    for j, covariate in enumerate(columns):
        values = _listed(panel.past[:, j], covariate)
        role = "future" if covariate.name in future_names else "past"
        body.setdefault(role, {})[covariate.name] = values if role == "future" else values[:count]
    return body


def plain(value: Any) -> Any:
    """A number of NumPy as one of Python; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _stamp(stamp: Any) -> Any:
    return stamp.item() if isinstance(stamp, np.integer) else str(stamp)


def _listed(values: Any, covariate: Covariate) -> Any:
    cells = decode(values, covariate)
    return cells.tolist() if cells.dtype == object else np.ascontiguousarray(cells)


def plan(panel: Panel, steps: int, name: str, told: Any) -> dict[str, Any]:
    """A scenario as a request has it: for all series alike, or for those that a table names.

    Parameters
    ----------
    panel : the history, whose series and known-future columns they are. steps : ahead.
    told : values by column, or a table ``unique_id, ds`` and columns.

    Raises
    ------
    DataError : naming the scenario and what is wrong in it; see `forecasting.paths.planned`.
    """
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


def write_arrow(panel: Panel, options: dict[str, Any], steps: int) -> bytes:
    """The body of a request in Arrow: a row per series, lists of its values, and the ``options``.

    ``steps`` : ahead, for which known-future columns go on beyond the history.
    """
    import pyarrow as pa

    panel = begun_whole(panel)
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
