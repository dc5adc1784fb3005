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

FEW = 5  # conflicts that no share is made of


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
