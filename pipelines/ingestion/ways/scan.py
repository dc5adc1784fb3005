"""One pass over a table that may be clean: every row is looked at, nothing is mended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.mapped import Filling
from forecasting.errors import DataError
from pipelines.ingestion.columns.naming import fold_text
from pipelines.ingestion.columns.values import MANY, SENTINELS, count_high_sentinels
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.raw import is_text
from pipelines.ingestion.series.steps import find_steps
from pipelines.ingestion.stamps.readings import DAY

FREQUENCY_ROWS = 1 << 14  # rows whose steps are looked at; all others must keep the same


_STRAY = "^$|^\\s|\\s$|\\s\\s|[\\t\\n\\r\u00a0\u200b\u200e\u200f\ufeff\u00ad]"


_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}


class NotCleanError(Exception):
    """Something has to be mended, or looked at more closely."""


@dataclass
class Scan:
    """What is known after some batches.

    Attributes
    ----------
    names : per batch, the ids that begin in it; begins : the rows they begin at.
    codes : rows that hold a number such as 9999, by the number.
    last : id of the row before the next batch; stamp : its ds; position : its place in its series.
    """

    y: Filling
    config: DataConfig
    freq: Frequency | None = None
    names: list[pa.Array] = field(default_factory=list)
    begins: list[Array] = field(default_factory=list)
    starts: list[Array] = field(default_factory=list)
    codes: dict[float, int] = field(default_factory=dict)
    row: int = 0
    last: Any = None
    stamp: int = 0
    start: int = 0
    position: int = 0


def take(scan: Scan, batch: pa.RecordBatch, integer: bool) -> None:
    """Check one batch and keep what is needed of it."""
    count = batch.num_rows
    key, ds = batch.column(0), _stamps(batch.column(1))
    if key.null_count:
        raise NotCleanError
    new, first = np.empty(count, bool), key[0].as_py()
    new[0] = scan.row == 0 or first != scan.last
    _changes(key, new[1:])
    heads = np.flatnonzero(new)
    if scan.freq is None:
        scan.freq = _frequency(ds, heads, scan.config, integer)
    _check_steps(scan, ds, new, heads)
    if len(heads):
        scan.names.append(key.take(pa.array(heads)).cast(pa.large_string()))
        scan.begins.append(heads + scan.row)
        scan.starts.append(ds[heads])
        scan.start, scan.position = int(ds[heads[-1]]), count - 1 - int(heads[-1])
    else:
        scan.position += count
    scan.last = key[count - 1].as_py()
    scan.stamp = int(ds[-1])
    out = np.empty(count)
    _values(batch.column(2), out, scan.codes)
    scan.y.add(out)
    scan.row += count


def _changes(key: pa.Array, out: Array) -> None:
    """Where an id differs from the one in the row before, into place."""
    if pa.types.is_dictionary(key.type):
        key = key.indices
    if is_text(key.type):
        differs = pc.not_equal(key.slice(1), key.slice(0, len(key) - 1))
        out[:] = differs.to_numpy(zero_copy_only=False)
    else:
        codes = key.to_numpy()
        np.not_equal(codes[1:], codes[:-1], out=out)


def _stamps(column: pa.Array) -> Array:
    """[rows] int64 microseconds or steps."""
    if column.null_count:
        raise NotCleanError
    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.int32()).to_numpy().astype(np.int64) * DAY
    if pa.types.is_integer(kind):
        values = column.to_numpy()
        if values.dtype == np.uint64:
            raise NotCleanError
        return values.astype(np.int64, copy=False)
    values = column.cast(pa.int64()).to_numpy()
    factor = _UNITS[kind.unit]
    if factor == 1:
        return values
    if factor:
        return values * factor
    whole = values // 1000
    if (whole * 1000 != values).any():
        raise NotCleanError
    return whole


def _frequency(ds: Array, heads: Array, config: DataConfig, integer: bool) -> Frequency:
    """The step of the first batch; all later ones must keep it."""
    if config.freq is not None:
        return Frequency.parse(config.freq)
    ds, heads = ds[:FREQUENCY_ROWS], heads[heads < FREQUENCY_ROWS]
    codes = np.zeros(len(ds), np.int32)
    codes[heads[heads > 0]] = 1
    codes = np.cumsum(codes, dtype=np.int32)
    ids = np.arange(int(codes[-1]) + 1).astype(object)
    try:
        return find_steps(codes, ds, ids, None, integer).freq
    except DataError:
        raise NotCleanError from None


def _check_steps(scan: Scan, ds: Array, new: Array, heads: Array) -> None:
    """Every row follows the one before it by one step, or begins a series."""
    freq = scan.freq
    assert freq is not None
    if freq.unit in ("step", "time"):
        good = np.equal(ds[1:] - ds[:-1], freq.size)
        good |= new[1:]
        if not good.all() or not (new[0] or ds[0] - scan.stamp == freq.size):
            raise NotCleanError
        return
    carried = 0 if new[0] else 1
    starts = np.concatenate([[scan.start] * carried, ds[heads]]).astype(np.int64)
    which = np.cumsum(new) - 1 + carried
    begin = np.concatenate([[-1 - scan.position] * carried, heads])
    steps = np.arange(len(ds)) - begin[which]
    expected = freq.shift(starts.astype("datetime64[us]")[which], steps).astype(np.int64)
    if not np.array_equal(expected, ds):
        raise NotCleanError


def _values(column: pa.Array, out: Array, counts: dict[float, int]) -> None:
    """The numbers of y, into place; infinite ones and sentinels need the long way."""
    kind = column.type
    if pa.types.is_integer(kind):
        if column.null_count:
            column = column.cast(pa.float64(), safe=False)
        else:
            out[:] = column.to_numpy()
    if not pa.types.is_integer(column.type):
        if column.null_count:
            column = pc.fill_null(column, pa.scalar(float("nan"), column.type))
        out[:] = column.to_numpy()
    low, high = out.min(), out.max()
    if low != low:
        low, high = np.fmin.reduce(out), np.fmax.reduce(out)
    if np.isinf(low) or np.isinf(high):
        raise NotCleanError
    if low <= -9.0 and np.isin(out, SENTINELS).any():
        raise NotCleanError
    if low < 0 and _one_negative(out):
        raise NotCleanError
    if high >= 999.0 and count_high_sentinels(out, float(high), counts):
        raise NotCleanError
    if pa.types.is_int64(kind) and max(abs(low), abs(high)) > 2.0**53:
        raise NotCleanError


def _one_negative(values: Array) -> bool:
    """Whether one negative value returns among values that are else not negative."""
    below = values[values < 0]
    return len(below) >= MANY and 2 * len(below) < len(values) and below.min() == below.max()


def ids_of(scan: Scan, config: DataConfig) -> Array:
    """The names, when each stands in one block and none needs mending."""
    texts = pa.concat_arrays(scan.names)
    lengths = pc.min_max(pc.utf8_length(texts)).as_py()
    if lengths["min"] == 0 or lengths["max"] > config.ids.max_length:
        raise NotCleanError
    if not _visible(texts) and pc.any(pc.match_substring_regex(texts, _STRAY)).as_py():
        raise NotCleanError
    folded = fold_text(texts)
    rising = pc.all(pc.less(folded.slice(0, len(folded) - 1), folded.slice(1))).as_py()
    if not rising and pc.count_distinct(folded).as_py() != len(folded):
        raise NotCleanError
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def _visible(texts: pa.Array) -> bool:
    """Whether all signs are plain visible ones, none a blank: told by their bytes, quickly."""
    signs = np.frombuffer(texts.buffers()[2], np.uint8)
    return bool(signs.min() > ord(" ") and signs.max() < 0x7F)


def check_limits(start: Array, sizes: Array, freq: Frequency, config: DataConfig) -> None:
    low, high = (
        np.datetime64(t, "us").astype(np.int64)
        for t in (config.stamps.earliest, config.stamps.latest)
    )
    last = freq.shift(start.astype("datetime64[us]"), sizes - 1).astype(np.int64)
    if start.min() < low or last.max() >= high + DAY:
        raise NotCleanError


def maybe_years_or_epochs(start: Array, config: DataConfig) -> bool:
    """Whether integers may be anything but plain steps."""
    if config.freq is not None:
        return False
    return bool(start.min() >= 1000 or start.min() <= -1000)
