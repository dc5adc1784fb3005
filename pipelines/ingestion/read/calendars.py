"""Tables that hold parts of a time apart: months in the header, quarters in a column.

Rows named by years, or by quarters, would be taken for series: such a table is refused, with the
settings that read it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.calendar import LAST, kind_below, units_of
from pipelines.ingestion.columns.periods import (
    FOREIGN,
    KINDS,
    Part,
    kind_of_name,
    part_of,
    run_of_parts,
)
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import Raw, is_text, shown
from pipelines.ingestion.read.proposal import MappingError, in_braces, short
from pipelines.ingestion.stamps.foreign_months import foreign_months
from pipelines.ingestion.stamps.parts import stamps_of
from pipelines.ingestion.stamps.stamps import read_stamps

TIME_NAME = re.compile(
    r"(?i)ds|date|datetime|timestamp|time|date_time|ts|day|month|week|year|quarter|period|datum|"
    r"zeit|zeitstempel|fecha|data|hour|step|date_hour|"
    r"(fiscal|financial|calendar)?[_ ]?(year|yr|jahr|ann[eé]e|a[nñ]o|anno|fy)"
)
MOST = 0.6  # share of the columns that numbers side by side make, at least
# 13:00-14:00 behind a date would be read as a clock with its offset.
_RANGE = re.compile(r"\d\s?[-–]\s?\d")
FEW = 3  # columns side by side that make a calendar
APART = 3  # years without a name that are as many times further apart than there are, are codes
NEEDED = 0.9  # rows that the stamp without its parts tells apart, at most, where they belong to it
DISTINCT = 1000
MOST_PARTS = 60  # distinct texts of a column that is called a part
# Ways of writing stamps and their parts side by side; the first that reads all is proposed.
CALLED = {"clock": "time", "half": "half-year"}
_FORMATS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("quarter",): ("quarter",),
    ("half",): ("half_year",),
    ("week",): ("%G %V",),
    ("day",): ("%Y %j", "%Y-%m %d", "%Y%m %d"),
    ("month", "day"): ("%Y %m %d", "%Y %b %d", "%Y %B %d"),
    ("week", "weekday"): ("%G %V %u",),
    ("hour",): ("%Y%m%d %H", "%d.%m.%Y %H", "%d/%m/%Y %H"),
    ("month", "day", "hour"): ("%Y %m %d %H",),
}


def refuse_calendar(config: DataConfig, names: list[str], sample: pa.Table) -> None:
    """A row per year, month or day with its parts in the header, which is neither wide nor rows.

    Raises
    ------
    MappingError : with the settings that read it.
    """
    run = run_of_parts(names)
    if run is None:
        return
    at, part = run
    steps = {b - a for a, b in itertools.pairwise(sorted(part.numbers))}
    lead = [i for i in range(at[0]) if i not in at]
    few = len(at) < (MOST if not part.kind else 0) * len(names)
    if not lead or few or (len(at) < FEW and part.kind != "half"):
        return
    for i in lead:
        base = time_in(sample.column(i), names[i], config)
        others = [names[k] for k in lead if k != i]
        if any(pa.types.is_floating(sample.column(k).type) for k in lead if k != i):
            return  # values beside a stamp: a row per value, with numbered covariates
        if base is None or (others and not _by_time(others, names, i, sample)):
            continue
        if part.kind == FOREIGN:
            raise DataError(foreign_months([f"{names[k]} 2020" for k in at], "of the header"))
        ds, others, base = _with_its_parts(config, names[i], others, base, names, sample)
        kind = kind_below(part, base)
        if part.kind and not steps & {1, 30, 60} and not kind:
            return
        if part.kind and not kind:
            raise DataError(_unknown(names, i, at, part))
        raise _proposed(names, ds, others, at, kind, part)
    for i in lead:
        if (own := part_of(_texts(sample.column(i)), names[i])) is not None:
            rows = in_braces({"layout": "rows", "id": [names[k] for k in lead]})
            raise DataError(
                f"the rows of the table are named by a {own.kind} ({names[i]}) without the stamp "
                f"it belongs to, and its columns {shown(names[at[0]])} … {shown(names[at[-1]])} "
                f"are numbered: write the year beside it, and one row per value; if each row is a "
                f"series, set data: {rows}"
            )


def _with_its_parts(
    config: DataConfig, name: str, others: list[str], base: Array, names: list[str],
    sample: pa.Table,
) -> tuple[list[str], list[str], Array]:  # fmt: skip
    """The columns of a row's stamp, year and month, what is left of the others, and the stamps."""
    parts = parts_among(others, sample.select([names.index(n) for n in others]), set())
    if not parts or not all(p.kind in ("quarter", "month", "week", "day") for p in parts.values()):
        return [name], others, base
    table = pa.table({n: sample.column(names.index(n)) for n in [name, *parts]})
    try:
        raw = Raw(table, [[name, *parts]])
        read = stamps_of(raw, config.replace(ds=(name, *parts))).rows()
    except DataError:
        return [name], others, base
    if (read == NAT).any() or not units_of(read):
        return [name], others, base
    return [name, *parts], [n for n in others if n not in parts], read


