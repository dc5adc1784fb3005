"""From clean arrays straight to a panel, without a frame on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.schema import Covariate, Schema, moments
from pipelines.ingestion.clean import Clean
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.segments import reduce


def to_panel(clean: Clean) -> Panel:
    """A panel whose trailing rows without y, but with known-future covariates, are its horizon."""
    columns = {n: c for n, c in clean.columns.items() if c.config.role in ("past", "future")}
    schema = Schema(
        covariates=tuple(_covariate(n, c) for n, c in {**columns, **clean.static}.items())
    )
    lengths = np.diff(clean.offsets)
    sizes, y = lengths, clean.y
    rows: Any = slice(None)
    if schema.future:
        sizes = _history(clean, [clean.columns[c.name] for c in schema.future])
        if (sizes < lengths).any():
            step = np.arange(len(y)) - np.repeat(clean.offsets[:-1], lengths)
            rows = np.flatnonzero(step < np.repeat(sizes, lengths))
            y = y[rows]
    return Panel.from_arrays(
        clean.ids,
        y,
        sizes,
        clean.start if clean.freq.integer else clean.start.astype("datetime64[us]"),
        clean.freq,
        schema=schema,
        tz=clean.tz,
        past={c.name: _plain(clean.columns[c.name])[rows] for c in schema.past},
        future={c.name: _plain(clean.columns[c.name]) for c in schema.future},
        future_sizes=lengths,
        static={c.name: _plain(clean.static[c.name]) for c in schema.static},
    )


def _history(clean: Clean, future: list[Column]) -> Array:
    """[N] rows before the horizon: the rest has no y, but covariates reach into it."""
    index = np.arange(len(clean.y))
    lengths = np.diff(clean.offsets)
    last = reduce(np.maximum, np.where(np.isnan(clean.y), -1, index), clean.offsets, -1)
    known = np.ones(len(index), bool)
    for column in future:
        known &= column.values >= 0 if column.categories is not None else ~np.isnan(column.values)
    until = reduce(np.maximum, np.where(known, index, -1), clean.offsets, -1)
    return np.where((until > last) & (last >= 0), last + 1 - clean.offsets[:-1], lengths)


def _covariate(name: str, column: Column) -> Covariate:
    kind: dict[str, Any] = {"name": name, "role": column.config.role}
    if column.categories is not None:
        # Categories that no row uses would shift the codes of the others.
        used = np.unique(column.values[column.values >= 0])
        kind |= {
            "type": "categorical",
            "categories": tuple(sorted({str(c) for c in column.categories[used]})),
        }
    else:
        kind |= moments(column.values)
    return Covariate.parse(kind)


def _plain(column: Column) -> Array:
    if column.categories is None:
        return column.values
    names = np.concatenate([column.categories, [None]]).astype(object)
    return names[column.values]
