"""Long, wide and one-row-per-series tables become the same thing: one row per value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.columns.calendar import LAST, places
from pipelines.ingestion.columns.columns import Column, numbers_of, read_covariate, unit_factors
from pipelines.ingestion.columns.ids import compose, series_of
from pipelines.ingestion.columns.marks import table_marks, votes_of
from pipelines.ingestion.columns.numbers import Numbers
from pipelines.ingestion.columns.periods import FOREIGN, Part, run_of_parts
from pipelines.ingestion.columns.units import units_aside
from pipelines.ingestion.config import CsvConfig, DataConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import Raw, is_text, shown
from pipelines.ingestion.stamps.months import foreign_months
from pipelines.ingestion.stamps.numbered import date_kind
from pipelines.ingestion.stamps.parts import read_parts, refuse_fiscal
from pipelines.ingestion.stamps.short import short_texts
from pipelines.ingestion.stamps.stamps import Stamps, read_stamps
from pipelines.ingestion.stamps.written import NAIVE

SEVERAL = 50  # columns that are looked at one by one
MOST_HEADERS = 1000  # headers among the rows that are looked at


@dataclass
class Rows:
    """One row per value, as delivered.

    Attributes
    ----------
    ids : [K] names as written; codes : [T] which one each row has, -1 for none.
    y : what was read of the values; unit_factor : [T] from the unit column, NaN for an unknown
        unit.
    row : [T] row of the source, from 1.
    """

    ids: Array
    codes: Array
    stamps: Stamps
    y: Numbers
    row: Array
    columns: dict[str, Column] = field(default_factory=dict)
    unit_factor: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)


def to_rows(raw: Raw, config: DataConfig, name: str) -> Rows:
    """The table, one row per value; cells of wide tables are read column by column."""
    _refuse_other_headers(raw, config)
    if config.layout == "wide":
        rows = _wide(raw, config)
    elif config.layout == "rows":
        rows = _per_series(raw, config)
    elif config.layout == "calendar":
        rows = _as_calendar(raw, config, name)
    else:
        rows = _long(raw, config, name)
    rows.facts = {**raw.facts, **rows.stamps.facts, **rows.y.facts, **rows.facts}
    return rows


def _refuse_other_headers(raw: Raw, config: DataConfig) -> None:
    """A header that stands again among the rows, its names in another order.

    Raises
    ------
    DataError : the values below it would be read under the wrong names.
    """
    anchors = config.id if config.layout == "rows" else config.ds
    known = {n.strip().casefold() for n in raw.names} - {""}
    for anchor in anchors or (raw.names[0],):
        column = raw.column(anchor, "ds")
        if not is_text(column.type):
            continue
        texts = pc.utf8_trim_whitespace(column)
        named = pc.is_in(pc.utf8_lower(texts), pa.array(sorted(known), texts.type))
        for at in np.flatnonzero(named.to_numpy())[:MOST_HEADERS]:
            cells = [raw.table.column(i)[int(at)].as_py() for i in range(len(raw.names))]
            if not all(c is None or isinstance(c, str) for c in cells):
                continue  # a number beside it: a name that happens to be one of the header's
            pairs = [
                (c.strip(), n.strip())
                for c, n in zip(cells, raw.names, strict=True)
                if isinstance(c, str) and c.strip() and n.strip()
            ]
            if all(c.casefold() == n.casefold() for c, n in pairs):
                continue
            if any(re.search(r"\d", c) and c.casefold() not in known for c, _ in pairs):
                continue
            place = raw.row[at] if raw.row is not None else at + 1
            there, here = next((c, n) for c, n in pairs if c.casefold() != n.casefold())
            raise DataError(
                f"row {place} is a header with other names than the first: it has {shown(there)} "
                f"where that has {shown(here)}, and the rows below it would be read under the "
                "wrong names; read each part by its own header and join them (pandas.concat)"
            )


def _csv(
    raw: Raw, config: DataConfig, columns: dict[str, pa.ChunkedArray]
) -> tuple[CsvConfig, dict[str, str]]:
    """How the numbers of some columns are written, and what the report says of it."""
    csv = config.csv.replace(separator=raw.facts.get("separator", config.csv.separator))
    return table_marks(columns, csv, raw.facts.get("marks of columns not read", {}))


def _long(raw: Raw, config: DataConfig, name: str) -> Rows:
    count = raw.table.num_rows
    if config.series is not None or not config.id:
        ids, codes = np.array([config.series or name], dtype=object), np.zeros(count, np.int32)
    else:
        ids, codes = series_of(
            [raw.column(c, "id") for c in config.id], list(config.id), config.ids
        )
    y_name = config.y or "y"
    real = {
        c.source: raw.column(c.source, f"covariates.{c.name}")
        for c in config.covariates
        if c.type != "categorical" and (c.source in raw.names or not config.static)
    }
    csv, marks = _csv(raw, config, {y_name: raw.column(y_name, "data.y"), **real})
    rows = Rows(
        ids,
        codes,
        stamps_of(raw, config),
        numbers_of(raw.column(y_name, "data.y"), y_name, config.values, csv),
        np.arange(1, count + 1) if raw.row is None else raw.row,
        facts={**marks},
    )
    unit = config.values.unit
    if unit is not None:
        rows.unit_factor = unit_factors(raw.column(unit.column, "values.unit.column"), unit.scale)
    for covariate in config.covariates:
        if config.static and covariate.role == "static" and covariate.source not in raw.names:
            continue  # it stands in the table of static covariates
        column = raw.column(covariate.source, f"covariates.{covariate.name}")
        rows.columns[covariate.name] = read_covariate(column, covariate, csv)
        own = covariate.unit
        if own is not None:
            factor = unit_factors(raw.column(own.column, "unit.column"), own.scale)
            found = rows.columns[covariate.name]
            found.values = found.values * factor
    used = {*(config.id or ()), *(config.ds or ("ds",)), y_name}
    used |= {c.source for c in config.covariates}
    used |= {v.unit.column for v in (config.values, *config.covariates) if v.unit is not None}
    used = {n.strip() for n in used}
    ignored = [n for n in raw.facts.get("all columns", raw.names) if n and n.strip() not in used]
    if ignored:
        rows.facts["columns left aside"] = ignored[:100]
    if config.values.unit is None:
        rows.facts |= units_aside(raw, ignored, ids, codes, rows.y.values)
    return rows


def _day(column: pa.ChunkedArray, alone: bool) -> pa.ChunkedArray:
    """Typed midnights beside other parts of a stamp are days: their time is in another column."""
    if alone or not pa.types.is_timestamp(column.type) or column.type.tz is not None:
        return column
    days = column.cast(pa.date32(), safe=False)
    whole = pc.all(pc.equal(days.cast(column.type), column)).as_py()
    return days if whole is not False else column


def stamps_of(raw: Raw, config: DataConfig) -> Stamps:
    """The stamps of the rows, from one column or several."""
    names = config.ds or ("ds",)
    columns = [_day(raw.column(n, "ds"), alone=len(names) == 1) for n in names]
    if len(columns) == 1:
        return read_stamps(columns[0], names[0], config.stamps)
    return read_parts(columns, names, config.stamps)


def _matrix(raw: Raw, positions: list[int]) -> pa.ChunkedArray:
    """Cells of some columns, one column after the other."""
    table = raw.table.select(positions)
    kinds = {t for t in table.schema.types if not pa.types.is_null(t)}
    target = kinds.pop() if len(set(table.schema.types)) == 1 and kinds else None
    if target is None:
        target = pa.large_string() if any(is_text(k) for k in kinds) else pa.float64()
        table = table.cast(pa.schema([(n, target) for n in table.column_names]))
    return pa.chunked_array([c for column in table.columns for c in column.chunks], type=target)


def _by_name(raw: Raw, positions: list[int], matrix: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Columns whose marks are compared: one by one only where their cells together disagree."""
    if is_text(matrix.type) and len(positions) > SEVERAL and len(votes_of(matrix).sure) == 1:
        return {"of values": matrix}
    return {raw.names[i] or f"number {i + 1}": raw.table.column(i) for i in positions}


