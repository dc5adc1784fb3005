"""Tables with a row for each series, the stamps in the header."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa

from forecasting.errors import ConfigError, DataError
from pipelines.ingestion.columns.columns import numbers_of
from pipelines.ingestion.columns.ids import series_of
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.cells import (
    Rows,
    add_covariates,
    by_name,
    csv_of,
    matrix_of,
    turned,
    value_columns,
)
from pipelines.ingestion.raw import Raw
from pipelines.ingestion.stamps.foreign_months import foreign_months
from pipelines.ingestion.stamps.numbered import date_kind
from pipelines.ingestion.stamps.short import short_texts
from pipelines.ingestion.stamps.stamps import Stamps, read_stamps
from pipelines.ingestion.stamps.written import NAIVE


def rows_of_series(raw: Raw, config: DataConfig) -> Rows:
    """Row after row; covariates are static."""
    id_names = config.id or (raw.names[0],)
    id_at = [raw.position(n, "id") for n in id_names]
    static = [raw.position(c.source, f"covariates.{c.name}") for c in config.covariates]
    moving = [c.name for c in config.covariates if c.role != "static"]
    if moving:
        raise ConfigError(
            f"layout = rows has one row per series: covariate {moving[0]!r} can be static only"
        )
    apart = {*id_at, *static}
    at = value_columns(raw, apart)
    if not at:
        raise DataError("layout = rows: no column is left for the values beside id")
    count, width = raw.table.num_rows, len(at)
    ids, codes = series_of([raw.table.column(i) for i in id_at], list(id_names), config.ids)
    matrix = matrix_of(raw, at)
    csv, marks = csv_of(raw, config, by_name(raw, at, matrix))
    y = turned(numbers_of(matrix, "of values", config.values, csv), count)
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
    add_covariates(rows, raw, config, static, csv, lambda values: np.repeat(values, width))
    return rows


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
    stamps = read_stamps(pa.array(names, pa.string()), "of the header", config.stamps)
    rows = stamps.rows()
    if (rows == np.iinfo(np.int64).min).any():
        wrong = names[int(np.flatnonzero(rows == np.iinfo(np.int64).min)[0])]
        if foreign := foreign_months(names, "of the header"):
            raise DataError(f"layout = rows: {foreign}")
        raise DataError(
            f"layout = rows: the column {wrong!r} is no time stamp; name it as id or as a static "
            "covariate, or give its format in stamps.formats"
        )
    return Stamps(
        rows, stamps.row_zones(), stamps.zones, None, stamps.integer, pa.array(names),
        facts=stamps.facts,
    )  # fmt: skip
