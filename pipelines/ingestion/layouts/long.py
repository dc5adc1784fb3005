"""Tables with one row per value: what stands beside it names its series and its time."""

from __future__ import annotations

import numpy as np

from pipelines.ingestion.columns.columns import numbers_of, read_covariate, unit_factors
from pipelines.ingestion.columns.units import units_aside
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.cells import Rows, csv_of, series_named
from pipelines.ingestion.raw import Raw
from pipelines.ingestion.stamps.parts import stamps_of


def long_rows(raw: Raw, config: DataConfig, name: str) -> Rows:
    """Each row as it is, with the covariates beside it."""
    count = raw.table.num_rows
    ids, codes = series_named(raw, config, name)
    y_name = config.y or "y"
    real = {
        c.source: raw.column(c.source, f"covariates.{c.name}")
        for c in config.covariates
        if c.type != "categorical" and (c.source in raw.names or not config.static)
    }
    csv, marks = csv_of(raw, config, {y_name: raw.column(y_name, "data.y"), **real})
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
            covariate_column = rows.columns[covariate.name]
            covariate_column.values = covariate_column.values * factor
    used = {*(config.id or ()), *(config.ds or ("ds",)), y_name}
    used |= {c.source for c in config.covariates}
    used |= {v.unit.column for v in (config.values, *config.covariates) if v.unit is not None}
    used = {n.strip() for n in used}
    rows.aside = [n for n in raw.every if n and n.strip() not in used]
    if config.values.unit is None:
        rows.facts |= units_aside(raw, rows.aside, ids, codes, rows.y.values)
    return rows
