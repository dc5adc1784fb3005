"""Rows and partitions newer than some value, asked of the source instead of read and dropped."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads

from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig


@dataclass(frozen=True)
class Newer:
    """A column whose values must be greater than one, which is of the column's kind."""

    column: str
    than: Any

    @classmethod
    def of(cls, config: DataConfig, schema: pa.Schema, source: str) -> Newer | None:
        """What `DataConfig.newer` asks of a table; None where it asks nothing.

        Raises
        ------
        DataError : no such column, or a value that is none of its kind.
        """
        newer = config.newer
        if newer is None:
            return None
        if newer.column not in schema.names:
            there = ", ".join(schema.names[:20])
            raise DataError(
                f"data.newer.column: {source} has no column {newer.column!r}; it has {there}"
            )
        kind = schema.field(newer.column).type
        try:
            return cls(newer.column, value_of(newer.than, kind))
        except (ValueError, OverflowError):
            raise DataError(
                f"data.newer.than: {newer.than!r} is no value of the column {newer.column!r}, "
                f"which holds {kind}"
            ) from None

    @property
    def expression(self) -> pads.Expression:
        """For Arrow."""
        return pads.field(self.column) > pa.scalar(self.than)

    @property
    def iceberg(self) -> Any:
        """For PyIceberg."""
        from pyiceberg import expressions

        # Its signature is not the one that its types show.
        greater: Any = expressions.GreaterThan
        than = self.than.isoformat() if isinstance(self.than, datetime.date) else self.than
        return greater(self.column, than)


def value_of(text: str, kind: pa.DataType) -> Any:
    """A typed value of a column's kind; `ValueError` where the text is none."""
    if pa.types.is_dictionary(kind):
        return value_of(text, kind.value_type)
    if pa.types.is_integer(kind):
        return int(text)
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_date(kind):
        return datetime.date.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        stamp = pd.Timestamp(text)
        if pd.isna(stamp):
            raise ValueError(text)
        if (stamp.tzinfo is None) != (kind.tz is None):
            if kind.tz is None:
                raise ValueError(text)
            stamp = stamp.tz_localize(kind.tz)
        return stamp.to_pydatetime()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return text
    raise ValueError(text)