def _value_columns(raw: Raw, apart: set[int]) -> list[int]:
    """Columns of values, by position: those without a name and without a value are none."""
    out = []
    for i in range(len(raw.names)):
        if i in apart:
            continue
        column = raw.table.column(i)
        if any(line[i].strip() for line in raw.headers):
            out.append(i)
        elif pc.any(pc.not_equal(_trimmed(column), "")).as_py():
            first = shown(next(v for v in _trimmed(column).to_pylist() if v))
            raise DataError(
                f"column {i + 1} has no name, and values such as {first}; name it in the header"
            )
    return out


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _wide(raw: Raw, config: DataConfig) -> Rows:
    ds_at = [raw.position(n, "ds") for n in config.ds or ()]
    shared = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    apart = {*ds_at, *shared}
    at = _value_columns(raw, apart)
    if not at:
        raise DataError("layout = wide: no column is left for the series beside ds")
    count, width = raw.table.num_rows, len(at)
    names = list(config.levels) or [f"level{i + 1}" for i in range(len(raw.headers))]
    if len(names) != len(raw.headers):
        raise ConfigError(
            f"levels names {len(names)} header lines, but the table has {len(raw.headers)}"
        )
    levels = [_filled([level[i] for i in at]) for level in raw.headers[:-1]]
    levels.append([raw.names[i] for i in at])
    parts = [pa.array(level, pa.string()) for level in levels]
    ids = compose(parts, names, config.ids)
    stamps = stamps_of(raw, config)
    stamps.index = np.tile(stamps.index if stamps.index is not None else np.arange(count), width)
    matrix = _matrix(raw, at)
    csv, marks = _csv(raw, config, _by_name(raw, [*at, *shared], matrix))
    rows = Rows(
        ids,
        np.repeat(np.arange(width, dtype=np.int32), count),
        stamps,
        numbers_of(matrix, "of values", config.values, csv),
        np.tile(np.arange(1, count + 1), width),
        facts={"cells": "a row is a cell of the wide table", **marks},
    )
    _add_covariates(rows, raw, config, shared, csv, lambda values: np.tile(values, width))
    return rows


