"""Tables laid out as a calendar: a row per year, month or day, its parts side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.columns.calendar import LAST, places
from pipelines.ingestion.columns.columns import numbers_of
from pipelines.ingestion.columns.periods import FOREIGN, Part, run_of_parts
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.cells import Rows, by_name, csv_of, matrix_of, series_named, turned
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import Raw
from pipelines.ingestion.stamps.foreign_months import foreign_months
from pipelines.ingestion.stamps.parts import refuse_fiscal, stamps_of
from pipelines.ingestion.stamps.stamps import Stamps
from pipelines.ingestion.stamps.weeks import refuse_52


def calendar_rows(raw: Raw, config: DataConfig, name: str) -> Rows:
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
    ids, codes = series_named(raw, config, name)
    matrix = matrix_of(raw, at)
    csv, marks = csv_of(raw, config, by_name(raw, at, matrix))
    y = turned(numbers_of(matrix, "of values", config.values, csv), count)
    # The step that is given is that of the cells, not that of the rows.
    stamps_read = stamps_of(raw, config.replace(ds=names, stamps={"freq": None}))
    if stamps_read.integer:
        raise DataError(f"layout = calendar: ds = {ds!r} holds plain steps, and no stamps")
    base = stamps_read.rows()
    stamps, kind = places(base, part, ds)
    if part.kind == "week":
        days = stamps[stamps != NAT]
        refuse_52(days, ds, "add a column of week 53, blank where a year has none")
    own = pc.cast(raw.table.column(ds_at[0]), pa.string()).combine_chunks()
    beside = pa.array(np.tile(np.array([raw.names[i] for i in at], dtype=object), count))
    texts = pc.binary_join_element_wise(own.take(np.repeat(np.arange(count), width)), beside, " ")
    # 30 February is blank, and no row of the source.
    there = (stamps.ravel() != NAT) | ~np.isnan(y.values) | np.repeat(base == NAT, width)
    there[y.unreadable] = True
    rows = np.flatnonzero(there)
    aside = [n for i, n in enumerate(raw.names) if n and i not in (*at, *id_at, *ds_at)]
    return Rows(
        ids,
        np.repeat(codes, width)[rows],
        Stamps(
            stamps.ravel()[rows],
            np.repeat(stamps_read.row_zones(), width)[rows],
            stamps_read.zones,
            None,
            texts=texts.take(rows),
            tz=stamps_read.tz,
            facts=stamps_read.facts,
            weeks=stamps_read.weeks,
        ),
        y.take(rows),
        np.repeat(np.arange(1, count + 1), width)[rows],
        facts={"cells": f"a row is a cell of the table, a {kind} of {ds}", **marks},
        aside=aside,
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
