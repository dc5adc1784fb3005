"""Which sums of series there are: levels of groups, nested or crossed, as a sparse matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.paths.reconcile import HOWS, How
from forecasting.paths.totals import TotalError, by_categories, columns_of, name_of, need_keys

LEAVES = "series"
KEYS = ("levels", "how", "nonnegative")
MOST_LEVELS = 20


@dataclass(frozen=True)
class Levels:
    """What a hierarchy is to be made of.

    Attributes
    ----------
    by : for each level the static columns whose equal categories make its groups; of no column:
        all series in one. Levels may be nested or crossed.
    how : of `reconcile.reconciled`; None: ``wls_struct``, or ``bottom_up`` where sums
        cannot be forecast.
    nonnegative : nothing below 0.
    """

    by: tuple[tuple[str, ...], ...]
    how: How | None = None
    nonnegative: bool = False

    @classmethod
    def of(cls, given: Any, columns: Collection[str]) -> Levels:
        """From an object of `KEYS`; `TotalError` names the first wrong value.

        ``columns`` : static columns of categories that there are.
        """
        need_keys(given, KEYS, "{levels: [[], [region]]}")
        levels = given.get("levels")
        if not isinstance(levels, list | tuple):
            raise TotalError(("levels",), "wrong_type", "must be a list of lists of columns")
        if not 1 <= len(levels) <= MOST_LEVELS:
            detail = f"holds {len(levels)}; from 1 to {MOST_LEVELS} are taken"
            raise TotalError(("levels",), "out_of_range", detail)
        column_lists = [columns_of(level, columns, ("levels", k)) for k, level in enumerate(levels)]
        for k, level in enumerate(column_lists):
            if any(set(level) == set(earlier) for earlier in column_lists[:k]):
                raise TotalError(("levels", k), "duplicate", "is a level twice")
            if name_of(level) in (LEAVES, *map(name_of, column_lists[:k])):
                detail = (
                    f"another level is called {name_of(level)!r}, too; name the column otherwise"
                )
                raise TotalError(("levels", k), "ambiguous", detail)
        how, floor = given.get("how"), given.get("nonnegative", False)
        if how is not None and how not in HOWS:
            raise TotalError(("how",), "out_of_range", f"must be one of {', '.join(HOWS)}")
        if not isinstance(floor, bool):
            raise TotalError(
                ("nonnegative",), "wrong_type", f"must be true or false, not {floor!r}"
            )
        return cls(tuple(column_lists), how, floor)


@dataclass(frozen=True)
class Hierarchy:
    """U sums of N series.

    Attributes
    ----------
    levels : [U] names of the sums' levels, ``state/region``, ``total``. names : [U].
    keys : [U] the categories by column that a sum's series have in common.
    matrix : sparse [U, N] of 0 and 1.
    """

    levels: list[str]
    names: list[str]
    keys: list[dict[str, str]]
    matrix: Any

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(
        cls, labels: Mapping[str, Sequence[str | None]], by: Sequence[Sequence[str]], count: int
    ) -> Hierarchy:
        """The sums of ``count`` series at some levels, by categories [N] of columns.

        Raises
        ------
        TotalError : where two sums of a level would bear one name.
        """
        from scipy import sparse

        levels: list[str] = []
        names: list[str] = []
        keys: list[dict[str, str]] = []
        rows: list[Array] = []
        for level, columns in enumerate(by):
            row = np.empty(count, np.int64)
            path = ("levels", level)
            for key, members in by_categories(labels, columns, count, path).items():
                row[members] = len(names)
                levels.append(name_of(columns))
                names.append(name_of(key))
                keys.append(dict(zip(columns, key, strict=True)))
            rows.append(row)
        row, column = np.concatenate(rows), np.tile(np.arange(count), len(by))
        matrix = sparse.csr_array((np.ones(len(row)), (row, column)), (len(names), count))
        return cls(levels, names, keys, matrix)


def refuse_parts_missing(lost: Sequence[str], why: str) -> None:
    """`DataError` where series of a hierarchy have no forecast: nothing would add up."""
    if lost:
        raise DataError(
            f"{len(lost)} series of the hierarchy {why}, such as {lost[0]!r}: nothing adds up "
            "without them; leave them out, or mend them"
        )