def _add_covariates(
    rows: Rows,
    raw: Raw,
    config: DataConfig,
    at: list[int],
    csv: CsvConfig,
    spread: Callable[[Array], Array],
) -> None:
    """Read the covariates' columns, and lay their values out as those of y are."""
    for covariate, i in zip(config.covariates, at, strict=True):
        column = read_covariate(raw.table.column(i), covariate, csv)
        values = spread(column.values)
        # What was found in a cell is said once, at the first of its rows.
        _, first = np.unique(spread(np.arange(len(column.values))), return_index=True)
        numbers, respelled = column.numbers, column.respelled
        rows.columns[covariate.name] = Column(
            covariate,
            values,
            column.categories,
            numbers.spread(first, len(values)) if numbers is not None else None,
            (first[respelled[0]], respelled[1]) if respelled is not None else None,
        )


def _filled(level: list[str]) -> list[str]:
    """A header line of joined cells: a blank means what stands to its left."""
    out: list[str] = []
    for name in level:
        out.append(name or (out[-1] if out else ""))
    return out


def _per_series(raw: Raw, config: DataConfig) -> Rows:
    id_names = config.id or (raw.names[0],)
    id_at = [raw.position(n, "id") for n in id_names]
    static = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    moving = [c.name for c in config.covariates if c.role != "static"]
    if moving:
        raise ConfigError(
            f"layout = rows has one row per series: covariate {moving[0]!r} can be static only"
        )
    apart = {*id_at, *static}
    at = _value_columns(raw, apart)
    if not at:
        raise DataError("layout = rows: no column is left for the values beside id")
    count, width = raw.table.num_rows, len(at)
    ids, codes = series_of([raw.table.column(i) for i in id_at], list(id_names), config.ids)
    matrix = _matrix(raw, at)
    csv, marks = _csv(raw, config, _by_name(raw, at, matrix))
    y = _turned(numbers_of(matrix, "of values", config.values, csv), count)
    stamps = _header_stamps([raw.names[i] for i in at], config)
    stamps.index = np.tile(np.arange(width), count)
    rows = Rows(
        ids,
        np.repeat(codes, width),
        stamps,
        y,
        np.repeat(np.arange(1, count + 1), width),
        facts={"cells": "a row is a cell of the table", **marks},
    )
    _add_covariates(rows, raw, config, static, csv, lambda values: np.repeat(values, width))
    return rows


