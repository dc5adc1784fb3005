"""The ledger: every row that left, came or changed, with its place; nothing happens beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from forecasting.arrays import Array

Action = Literal["removed", "inserted", "changed", "flagged"]
NAT = np.iinfo(np.int64).min


@dataclass
class Entry:
    """All places where one thing happened.

    Attributes
    ----------
    code : ``identical_duplicate``, ``gap``, …
    repair : a change that ``--strict`` refuses; otherwise it is stated only.
    series, ds, row : per place, the series' number (-1 for none), the stamp as int64, and the
        source's row (from 1, 0 for none).
    """

    code: str
    action: Action
    detail: str
    repair: bool
    series: list[Array] = field(default_factory=list)
    ds: list[Array] = field(default_factory=list)
    row: list[Array] = field(default_factory=list)
    column: list[tuple[str, int]] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of places."""
        return sum(len(s) for s in self.series)

    def columns(self) -> dict[str, Any]:
        """The places as flat columns."""
        return self.head(self.count)

    def head(self, limit: int) -> dict[str, Any]:
        """The first places as flat columns."""
        out: dict[str, list[Any]] = {n: [] for n in ("series", "ds", "row", "before", "after")}
        names: list[Any] = []
        for part, (name, _) in enumerate(self.column):
            if limit <= 0:
                break
            for key, parts in out.items():
                values = getattr(self, key)[part][:limit]
                parts.append(_objects(values) if key in ("before", "after") else values)
            names.append(np.full(len(out["series"][-1]), name, dtype=object))
            limit -= len(names[-1])
        empty = np.empty(0, np.int64)
        columns = {k: np.concatenate(v) if v else empty for k, v in out.items()}
        return {**columns, "column": np.concatenate(names) if names else empty}

    def per_column(self) -> dict[str, int]:
        """Places per column of the table, where they concern one."""
        counts: dict[str, int] = {}
        for name, count in self.column:
            if name:
                counts[name] = counts.get(name, 0) + count
        return counts


def _objects(values: Any) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return out


@dataclass
class Ledger:
    """What was found, in the order it was found."""

    entries: dict[str, Entry] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def note(
        self,
        code: str,
        action: Action,
        detail: str,
        *,
        series: Array,
        ds: Array | None = None,
        row: Array | None = None,
        column: str = "",
        before: Array | Sequence[Any] | None = None,
        after: Array | Sequence[Any] | None = None,
        repair: bool = True,
    ) -> None:
        """Write down places; an empty list leaves no trace."""
        count = len(series)
        if not count:
            return
        entry = self.entries.get(code)
        if entry is None:
            entry = self.entries[code] = Entry(code, action, detail, repair)
        blank = np.empty(count, dtype=object)
        entry.series.append(np.asarray(series, np.int64))
        entry.ds.append(np.full(count, NAT) if ds is None else np.asarray(ds, np.int64))
        entry.row.append(np.zeros(count, np.int64) if row is None else np.asarray(row, np.int64))
        entry.column.append((column, count))
        entry.before.append(blank if before is None else before)
        entry.after.append(blank if after is None else after)

    def move(self, shift: Callable[[Array], Array]) -> None:
        """Move all stamps noted so far, when their meaning changes (end to start)."""
        for entry in self.entries.values():
            entry.ds = [np.where(d == NAT, d, shift(np.where(d == NAT, 0, d))) for d in entry.ds]

    def renumber(self, number: Array) -> None:
        """Series' numbers translated; -1 stays."""
        lookup = np.concatenate([number, [-1]])
        for entry in self.entries.values():
            entry.series = [lookup[s] for s in entry.series]

    def counts(self, action: Action) -> dict[str, int]:
        """Rows per code."""
        return {e.code: e.count for e in self.entries.values() if e.action == action}

    def frame(self, ids: Array, stamps: Callable[[Array], Any]) -> pd.DataFrame:
        """All places as one table, one row each."""
        parts = []
        for entry in self.entries.values():
            columns = entry.columns()
            series = columns.pop("series")
            names = np.concatenate([ids, [None]]).astype(object)
            part = pd.DataFrame(
                {"code": entry.code, "action": entry.action}, index=range(len(series))
            )
            part["unique_id"] = names[series]
            part["ds"] = stamps(columns.pop("ds"))
            part["row"] = columns["row"]
            for name in ("column", "before", "after"):
                part[name] = pd.Series(
                    [None if v is None else str(v) for v in columns[name]], dtype="str"
                )
            parts.append(part)
        if not parts:
            empty = ["code", "action", "unique_id", "ds", "row", "column", "before", "after"]
            return pd.DataFrame({n: pd.Series(dtype="str") for n in empty})
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Places:
    """Where rows are, and the ledger that keeps what is found there.

    Attributes
    ----------
    codes, ds, row : [T] series, stamp and row of the source. ids : [N] names of the series.
    before : series of the whole table before these, where they are some of it.
    """

    codes: Array
    ds: Array
    row: Array
    ids: Array
    ledger: Ledger
    before: int = 0

    @property
    def count(self) -> int:
        """Series in all, N."""
        return len(self.ids)

    def shown(self, at: int) -> str:
        """One place in words."""
        return f"row {self.row[at]}, series {self.ids[self.codes[at]]!r}"

    def note(
        self,
        at: Array,
        what: tuple[str, Action, str],
        *,
        column: str = "",
        before: Array | Sequence[Any] | None = None,
        repair: bool = True,
    ) -> None:
        """Write down ``what`` (code, action, detail) at rows ``at``; see `Ledger.note`."""
        self.ledger.note(
            *what,
            series=self.codes[at] + self.before,
            ds=self.ds[at],
            row=self.row[at],
            column=column,
            before=before,
            repair=repair,
        )
