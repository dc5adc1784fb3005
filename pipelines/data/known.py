"""Covariates with a stamp of when each value was known: joined as of, so that nothing leaks.

A plan is revised: the price of 1 March was said in January, and said anew in February. What a model
learns from may be nothing that was said after the cutoff it forecasts from. Each row of a panel
holds one value, and serves every cutoff up to a horizon before it; so a row of the history gets the
newest value that was known a whole horizon ahead of it, and a row to come the newest of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import MICROSECONDS, Frequency
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError
from forecasting.masking import conceals, masked
from forecasting.schema import Covariate, Schema, moments
from pipelines.ingestion.config import DataConfig, KnownConfig
from pipelines.ingestion.read.sources import read


@dataclass(frozen=True)
class Said:
    """R values of one covariate, as they were said: of which series and step, when, and what.

    Attributes
    ----------
    series : [R] place in the panel. step : [R] rows after its first one. known : [R] stamps.
    values : [R]; NaN takes back what was said.
    """

    series: Array
    step: Array
    known: Array
    values: Array


def known_ahead(said: Said, panel: Panel, horizon: int) -> tuple[Array, Array]:
    """[T] values over the history and [N, horizon] ahead of it; NaN where nothing was known.

    A row counts as known at a cutoff when its stamp lies before the step after the cutoff: on a
    cutoff's own day, for daily series, and for weeks and ends of months, too. In the history that
    cutoff lies ``horizon`` steps before the row; a value that was known at it was known at all
    later ones.
    """
    order = np.lexsort((said.known, said.step, said.series))
    series, step, known = (a[order] for a in (said.series, said.step, said.known))
    values, lengths = said.values[order], panel.lengths[series]
    inside = (step >= 0) & (step < lengths + horizon)
    first_unknown = _end_of(panel.freq, panel.start[series], step - horizon)
    use = inside & ((step >= lengths) | (known < first_unknown))
    series, step, values, lengths = (a[use] for a in (series, step, values, lengths))
    past, ahead = np.full(panel.rows, np.nan), np.full((len(panel), horizon), np.nan)
    within = step < lengths
    # In this order the newest comes last, and the last one stays.
    past[panel.offsets[:-1][series[within]] + step[within]] = values[within]
    ahead[series[~within], (step - lengths)[~within]] = values[~within]
    return past, ahead


def _end_of(freq: Frequency, start: Array, step: Array) -> Array:
    """The first moment after the steps; where their stamps are their last day, the day after."""
    week = freq.unit == "time" and freq.size >= MICROSECONDS["W"]
    if freq.integer or not (week or (freq.unit == "month" and freq.end)):
        return freq.shift(start, step + 1)
    return freq.shift(start, step) + np.timedelta64(1, "D")


@conceals
def add_known(panel: Panel, config: KnownConfig, horizon: int) -> tuple[Panel, list[str]]:
    """A panel with the covariates of a table that says when each value was known.

    Parameters
    ----------
    horizon : steps that the model forecasts.

    Raises
    ------
    ConfigError : a covariate of that name is in the panel already.
    DataError : a column or series that is not there, a value that cannot be read, a stamp off the
        grid, or two values that were known at the same moment.
    """
    where = masked(config.source)
    doubles = {c.name for c in panel.schema.covariates} & {*config.columns}
    if doubles:
        raise ConfigError(
            f"data.known.columns: {sorted(doubles)[0]!r} is a covariate of data.covariates already"
        )
    table = _table(config, where)
    place = pd.Index(panel.ids.astype(str)).get_indexer(pd.Index(table[config.id].astype(str)))
    here = place >= 0
    if not here.any():
        raise DataError(
            f"{where} has none of the series of the history: there one is called "
            f"{str(panel.ids[0])!r}, here {str(table[config.id].iloc[0])!r}"
        )
    notes = []
    if not here.all():
        foreign = table.loc[~here, config.id].astype(str).unique()
        notes.append(
            f"{where}: {len(foreign):,} of its series are not in the history, the first is "
            f"{foreign[0]!r}; they were left aside"
        )
    table, series = table[here].reset_index(drop=True), place[here]
    ds = _stamps(table[config.ds], panel, f"{where}, column {config.ds}")
    known_stamps = _stamps(table[config.known_at], panel, f"{where}, column {config.known_at}")
    step = _steps(panel, series, ds, where)
    blocks, covariates = [], []
    for name in config.columns:
        values = _numbers(table[name], f"{where}, column {name}")
        _refuse_twice(table, config, values, name, where)
        past, ahead = known_ahead(Said(series, step, known_stamps, values), panel, horizon)
        there = past[~np.isnan(past)]
        if not len(there):
            raise DataError(
                f"{where}: of {name} no value was known {horizon} steps ahead of a row of the "
                "history: nothing can be learned from it; is known_at when it was said?"
            )
        covariates.append(Covariate(name=name, role="future").replace(**moments(there)))
        blocks.append((past, ahead))
        notes.append(
            f"{where}: {name} was known {horizon} steps ahead for {len(there):,} of "
            f"{panel.rows:,} rows"
        )
    return _with(panel, covariates, blocks, horizon), notes


def _with(
    panel: Panel, covariates: list[Covariate], blocks: list[tuple[Array, Array]], horizon: int
) -> Panel:
    """The panel with further columns that are known ahead."""
    own = panel.horizon
    width = max(horizon, own.shape[1] if own is not None else 0)
    ahead = np.full((len(panel), width, panel.future.shape[1] + len(blocks)), np.nan)
    if own is not None:
        ahead[:, : own.shape[1], : own.shape[2]] = own
    for k, (_, block) in enumerate(blocks):
        ahead[:, :horizon, panel.future.shape[1] + k] = block
    return replace(
        panel,
        schema=Schema(covariates=(*panel.schema.covariates, *covariates)),
        future=np.column_stack([panel.future, *(past for past, _ in blocks)]),
        horizon=ahead,
    )


def _table(config: KnownConfig, where: str) -> pd.DataFrame:
    # Rows as they stand: which column is what is said by this section.
    raw, _ = read(config.source, DataConfig(source=config.source, layout="rows", id=(config.id,)))
    names = [name.strip() for name in raw.names]
    columns = [config.id, config.ds, config.known_at, *config.columns]
    lacking = [name for name in columns if name not in names]
    if lacking:
        missing, there = ", ".join(lacking), ", ".join(names[:20])
        raise DataError(f"data.known: {where} has no column {missing}; it has {there}")
    frame = raw.table.rename_columns(names).select(columns).to_pandas()
    blank = frame[[config.id, config.ds, config.known_at]].isna().any(axis=1).to_numpy()
    if blank.any():
        raise DataError(
            f"{where}, row {int(np.flatnonzero(blank)[0]) + 1}: {config.id}, {config.ds} and "
            f"{config.known_at} must all be given ({int(blank.sum()):,} such rows in all)"
        )
    return frame


def _stamps(column: pd.Series, panel: Panel, where: str) -> Array:
    """[R] in the panel's terms: UTC where it is sub-daily and has a zone, else the wall clock."""
    if panel.freq.integer:
        numbers = pd.to_numeric(column, errors="coerce")
        bad = (numbers.isna() | (numbers % 1 != 0)).to_numpy()
        if bad.any() or column.dtype.kind == "M":
            first = column[bad].iloc[0] if bad.any() else column.iloc[0]
            raise DataError(f"{where}: {str(first)!r} is no step, and the history counts steps")
        return numbers.to_numpy(np.int64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(f"{where} holds numbers, and the history has dates")
    zoned = panel.tz is not None
    read = _read_stamps(column, where, zoned)
    if zoned:
        zone = "UTC" if panel.freq.sub_daily else panel.tz
        read = read.dt.tz_convert(zone).dt.tz_localize(None)
    return read.to_numpy().astype("datetime64[us]")


def _read_stamps(column: pd.Series, where: str, zoned: bool) -> pd.Series:
    cure = f"write ISO 8601{', with the offset' if zoned else ', without an offset'}"
    typed = column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype)
    read: Any = column
    if not typed:
        text = column.astype(str)
        has_zone = text.str.contains(r"[T ].*(?:[+-]\d\d:?\d\d|Z)$")
        if has_zone.any() != has_zone.all():
            raise DataError(f"{where}: some stamps have an offset and some have none; {cure}")
        read = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(has_zone.all()))
        if read.isna().any():
            first = text[read.isna()].iloc[0]
            raise DataError(f"{where}: {first!r} is no stamp that can be read; {cure}")
    if (read.dt.tz is not None) != zoned:
        has, other = ("a", "none") if read.dt.tz is not None else ("no", "one")
        raise DataError(f"{where} has {has} time zone, and the history has {other}; {cure}")
    return read


