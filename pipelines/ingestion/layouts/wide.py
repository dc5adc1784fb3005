"""Tables with a column for each series."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.columns.columns import numbers_of
from pipelines.ingestion.columns.ids import compose
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.cells import (
    Rows,
    add_covariates,
    by_name,
    csv_of,
    matrix_of,
    value_columns,
)
from pipelines.ingestion.raw import Raw
from pipelines.ingestion.stamps.parts import stamps_of

# What pandas and others call an index that has no name.
_INDEX = re.compile(r"(?i)unnamed: \d+|index|level_0|row(?:[ _.]?(?:id|no|number|names?))?|")


def wide_rows(raw: Raw, config: DataConfig) -> Rows:
    """Column after column; covariates are those of every series."""
    ds_at = [raw.position(n, "ds") for n in config.ds or ()]
    shared = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    apart = {*ds_at, *shared}
    numbering = [i for i in range(len(raw.names)) if i not in apart and _numbers_rows(raw, i)]
    at = value_columns(raw, apart | {*numbering})
    if not at:
        raise DataError("layout = wide: no column is left for the series beside ds")
    count, width = raw.table.num_rows, len(at)
    names = list(config.levels) or [f"level{i + 1}" for i in range(len(raw.headers))]
    if len(names) != len(raw.headers):
        raise ConfigError(
            f"levels names {len(names)} header lines, but the table has {len(raw.headers)}"
        )
    levels = [_filled([level[i] for i in at]) for level in raw.headers[:-1]]
    levels.append([raw.names[i] for i in at])
    parts = [pa.array(level, pa.string()) for level in levels]
    ids = compose(parts, names, config.ids)
    stamps = stamps_of(raw, config)
    stamps.index = np.tile(stamps.index if stamps.index is not None else np.arange(count), width)
    matrix = matrix_of(raw, at)
    csv, marks = csv_of(raw, config, by_name(raw, [*at, *shared], matrix))
    rows = Rows(
        ids,
        np.repeat(np.arange(width, dtype=np.int32), count),
        stamps,
        numbers_of(matrix, "of values", config.values, csv),
        np.tile(np.arange(1, count + 1), width),
        facts={"cells": "a row is a cell of the wide table", **marks},
    )
    rows.aside = [raw.names[i] for i in numbering]
    add_covariates(rows, raw, config, shared, csv, lambda values: np.tile(values, width))
    return rows


def _numbers_rows(raw: Raw, place: int) -> bool:
    """Whether a column is a table's index that was written along: 0, 1, 2 … without a name."""
    if _INDEX.fullmatch(raw.names[place].strip()) is None:
        return False
    texts = raw.table.column(place).cast(pa.string()).to_pylist()
    counted = [str(k) for k in range(len(texts) + 1)]
    return len(texts) > 1 and texts in (counted[:-1], counted[1:])


def _filled(level: list[str]) -> list[str]:
    """A header line of joined cells: a blank means what stands to its left."""
    out: list[str] = []
    for name in level:
        out.append(name or (out[-1] if out else ""))
    return out
