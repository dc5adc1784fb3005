"""Which columns are the series, the time and the value: from the config, else from the table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError
from pipelines.ingestion.columns.numbers import read_numbers
from pipelines.ingestion.columns.periods import Part
from pipelines.ingestion.config import CsvConfig, DataConfig, ValueConfig
from pipelines.ingestion.raw import is_text, shown
from pipelines.ingestion.read.calendars import (
    TIME_NAME,
    parts_among,
    refuse_calendar,
    refuse_parts,
    refuse_turned,
    time_in,
    told_apart,
)
from pipelines.ingestion.read.heads import headless
from pipelines.ingestion.read.proposal import MappingError, flow, in_braces, short
from pipelines.ingestion.stamps.months import foreign_months
from pipelines.ingestion.stamps.stamps import NAT, read_stamps

_Y = re.compile(
    r"(?i)y|values?|target|sales|demand|count|quantity|qty|volume|units|amount|load|wert|menge|last|"
    r"valor|valeur|measurement|observation"
)
_Y_PART = re.compile(r"(?i)(^|[_ ])(" + _Y.pattern[4:] + r")($|[_ ])")
_ID = re.compile(
    r"(^|_| )(unique_id|id|series|item|sku|store|shop|sensor|product|station|location|region|name|"
    r"key|code|site|meter|channel|customer|category|brand|state|country|city)s?($|_| )",
    re.I,
)
_CLOCK = re.compile(r"^\s*([01]?\d|2[0-4]):[0-5]\d(:[0-5]\d)?\s*$")
_PLACE = re.compile(r"(?i)(lat|lon|lng|long|latitude|longitude)([_ ].*)?")
FIRST_YEAR = 1600  # numbers in a header that are as large are years
RISING = 0.8  # share of steps upwards from which on integers count something
_NUMBERED = re.compile(r"^[A-Za-z_. ]{0,12}?(\d{1,6})$")


# All rows of some columns, the others blank.
Whole = Callable[[list[str]], pa.Table]


@dataclass
class _Seen:
    """Columns by what they hold."""

    stamps: list[str]
    clocks: list[str]
    numbers: list[str]
    texts: list[str]


def settle(
    config: DataConfig, headers: list[list[str]], sample: pa.Table, whole: Whole | None = None
) -> DataConfig:
    """The config with layout and columns filled in.

    Parameters
    ----------
    sample : the first rows; columns by position, named by the last of ``headers``.
    whole : gives all rows of some columns, by name, in the same positions: a table sorted by series
        holds one series only in its first rows.

    Raises
    ------
    MappingError : more than one reading; it holds a proposal.
    """
    names = [n.strip() for n in headers[-1]]
    if len(headers) == 1:
        _refuse_headless(config, names, sample)
    if config.layout == "calendar":
        return config.replace(ds=config.ds or (names[0],))
    lower = [n.lower() for n in names]
    plain = {"ds", "y"} <= {*lower} and config.layout is None
    if config.layout in (None, "rows") and not (config.id or config.y or plain or headers[1:]):
        refuse_calendar(config, names, sample)
    if config.layout == "rows":
        return config.replace(id=config.id or (names[0],))
    if config.layout == "wide" or (config.layout is None and len(headers) > 1):
        return config.replace(layout="wide", ds=config.ds or (names[0],))
    if config.ds and config.y and (config.id or config.series):
        return config.replace(layout="long")
    canonical = {r: names[lower.index(r)] for r in ("unique_id", "ds", "y") if lower.count(r) == 1}
    ds = config.ds or ((canonical["ds"],) if "ds" in canonical else None)
    y = config.y or canonical.get("y")
    ids = config.id or ((canonical["unique_id"],) if "unique_id" in canonical else None)
    if ds and y and (ids or config.series):
        if config.ds is None:
            _refuse_hidden_parts(config, (ids, ds, y), names, sample, whole)
        return config.replace(layout="long", id=ids, ds=ds, y=y)
    if config.layout is None and not (ds or y or config.id):
        found = _stamps_in_header(config, names, sample)
        if found is not None:
            return found
    _refuse_more_headers(config, names, sample)
    seen = _look(config, names, sample)
    return _long(config, ids, ds, y, names, seen, (sample, whole))


def _refuse_headless(config: DataConfig, names: list[str], sample: pa.Table) -> None:
    """A first row of values in place of a header would be lost."""
    named = {
        *(config.id or ()),
        *(config.ds or ()),
        config.y,
        *(c.source for c in config.covariates),
    }
    if config.csv.header_lines != 1 or named & set(names) or not headless(names, sample):
        return
    columns = [f"c{i + 1}" for i in range(len(names))]
    numbered = config.replace(
        id=None, ds=_counting(columns, sample), y=None, covariates=(), csv={"header_lines": 0}
    )
    try:
        found = settle(numbered, [columns], sample)
        roles: dict[str, Any] = {"layout": found.layout} if found.layout != "long" else {}
        roles |= {"id": short(found.id)} if found.id else {"series": found.series or "name"}
        roles |= {"ds": short(found.ds or ("…",)), "y": found.y}
    except MappingError as error:
        roles = dict(error.roles)
    roles = {"csv": {"header_lines": 0}} | {k: v for k, v in roles.items() if v}
    raise MappingError(
        f"the table has no header: its first row ({', '.join(map(shown, names[:6]))}) reads like "
        "the rows below it and would be lost; write a line of names above it, or number the "
        f"columns with data: {in_braces(roles)} (in memory: read the file "
        "with header=None)",
        roles,
    )


def _counting(columns: list[str], sample: pa.Table) -> tuple[str, ...] | None:
    """The first column of integers that mostly rise from row to row: steps, years, 20240131."""
    for name, column in zip(columns, sample.columns, strict=True):
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return None
        if pa.types.is_integer(column.type) and column.null_count == 0:
            steps = np.diff(column.to_numpy())
            if len(steps) and (steps > 0).mean() > RISING:
                return (name,)
    return None


def wanted_columns(config: DataConfig) -> set[str] | None:
    """Names that are read; None for all."""
    if config.layout != "long":
        return None
    names = {*(config.id or ()), *(config.ds or ("ds",)), config.y or "y"}
    for values in (config.values, *config.covariates):
        if values.unit is not None:
            names.add(values.unit.column)
    return names | {c.source for c in config.covariates}


def text_columns(config: DataConfig, names: list[str]) -> set[str]:
    """Names whose cells must stay as they were written: ``007`` is no number."""
    found = set(config.id or (names[:1] if config.layout == "rows" else ()))
    for values in (config.values, *config.covariates):
        if values.unit is not None:
            found.add(values.unit.column)
    if len(config.ds or ()) > 1 or config.stamps.formats:
        found |= set(config.ds or ())
    return found | {c.source for c in config.covariates if c.type == "categorical"}


def _look(config: DataConfig, names: list[str], sample: pa.Table) -> _Seen:
    taken = {c.source for c in config.covariates}
    seen = _Seen([], [], [], [])
    for name, column in zip(names, sample.columns, strict=True):
        if name in taken or not name:
            continue
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            seen.stamps.append(name)
        elif pa.types.is_time(kind):
            seen.clocks.append(name)
        elif pa.types.is_null(kind):
            continue
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            whole = not pa.types.is_decimal(kind) and bool(TIME_NAME.fullmatch(name))
            (seen.stamps if whole else seen.numbers).append(name)
        else:
            getattr(seen, _text_kind(column, name, config)).append(name)
    return seen


def _text_kind(column: pa.ChunkedArray, name: str, config: DataConfig) -> str:
    if not is_text(column.type):
        return "texts"
    known = [v for v in column.drop_null().to_pylist() if v.strip()]
    if not known:
        return "texts"
    if sum(bool(_CLOCK.match(v)) for v in known) > 0.9 * len(known):
        return "clocks"
    try:
        values = read_stamps(pa.array(known), name, config.stamps)
        readable = float((values.rows() != NAT).mean())
        if readable > 0.9 and not (values.integer and not TIME_NAME.fullmatch(name)):
            return "stamps"
    except DataError:
        # Several readings of the same stamps: they are stamps.
        return "stamps"
    try:
        numbers = read_numbers(column, ValueConfig(), CsvConfig())
    except DataError:
        # Several readings of the same numbers: they are numbers.
        return "numbers"
    readable = int(np.isfinite(numbers.values).sum())
    return "numbers" if readable and len(numbers.unreadable) < 0.1 * readable else "texts"


def _stamps_in_header(config: DataConfig, names: list[str], sample: pa.Table) -> DataConfig | None:
    """One row per series, when the header holds dates or counts 1, 2, 3, …"""
    if len(names) < 4:
        return None
    readable = [bool(re.search(r"\d", n)) for n in names]
    tail = [n for n, digits in zip(names, readable, strict=True) if digits]
    if len(tail) < max(3, 0.6 * len(names)) or not readable[-1]:
        return None
    first = readable.index(True)
    if not all(readable[first:]):
        return None
    numbered = [_NUMBERED.match(n) for n in tail]
    counts = [int(m[1]) for m in numbered if m]
    consecutive = len(counts) == len(tail) and all(
        b - a == 1 for a, b in itertools.pairwise(counts)
    )
    if not consecutive:
        try:
            found = read_stamps(pa.array(tail), "of the header", config.stamps)
            if found.integer or (found.rows() == NAT).any():
                return None
        except DataError:
            # Several readings of the same stamps: they are stamps, and which ones is asked later.
            pass
    elif first == 0 or len(tail) < 5:
        return None
    ids = names[: max(first, 1)]
    if any(pa.types.is_floating(sample.column(i).type) for i in range(len(ids))):
        return None  # values stand before them: a row per value, with numbered covariates
    texts = [is_text(sample.column(i).type) for i in range(len(ids))]
    # Identifiers are text, or at least one column stands alone before the values.
    if first != 1 and not any(texts):
        return None
    if not consecutive or counts[0] >= FIRST_YEAR:
        refuse_turned(config, names, ids, sample)
    return config.replace(layout="rows", id=tuple(ids))


def _refuse_more_headers(config: DataConfig, names: list[str], sample: pa.Table) -> None:
    """A second header line among the rows shows in names that repeat above cells of text."""
    repeated = len(set(names)) < 0.8 * len(names)
    if not repeated or config.csv.header_lines != 1 or not sample.num_rows or len(names) < 3:
        return
    first = [str(c[0].as_py() or "") for c in sample.columns[1:]]
    if sum(bool(re.search(r"[^\W\d_]{2}", cell)) for cell in first) < 0.8 * len(first):
        return
    corner = str(sample.column(0)[0].as_py() or names[0])
    said = f"layout: wide, csv: {{header_lines: 2}}, ds: {flow(corner)}"
    raise MappingError(
        f"the header names columns twice and the first row holds text ({shown(first[0])}, …): it "
        f"seems to be a second header line; set data: {{{said}}} if each column is a series",
        {"layout": "wide", "csv": {"header_lines": 2}, "ds": corner},
    )


def _repeats(ds: tuple[str, ...], names: list[str], sample: pa.Table) -> bool:
    """Whether stamps stand in more than one row, as they do with several series."""
    parts = [sample.column(names.index(n)).cast(pa.string()) for n in ds if n in names]
    if not parts or not sample.num_rows:
        return False
    joined = pc.binary_join_element_wise(*parts, " ")
    return bool(pc.count_distinct(joined).as_py() < 0.8 * sample.num_rows)


def _key(
    options: list[str], ds: tuple[str, ...], names: list[str], sample: pa.Table
) -> tuple[str, ...]:
    """The fewest columns that, with the stamp, tell the rows of the sample apart."""
    table = pa.table({n: sample.column(names.index(n)) for n in (*options, *ds) if n in names})
    chosen: list[str] = []
    left = list(dict.fromkeys(options))
    best = 0
    while left:
        counts = [len(table.group_by([*chosen, n, *ds]).aggregate([])) for n in left]
        most = max(counts)
        if chosen and most <= best:
            break
        best = most
        chosen.append(left.pop(counts.index(most)))
    return tuple(chosen)


def _pick(options: list[str], words: re.Pattern[str]) -> tuple[list[str], bool]:
    """The options a name speaks for, and whether there is one reading only."""
    if len(options) == 1:
        return options, True
    named = [n for n in options if words.fullmatch(n)]
    if len(named) == 1:
        return named, True
    close = [n for n in options if words is _Y and _Y_PART.search(n)]
    return named or close or options, False


def _long(
    config: DataConfig,
    ids: tuple[str, ...] | None,
    ds: tuple[str, ...] | None,
    y: str | None,
    names: list[str],
    seen: _Seen,
    rows: tuple[pa.Table, Whole | None],
) -> DataConfig:
    sample, whole = rows
    sure = True
    taken = {*(ids or ()), *(ds or ()), *([y] if y else []), *(c.source for c in config.covariates)}
    parts = parts_among(names, sample, taken, seen.texts)
    if ds is None:
        if not [n for n in seen.stamps if n not in parts]:
            # 20240131 beside its hours is a date, whatever it is called.
            dates = [n for n in seen.numbers if n != y and _dates(n, names, sample, config)]
            seen.stamps += dates if parts else []
            seen.numbers = [n for n in seen.numbers if n not in seen.stamps]
        ds, sure = _time_of(ids, y, names, seen, (sample, parts))
    parts = {n: part for n, part in parts.items() if n not in ds}
    numbers = [n for n in seen.numbers if n not in ds and n not in (ids or ())]
    keys = [n for n in seen.texts if n not in ds and n != y]
    plain = [n for n in numbers if not _ID.search(n)] or numbers
    plain = [n for n in plain if n not in parts] or plain
    targets = [] if y is not None else plain
    if y is None:
        targets, one = _pick(plain, _Y)
        if not targets:
            raise MappingError(
                "no column holds numbers; name the values in data.y",
                {"id": list(ids or keys or ["…"]), "ds": short(ds), "y": "…"},
            )
        if not one and not ids and not keys and len(plain) > 1 and config.layout is None:
            _refuse_wide(ds, plain)
        y, sure = targets[0], sure and one
    if parts:
        coded = [n for n in numbers if n not in (y, *parts) and _ID.search(n)]
        own = [n for n in keys if n not in parts] + coded
        _refuse_parts(config, (ids, ds, y, targets), parts, own, names, rows)
    if ids is None and config.series is None:
        coded = [n for n in numbers if n != y and _ID.search(n)]
        options = [*keys, *coded]
        named = [n for n in options if _ID.search(n)]
        if options and not (len(options) == 1 and named) and whole is not None:
            sample = whole([*options, *ds, *targets])
        several = _repeats(ds, names, sample)
        if len(options) == 1 and (named or several):
            ids = (options[0],)
        elif options:
            sure = False
            ids = _key([*named, *options], ds, names, sample) if named or several else None
    if not sure and len(targets) > 1:
        y = _moving(targets, ids, names, sample)
    _refuse_twins(names, [*(ids or ()), *ds, y])
    settled = config.replace(layout="long", id=ids, ds=ds, y=y)
    if sure:
        return settled
    others = [n for n in plain if n != y] if targets else []
    proposal: dict[str, Any] = {"id": list(ids)} if ids else {"series": "name"}
    proposal |= {"ds": short(ds), "y": y}
    also = f"; y may also be {' or '.join(map(repr, others[:8]))}" if others else ""
    raise MappingError(
        "which columns are the series, the time and the value cannot be told for sure; set "
        f"data: {in_braces(proposal)} if this is right{also} "
        f"(the table has {', '.join(map(repr, names[:20]))})",
        proposal,
        others,
    )


def _dates(name: str, names: list[str], sample: pa.Table, config: DataConfig) -> bool:
    column = sample.column(names.index(name))
    return pa.types.is_integer(column.type) and time_in(column, name, config) is not None


def _refuse_parts(
    config: DataConfig,
    roles: tuple[tuple[str, ...] | None, tuple[str, ...], str, list[str]],
    parts: dict[str, Part],
    own: list[str],
    names: list[str],
    rows: tuple[pa.Table, Whole | None],
) -> None:
    """Columns that belong to the stamp, as the quarter beside its year does.

    Parameters
    ----------
    roles : id, ds and y as they would be, and what else y may be. own : columns of the id, perhaps.
    """
    (ids, ds, y, targets), (sample, whole) = roles, rows
    table = sample
    if whole is not None:
        table = whole([*own, *(ids or ()), *ds, *parts, y, *targets])
    if ids is None and config.series is None and own:
        named = [n for n in own if _ID.search(n)]
        stamp = (*ds, *parts)
        if named or _repeats(stamp, names, table):
            ids = _key([*named, *own], stamp, names, table)
    if len(targets) > 1:
        y = _moving(targets, ids, names, table)
    proposal: dict[str, Any] = {"id": list(ids)} if ids else {"series": config.series or "name"}
    proposal |= {"ds": short(ds), "y": y}
    others = [n for n in targets if n != y]
    table = pa.table({n: table.column(i) for i, n in enumerate(names) if n})
    refuse_parts(config, proposal, parts, table, others)


def _refuse_twins(names: list[str], used: list[str]) -> None:
    """Columns of one name, of which nobody can say which is meant."""
    for name in used:
        at = [str(i + 1) for i, n in enumerate(names) if n == name]
        if len(at) > 1:
            raise DataError(
                f"the header names {len(at)} columns {name!r} (columns {', '.join(at)}); give them "
                "different names"
            )


def _refuse_hidden_parts(
    config: DataConfig,
    roles: tuple[tuple[str, ...] | None, tuple[str, ...], str],
    names: list[str],
    sample: pa.Table,
    whole: Whole | None,
) -> None:
    """A stamp by its plain name whose hours stand in another column."""
    ids, ds, y = roles
    taken = {*(ids or ()), *ds, y, *(c.source for c in config.covariates)}
    key = [n for n in (*(ids or ()), *ds) if names.count(n) == 1]
    parts = parts_among(names, sample, taken)
    if parts and len(key) == len(ids or ()) + len(ds) and told_apart(sample, names, key) < 1.0:
        _refuse_parts(config, (ids, ds, y, []), parts, [], names, (sample, whole))


def _time_of(
    ids: tuple[str, ...] | None,
    y: str | None,
    names: list[str],
    seen: _Seen,
    rows: tuple[pa.Table, dict[str, Part]],
) -> tuple[tuple[str, ...], bool]:
    """The columns of the stamp, and whether there is one reading only."""
    sample, parts = rows
    whole = [n for n in seen.stamps if n != y]
    # A month or an hour alone is a part of what another column stamps.
    options, sure = _pick([n for n in whole if n not in parts] or whole, TIME_NAME)
    if not options:
        _refuse_foreign_months(names, seen.texts, sample)
        there = ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "")
        raise MappingError(
            f"no column holds time stamps: the table has {there}; name it in data.ds, or set "
            "data.layout: rows if the stamps stand in the header",
            {"id": list(ids or ["…"]), "ds": "…", "y": y or "…"},
        )
    # A date in one column and the time of day in another are one stamp.
    return (options[0], *(seen.clocks if len(seen.clocks) == 1 else ())), sure


def _refuse_wide(ds: tuple[str, ...], plain: list[str]) -> None:
    series = ", ".join(shown(n) for n in plain[:4])
    raise MappingError(
        f"the table has one column of time and {len(plain)} of numbers ({series}, …): if "
        f"each is a series, set data: {{layout: wide, ds: {flow(short(ds))}}}; if one of "
        f"them is the value, name it: data: {{ds: {flow(short(ds))}, "
        f"y: {flow(plain[0])}}}",
        {"layout": "wide", "ds": short(ds)},
    )


def _moving(
    targets: list[str], ids: tuple[str, ...] | None, names: list[str], sample: pa.Table
) -> str:
    """The first target that changes within a series: a capacity and a place do not."""
    columns = {n: sample.column(names.index(n)) for n in [*targets, *(ids or ())]}
    table = pa.table({n: c for n, c in columns.items() if not pa.types.is_null(c.type)})
    left = [
        n for n in dict.fromkeys(targets) if n in table.column_names and not _PLACE.fullmatch(n)
    ]
    keys = [n for n in ids or () if n in table.column_names]
    wanted = [(n, how) for n in left for how in ("min", "max")]
    ends = table.group_by(keys).aggregate(wanted)
    for name in left:
        if pc.any(pc.not_equal(ends.column(f"{name}_min"), ends.column(f"{name}_max"))).as_py():
            return name
    return targets[0]


def _refuse_foreign_months(names: list[str], texts: list[str], sample: pa.Table) -> None:
    """Stamps that nobody takes for stamps, since their months are named in another language."""
    columns = {n: sample.column(names.index(n)) for n in texts}
    reasons = [foreign_months(names, "of the header")] if len(names) > 3 else []
    reasons += [foreign_months(c.to_pylist(), n) for n, c in columns.items() if is_text(c.type)]
    reason = next(filter(None, reasons), "")
    if reason:
        raise DataError(reason)