def _unknown(names: list[str], i: int, at: list[int], part: Part) -> str:
    wide = in_braces({"layout": "wide", "ds": names[i]})
    return (
        f"the rows of the table are stamped ({names[i]}) and its columns {shown(names[at[0]])} … "
        f"{shown(names[at[-1]])} name a {part.kind} each, which lies in no such stamp: write one "
        f"row per value with its whole stamp; if each column is a series, set data: {wide}"
    )


def _proposed(
    names: list[str], stamp: list[str], others: list[str], at: list[int], kind: str, part: Part
) -> MappingError:
    first, last = names[at[0]], names[at[-1]]
    ds = short(tuple(stamp))
    key: dict[str, Any] = {"id": others} if others else {"series": "name"}
    calendar = {"layout": "calendar", **key, "ds": ds}
    wide, rows = {"layout": "wide", "ds": ds}, {"layout": "rows", "id": [*others, *stamp]}
    ways = []
    if kind:
        each = f"a series for each {', '.join(others)}" if others else "one series"
        ways.append(
            (calendar, f"if the columns are the {CALLED.get(kind, kind)}s of each row, {each}")
        )
    if not others:
        ways.append((wide, "if each column is a series"))
    ways.append((rows, "if each row is a series, and its columns are steps"))
    if not (part.kind or first.strip().isdigit()) and not others:
        ways.sort(key=lambda way: way[0] is not wide)
    proposals = "; ".join(f"{what}, set data: {in_braces(roles)}" for roles, what in ways)
    return MappingError(
        f"the rows of the table are stamped ({', '.join(stamp)}) and its columns {shown(first)} … "
        f"{shown(last)} look like parts of these stamps: {proposals}",
        ways[0][0],
    )


def time_in(column: pa.ChunkedArray, name: str, config: DataConfig) -> Array | None:
    """The stamps of a column [K] that are years, months or days, by its distinct values."""
    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if pa.types.is_null(kind) or not (numeric or is_text(kind) or pa.types.is_temporal(kind)):
        return None
    if part_of(_texts(column), name) is not None:
        return None
    named = bool(TIME_NAME.fullmatch(name.strip()))
    values = pc.unique(column.drop_null())
    if is_text(kind):
        values = values.filter(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0))
    if not len(values):
        return None
    try:
        stamps = read_stamps(values, name, config.stamps)
    except DataError:
        # Several readings of the same stamps: they are stamps where the name says so.
        return np.full(1, NAT) if named else None
    rows = stamps.rows()
    times = rows[rows != NAT]
    if stamps.integer or len(times) < NEEDED * len(rows) or not units_of(times):
        return None
    years = times.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64)
    if numeric and not named and np.ptp(years) > APART * len(years):
        return None
    return np.asarray(times)


