"""Which columns of a long table are the series, the time and the value."""

from __future__ import annotations

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
    refuse_parts,
    time_in,
    told_apart,
)
from pipelines.ingestion.read.proposal import OPEN, MappingError, flow, in_braces, short
from pipelines.ingestion.stamps.foreign_months import foreign_months
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

# All rows of some columns, the others blank.
Whole = Callable[[list[str]], pa.Table]


@dataclass
class Seen:
    """Columns by what they hold."""

    stamps: list[str]
    clocks: list[str]
    numbers: list[str]
    texts: list[str]


def look(config: DataConfig, names: list[str], sample: pa.Table) -> Seen:
    """What the columns of a sample look like that the config gives no role."""
    covariates = {c.source for c in config.covariates}
    seen = Seen([], [], [], [])
    for name, column in zip(names, sample.columns, strict=True):
        if name in covariates or not name:
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
    texts = [v for v in column.drop_null().to_pylist() if v.strip()]
    if not texts:
        return "texts"
    if sum(bool(_CLOCK.match(v)) for v in texts) > 0.9 * len(texts):
        return "clocks"
    try:
        values = read_stamps(pa.array(texts), name, config.stamps)
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
    remaining = list(dict.fromkeys(options))
    best = 0
    while remaining:
        counts = [len(table.group_by([*chosen, n, *ds]).aggregate([])) for n in remaining]
        most = max(counts)
        if chosen and most <= best:
            break
        best = most
        chosen.append(remaining.pop(counts.index(most)))
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


def settle_long(
    config: DataConfig,
    ids: tuple[str, ...] | None,
    ds: tuple[str, ...] | None,
    y: str | None,
    names: list[str],
    seen: Seen,
    rows: tuple[pa.Table, Whole | None],
) -> DataConfig:
    """The config of a long table, its columns named; `MappingError` asks in doubt."""
    sample, whole = rows
    sure = True
    roles = {*(ids or ()), *(ds or ()), *([y] if y else []), *(c.source for c in config.covariates)}
    parts = parts_among(names, sample, roles, seen.texts)
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
                {"id": list(ids or keys or [OPEN]), "ds": short(ds), "y": OPEN},
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


def refuse_hidden_parts(
    config: DataConfig,
    roles: tuple[tuple[str, ...] | None, tuple[str, ...], str],
    names: list[str],
    sample: pa.Table,
    whole: Whole | None,
) -> None:
    """A stamp by its plain name whose hours stand in another column."""
    ids, ds, y = roles
    used = {*(ids or ()), *ds, y, *(c.source for c in config.covariates)}
    key = [n for n in (*(ids or ()), *ds) if names.count(n) == 1]
    parts = parts_among(names, sample, used)
    if parts and len(key) == len(ids or ()) + len(ds) and told_apart(sample, names, key) < 1.0:
        _refuse_parts(config, (ids, ds, y, []), parts, [], names, (sample, whole))


def _time_of(
    ids: tuple[str, ...] | None,
    y: str | None,
    names: list[str],
    seen: Seen,
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
            {"id": list(ids or [OPEN]), "ds": OPEN, "y": y or OPEN},
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
    candidates = [
        n for n in dict.fromkeys(targets) if n in table.column_names and not _PLACE.fullmatch(n)
    ]
    keys = [n for n in ids or () if n in table.column_names]
    aggregates = [(n, how) for n in candidates for how in ("min", "max")]
    ends = table.group_by(keys).aggregate(aggregates)
    for name in candidates:
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
