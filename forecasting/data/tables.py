"""The tables people hand over: what they must be, of which series they speak, and their columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.encoding import (
    LISTS,
    blank,
    category,
    encode,
    numbers,
    refuse_no_names,
    say_text_numbers,
)
from forecasting.errors import DataError, listed
from forecasting.schema import Covariate, Schema

# Series whose names are compared with each other.
MOST_NAMES = 100_000
# What turns other things into a table, by the name of their class.
_CURES = {
    "str": "read it first, with pd.read_csv or `gatecast ingest`",
    "dict": "make one with pd.DataFrame(...)",
    "list": "make one with pd.DataFrame(...)",
    "ndarray": "make one with pd.DataFrame(..., columns=[...])",
    "Series": "make one with .to_frame() or .reset_index()",
    "RecordBatch": "make one with pa.Table.from_batches([...])",
    "LazyFrame": "make one with .collect()",
}


def need_frame(table: Any, name: str) -> None:
    """DataError for what is no table, as `as_pandas` gives it; ``name`` is the argument's."""
    if isinstance(table, pd.DataFrame):
        return
    kind = type(table)
    cure = _CURES.get("str" if hasattr(table, "__fspath__") else kind.__name__)
    if cure is None:
        has_way = hasattr(table, "to_pandas")
        cure = "make one with .to_pandas()" if has_way else "make one with pd.DataFrame(...)"
    raise DataError(
        f"{name} must be a table of pandas, polars or Arrow, not a {kind.__name__}: {cure}"
    )


def need_frames(**tables: Any) -> None:
    """DataError for one of several tables, each by its argument's name, that is given and none."""
    for name, table in tables.items():
        if table is not None:
            need_frame(table, name)


def need_names(given: Any, name: str) -> None:
    """DataError for a text, or what is no list, where a list of columns is meant."""
    if isinstance(given, str):
        raise DataError(f'{name} = "{given}" must be a list of columns: {name}=["{given}"]')
    if not isinstance(given, Sequence | pd.Index | np.ndarray):
        raise DataError(
            f"{name} must be a list of columns of the table, not a {type(given).__name__}"
        )


def refuse_two_roles(past: Sequence[str], future: Sequence[str]) -> None:
    """DataError for a column named twice, or that stands in the way of the table's own."""
    names = [*past, *future]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"covariate {name!r} is named twice in past and future: keep one")
        if name in ("unique_id", "ds", "y"):
            raise DataError(f"{name} is no covariate: take it out of past and future")


def need_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """DataError for a table where a column is missing, or stands twice."""
    twice = [n for n in names if n in frame.columns and isinstance(frame[n], pd.DataFrame)]
    if twice:
        raise DataError(f"column {twice[0]} stands twice in the table; drop or rename one of them")
    missing = [n for n in names if n not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns[:20]))
        in_index = [n for n in missing if n in frame.index.names]
        cure = f"; {', '.join(in_index)} in the index: call .reset_index()" if in_index else ""
        raise DataError(
            f"missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"the table has: {there or 'none'}{cure}"
        )


def say_left_aside(frame: pd.DataFrame, used: Sequence[str]) -> None:
    """Warn of columns that training does not look at, and say how it would."""
    aside = [str(n) for n in frame.columns if n not in {"unique_id", "ds", "y", *used}]
    if not aside:
        return
    named = listed(aside, 8)
    warnings.warn(
        f"columns left aside: {named}; to use one, name it in past=[{aside[0]!r}], or in future if "
        "it is known ahead; what has one value per series belongs into a table of its own, static",
        UserWarning,
        stacklevel=3,
    )


def say_open_ends(y: Array, offsets: Array, ids: Array) -> None:
    """Warn where series end with rows without y and no covariate is known ahead.

    Their forecast starts after these rows, and not after the last value.

    Parameters
    ----------
    y : [T]; offsets : [N + 1]; ids : [N].
    """
    seen = np.concatenate([[0], np.cumsum(~np.isnan(y))])
    valued = seen[offsets[1:]] > seen[offsets[:-1]]
    at = np.flatnonzero(valued)
    at = at[np.isnan(y[offsets[1:][at] - 1])]
    if len(at):
        warnings.warn(
            f"{len(at):,} series, such as {ids[at[0]]!r}, end with rows without y: the forecast "
            "starts after these rows, not after the last value; leave them out to start there",
            UserWarning,
            stacklevel=3,
        )


def say_names(ids: Array) -> None:
    """Warn of series whose names differ in blanks or capitals only: one series, perhaps, in two.

    Parameters
    ----------
    ids : [N].
    """
    if len(ids) > MOST_NAMES:
        return
    first: dict[str, str] = {}
    for name in map(str, ids):
        alike = first.setdefault("".join(name.split()).casefold(), name)
        if alike != name:
            warnings.warn(
                f"series {alike!r} and {name!r} differ in blanks or capitals only: they are two "
                "series; if they are one, write its name alike in every row",
                UserWarning,
                stacklevel=3,
            )
            return


