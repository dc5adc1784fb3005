"""Tables of what is known of each series as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.encoding import (
    blank,
    encode,
)
from forecasting.data.tables.needs import need_columns
from forecasting.data.tables.series import series_codes
from forecasting.errors import DataError, warn
from forecasting.schema import Schema


def static_rows(static: pd.DataFrame, ids: Array) -> Array:
    """[N] the row of a static table for each series of the history, -1 where there is none.

    Raises
    ------
    DataError : a series that stands twice, or not one that the history has.
    """
    names, codes = series_codes(static["unique_id"], "static table: ")
    again = np.flatnonzero(np.bincount(codes, minlength=len(names)) > 1)
    if len(again):
        raise DataError(f"static table: series {names[again[0]]!r} stands twice")
    rows = np.asarray(pd.Index(names).get_indexer(pd.Index(ids)))
    if not len(names):
        raise DataError("the static table has no rows")
    lost = np.flatnonzero(rows < 0)
    if len(lost) == len(ids):
        raise DataError(
            f"the static table has none of the series of the history: there a series is called "
            f"{ids[0]!r}, in the static table {names[0]!r}; write the ids of both alike"
        )
    if len(lost):
        warn(
            f"the static table has no row for {len(lost)} of {len(ids)} series, the first is "
            f"{ids[lost[0]]!r}: their static values count as missing"
        )
    return rows


def static_columns(
    frame: pd.DataFrame, codes: Array, ids: Array, names: Sequence[str]
) -> pd.DataFrame:
    """The static table that stands in the columns of a long one: one value per series.

    Parameters
    ----------
    frame : the long table; codes : [T] the series of each row; ids : [N].

    Raises
    ------
    DataError : two values for one series.
    """
    table = pd.DataFrame({"unique_id": ids})
    for name in names:
        column = frame[name].reset_index(drop=True)
        first = column.groupby(codes).first().reindex(np.arange(len(ids)))
        own = first.iloc[codes].reset_index(drop=True)
        differs = (column != own).fillna(False).to_numpy(dtype=bool) & column.notna().to_numpy()
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise DataError(
                f"column {name} is static for this model, one value per series, but series "
                f"{ids[codes[at]]!r} has {own.iloc[at]} and {column.iloc[at]}; keep the one that "
                "holds, or give a table of its own as static"
            )
        table[name] = first.array
    return table


def flat(static: pd.DataFrame) -> pd.DataFrame:
    """A static table with a column ``ds`` as long ones have: one stamp for every row."""
    return static.assign(ds="static")


def static_beside(
    frame: pd.DataFrame, codes: Array, ids: Array, schema: Schema | None
) -> pd.DataFrame | None:
    """What a schema asks for as static and the long table has itself; None where it has nothing."""
    names = [c.name for c in schema.static] if schema is not None else []
    columns = [n for n in names if n in frame.columns]
    if not columns:
        return None
    need_columns(frame, columns)
    table = static_columns(frame, codes, ids, columns)
    lacking = [n for n in names if n not in columns]
    if lacking:
        warn(
            f"no static table is given, and the table has no {', '.join(lacking)}: missing for "
            "every series"
        )
    return table.assign(**dict.fromkeys(lacking, np.nan))


def static_values(static: pd.DataFrame | None, ids: Array, schema: Schema) -> Array:
    """[N, S] what is told of each series, in the schema's order; what a series lacks is missing.

    Raises
    ------
    DataError : none of the ids is known, several rows of one series, a column that is not there.
    """
    if not schema.static:
        return np.empty((len(ids), 0))
    if static is None:
        names = ", ".join(c.name for c in schema.static)
        warn(f"no static table is given: {names} count as missing for every series")
        return np.stack([blank(c, len(ids)) for c in schema.static], axis=1)
    need_columns(static, ("unique_id", *(c.name for c in schema.static)))
    position = static_rows(static, ids)
    table = flat(static)
    columns = []
    for covariate in schema.static:
        values = encode(static[covariate.name], covariate, table)
        columns.append(np.where(position >= 0, values[position], blank(covariate, len(ids))))
    return np.stack(columns, axis=1)
