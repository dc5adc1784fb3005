"""Of which series the rows of a table speak."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.encoding import (
    LISTS,
    category,
    refuse_no_names,
    truths_apart,
)
from forecasting.errors import DataError


def is_date(column: pd.Series) -> bool:
    """Whether a column holds stamps, periods or spans of time."""
    return column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype)


def series_codes(column: pd.Series, where: str = "") -> tuple[Array, Array]:
    """The names [N] of the series of a column [T], and which of them each row has, [T] int64.

    1, 1.0 and "1" are one name; "001" is another.

    Raises
    ------
    DataError : a row without a name, by its number from 0.
    """
    if pd.api.types.is_object_dtype(column.dtype) and column.map(type).isin(LISTS).any():
        refuse_no_names(column, f"{where}unique_id")
    codes, values = pd.factorize(truths_apart(column), sort=False)
    ids = [category(i) for i in values]
    if len(set(ids)) < len(ids):
        again, names = pd.factorize(np.asarray(ids, dtype=object), sort=False)
        codes, ids = np.where(codes < 0, -1, again[codes]), list(names)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"{where}row {row}: unique_id is missing")
    return np.asarray(ids, dtype=object), codes.astype(np.int64)


def refuse_foreign_rows(
    history: tuple[Array, Array, Array], ahead: tuple[Array, Array, Array]
) -> None:
    """Refuse rows of a future table that the history has no series for, or has already.

    Parameters
    ----------
    history, ahead : names of the series [N], which each row has [T], and stamps [T].

    Raises
    ------
    DataError : naming the series, and what the row is.
    """
    ids, codes, stamps = history
    names, of_row, when = ahead
    place = np.asarray(pd.Index(ids).get_indexer(pd.Index(names)))
    foreign = np.flatnonzero(place < 0)
    if len(foreign) == len(names):
        raise DataError(
            f"the future table has none of the series of the history: there a series is called "
            f"{ids[0]!r}, in the future table {names[0]!r}; write the ids of both alike"
        )
    if len(foreign):
        raise DataError(
            f"the future table has {len(foreign)} series that the history does not have, the "
            f"first is {names[foreign[0]]!r}; leave its rows out, or give its history"
        )
    if stamps.dtype.kind != when.dtype.kind:
        kinds = {"i": "whole numbers", "M": "time stamps"}
        raise DataError(
            f"ds holds {kinds[stamps.dtype.kind]} in the history, but {kinds[when.dtype.kind]} in "
            "the future table; write both alike"
        )
    last = np.full(len(ids), stamps.min())
    np.maximum.at(last, codes, stamps)
    early = np.flatnonzero(when <= last[place[of_row]])
    if len(early):
        row = early[0]
        series = names[of_row[row]]
        raise DataError(
            f"the future table has {len(early)} rows inside the history, the first is of series "
            f"{series!r} for ds = {when[row]}, while its history goes on to "
            f"{last[place[of_row[row]]]}; keep only the rows after it"
        )
