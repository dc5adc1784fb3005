"""Order, duplicates, stamps off the grid, gaps: each by its policy, each written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.calendar import Frequency, wall_clock
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layout import Column
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.segments import bounds, reduce
from pipelines.ingestion.steps import DAY, Grid, lay_grid
from pipelines.ingestion.table import Table

Array = npt.NDArray[Any]


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


def drop_duplicates(table: Table, config: DataConfig, ledger: Ledger) -> Table:
    """One row per series and stamp."""
    twice = (table.codes[1:] == table.codes[:-1]) & (table.ds[1:] == table.ds[:-1])
    if not twice.any():
        return table
    policy = config.duplicates
    member = np.zeros(len(table), bool)
    member[1:] |= twice
    member[:-1] |= twice
    rows = np.flatnonzero(member)
    head = np.concatenate([[True], ~twice])[rows]
    group = np.cumsum(head) - 1
    first = rows[head][group]
    same = np.ones(len(rows), bool)
    same_y = np.ones(len(rows), bool)
    for name, values in table.all_values():
        a, b = values[rows], values[first]
        equal = (a == b) | ((a != a) & (b != b))
        same &= equal
        if name == "y":
            same_y = equal
    conflict = np.bincount(group, weights=~same) > 0
    clash_y = np.bincount(group, weights=~same_y) > 0
    identical = rows[~head & same]
    if len(identical) and policy.identical == "refuse":
        raise DataError(_twice(table, int(identical[0]), len(identical), "identical"))
    differing = int(clash_y.sum())
    if policy.conflicting == "refuse" and conflict.any():
        at = int(rows[~head & conflict[group]][0])
        raise DataError(_twice(table, at, int(conflict.sum()), "different"))
    if differing > max(policy.max_share * len(table), 20):
        at = int(rows[~head & clash_y[group]][0])
        raise DataError(
            _twice(table, at, differing, "different")
            + "; is a column of the id forgotten? Name all of them in id, or raise "
            "duplicates.max_share"
        )
    ledger.note(
        "identical_duplicate", "removed", "an identical row for the same series and stamp",
        **table.places(identical), before=table.y[identical],
    )  # fmt: skip
    keep = np.zeros(len(table), bool)
    keep[~member] = True
    keep[rows[head]] = True
    if conflict.any():
        clashing = conflict[group]
        part = table.take(rows[clashing])
        chosen, merged = _settle(part, group[clashing], policy.conflicting)
        # Rows equal to the first of their group are accounted as identical.
        lost = np.ones(len(part), bool)
        lost[chosen] = False
        exact = (~head & same)[clashing]
        stay_exact = exact & ~lost
        lost &= ~exact
        if stay_exact.any():
            # The row kept equals the first, which then is the one that goes.
            owners = group[clashing][stay_exact]
            heads = np.flatnonzero(head[clashing])
            lost[heads[np.searchsorted(group[clashing][heads], owners)]] = False
        _note_conflicts(part, group[clashing], chosen, merged, lost, policy.conflicting, ledger)
        keep[rows[clashing]] = False
        keep[rows[clashing][chosen]] = True
        table = replace(table, y=table.y.copy())
        table.y[rows[clashing][chosen]] = merged["y"]
        for name, column in list(table.columns.items()):
            values = column.values.copy()
            values[rows[clashing][chosen]] = merged[name]
            table.columns[name] = replace(column, values=values)
    return table.take(np.flatnonzero(keep))


def _twice(table: Table, at: int, count: int, kind: str) -> str:
    stamp = table.ds[at]
    return (
        f"series {table.ids[table.codes[at]]!r} has several rows with {kind} values for one stamp "
        f"(row {table.row[at]}, {_stamp_text(stamp)}; {count:,} in all)"
    )


def _stamp_text(stamp: int) -> str:
    return str(stamp) if abs(stamp) < 10**11 else str(np.datetime64(int(stamp), "us"))[:19]


def _settle(part: Table, group: Array, policy: str) -> tuple[Array, dict[str, Array]]:
    """The row that stays of each group, and the values it gets."""
    _, number = np.unique(group, return_inverse=True)
    count = int(number.max()) + 1
    offsets = bounds(number, count)
    # A row with a value is better than one without, whatever the order.
    seen = ~np.isnan(part.y)
    index = np.arange(len(part))
    if policy == "first":
        pick = reduce(np.minimum, np.where(seen, index, len(part)), offsets, 0)
        pick = np.where(pick == len(part), offsets[:-1], pick)
    else:
        pick = reduce(np.maximum, np.where(seen, index, -1), offsets, 0)
        pick = np.where(pick < 0, offsets[1:] - 1, pick)
    merged = {name: values[pick] for name, values in part.all_values()}
    if policy in ("mean", "sum", "min", "max"):
        merged["y"] = aggregate(part.y, offsets, policy)
        for name, column in part.columns.items():
            if column.categories is None:
                kind = policy if policy != "sum" else "mean"
                merged[name] = aggregate(column.values, offsets, kind)
    return pick, merged


def aggregate(values: Array, offsets: Array, how: str) -> Array:
    """Sum, mean, extreme, first or last of the values that are there; NaN for none."""
    seen = ~np.isnan(values)
    if how in ("first", "last"):
        index = np.arange(len(values))
        if how == "first":
            at = reduce(np.minimum, np.where(seen, index, len(values)), offsets, len(values))
        else:
            at = reduce(np.maximum, np.where(seen, index, -1), offsets, -1)
        inside = (at >= 0) & (at < len(values))
        return np.where(inside, values[np.where(inside, at, 0)], np.nan)
    if how in ("min", "max"):
        return reduce(np.fmin if how == "min" else np.fmax, values, offsets, np.nan)
    count = reduce(np.add, seen.astype(np.float64), offsets, 0.0)
    total = reduce(np.add, np.where(seen, values, 0.0), offsets, 0.0)
    if how == "mean":
        total = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return np.where(count > 0, total, np.nan)


def _note_conflicts(
    part: Table, group: Array, chosen: Array, merged: dict[str, Array], lost: Array, policy: str,
    ledger: Ledger,
) -> None:  # fmt: skip
    _, number = np.unique(group, return_inverse=True)
    at = np.flatnonzero(lost)
    ledger.note(
        "conflicting_duplicate", "removed",
        f"another value for the same series and stamp; kept: {policy}",
        **part.places(at), before=part.y[at], after=merged["y"][number[at]],
    )  # fmt: skip


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


def to_grid(
    table: Table, freq: Frequency, config: DataConfig, ledger: Ledger
) -> tuple[Table, Grid]:
    """Rows on the grid, one per slot, still without those that are absent."""
    policy = config.irregular
    if policy.policy == "resample" and not freq.integer:
        return _resample(table, freq, config, ledger)
    grid = lay_grid(table.codes, table.ds, len(table.ids), freq)
    off = np.flatnonzero(grid.off > 0)
    if len(off):
        worst = int(off[grid.off[off].argmax()])
        where = (
            f"series {table.ids[table.codes[worst]]!r}, row {table.row[worst]}: ds = "
            f"{_stamp_text(table.ds[worst])} does not lie on the grid of freq = {freq.alias} "
            f"({len(off):,} rows)"
        )
        if policy.policy == "refuse":
            raise DataError(f"{where}; set the right freq, or irregular.policy: snap or resample")
        if len(off) > max(policy.max_share * len(table), 3) and not _jitter(grid, table):
            raise DataError(
                f"{where}: more than irregular.max_share = {policy.max_share:g} of all; set the "
                "right freq, or irregular.policy: resample"
            )
        if (grid.off > policy.tolerance).any():
            raise DataError(f"{where}, further than irregular.tolerance = {policy.tolerance:g}")
    slots = grid.slot
    clash = (table.codes[1:] == table.codes[:-1]) & (slots[1:] == slots[:-1])
    if len(off):
        new = np.asarray(freq.shift(_stamps(grid.start[table.codes[off]], freq), slots[off]))
        ledger.note(
            "irregular", "changed", "the stamp was moved to the nearest point of the grid",
            **table.places(off), column="ds", before=_stamp_texts(table.ds[off], freq),
            after=_stamp_texts(new.astype(np.int64), freq),
        )  # fmt: skip
    if clash.any():
        table, slots = _merge_slots(table, slots, config, ledger, "snapped_together")
        grid = Grid(slots, np.zeros(len(slots)), grid.start)
    return table, grid


def _jitter(grid: Grid, table: Table) -> bool:
    """Whether rows are off the grid a little everywhere, as a device's clock is."""
    return bool(np.quantile(grid.off, 0.95) < 0.25)


