"""One row per series and stamp: identical rows dropped, conflicting ones settled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.segments import aggregate, bounds, reduce
from pipelines.ingestion.series.grids import stamp_text
from pipelines.ingestion.series.table import Table
from pipelines.ingestion.stamps.readings import DAY

FEW = 5  # conflicts that no share is made of


def drop_duplicates(
    table: Table, config: DataConfig, ledger: Ledger, *, weeks: bool = False
) -> Table:
    """One row per series and stamp; ``weeks`` : the stamps are years and their weeks."""
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
    if weeks and conflict.any():
        _refuse_other_year(table, rows[~head & conflict[group]])
    # Rows that would go: a thousand rows on one stamp are no single fault.
    differing = int((~head & ~same_y).sum())
    if policy.conflicting == "refuse" and conflict.any():
        at = int(rows[~head & conflict[group]][0])
        raise DataError(_twice(table, at, int(conflict.sum()), "different"))
    if differing > max(policy.max_share * len(table), FEW):
        at = int(rows[~head & clash_y[group]][0])
        raise DataError(
            _twice(table, at, differing, "different")
            + "; is a column of the id forgotten? Name all of them in id, or raise "
            "duplicates.max_share"
        )
    if "identical" not in policy.given and len(identical) > max(policy.max_share * len(table), FEW):
        _refuse_events(table, identical)
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


def _refuse_other_year(table: Table, twice: Array) -> None:
    """Weeks at the turn of the year that stand twice: the year beside them is the calendar's.

    The first days of January may be of week 52 of the year before, the last of December of week 1.

    Raises
    ------
    DataError : the value of one year would take the place of another's.
    """
    days = table.ds[twice] // DAY
    thursday = ((days + 3) // 7 * 7).astype("datetime64[D]")
    week = (thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7 + 1
    if ((week == 1) | (week >= 52)).all():
        raise DataError(
            _twice(table, int(twice[0]), len(twice), "different")
            + ", a week at the turn of the year: the year is the calendar's and the week that of "
            "ISO 8601, which may belong to the year beside it: write the year of the week (pandas: "
            ".dt.isocalendar().year), or the date of its first day"
        )


def _refuse_events(table: Table, identical: Array) -> None:
    """Many rows that repeat others, all of one value: sales or events of one each, to be added up.

    Parameters
    ----------
    identical : rows that would be dropped as repetitions.

    Raises
    ------
    DataError : with the way to add them up, and the word that drops them.
    """
    values = table.y[identical]
    if values[0] == 0 or not (values == values[0]).all():
        return
    at = int(identical[0])
    raise DataError(
        _twice(table, at, len(identical), "identical")
        + f", all of them {values[0]:g}: rows of one sale or event each are to be added up, not "
        'dropped: df.groupby([id, ds], as_index=False)["y"].sum(); if they are repetitions, set '
        "duplicates: {identical: drop}"
    )


def _twice(table: Table, at: int, count: int, kind: str) -> str:
    stamp = table.ds[at]
    return (
        f"series {table.ids[table.codes[at]]!r} has several rows with {kind} values for one stamp "
        f"(row {table.row[at]}, {stamp_text(stamp)}; {count:,} in all)"
    )


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