def _steps(panel: Panel, series: Array, ds: Array, where: str) -> Array:
    start = panel.start[series]
    step = np.asarray(panel.freq.steps_between(start, ds))
    off = np.flatnonzero(panel.freq.shift(start, step) != ds)
    if len(off):
        k = int(off[0])
        raise DataError(
            f"{where}: ds = {ds[k]} of series {str(panel.ids[series[k]])!r} does not lie on the "
            f"grid of the history, freq = {panel.freq.alias} from {start[k]} on "
            f"({len(off):,} such rows in all)"
        )
    return step


def _numbers(column: pd.Series, where: str) -> Array:
    numbers = pd.to_numeric(column, errors="coerce")
    blank = column.isna() | (column.astype(str).str.strip() == "")
    bad = (numbers.isna() & ~blank) | np.isinf(numbers)
    if bad.any():
        raise DataError(
            f"{where}: {str(column[bad].iloc[0])!r} is no number; covariates that are known by "
            "stamps are numbers: give a column for each category, 0 or 1"
        )
    return numbers.to_numpy(np.float64)


def _refuse_twice(
    table: pd.DataFrame, config: KnownConfig, values: Array, name: str, where: str
) -> None:
    keys = [config.id, config.ds, config.known_at]
    both = table[keys].assign(value=values).drop_duplicates()
    twice = both.duplicated(keys)
    if twice.any():
        row = both[twice].iloc[0]
        raise DataError(
            f"{where}: series {str(row[config.id])!r} has two values of {name} for "
            f"{row[config.ds]} that were known at {row[config.known_at]}: which came last?"
        )
