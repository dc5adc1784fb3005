"""Rows onto the grid of the frequency: snapped or resampled, and absent ones inserted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.segments import aggregate, bounds
from pipelines.ingestion.series.slots import Grid, lay_grid
from pipelines.ingestion.series.table import Table
from pipelines.ingestion.stamps.readings import DAY


def to_grid(
    table: Table,
    freq: Frequency,
    config: DataConfig,
    ledger: Ledger,
    guessed: dict[str, Any] | None = None,
) -> tuple[Table, Grid]:
    """Rows on the grid, one per slot, still without those that are absent.

    Parameters
    ----------
    guessed : what is to be said of stamps whose reading was chosen among several; empty where
        there was one.
    """
    policy = config.irregular
    if policy.policy == "resample" and not freq.integer:
        return _resample(table, freq, config, ledger)
    grid = lay_grid(table.codes, table.ds, len(table.ids), freq)
    off = np.flatnonzero(grid.off > 0)
    if len(off):
        worst = int(off[grid.off[off].argmax()])
        where = (
            f"series {table.ids[table.codes[worst]]!r}, row {table.row[worst]}: ds = "
            f"{stamp_text(table.ds[worst])} does not lie on the grid of freq = {freq.alias} "
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
    if guessed and config.freq is None and (clash.any() or 2 * len(off) > len(table)):
        raise _not_borne_out(table, freq, len(off), int(clash.sum()), guessed)
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


def _not_borne_out(
    table: Table, freq: Frequency, moved: int, merged: int, facts: dict[str, Any]
) -> DataError:
    """A reading under which rows are moved onto others, or most are moved, is not what is meant."""
    reading = facts.get("reading") or facts.get("stamps")
    return DataError(
        f"the stamps may be read in several ways, and none leaves the rows where they are: read as "
        f"{reading}, from {stamp_text(table.ds.min())} to {stamp_text(table.ds.max())}, at step "
        f"{freq.alias}, {moved:,} of {len(table):,} would be moved and {merged:,} merged with "
        "another; say how they are written in stamps.formats, or, where they are numbers of "
        "steps, freq: step; if the reading is right, name its step: freq"
    )


def _jitter(grid: Grid, table: Table) -> bool:
    """Whether rows are off the grid a little everywhere, as a device's clock is."""
    return bool(np.quantile(grid.off, 0.95) < 0.25)


def stamp_text(stamp: int) -> str:
    """A stamp or a step for a message."""
    return str(stamp) if abs(stamp) < 10**11 else str(np.datetime64(int(stamp), "us"))[:19]


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
