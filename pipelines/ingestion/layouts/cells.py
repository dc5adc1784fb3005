"""What every layout becomes, one row per value, and how cells side by side are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.columns import Column, read_covariate
from pipelines.ingestion.columns.ids import series_of
from pipelines.ingestion.columns.marks import table_marks, votes_of
from pipelines.ingestion.columns.numbers import Numbers
from pipelines.ingestion.config import CsvConfig, DataConfig
from pipelines.ingestion.raw import Raw, is_text, shown
from pipelines.ingestion.stamps.stamps import Stamps

SEVERAL = 50  # columns that are looked at one by one


@dataclass
class Rows:
    """One row per value, as delivered.

    Attributes
    ----------
    ids : [K] names as written; codes : [T] which one each row has, -1 for none.
    y : what was read of the values; unit_factor : [T] from the unit column, NaN for an unknown
        unit.
    row : [T] row of the source, from 1. aside : columns that nothing is made of.
    """

    ids: Array
    codes: Array
    stamps: Stamps
    y: Numbers
    row: Array
    columns: dict[str, Column] = field(default_factory=dict)
    unit_factor: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.codes)


def series_named(raw: Raw, config: DataConfig, name: str) -> tuple[Array, Array]:
    """Ids and the code of each row; all rows are of one series where no id or a name is given."""
    if config.series is not None or not config.id:
        codes = np.zeros(raw.table.num_rows, np.int32)
        return np.array([config.series or name], dtype=object), codes
    return series_of([raw.column(c, "id") for c in config.id], list(config.id), config.ids)


def csv_of(
    raw: Raw, config: DataConfig, columns: dict[str, pa.ChunkedArray]
) -> tuple[CsvConfig, dict[str, str]]:
    """How the numbers of some columns are written, and what the report says of it."""
    csv = config.csv.replace(separator=raw.separator or config.csv.separator)
    return table_marks(columns, csv, raw.unread)


def matrix_of(raw: Raw, positions: list[int]) -> pa.ChunkedArray:
    """Cells of some columns, one column after the other."""
    table = raw.table.select(positions)
    kinds = {t for t in table.schema.types if not pa.types.is_null(t)}
    target = kinds.pop() if len(set(table.schema.types)) == 1 and kinds else None
    if target is None:
        target = pa.large_string() if any(is_text(k) for k in kinds) else pa.float64()
        table = table.cast(pa.schema([(n, target) for n in table.column_names]))
    return pa.chunked_array([c for column in table.columns for c in column.chunks], type=target)


def by_name(raw: Raw, positions: list[int], matrix: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Columns whose marks are compared: one by one only where their cells together disagree."""
    if is_text(matrix.type) and len(positions) > SEVERAL and len(votes_of(matrix).sure) == 1:
        return {"of values": matrix}
    return {raw.names[i] or f"number {i + 1}": raw.table.column(i) for i in positions}


def value_columns(raw: Raw, apart: set[int]) -> list[int]:
    """Columns of values, by position: those without a name and without a value are none."""
    out = []
    for i in range(len(raw.names)):
        if i in apart:
            continue
        column = raw.table.column(i)
        if any(line[i].strip() for line in raw.headers):
            out.append(i)
        elif pc.any(pc.not_equal(_trimmed(column), "")).as_py():
            first = shown(next(v for v in _trimmed(column).to_pylist() if v))
            raise DataError(
                f"column {i + 1} has no name, and values such as {first}; name it in the header"
            )
    return out


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def add_covariates(
    rows: Rows,
    raw: Raw,
    config: DataConfig,
    at: list[int],
    csv: CsvConfig,
    spread: Callable[[Array], Array],
) -> None:
    """Read the covariates' columns, and lay their values out as those of y are."""
    for covariate, i in zip(config.covariates, at, strict=True):
        column = read_covariate(raw.table.column(i), covariate, csv)
        values = spread(column.values)
        # What was found in a cell is said once, at the first of its rows.
        _, first = np.unique(spread(np.arange(len(column.values))), return_index=True)
        numbers, respelled = column.numbers, column.respelled
        rows.columns[covariate.name] = Column(
            covariate,
            values,
            column.categories,
            numbers.spread(first, len(values)) if numbers is not None else None,
            (first[respelled[0]], respelled[1]) if respelled is not None else None,
        )


def turned(found: Numbers, count: int) -> Numbers:
    """From one column of ``count`` rows after the other to one row after the other."""
    turn = np.arange(len(found.values)).reshape(-1, count).T.ravel()
    back = np.empty_like(turn)
    back[turn] = np.arange(len(turn))
    return replace(found.spread(back, len(turn)), values=found.values[turn])
