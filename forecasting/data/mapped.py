"""Values of more rows than memory should hold: in files of their own, mapped.

A mapped array is read like any other, and by the same code. What is cut from one (a panel at a
cutoff, some of its series) is mapped too, beside it. A file that is full bears no name any more: it
is gone when nothing reads it, however the process ends; one that is being filled is left by a kill.

Whatever is told series by series is told of some `blocks` of series at a time, mapped or not: what
is held beside the values is bounded, and one path serves both.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.arrays import Array
from forecasting.errors import DataError

# Rows looked at at once.
BLOCK_ROWS = 1 << 18


def folder_of(values: Array) -> Path | None:
    """Where the file of mapped values lies; None for values in memory."""
    held: object = values
    while isinstance(held, np.ndarray):
        if isinstance(held, np.memmap) and held.filename is not None:
            return Path(held.filename).parent
        held = held.base
    return None


def let_go(values: Array) -> None:
    """Mapped pages are held no more, until they are read again; of values in memory nothing is."""
    held: object = values
    while isinstance(held, np.ndarray):
        held = held.base
    if isinstance(held, mmap.mmap):
        held.madvise(mmap.MADV_DONTNEED)


class Filling:
    """A flat array filled from its front: in memory, or in a file that is mapped in the end.

    Parameters
    ----------
    folder : where a file may lie; None: all stays in memory. most : bytes that stay in memory all
        the same. rows : those to come, where they are known. width : of each; ``()`` for values.

    Raises
    ------
    DataError : the folder cannot be written to, or the disk is full.
    """

    def __init__(
        self,
        folder: Path | None,
        rows: int | None = None,
        *,
        most: int = 0,
        width: tuple[int, ...] = (),
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.rows, self.width, self.dtype = 0, width, np.dtype(dtype)
        self.row_bytes = self.dtype.itemsize * math.prod(width)
        self.folder, self.most = folder, most
        self._file: _File | None = None
        fits = folder is None or (rows or 0) * self.row_bytes <= most
        self._values = np.empty(((rows or 0) if fits else 0, *width), self.dtype)

    def add(self, values: Array) -> None:
        """More rows."""
        end = self.rows + len(values)
        if self._file is None and self.folder is not None and end * self.row_bytes > self.most:
            self._file = _File(self.folder)
            self._file.write(self._values[: self.rows])
            self._values = np.empty((0, *self.width), self.dtype)
        if self._file is not None:
            self._file.write(np.ascontiguousarray(values, self.dtype))
        else:
            if end > len(self._values):
                more = np.empty((max(len(values), self.rows // 2), *self.width), self.dtype)
                self._values = np.concatenate([self._values[: self.rows], more])
            self._values[self.rows : end] = values
        self.rows = end

    def done(self) -> Array:
        """The rows that were added; nothing more can be."""
        if self._file is not None:
            return self._file.mapped(self.dtype, (self.rows, *self.width))
        whole = self.rows == len(self._values)
        return self._values if whole else self._values[: self.rows].copy()


class _File:
    """A file that is written, mapped, and gone with whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, suffix=".values")
        except OSError as error:
            raise self._refused(error) from None
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._gone = weakref.finalize(self, self._path.unlink, missing_ok=True)

    def write(self, values: Array) -> None:
        """Append values as they lie in memory."""
        if values.size:
            try:
                self._file.write(values.data)
            except OSError as error:
                raise self._refused(error) from None

    def mapped(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """What was written, to be read only."""
        try:
            self._file.close()
            return np.memmap(self._path, dtype, mode="r", shape=shape)
        except OSError as error:
            raise self._refused(error) from None
        finally:
            self._gone()

    def _refused(self, error: OSError) -> DataError:
        why = error.strerror or str(error)
        return DataError(
            f"{self.folder}: {why}; values that are kept out of memory lie there: name a folder "
            "with room by GATECAST_HOME, or keep them in memory by data.store: memory"
        )


def blocks(offsets: Array, rows: int | None = None) -> Iterator[tuple[int, int]]:
    """Ranges of series, first and last + 1, that hold at most so many rows, or one series.

    ``offsets`` : [N + 1] bounds of each series. rows : default: `BLOCK_ROWS`.
    """
    rows = BLOCK_ROWS if rows is None else rows
    first, count = 0, len(offsets) - 1
    while first < count:
        within = int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1
        last = min(max(within, first + 1), count)
        yield first, last
        first = last


def by_series(told: Callable[[Array, Array], Array], y: Array, offsets: Array) -> Array:
    """[N, ...] what ``told`` of values and their offsets says of each series, by blocks.

    To the bit what it says of all at once, where it says of each series what its own rows say.
    """
    parts = [
        told(y[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
        for first, last in blocks(offsets)
    ]
    let_go(y)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else told(y[:0], np.zeros(1, np.int64))


def running(told: Callable[[Array], Array], y: Array, offsets: Array) -> Array:
    """[T + 1] running total of what ``told`` makes of each value, from 0 on; mapped where y is.

    To the bit what is added up at once.
    """
    filling, total = Filling(folder_of(y), len(y) + 1), np.zeros(1)
    filling.add(total)
    for first, last in blocks(offsets):
        more = np.cumsum(np.concatenate([total, told(y[offsets[first] : offsets[last]])]))
        filling.add(more[1:])
        total = more[-1:]
    return filling.done()


def least(values: Array) -> float:
    """The smallest value; NaN where none is known."""
    return float(np.fmin.reduce(values)) if len(values) else float("nan")


def parts_of(values: Array, begin: Array, lengths: Array) -> Array:
    """[sum of ``lengths``, ...] rows of flat values from ``begin`` [M] on, one part after another.

    Mapped where the values are, but for what is small.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    rows = int(ends[-1])
    if values.shape[1:] == (0,):
        return np.empty((rows, 0), values.dtype)
    if rows <= BLOCK_ROWS:
        return rows_of(values, begin, lengths)
    filling = Filling(folder_of(values), rows, width=values.shape[1:], dtype=values.dtype)
    for first, last in blocks(ends):
        filling.add(rows_of(values, begin[first:last], lengths[first:last]))
    let_go(values)
    return filling.done()


def rows_of(values: Array, begin: Array, lengths: Array) -> Array:
    """``values[ranges(begin, lengths)]``, where parts of one length lie evenly without indices.

    Parameters
    ----------
    values : [T, ...]. begin, lengths : [M] of each part, in rows.
    """
    if len(begin) == 1:
        return np.array(values[int(begin[0]) : int(begin[0] + lengths[0])])
    if values.ndim == 1 and len(begin) > 1 and lengths[0] and (lengths == lengths[0]).all():
        apart = int(begin[1] - begin[0])
        if apart > 0 and (np.diff(begin) == apart).all():
            parts = sliding_window_view(values, int(lengths[0]))
            return np.array(parts[int(begin[0]) : int(begin[-1]) + 1 : apart]).reshape(-1)
    return np.asarray(values[ranges(begin, lengths)])


def ranges(begin: Array, lengths: Array) -> Array:
    """The concatenation of ``arange(b, b + n)`` for each of [M] pairs, without a loop: [sum(n)]."""
    total = int(lengths.sum())
    shift = np.repeat(begin - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.asarray(np.arange(total) + shift)