def _turned(found: Numbers, count: int) -> Numbers:
    """From one column of ``count`` rows after the other to one row after the other."""
    turn = np.arange(len(found.values)).reshape(-1, count).T.ravel()
    back = np.empty_like(turn)
    back[turn] = np.arange(len(turn))
    return replace(found.spread(back, len(turn)), values=found.values[turn])


def _as_calendar(raw: Raw, config: DataConfig, name: str) -> Rows:
    """A row per year, month or day: each cell is stamped by its row and its column."""
    names = config.ds or (raw.names[0],)
    ds, ds_at = " ".join(names), [raw.position(n, "ds") for n in names]
    id_at = [raw.position(n, "id") for n in config.id or ()]
    if config.covariates:
        raise ConfigError(
            "layout = calendar: covariates stand beside values in tables with one row per value "
            "only; write it so"
        )
    refuse_fiscal(names, config.stamps, "%Y")
    at, part = _parts(raw, {*ds_at, *id_at})
    count, width = raw.table.num_rows, len(at)
    ids, codes = np.array([config.series or name], dtype=object), np.zeros(count, np.int32)
    if id_at and config.series is None:
        columns = [raw.table.column(i) for i in id_at]
        ids, codes = series_of(columns, list(config.id or ()), config.ids)
    matrix = _matrix(raw, at)
    csv, marks = _csv(raw, config, _by_name(raw, at, matrix))
    y = _turned(numbers_of(matrix, "of values", config.values, csv), count)
    # The step that is given is that of the cells, not that of the rows.
    found = stamps_of(raw, config.replace(ds=names, stamps={"freq": None}))
    if found.integer:
        raise DataError(f"layout = calendar: ds = {ds!r} holds plain steps, and no stamps")
    base = found.rows()
    stamps, kind = places(base, part, ds)
    own = pc.cast(raw.table.column(ds_at[0]), pa.string()).combine_chunks()
    beside = pa.array(np.tile(np.array([raw.names[i] for i in at], dtype=object), count))
    texts = pc.binary_join_element_wise(own.take(np.repeat(np.arange(count), width)), beside, " ")
    # 30 February is blank, and no row of the source.
    there = (stamps.ravel() != NAT) | ~np.isnan(y.values) | np.repeat(base == NAT, width)
    there[y.unreadable] = True
    rows = np.flatnonzero(there)
    aside = [n for i, n in enumerate(raw.names) if n and i not in (*at, *id_at, *ds_at)][:100]
    return Rows(
        ids,
        np.repeat(codes, width)[rows],
        Stamps(
            stamps.ravel()[rows],
            np.repeat(found.row_zones(), width)[rows],
            found.zones,
            None,
            texts=texts.take(rows),
            tz=found.tz,
            facts=found.facts,
        ),
        y.take(rows),
        np.repeat(np.arange(1, count + 1), width)[rows],
        facts={
            "cells": f"a row is a cell of the table, a {kind} of {ds}",
            **({"columns left aside": aside} if aside else {}),
            **marks,
        },
    )


def _parts(raw: Raw, apart: set[int]) -> tuple[list[int], Part]:
    """The columns that are parts of a time, by position; none that stands for the whole (M13)."""
    run = run_of_parts(raw.names, apart)
    if run is None:
        raise DataError(
            "layout = calendar: no columns side by side are parts of a year, a month or a day, "
            "such as Jan … Dec, 1 … 31 or 0 … 23"
        )
    at, part = run
    if part.kind == FOREIGN:
        months = foreign_months([f"{raw.names[i]} 2020" for i in at], "of the header")
        raise DataError(f"layout = calendar: {months}")
    _refuse_fiscal_header([raw.names[i] for i in at], part)
    used = [i for i, n in enumerate(part.numbers) if n <= LAST.get(part.kind, n)]
    return [at[i] for i in used], replace(part, numbers=tuple(part.numbers[i] for i in used))


