"""Covariates with one value per series: from a column that stays, or from a table of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.masking import masked
from pipelines.ingestion.columns.columns import Column, read_covariate
from pipelines.ingestion.columns.numbers import Numbers
from pipelines.ingestion.columns.values import note_codes, note_signs, note_spellings
from pipelines.ingestion.config import CovariateConfig, DataConfig, StaticConfig
from pipelines.ingestion.ledger import NAT, Ledger, Places
from pipelines.ingestion.read.sources import read
from pipelines.ingestion.series.table import Table


def static_columns(
    table: Table, offsets: Array, config: DataConfig, ledger: Ledger, *, part: bool = False
) -> dict[str, Column]:
    """All static covariates, [N] each; those in the table are taken out of it.

    ``part`` : other series of the panel are elsewhere.

    Raises
    ------
    DataError : a table of static covariates with a series twice, or with none of the panel's.
    """
    out: dict[str, Column] = {}
    for name in [n for n, c in table.columns.items() if c.config.role == "static"]:
        out[name] = _first_known(table, offsets, name, ledger)
    for name, column in _own_table(config, table.ids, ledger, set(out), part).items():
        if name in out:
            raise DataError(f"static covariate {name!r} is in the table and in static.source")
        out[name] = column
    return out


def _first_known(table: Table, offsets: Array, name: str, ledger: Ledger) -> Column:
    column = table.columns.pop(name)
    values = column.values
    textual = column.categories is not None
    missing = values < 0 if textual else np.isnan(values)
    index = np.where(missing, len(values), np.arange(len(values)))
    first = np.minimum.reduceat(index, offsets[:-1])
    known = first < len(values)
    picked = np.where(known, values[np.where(known, first, 0)], -1 if textual else np.nan)
    at = np.flatnonzero(~missing & (values != picked[table.codes]))
    before = values[at] if column.categories is None else column.categories[values[at]]
    ledger.note(
        "static_varies", "changed", "a static value differs within its series; the first counts",
        **table.places(at), column=name, before=before,
    )  # fmt: skip
    return replace(column, values=picked.astype(values.dtype))


def _own_table(
    config: DataConfig, ids: Array, ledger: Ledger, there: set[str], part: bool
) -> dict[str, Column]:
    static = config.static
    if static is None:
        return {}
    inner = DataConfig(source=static.source, layout="rows", id=(static.id,), csv=config.csv)
    raw, _ = read(static.source, inner)
    keys = pc.utf8_trim_whitespace(raw.column(static.id, "static.id").cast(pa.string()))
    names = np.asarray(pc.fill_null(keys, "").to_numpy(zero_copy_only=False)).astype(str)
    order = np.argsort(names, kind="stable")
    ranked = names[order]
    twice = np.flatnonzero((ranked[1:] == ranked[:-1]) & (ranked[1:] != ""))
    if len(twice):
        raise DataError(
            f"{masked(static.source)}: series {str(ranked[twice[0]])!r} stands twice; "
            "keep one row for it"
        )
    if not len(names):
        raise DataError(f"{masked(static.source)}: the table of static covariates has no rows")
    labels = ids.astype(str)
    place = np.minimum(np.searchsorted(ranked, labels), len(ranked) - 1)
    has_row = ranked[place] == labels
    if len(ids) and not has_row.any() and not part:
        raise DataError(
            f"{masked(static.source)}: none of its {len(names):,} series is in the panel, where a "
            f"series is called {str(labels[0])!r} and in the static table {str(names[0])!r}; write "
            "the ids of both alike (ids.template can add zeros), or name the right column as "
            "static.id"
        )
    source = np.where(has_row, order[place], -1)
    ledger.note(
        "no_static", "flagged", "the table of static covariates has no row for the series",
        series=np.flatnonzero(~has_row), repair=False,
    )  # fmt: skip
    out = {}
    for covariate in _declared(config, static, raw.names, there):
        column = raw.column(covariate.source, f"covariates.{covariate.name}")
        whole = read_covariate(column, covariate, config.csv)
        blank = -1 if whole.categories is not None else np.nan
        _note_cells(whole, source, covariate.name, ledger, masked(static.source))
        values = np.where(source >= 0, whole.values[source], blank)
        out[covariate.name] = Column(
            whole.config, values.astype(whole.values.dtype), whole.categories
        )
    return out


def _note_cells(whole: Column, source: Array, name: str, ledger: Ledger, table: str) -> None:
    """Write down what was found in the own table's cells, per series that has a row there.

    Parameters
    ----------
    source : [N] the row of each series, -1 for none.
    """
    rows = np.arange(len(source))
    places = Places(rows, np.full(len(source), NAT), source + 1, rows, ledger)

    def here(cells: Array, texts: Iterable[Any]) -> tuple[Array, list[Any]]:
        by_cell = dict(zip(cells.tolist(), texts, strict=True))
        at = np.flatnonzero(np.isin(source, cells))
        return at, [by_cell[int(source[i])] for i in at]

    if whole.numbers is not None:
        numbers = whole.numbers
        codes, bad = (
            here(numbers.codes, numbers.code_text),
            here(numbers.unreadable, numbers.unreadable_text),
        )
        note_codes(Numbers(numbers.values, *codes, *bad), name, places)
        count = len(numbers.values)
        own = Places(
            np.zeros(count, np.int64), np.full(count, NAT), np.arange(1, count + 1),
            np.array([table], dtype=object), ledger,
        )  # fmt: skip
        note_signs(numbers, name, own, whole.config)
    if whole.respelled is not None:
        note_spellings(here(*whole.respelled), name, places)


def _declared(
    config: DataConfig, static: StaticConfig, names: list[str], there: set[str]
) -> list[CovariateConfig]:
    """The columns of the own table: as `covariates` declares them, or as they stand."""
    declared = {
        c.source: c for c in config.covariates if c.role == "static" and c.name not in there
    }
    columns = static.columns or [n for n in names if n != static.id]
    columns = [*columns, *(n for n in declared if n not in columns)]
    return [declared.get(n) or CovariateConfig(name=n, role="static") for n in columns]
