"""A table of what is known ahead, beside the history: promotions planned, prices set, holidays.

It is read as the history is, by the same section `data`, but has no values of y.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from forecasting.arrays import Array
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import ConfigError, DataError
from forecasting.masking import conceals, masked
from forecasting.schema import Covariate, Schema
from pipelines.ingestion.columns.numbers import RATES
from pipelines.ingestion.columns.values import signs_of
from pipelines.ingestion.config import DataConfig, ValueConfig
from pipelines.ingestion.read.sources import Source, read
from pipelines.ingestion.result.panels import to_panel
from pipelines.ingestion.ways.careful import clean

NO_Y = "\0y"  # the column that a plan lacks
EVERY_SERIES = "every series"


@conceals
def add_plan(
    source: Source, panel: Panel, config: DataConfig, horizon: int, facts: Mapping[str, Any]
) -> tuple[Panel, list[str]]:
    """A panel with the known-future covariates of a second table, and what to say of it.

    Its values stand where the panel has none: after the end of each series, and in gaps before
    it. A table without the columns of the id holds for every series.

    Parameters
    ----------
    source : the second table.
    config : the history's, with the columns' roles filled in.
    horizon : steps after the last row that are kept.
    facts : what was found out of the history.

    Raises
    ------
    ConfigError : the history has no covariate that is known ahead.
    DataError : a table that cannot be read so, that has none of the series, whose stamps are off
        their grid, or whose numbers are in another unit.
    """
    if not panel.schema.future:
        raise ConfigError(
            "--future: the data section names no covariate that is known ahead; give those of "
            "the table `role: future` below data.covariates"
        )
    plan, shared = _read(source, panel, config, facts)
    where = masked(str(source))
    if (plan.tz is None) != (panel.tz is None):
        raise DataError(
            f"{where}: ds has {plan.tz or 'no'} time zone, in the history {panel.tz or 'none'}; "
            "write both alike, or set data.stamps.zone"
        )
    notes = []
    if shared:
        names = " and ".join(config.id or ())
        lacks = f"no column {names}" if names else "no series of its own"
        notes.append(f"{where} has {lacks}: its values are taken for every series")
        plan = plan.select(np.zeros(len(panel), np.int64))
        plan = replace(plan, ids=panel.ids)
    place, foreign = _places(panel, plan, where)
    if foreign:
        notes.append(
            f"{where}: {len(foreign):,} of its series are not in the history, the first is "
            f"{foreign[0]!r}; they were left aside"
        )
    panel, plan = _alike(panel, plan)
    joined, differing = _joined(panel, plan, place, horizon, where)
    if differing:
        notes.append(
            f"{where}: {differing:,} of its values for stamps of the history are others than "
            "there; those of the history were kept"
        )
    return joined, notes


def _read(
    source: Source, panel: Panel, config: DataConfig, facts: Mapping[str, Any]
) -> tuple[Panel, bool]:
    """The plan as a panel without values, and whether it holds for every series."""
    kinds = {c.name: c.type for c in panel.schema.future}
    covariates = tuple(
        c.replace(type=kinds[c.name]) for c in config.covariates if c.role == "future"
    )
    config = config.replace(
        source=str(source), format=None, query=None, table=None, newer=None, layout="long",
        static=None, covariates=covariates, freq=panel.freq.alias, other_freq="keep",
        values=ValueConfig(), duplicates={"conflicting": "refuse"},
    )  # fmt: skip
    # Any column that is there, so that none is missed while the table is read.
    raw, _ = read(source, config.replace(y=covariates[0].source))
    names = [n.strip() for n in raw.names]
    shared = not any(n in names for n in config.id or ())
    if shared:
        config = config.replace(id=None, series=EVERY_SERIES)
    blank = pa.nulls(raw.table.num_rows, pa.float64())
    raw = replace(
        raw,
        table=raw.table.append_column(NO_Y, blank),
        headers=[[*line, NO_Y] for line in raw.headers],
    )
    try:
        cleaned = clean(raw, config.replace(y=NO_Y), EVERY_SERIES)
        plan = to_panel(cleaned)
        _refuse_other_units(plan, facts, cleaned.facts)
        return plan, shared
    except DataError as error:
        raise DataError(f"{masked(str(source))}: {error}") from None


def _refuse_other_units(plan: Panel, history: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """5 % of a plan is read as 5, and is another thing than the 0.05 or 1 of a history."""
    for k, covariate in enumerate(plan.schema.future):
        name = covariate.name
        before, ahead = (signs_of(f, name) for f in (history, facts))
        rates = ({*before} ^ {*ahead}) & {*RATES}
        other = before and ahead and {*before} != {*ahead}
        column = plan.future[:, k]
        if (rates or other) and (column[~np.isnan(column)] != 0).any():
            raise DataError(
                f"column {name}: its numbers bear {_listed(ahead)} here and {_listed(before)} in "
                "the history, and 5 % is read as 5: write both in one unit"
            )


def _listed(signs: Sequence[str]) -> str:
    return " and ".join(signs) or "no sign"


def _places(panel: Panel, plan: Panel, where: str) -> tuple[Array, list[str]]:
    """[n] the place of each of the plan's series in the history, -1 for none; and those names."""
    names = plan.ids.astype(str)
    place = np.asarray(pd.Index(panel.ids.astype(str)).get_indexer(pd.Index(names)))
    foreign = [str(name) for name in names[place < 0]]
    if len(foreign) == len(names):
        raise DataError(
            f"{where} has none of the series of the history: there a series is called "
            f"{str(panel.ids[0])!r}, here {foreign[0]!r}; write the ids of both alike"
        )
    return place, foreign