def _stamps(values: Array, freq: Frequency) -> Array:
    return values if freq.integer else values.astype("datetime64[us]")


def _stamp_texts(values: Array, freq: Frequency) -> Array:
    if freq.integer:
        return values
    return np.datetime_as_string(values.astype("datetime64[us]"), unit="s")


def _resample(
    table: Table, freq: Frequency, config: DataConfig, ledger: Ledger
) -> tuple[Table, Grid]:
    """Every row into the step that it falls in, steps counted from the calendar."""
    days = table.ds.astype("datetime64[us]").astype("datetime64[D]")
    count = len(table.ids)
    first = bounds(table.codes, count)[:-1]
    if freq.unit == "time":
        # 1970 began on a Thursday; weeks are counted from their own weekday.
        weekdays = ("THU", "FRI", "SAT", "SUN", "MON", "TUE", "WED")
        origin = weekdays.index(freq.anchor) * DAY if freq.anchor in weekdays else 0
        bin_ = (table.ds - origin) // freq.size
        stamp = bin_ * freq.size + origin
    elif freq.unit == "month":
        months = days.astype("datetime64[M]").astype(np.int64)
        names = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
        origin = names.index(freq.anchor) if freq.anchor else 0
        if freq.end and freq.anchor:
            origin += 1
        bin_ = (months - origin) // freq.size
        begin = (bin_ * freq.size + origin).astype("datetime64[M]")
        if freq.end:
            stamp = ((begin + freq.size).astype("datetime64[D]") - 1).astype(np.int64) * DAY
        else:
            stamp = begin.astype("datetime64[D]").astype(np.int64) * DAY
    else:
        held = np.busday_offset(days, 0, roll="backward")
        stamp = held.astype(np.int64) * DAY
        bin_ = np.busday_count(np.datetime64("1970-01-01"), held)
    moved = np.flatnonzero(stamp != table.ds)
    ledger.note(
        "resampled", "changed", f"the row was counted to its step of {freq.alias}",
        **table.places(moved), column="ds", before=_stamp_texts(table.ds[moved], freq),
        after=_stamp_texts(stamp[moved], freq),
    )  # fmt: skip
    at = np.minimum(first, max(len(table) - 1, 0))
    slots = bin_ - bin_[at][table.codes]
    table, slots = _merge_slots(table, slots, config, ledger, "merged")
    return table, Grid(slots, np.zeros(len(slots)), stamp[at])


