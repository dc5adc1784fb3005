"""A column of stamps of any type; integers may be steps, years, days or Unix time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.config import StampConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import is_text
from pipelines.ingestion.stamps.epochs import (
    COUNTS,
    EPOCHS,
    INSTANTS,
    also_counts,
    count_to_stamps,
    day_count,
    is_count,
    likelier,
    refuse_count,
)
from pipelines.ingestion.stamps.formats import read_texts
from pipelines.ingestion.stamps.numbered import YEARS, also, date_kind, refuse_odd_years
from pipelines.ingestion.stamps.readings import DAY
from pipelines.ingestion.stamps.weeks import refuse_52
from pipelines.ingestion.stamps.written import EPOCH_REACH, NAIVE, UTC, own_zone

SERIALS = (15_000, 80_000)  # spreadsheet days of 1941 to 2119
OLD_SERIALS = 30_000  # those before 1983, which are more often something else
_COMPACT = {"%Y%m%d": 8, "%Y%m%d%H": 10, "%Y%m%d%H%M": 12, "%Y%m%d%H%M%S": 14}
_SPANS = re.compile(r"(?i)^(?:month|monat|mois|mes|quarter|quartal|qtr|week|woche)s?$")
FEW_COUNTED = 200  # steps in a column of dates that begin below it are counted from its own first
_DATES = re.compile(r"(?i)date|datum|day|tag|fecha|jour|^ds$")


@dataclass
class Stamps:
    """A column of stamps, by its distinct values.

    Attributes
    ----------
    values : [K] int64, microseconds since 1970 or plain steps; `NAT` where unreadable.
    zone : [K] `NAIVE`, `UTC` (an instant), or 1 + position in ``zones`` (a wall clock there).
    index : [T] which distinct value each row has, -1 for none; None when every row has its own.
    integer : plain steps.
    texts : [K] as they were written, where they were text.
    tz : the zone that the column's type names.
    offsets : [K] microseconds ahead of UTC, as written beside instants; None when none was.
    facts : what was found out, for the report. weeks : years and their weeks.
    guessed : numbers, or texts of several readings, of which one was taken.
    """

    values: Array
    zone: Array
    zones: list[str]
    index: Array | None
    integer: bool = False
    texts: pa.Array | None = None
    tz: str | None = None
    offsets: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    weeks: bool = False
    guessed: bool = False

    def rows(self) -> Array:
        """[T] int64, one per row."""
        if self.index is None:
            return self.values
        if not len(self.values):
            return np.full(len(self.index), NAT)
        if (self.index < 0).any():
            return np.where(self.index < 0, NAT, self.values[self.index])
        return np.asarray(self.values[self.index])

    def row_zones(self) -> Array:
        """[T] the zone of each row."""
        if self.index is None:
            return self.zone
        return self.zone[self.index] if len(self.zone) else np.full(len(self.index), NAIVE)

    def text(self, rows: Array) -> list[str | None]:
        """What stood in some rows."""
        if self.texts is None or not len(self.texts):
            return [None] * len(rows)
        index = rows if self.index is None else self.index[rows]
        at = pa.array(np.where(index < 0, 0, index))
        cells = self.texts.take(at).to_pylist()
        return [None if i < 0 else t for i, t in zip(index, cells, strict=True)]


def read_stamps(column: pa.ChunkedArray | pa.Array, name: str, config: StampConfig) -> Stamps:
    """A column of any type as stamps."""
    if isinstance(column, pa.ChunkedArray):
        column = (
            column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
            if column.num_chunks else pa.array([], column.type)
        )  # fmt: skip
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
        kind = column.type
    if pa.types.is_timestamp(kind):
        return _typed(column, config, name)
    if pa.types.is_integer(kind):
        return _integers(column, config, name)
    if pa.types.is_floating(kind):
        whole = pc.cast(column, pa.int64(), safe=False)
        same = pc.all(pc.equal(pc.cast(whole, pa.float64(), safe=False), column)).as_py()
        if same is False and not config.formats:
            return _serials(column, config, name)
        if same is False:
            return _texts(column.cast(pa.string()), config, name)
        return _integers(whole, config, name)
    if pa.types.is_dictionary(kind):
        column = column if is_text(kind.value_type) else column.dictionary_decode()
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return _texts(column, config, name)


def _texts(column: pa.Array, config: StampConfig, name: str) -> Stamps:
    """Text, dictionary-encoded or not, by its distinct values."""
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = column.dictionary.cast(pa.string())
    index = np.asarray(pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    texts_read = read_texts(texts, config, name)
    return Stamps(
        texts_read.values, texts_read.zone, texts_read.zones, index, texts_read.integer, texts,
        offsets=texts_read.offsets, facts=texts_read.facts, guessed=texts_read.guessed,
    )  # fmt: skip


def _serials(column: pa.Array, config: StampConfig, name: str) -> Stamps:
    """Spreadsheets count days since 1900, and the time of day as a fraction."""
    values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
    known = ~np.isnan(values)
    if not (known & (values >= SERIALS[0]) & (values < SERIALS[1]) == known).all():
        first = f"{values[known][0]:.10g}"
        raise DataError(
            f"column {name}: numbers with fractions, such as {first}, are no time stamps; months "
            "as 01.2019 or 2019.10 are read where the column is text (dtype=str), and years with a "
            "fraction, 2019.25, where months are written out: 2019-04"
        )
    zones: list[str] = []
    zone = np.full(len(values), own_zone(config.zone, zones), np.int8)
    late = "latest" in config.given
    facts = {"stamps": "days since 1900, as in spreadsheets"}
    kind = likelier(values[known], "excel", name)
    if known.any():
        facts["reading"] = refuse_count(values[known], kind, name, late=late)
    out = np.where(known, count_to_stamps(np.where(known, values, 0.0), kind), NAT)
    return Stamps(out, zone, zones, None, facts=facts)


def _typed(column: pa.Array, config: StampConfig, name: str) -> Stamps:
    tz = column.type.tz
    zoned = tz is not None
    facts = {"stamps": f"typed, {'with' if zoned else 'without'} a zone"}
    if column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    elif column.type.unit != "us":
        try:
            column = column.cast(pa.timestamp("us", column.type.tz))
        except pa.ArrowInvalid:
            raise DataError(
                f"column {name}: stamps beyond the range of microseconds; the years allowed are "
                f"{config.earliest[:4]} to {config.latest[:4]}"
            ) from None
    column = column.cast(pa.int64())
    if column.null_count:
        column = pc.fill_null(column, NAT)
    values = column.to_numpy(zero_copy_only=False)
    zones: list[str] = []
    zone = UTC
    if not zoned:
        zone = own_zone(config.zone, zones)
    wide = np.broadcast_to(np.int8(zone), values.shape)
    return Stamps(values, wide, zones, None, tz=tz, facts=facts)


def _integers(column: pa.Array, config: StampConfig, name: str) -> Stamps:
    null = column.null_count
    values = np.asarray(
        pc.fill_null(column.cast(pa.int64()), NAT).to_numpy(zero_copy_only=False), np.int64
    )
    known = values[values != NAT] if null else values
    if config.formats:
        return _texts(pc.cast(column, pa.string()), config, name)
    kind = _kind(known, name)
    if kind.startswith("%") and kind not in _COMPACT:
        stamps = replace(_integers(column, config.replace(formats=[kind]), name), guessed=True)
        if kind in ("%G%V", "%g%V"):
            refuse_52(stamps.values[stamps.values != NAT], name, f'stamps.formats: ["{kind}"]')
        return stamps
    words = {"month": "years and their months", "quarter": "years and their quarters"}
    facts = {"stamps": f"integers, read as {words.get(kind, kind)}"}
    if reading := _reading(kind, known, name, config):
        facts["reading"] = reading
    zones: list[str] = []
    naive = own_zone(config.zone, zones)
    instant = kind in INSTANTS or kind == "epoch"
    zone = np.broadcast_to(np.int8(UTC if instant else naive), values.shape)
    if kind == "step":
        zone = np.broadcast_to(np.int8(NAIVE), values.shape)
        return Stamps(values, zone, [], None, integer=True, facts=facts)
    missing = values == NAT
    filled = np.where(missing, known[0], values) if null else values
    if kind == "month":
        out, wrong = _calendar(filled * 100 + 1, 8)
        missing = missing | wrong
    elif kind == "quarter":
        out, wrong = _calendar(filled // 10 * 10_000 + (filled % 10 * 3 - 2) * 100 + 1, 8)
        missing = missing | wrong
    elif kind == "year":
        out = (filled - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64)
    elif kind in _COMPACT:
        out, wrong = _calendar(filled, _COMPACT[kind])
        missing = missing | wrong
    elif kind == "epoch":
        out = _any_epoch(filled)
    else:
        out = count_to_stamps(filled, kind)
    return Stamps(np.where(missing, NAT, out), zone, zones, None, facts=facts)


def _reading(kind: str, known: Array, name: str, config: StampConfig) -> str:
    """What is to be said of integers that may be several things, of which one was taken."""
    if is_count(kind):
        return refuse_count(known, kind, name, late="latest" in config.given)
    if kind == "step":
        return also_counts(known) or _counted(known, name)
    return also(np.unique(known), kind)


def _counted(known: Array, name: str) -> str:
    """What is to be said of steps in a column that is called after time; "" for small numbers."""
    unit = _SPANS.search(name) or _DATES.search(name)
    if unit is None or int(known.min()) < FEW_COUNTED:
        return ""
    return (
        f"whole numbers such as {known.min()} in column {name} are plain steps; if they count "
        'days, say from when: stamps.formats: ["days since 2000-01-01"]; if they count weeks, '
        "months or quarters, write them as dates"
    )


def _kind(known: Array, name: str) -> str:
    """What integers mean, from their size and the column's name."""
    if not len(known):
        return "step"
    low, high = int(known.min()), int(known.max())
    if date := date_kind(np.unique(known), name):
        return date
    if (YEARS.search(name) and low >= 1000 and high < 3000) or (low >= 1700 and high < 2200):
        refuse_odd_years(np.unique(known), name)
        return "year"
    if _DATES.search(name) and low >= SERIALS[0] and high < SERIALS[1]:
        if high < OLD_SERIALS:
            return day_count(known, name)
        return likelier(known, "excel", name)
    for kind, digits in _COMPACT.items():
        reach = 10 ** (digits - 4)
        if low >= 1700 * reach and high < 2201 * reach and not _calendar(known, digits)[1].any():
            return kind
    for kind in EPOCHS:
        unit = COUNTS[kind][0]
        if low * unit >= EPOCH_REACH[0] and high * unit < EPOCH_REACH[1]:
            return likelier(known, kind, name)
    return "epoch" if low > 0 and (_any_epoch(known) != NAT).all() else "step"


def _any_epoch(values: Array) -> Array:
    """Unix time whose unit is told by each value's size; `NAT` for what is none."""
    out = np.full(len(values), NAT)
    for kind in EPOCHS:
        unit = COUNTS[kind][0]
        fits = (values * float(unit) >= EPOCH_REACH[0]) & (values * float(unit) < EPOCH_REACH[1])
        out[fits] = values[fits] * int(unit) if unit >= 1 else values[fits] // 1000
    return out


def _calendar(values: Array, digits: int) -> tuple[Array, Array]:
    """Numbers such as 202401312359 as microseconds, and which of them are no dates."""
    rest = 10 ** (digits - 8)
    date, time = values // rest, values % rest * (1_000_000 // rest)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    hour, minute, second = time // 10_000, time // 100 % 100, time % 100
    months = (year - 1970) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    held = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    wrong = (held != months) | (month < 1) | (month > 12) | (hour > 23)
    wrong |= (minute > 59) | (second > 59)
    return days * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000, wrong