def _alike(panel: Panel, plan: Panel) -> tuple[Panel, Panel]:
    """Both in the codes of the categories that either has."""
    planned = {c.name: c for c in plan.schema.future}

    def both(own: Covariate) -> Covariate:
        if own.role != "future" or own.type != "categorical":
            return own
        return own.replace(
            categories=tuple(sorted({*own.categories, *planned[own.name].categories}))
        )

    schema = Schema(covariates=tuple(both(c) for c in panel.schema.covariates))
    ahead = Schema(covariates=schema.future)
    return panel.under(schema), plan.under(ahead)


def _joined(panel: Panel, plan: Panel, place: Array, horizon: int, where: str) -> tuple[Panel, int]:
    """The panel with the plan's values in it, and how many of them differ from its own."""
    series, step = _steps(panel, plan, place, where)
    usable = (series >= 0) & (step >= 0) & (step < panel.lengths[series] + horizon)
    series, step = series[usable], step[usable]
    values = _given(plan.future[usable], panel)
    own = panel.lengths + _width(panel)
    sizes = own.copy()
    reach = ~np.isnan(values).all(axis=1)
    np.maximum.at(sizes, series[reach], step[reach] + 1)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows = offsets[:-1][panel.series] + np.arange(panel.rows) - panel.offsets[panel.series]
    future = np.full((int(offsets[-1]), values.shape[1]), np.nan)
    future[rows] = _given(panel.future, panel)
    if panel.horizon is not None:
        which, ahead = np.nonzero(
            np.arange(panel.horizon.shape[1]) < (own - panel.lengths)[:, None]
        )
        future[(offsets[:-1] + panel.lengths)[which] + ahead] = panel.horizon[which, ahead]
    inside = step < sizes[series]
    target, values = offsets[:-1][series[inside]] + step[inside], values[inside]
    there = future[target]
    differing = int((~np.isnan(there) & ~np.isnan(values) & (there != values)).sum())
    future[target] = np.where(np.isnan(there), values, there)
    y = np.full(len(future), np.nan)
    y[rows] = panel.y
    past = np.full((len(future), panel.past.shape[1]), np.nan)
    past[rows] = panel.past
    longer = replace(panel, offsets=offsets, y=y, past=past, future=future, horizon=None)
    back = sizes - longer.history_lengths(panel.lengths)
    cut = longer.truncate(back, horizon=int(back.max(initial=0)))
    return replace(cut, future=_coded(cut.future, panel)), differing


def _steps(panel: Panel, plan: Panel, place: Array, where: str) -> tuple[Array, Array]:
    """[rows of the plan] the series in the panel, and the step after its first row."""
    series = place[plan.series]
    ds = plan.freq.shift(
        plan.start[plan.series], np.arange(plan.rows) - plan.offsets[:-1][plan.series]
    )
    start = panel.start[series]
    step = panel.freq.steps_between(start, ds)
    off = np.flatnonzero((panel.freq.shift(start, step) != ds) & (series >= 0))
    if len(off):
        name, stamp = panel.ids[series[off[0]]], public_stamps(ds[off[:1]], panel)[0]
        raise DataError(
            f"{where}: ds = {stamp} of series {str(name)!r} does not lie on the grid of the "
            f"history, freq = {panel.freq.alias} from {panel.start[series[off[0]]]} on "
            f"({len(off):,} such rows in all); give the stamps of the steps that follow it"
        )
    return series, step


def _width(panel: Panel) -> Array:
    """[N] steps after the last row for which a series has a covariate."""
    if panel.horizon is None:
        return np.zeros(len(panel), np.int64)
    filled = ~np.isnan(panel.horizon).all(axis=2)
    return np.where(filled, np.arange(1, filled.shape[1] + 1), 0).max(axis=1)


def _given(values: Array, panel: Panel) -> Array:
    """[T, F] with NaN for a category that is not given, whose code is 0 within a history."""
    codes = np.array([c.type == "categorical" for c in panel.schema.future])
    return np.where(codes & (values == 0), np.nan, values)


def _coded(values: Array, panel: Panel) -> Array:
    """[T, F] as a panel's history holds it: 0 for a category that is not given."""
    codes = np.array([c.type == "categorical" for c in panel.schema.future])
    return np.where(codes & np.isnan(values), 0.0, values)
