"""Series side by side, as smoothing reads them: one row per step, the longest series first.

All series begin at row 0, so at any step those that still have a value are the first so many
columns: a step of a recursion is a few operations on a slice, without a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.history import rows_of_older_levels, without_accidents
from forecasting.evaluation.baselines import fill_missing


@dataclass(frozen=True)
class Block:
    """N series of at most R rows, without holes, over a unit each.

    Attributes
    ----------
    y : [R, N] values over their unit, 0 after a series' end. lengths : [N >= 0] rows, falling.
    active : [R] series that have a value at each row. unit : [N] largest size of a value.
    order : [N] which series of the panel each column is.
    """

    y: Array
    lengths: Array
    active: Array
    unit: Array
    order: Array

    @classmethod
    def of(cls, y: Array, offsets: Array, season: int, rows: int | None = None) -> Block:
        """From flat histories.

        Parameters
        ----------
        y : [T] histories, NaN = missing; offsets : [N + 1] bounds of each series.
        season : steps; a hole takes the last value at its place in the season, and a value that is
            far off for once what its neighbours say; what lies before a break is left out.
        rows : of the end of each history to read; None: all.
        """
        y, offsets = _since_first(np.asarray(y, np.float64), offsets, rows)
        y = fill_missing(y, offsets, season)
        lengths = np.diff(offsets)
        side_by_side = _packed(y, offsets, np.zeros_like(lengths))
        mended = without_accidents(side_by_side, lengths, season)
        older = rows_of_older_levels(mended, lengths, season)
        series = np.repeat(np.arange(len(lengths)), lengths)
        flat = mended[np.arange(len(y)) - offsets[series], series]
        order = np.argsort(older - lengths, kind="stable")
        out, lengths = _packed(flat, offsets, older)[:, order], (lengths - older)[order]
        unit = np.abs(out).max(axis=0, initial=0.0)
        unit = np.where(unit > 0.0, unit, 1.0)
        active = np.searchsorted(-lengths, -np.arange(len(out)), side="left")
        return cls(out / unit, lengths, active, unit, order)

    @property
    def seen(self) -> Array:
        """[R, N] whether a series has a value at a row."""
        return np.asarray(np.arange(len(self.y))[:, None] < self.lengths)

    def columns(self, chosen: slice) -> Block:
        """Some of the series, neighbours of each other."""
        lengths = self.lengths[chosen]
        rows = int(lengths.max(initial=0))
        active = np.clip(self.active[:rows] - (chosen.start or 0), 0, len(lengths))
        return Block(self.y[:rows, chosen], lengths, active, self.unit[chosen], self.order[chosen])

    def with_values(self, y: Array) -> Block:
        """The same series with other values [R, N], of the same unit."""
        return Block(np.where(self.seen, y, 0.0), self.lengths, self.active, self.unit, self.order)


def _packed(y: Array, offsets: Array, skipped: Array) -> Array:
    """[R, N] flat histories side by side without their first ``skipped`` [N] rows, then 0."""
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(len(y)) - (offsets[:-1] + skipped)[series]
    out = np.zeros((int((lengths - skipped).max(initial=0)), len(lengths)))
    inside = row >= 0
    out[row[inside], series[inside]] = y[inside]
    return out


def _since_first(y: Array, offsets: Array, rows: int | None) -> tuple[Array, Array]:
    """Histories without what lies before their first value, and before their last ``rows``."""
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(y)) - offsets[series]
    inside = np.ones(len(y), np.bool_) if rows is None else position >= (lengths - rows)[series]
    first = np.full(len(lengths), np.iinfo(np.int64).max)
    observed = inside & ~np.isnan(y)
    np.minimum.at(first, series[observed], position[observed])
    inside &= position >= first[series]
    counts = np.bincount(series[inside], minlength=len(lengths))
    return y[inside], np.concatenate([[0], np.cumsum(counts)])