def _refuse_fiscal_header(names: list[str], part: Part) -> None:
    """Columns from April to March: the rows are years that do not begin in January.

    Raises
    ------
    DataError : which of its two years of the calendar a row is called by is not written.
    """
    numbers = np.array(part.numbers)
    count = LAST.get(part.kind, 0)
    if part.kind == "half" or len(numbers) != count or numbers[0] == 1:
        return
    if (np.diff(numbers) % count == 1).all():
        raise DataError(
            f"layout = calendar: the columns run from {names[0]} to {names[-1]}, so that a row is "
            f"no year of the calendar but one that begins with {names[0]}: write one row per value "
            "with its whole stamp, or bring the columns into the order of the calendar, each row "
            "under its own year"
        )


def _dated(names: list[str]) -> bool:
    """Whether every name is a number that is a date: 20240131, 202401, a year and its quarter."""
    if not all(n.isdigit() for n in names):
        return False
    numbers = np.array(names, dtype=np.int64)
    return all(len(n) == 8 for n in names) or bool(date_kind(numbers, "of the header"))


def _refuse_unnumbered(names: list[str]) -> None:
    """Numbers in the header that run backwards, leave one out or stand in the order of text.

    Raises
    ------
    DataError : taken as they stand they would be other steps than they say.
    """
    numbers = np.array([int(re.sub(r"^\D*", "", name)) for name in names])
    between = np.diff(numbers)
    wrong = np.flatnonzero((between != between[0]) | (between <= 0)) if len(between) else between
    if not len(wrong):
        return
    at = int(wrong[0])
    cure = (
        "turn the columns over, so that the latest is the last"
        if (between < 0).all()
        else ("sort them by their number, add those that are missing, or leave out what is no step")
    )
    raise DataError(
        f"layout = rows: the columns are numbered, but {names[at + 1]!r} follows {names[at]!r}: "
        f"{cure}; or set freq: step to take them as steps 1 to {len(names)} in the order in which "
        "they stand"
    )


def _header_stamps(names: list[str], config: DataConfig) -> Stamps:
    """Stamps in the header; plain steps 1, 2, … where it only numbers its columns."""
    numbered = all(re.fullmatch(r"[A-Za-z_. ]{0,12}\d{1,6}", n) for n in names)
    # FY2020, X2020, sales_2020: what stands before the year says nothing of it.
    bare = [re.sub(r"^[A-Za-z_. ]{0,12}(?=(?:1[6-9]|2[0-2])\d{2}$)", "", n) for n in names]
    years = all(re.fullmatch(r"(1[6-9]|2[0-2])\d{2}", n) for n in bare)
    names = bare if years else names
    quarters = all(re.fullmatch(r"(?i)\d{4}[ -]?q[1-4]|q[1-4][ -]?\d{4}", n) for n in names)
    short = bool(short_texts(pd.Series(names, dtype="str")).all())
    dated = years or quarters or short or _dated(names)
    if config.freq == "step" or (numbered and not dated and not config.stamps.formats):
        if config.freq != "step":
            _refuse_unnumbered(names)
        steps = np.arange(1, len(names) + 1)
        facts = {"stamps": f"columns {names[0]} … {names[-1]} are steps 1 to {len(names)}"}
        zone = np.full(len(names), NAIVE, np.int8)
        return Stamps(steps, zone, [], None, integer=True, texts=pa.array(names), facts=facts)
    found = read_stamps(pa.array(names, pa.string()), "of the header", config.stamps)
    rows = found.rows()
    if (rows == np.iinfo(np.int64).min).any():
        wrong = names[int(np.flatnonzero(rows == np.iinfo(np.int64).min)[0])]
        if foreign := foreign_months(names, "of the header"):
            raise DataError(f"layout = rows: {foreign}")
        raise DataError(
            f"layout = rows: the column {wrong!r} is no time stamp; name it as id or as a static "
            "covariate, or give its format in stamps.formats"
        )
    return Stamps(
        rows, found.row_zones(), found.zones, None, found.integer, pa.array(names),
        facts=found.facts,
    )  # fmt: skip