def _merge_slots(
    table: Table, slots: Array, config: DataConfig, ledger: Ledger, code: str
) -> tuple[Table, Array]:
    """One row per slot, by the configured aggregate."""
    how = config.irregular.aggregate
    new = np.ones(len(table), bool)
    new[1:] = (table.codes[1:] != table.codes[:-1]) | (slots[1:] != slots[:-1])
    if new.all():
        return table, slots
    heads = np.flatnonzero(new)
    offsets = np.concatenate([heads, [len(table)]])
    group = np.cumsum(new) - 1
    y = aggregate(table.y, offsets, how)
    gone = np.flatnonzero(~new)
    ledger.note(
        code, "removed", f"the row was merged with others of its step: {how}",
        **table.places(gone), before=table.y[gone], after=y[group[gone]],
    )  # fmt: skip
    columns = {}
    for name, column in table.columns.items():
        if column.categories is None:
            values = aggregate(column.values, offsets, "mean" if how == "sum" else how)
        else:
            values = column.values[offsets[1:] - 1]
        columns[name] = replace(column, values=values)
    merged = table.take(heads)
    return replace(merged, y=y, columns=columns), slots[heads]


def fill_gaps(
    table: Table, grid: Grid, freq: Frequency, config: DataConfig, ledger: Ledger
) -> tuple[Array, Array, Table]:
    """Absent rows as missing values.

    Returns
    -------
    offsets [N + 1], start [N] int64, and the table with every slot of every series.
    """
    count = len(table.ids)
    offsets = bounds(table.codes, count)
    size = np.diff(offsets)
    at = np.minimum(offsets[:-1], max(len(table) - 1, 0))
    first = np.where(size > 0, grid.slot[at] if len(table) else 0, 0)
    last = np.where(size > 0, grid.slot[np.maximum(offsets[1:] - 1, 0)] if len(table) else 0, -1)
    lengths = last - first + 1
    total = int(lengths.sum())
    if total > config.gaps.max_growth * len(table) + 1000:
        worst = int((lengths - size).argmax())
        raise DataError(
            f"the table would grow from {len(table):,} to {total:,} rows with freq = {freq.alias}: "
            f"series {table.ids[worst]!r} has {size[worst]:,} rows on {lengths[worst]:,} steps; "
            "set the right freq, or raise gaps.max_growth"
        )
    start = np.asarray(freq.shift(_stamps(grid.start, freq), first)).astype(np.int64)
    if total == len(table):
        return offsets, start, table
    if config.gaps.policy == "refuse":
        worst = int((lengths - size).argmax())
        raise DataError(
            f"{total - len(table):,} rows are absent, {lengths[worst] - size[worst]:,} of them in "
            f"series {table.ids[worst]!r}; mend it, or set gaps.policy: insert"
        )
    new_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    target = new_offsets[:-1][table.codes] + grid.slot - first[table.codes]
    absent = np.ones(total, bool)
    absent[target] = False
    holes = np.flatnonzero(absent)
    codes = np.repeat(np.arange(count, dtype=np.int32), lengths)
    step = holes - new_offsets[codes[holes]]
    gap_ds = np.asarray(freq.shift(_stamps(start[codes[holes]], freq), step)).astype(np.int64)
    ledger.note(
        "gap", "inserted", "an absent row was inserted, its value missing",
        series=codes[holes], ds=gap_ds,
    )  # fmt: skip
    ds = np.empty(total, np.int64)
    ds[target], ds[holes] = table.ds, gap_ds
    y = np.full(total, np.nan)
    y[target] = table.y
    row = np.zeros(total, np.int64)
    row[target] = table.row
    columns = {}
    for name, column in table.columns.items():
        values = np.full(total, -1 if column.categories is not None else np.nan,
                         dtype=column.values.dtype)  # fmt: skip
        values[target] = column.values
        columns[name] = replace(column, values=values)
    return new_offsets, start, Table(table.ids, codes, ds, y, row, columns)


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
        known = values
        if isinstance(column.config.fill, str):
            code = np.flatnonzero(column.categories == column.config.fill)
            known = np.where(np.isin(values, code), -1, values)
        best = np.maximum.reduceat(known, heads)[group]
        spread = np.where(best >= 0, best, values)
    else:
        known = np.where(values == column.config.fill, np.nan, values)
        best = np.fmax.reduceat(known, heads)[group]
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