def _by_time(others: list[str], names: list[str], i: int, sample: pa.Table) -> bool:
    """Whether stamps part the rows of what stands beside them, or their name says what they are."""
    table = pa.table({str(k): sample.column(names.index(n)) for k, n in enumerate(others)})
    rows = len(table.group_by(table.column_names).aggregate([]))
    return rows < NEEDED * sample.num_rows or bool(TIME_NAME.fullmatch(names[i].strip()))


def refuse_turned(config: DataConfig, names: list[str], ids: list[str], sample: pa.Table) -> None:
    """A row per month or hour below years or days: such rows are no series.

    Raises
    ------
    DataError : with what reads it.
    """
    for name in ids:
        part = part_of(_texts(sample.column(names.index(name))), name)
        if part is None:
            continue
        others = [n for n in ids if n != name]
        columns = [n for n in names if n not in ids]
        rows = {"layout": "rows", "id": ids}
        key: dict[str, Any] = {"id": others} if others else {"series": "name"}
        calendar = in_braces({"layout": "calendar", **key, "ds": "stamp"})
        turn = (
            f"frame.melt({ids!r}, var_name='stamp').pivot(index={[*others, 'stamp']!r}, "
            f"columns={name!r}, values='value').reset_index()"
        )
        raise DataError(
            f"each row is named by a {part.kind} ({name}) and the columns {shown(columns[0])} … "
            f"{shown(columns[-1])} are stamps: if the rows are parts of these, turn the table, in "
            f"pandas {turn}, and set data: {calendar}; if each row is a series, set data: "
            f"{in_braces(rows)}"
        )


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Distinct values as text, the first ones."""
    kind = column.type
    if pa.types.is_floating(kind):
        whole = column.cast(pa.int64(), safe=False)
        column = whole if pc.all(pc.equal(whole, column)).as_py() is not False else column
    elif not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_dictionary(kind)):
        return []
    values = pc.unique(column.drop_null()).slice(0, DISTINCT).to_pylist()
    return [text for text in map(str, values) if text.strip()]


def parts_among(
    names: list[str], sample: pa.Table, taken: Collection[str], texts: Collection[str] = ()
) -> dict[str, Part]:
    """The columns that hold parts of a time, from the coarsest to the finest.

    Parameters
    ----------
    taken : names of columns that have a role already. texts : those whose cells are neither stamps
        nor numbers: where they are called quarter or month, they are one however it is spelled.
    """
    parts = {}
    for i, name in enumerate(names):
        if name and name not in taken and names.count(name) == 1:
            cells = _texts(sample.column(i))
            part = part_of(cells, name)
            kind = kind_of_name(name)
            if part is None and kind and name in texts and len(cells) <= MOST_PARTS:
                part = Part(kind, (-1,) * len(cells), True)
            if part is not None:
                parts[name] = part
    return dict(sorted(parts.items(), key=lambda item: KINDS.index(item[1].kind)))


def refuse_parts(
    config: DataConfig,
    roles: dict[str, Any],
    parts: dict[str, Part],
    table: pa.Table,
    others: list[str],
) -> None:
    """Stamps whose rows only their parts, in columns of their own, tell apart.

    Parameters
    ----------
    roles : ``id`` or ``series``, ``ds`` and ``y`` as they would be without the parts.
    table : all rows of these columns and the parts', by name. others : what else y may be.

    Raises
    ------
    MappingError : with ``ds`` as it must be.
    """
    ds = [roles["ds"]] if isinstance(roles["ds"], str) else list(roles["ds"])
    base = time_in(table.column(ds[0]), ds[0], config)
    units = units_of(base) if base is not None else ("year", "month", "week", "day")
    fitting = {n: p for n, p in parts.items() if _finer(p, units)}
    key = [*roles.get("id", []), *ds]
    needed: list[str] = []
    count = _told(table, key)
    for name in sorted(fitting, key=lambda n: -_told(table, [*key, n])):
        more = _told(table, [*key, *needed, name])
        if count < NEEDED * more:
            needed.append(name)
            count = more
    if not needed:
        return
    needed.sort(key=lambda n: KINDS.index(parts[n].kind))
    settled = {**roles, "ds": [*ds, *needed]}
    forms, lost = _readable(config, table, settled["ds"], [parts[n] for n in needed])
    examples = ", ".join(f"{n} = {shown(_texts(table.column(n))[0])}" for n in needed)
    alone = in_braces({"id": [*roles.get("id", []), *needed], "ds": roles["ds"], "y": roles["y"]})
    kind = CALLED.get(parts[needed[0]].kind, parts[needed[0]].kind)
    what = f"the {kind} of the stamps stands in a column of its own ({examples})"
    rest = f"if each {needed[0]} is a series, set data: {alone}"
    for name in needed:
        if reason := foreign_months([f"{t} 2020" for t in _texts(table.column(name))], name):
            raise DataError(f"{what}; {reason}; {rest}")
    if forms is None:
        raise DataError(
            f"{what}, and no way is known to read it with {ds[0]}: write one column of stamps, "
            f"such as 2024-01, 2024Q1, 2024-W01 or 2024-01-31 13:00; {rest}"
        )
    settled |= {"stamps": {"formats": [*forms]}} if forms else {}
    settled |= {"csv": {"drop_lines": lost}} if lost else {}
    also = f" (y may also be {' or '.join(map(repr, others[:8]))})" if others else ""
    message = f"{what}; set data: {in_braces(settled)}{also}; {rest}"
    raise MappingError(message, settled, others)


def _finer(part: Part, units: tuple[str, ...]) -> bool:
    """Whether parts of that kind lie below stamps of one of these units."""
    coarse = KINDS.index(part.kind) < KINDS.index("week")
    if coarse:
        return "year" in units
    if part.kind in ("week", "day"):
        return "year" in units or "month" in units
    return part.kind != "weekday" or "week" in units or "year" in units


def told_apart(sample: pa.Table, names: list[str], key: list[str]) -> float:
    """Share of the rows that some columns tell apart."""
    table = pa.table({n: sample.column(names.index(n)) for n in key})
    return _told(table, key) / max(table.num_rows, 1)


def _told(table: pa.Table, names: list[str]) -> int:
    """Rows that some columns tell apart."""
    return len(table.select(names).group_by(names).aggregate([]))


def _readable(
    config: DataConfig, table: pa.Table, ds: list[str], parts: list[Part]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """How stamps and parts are read side by side, and lines that name the whole year (M13).

    None for no way that reads all.
    """
    lines = table.select(ds).group_by(ds).aggregate([])
    last = LAST.get(parts[0].kind, 10_000)
    texts = lines.column(ds[1]).cast(pa.string()).to_pylist()
    number = dict(zip(_texts(table.column(ds[1])), parts[0].numbers, strict=False))
    whole = sorted({t for t in texts if t is not None and number.get(t, 0) > last})
    lines = lines.filter(pa.array([t not in whole for t in texts]))
    raw = Raw(lines.select(ds), [list(ds)])
    if any(_RANGE.search(t) for t in texts if t is not None):
        return None, []
    formats = _FORMATS.get(tuple(p.kind for p in parts), ())
    if any(p.spelled for p in parts):
        formats = ("half_year",) if parts[0].kind == "half" else ()
    for forms in [*((f,) for f in formats), ()]:
        try:
            stamps = stamps_of(raw, config.replace(ds=tuple(ds), stamps={"formats": forms}))
        except (DataError, ValueError):
            continue
        if not stamps.integer and not (stamps.rows() == NAT).any():
            return forms, [rf"\b{t}\b" for t in whole]
    return None, []
