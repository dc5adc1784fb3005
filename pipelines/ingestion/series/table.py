"""Sorted rows of all series while they are mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from forecasting.arrays import Array
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.ledger import Ledger, Places


@dataclass
class Table:
    """T rows sorted by series and stamp.

    Attributes
    ----------
    ids : [N]; codes : [T], ascending; ds : [T] int64; y : [T]; row : [T] rows of the source.
    columns : covariates that move in time. before : series of the whole table before these, which
        are some of it; the ledger numbers all.
    """

    ids: Array
    codes: Array
    ds: Array
    y: Array
    row: Array
    columns: dict[str, Column] = field(default_factory=dict)
    before: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Array) -> Table:
        """Some rows."""
        return Table(
            self.ids,
            self.codes[index],
            self.ds[index],
            self.y[index],
            self.row[index],
            {n: c.take(index) for n, c in self.columns.items()},
            self.before,
        )

    def places(self, index: Array) -> dict[str, Any]:
        """Where some rows are, for the ledger."""
        return {
            "series": self.codes[index] + self.before,
            "ds": self.ds[index],
            "row": self.row[index],
        }

    def with_ledger(self, ledger: Ledger) -> Places:
        """Where the rows are, for those who write into a ledger."""
        return Places(self.codes, self.ds, self.row, self.ids, ledger, self.before)

    def all_values(self) -> Sequence[tuple[str, Array]]:
        """y and the covariates, by name."""
        return [("y", self.y), *((n, c.values) for n, c in self.columns.items())]
