"""Order, blanks at the ends, values of a day: each by its policy, each written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import wall_clock
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.segments import bounds, reduce
from pipelines.ingestion.series.table import Table
from pipelines.ingestion.stamps.readings import DAY


def sort_rows(codes: Array, ds: Array, row: Array, ids: Array, ledger: Ledger) -> Array | None:
    """The order that sorts rows by series and stamp; None when they are sorted.

    Series stay in the order of the source when each stands in one block, and are sorted by name
    when they are mingled.
    """
    ahead = codes[1:] > codes[:-1]
    same = codes[1:] == codes[:-1]
    late = same & (ds[1:] < ds[:-1])
    if bool((ahead | same).all()):
        if not late.any():
            return None
        by_series = np.arange(len(codes))
    else:
        by_series = np.argsort(codes, kind="stable")
        follows = codes[by_series][1:] == codes[by_series][:-1]
        late = follows & (np.diff(ds[by_series]) < 0)
    wrong = by_series[1:][late]
    ledger.note(
        "unsorted", "changed", "the row stood after a later one of its series; rows were sorted",
        series=codes[wrong], ds=ds[wrong], row=row[wrong],
    )  # fmt: skip
    blocks = 1 + int((codes[1:] != codes[:-1]).sum())
    if blocks > len(np.unique(codes)):
        rank = np.empty(len(ids), np.int64)
        rank[np.argsort(ids.astype(str), kind="stable")] = np.arange(len(ids))
    else:
        _, first = np.unique(codes, return_index=True)
        rank = np.zeros(len(ids), np.int64)
        rank[codes[np.sort(first)]] = np.arange(len(first))
    return np.lexsort((ds, rank[codes]))


def trim_blanks(table: Table, ledger: Ledger) -> Table:
    """Without the rows before the first and after the last value of each series."""
    seen = ~np.isnan(table.y)
    if seen.all():
        return table
    offsets = bounds(table.codes, len(table.ids))
    index = np.arange(len(table))
    first = reduce(np.minimum, np.where(seen, index, len(table)), offsets, len(table))
    last = reduce(np.maximum, np.where(seen, index, -1), offsets, -1)
    before, after = index < first[table.codes], index > last[table.codes]
    empty = (last < 0)[table.codes]
    for code, mask, what in (
        ("empty_series", empty, "the series has no value at all"),
        ("leading_blank", before & ~empty, "no value before the series begins"),
        ("trailing_blank", after & ~empty, "no value after the series ends"),
    ):
        ledger.note(code, "removed", what, **table.places(np.flatnonzero(mask)), repair=False)
    return table.take(np.flatnonzero(~(before | after)))


def spread_and_fill(table: Table, tz: str | None, daily: bool, ledger: Ledger) -> None:
    """Values that stand for a whole day given to all its rows; then the configured fill."""
    for name, column in table.columns.items():
        if column.config.spread == "day":
            days = table.ds
            if tz is not None and not daily:
                days = wall_clock(days.astype("datetime64[us]"), tz).astype(np.int64)
            table.columns[name] = column = _spread(table, column, days // DAY, name, ledger)
        table.columns[name] = _fill(column)


def _spread(table: Table, column: Column, day: Array, name: str, ledger: Ledger) -> Column:
    values = column.values
    new = np.ones(len(table), bool)
    new[1:] = (table.codes[1:] != table.codes[:-1]) | (day[1:] != day[:-1])
    heads = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    # What the fill means is no news to spread.
    if column.categories is not None:
        unfilled = values
        if isinstance(column.config.fill, str):
            code = np.flatnonzero(column.categories == column.config.fill)
            unfilled = np.where(np.isin(values, code), -1, values)
        best = np.maximum.reduceat(unfilled, heads)[group]
        spread = np.where(best >= 0, best, values)
    else:
        unfilled = np.where(values == column.config.fill, np.nan, values)
        best = np.fmax.reduceat(unfilled, heads)[group]
        spread = np.where(np.isnan(best), values, best)
    changed = np.flatnonzero((spread != values) & (spread == spread))
    ledger.note(
        "spread", "changed", "a value that stands on one row of a day was given to the whole day",
        **table.places(changed), column=name,
        after=spread[changed] if column.categories is None else column.categories[spread[changed]],
        repair=False,
    )  # fmt: skip
    return replace(column, values=spread)


def _fill(column: Column) -> Column:
    fill = column.config.fill
    if fill is None:
        return column
    if column.categories is None:
        return replace(column, values=np.where(np.isnan(column.values), float(fill), column.values))
    categories = column.categories
    at = np.flatnonzero(categories == str(fill))
    code = int(at[0]) if len(at) else len(categories)
    if not len(at):
        categories = np.append(categories, str(fill))
    return replace(
        column, values=np.where(column.values < 0, code, column.values), categories=categories
    )