def say_truths(y: pd.Series) -> None:
    """Warn of a target of true and false, which is forecast as a number between 0 and 1."""
    if pd.api.types.is_bool_dtype(y.dtype):
        warnings.warn(
            "y holds true and false, which are read as 1 and 0: what is forecast is a number, the "
            "mean about the share of true",
            UserWarning,
            stacklevel=3,
        )


def say_blank(
    frame: pd.DataFrame, static: pd.DataFrame | None, schema: Schema, *, trained: bool
) -> None:
    """Warn of covariates that have no value in any row.

    Parameters
    ----------
    schema : the forecaster's where one is ``trained``; else what the tables say.
    """
    tables = [(frame, (*schema.past, *schema.future)), (static, schema.static)]
    blanks = [
        c.name
        for table, covariates in tables
        if table is not None
        for c in covariates
        if c.name in table and len(table) and table[c.name].isna().all()
    ]
    if blanks:
        learned = "what was learned of them is of no use" if trained else "nothing is learned"
        warnings.warn(
            f"covariates without a value in any row: {listed(blanks, 8)}; they count as missing, "
            f"and {learned}",
            UserWarning,
            stacklevel=5,
        )


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
    codes, values = pd.factorize(column, sort=False)
    ids = [category(i) for i in values]
    if len(set(ids)) < len(ids):
        again, names = pd.factorize(np.asarray(ids, dtype=object), sort=False)
        codes, ids = np.where(codes < 0, -1, again[codes]), list(names)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"{where}row {row}: unique_id is missing")
    return np.asarray(ids, dtype=object), codes.astype(np.int64)


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
        warnings.warn(
            f"the static table has no row for {len(lost)} of {len(ids)} series, the first is "
            f"{ids[lost[0]]!r}: their static values count as missing",
            UserWarning,
            stacklevel=2,
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


def schema_of(
    frame: pd.DataFrame,
    static: pd.DataFrame | None,
    past: Sequence[str],
    future: Sequence[str],
    categorical: Sequence[str],
) -> Schema:
    """Covariates as the tables' columns are: real ones with mean and deviation, others with names.

    Raises
    ------
    DataError : a column of dates, or one that is neither numbers nor categories.
    """
    covariates = []
    tables = [("past", list(past), frame), ("future", list(future), frame)]
    if static is not None:
        tables.append(("static", [c for c in static.columns if c != "unique_id"], static))
    for role, names, table in tables:
        for name in names:
            column = table[name]
            is_text = not (
                pd.api.types.is_numeric_dtype(column.dtype)
                or pd.api.types.is_bool_dtype(column.dtype)
            )
            values: dict[str, Any] = {"name": str(name), "role": role}
            if name not in categorical and is_date(column):
                numbers(column, str(name), table)  # refuses, and says what to do
            if is_text or name in categorical:
                refuse_no_names(column, str(name))
                if name not in categorical:
                    say_text_numbers(column, str(name))
                kinds = {category(v) for v in column.dropna().unique()}
                values |= {"type": "categorical", "categories": tuple(sorted(kinds))}
            else:
                found = numbers(column, str(name), frame if role != "static" else _flat(table))
                known = found[~np.isnan(found)]
                if len(known):
                    spread = float(known.std())
                    values |= {"mean": float(known.mean()), "std": spread if spread > 0 else 1.0}
            covariates.append(Covariate.parse(values))
    return Schema(covariates=tuple(covariates))


def refuse_unknown(categorical: Sequence[str], schema: Schema) -> None:
    """Refuse names of categorical columns that are no covariate; DataError names one."""
    names = [c.name for c in schema.covariates]
    for name in categorical:
        if name not in names:
            raise DataError(
                f"categorical names {name!r}, which is no covariate; there are: "
                f"{', '.join(names) or 'none'}"
            )


def _flat(static: pd.DataFrame) -> pd.DataFrame:
    return static.assign(ds="static")


def static_beside(
    frame: pd.DataFrame, codes: Array, ids: Array, schema: Schema | None
) -> pd.DataFrame | None:
    """What a schema asks for as static and the long table has itself; None where it has nothing."""
    names = [c.name for c in schema.static] if schema is not None else []
    found = [n for n in names if n in frame.columns]
    if not found:
        return None
    need_columns(frame, found)
    table = static_columns(frame, codes, ids, found)
    lacking = [n for n in names if n not in found]
    if lacking:
        warnings.warn(
            f"no static table is given, and the table has no {', '.join(lacking)}: missing for "
            "every series",
            UserWarning,
            stacklevel=2,
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
        warnings.warn(
            f"no static table is given: {names} count as missing for every series",
            UserWarning,
            stacklevel=2,
        )
        return np.stack([blank(c, len(ids)) for c in schema.static], axis=1)
    need_columns(static, ("unique_id", *(c.name for c in schema.static)))
    position = static_rows(static, ids)
    table = _flat(static)
    columns = []
    for covariate in schema.static:
        values = encode(static[covariate.name], covariate, table)
        columns.append(np.where(position >= 0, values[position], blank(covariate, len(ids))))
    return np.stack(columns, axis=1)
