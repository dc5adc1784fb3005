"""The way of a raw table to a clean one, step by step; every step writes into the ledger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.steps import with_day
from forecasting.errors import DataError
from pipelines.ingestion.clean import Clean
from pipelines.ingestion.columns.naming import (
    clean_names,
    dropped_names,
    fold,
    join_twins,
    note_names,
)
from pipelines.ingestion.columns.values import check_values, note_codes, note_signs, note_spellings
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.cells import Rows
from pipelines.ingestion.layouts.layout import to_rows
from pipelines.ingestion.ledger import NAT, Ledger, Places
from pipelines.ingestion.raw import Raw, shown
from pipelines.ingestion.segments import bounds
from pipelines.ingestion.series.duplicates import drop_duplicates
from pipelines.ingestion.series.ends import blank_ends, lost_ends
from pipelines.ingestion.series.exchanged import refuse_exchanged
from pipelines.ingestion.series.flags import raise_flags
from pipelines.ingestion.series.grids import fill_gaps, to_grid
from pipelines.ingestion.series.repairs import sort_rows, spread_and_fill, trim_blanks
from pipelines.ingestion.series.steps import Steps, find_steps, refuse_growth, refuse_others
from pipelines.ingestion.series.table import Table
from pipelines.ingestion.stamps.clock import Clock, set_clock
from pipelines.ingestion.stamps.foreign_months import foreign_months
from pipelines.ingestion.statics import static_columns

# Rows that may go from a table of any size, and their largest share in a small one.
FEW_LOST = 5
MOST_OF_FEW = 0.2


def clean(raw: Raw, config: DataConfig, name: str, *, part: bool = False) -> Clean:
    """The raw table, mended by the policies of the config.

    Parameters
    ----------
    name : of the only series in a table without ids.
    part : the table is a part of a larger one, of which nothing may be left.

    Raises
    ------
    DataError : what cannot be mended, or must not be by the config; with its place.
    """
    ledger = Ledger()
    try:
        rows = to_rows(raw, _with_step_format(config), name)
    except pa.ArrowException as error:
        raise DataError(f"the columns cannot be read: {str(error).splitlines()[0]}") from None
    table, names, clock = _placed(rows, config, ledger)
    table = _values(table, config, ledger)
    trim = config.blanks == "trim" or (config.blanks == "auto" and config.layout != "long")
    table = trim_blanks(table, ledger) if trim else table
    table = drop_duplicates(table, config, ledger, weeks=_of_weeks(rows))
    table, names = _compact(table, names, ledger)
    if not len(table):
        if part:
            return _nothing(names, clock, config, ledger, rows, raw)
        raise DataError("no row is left: " + _why(ledger, len(rows)))
    steps = find_steps(table.codes, table.ds, table.ids, config.freq, clock.integer)
    others = refuse_others(
        steps, table.codes, table.ids, config.other_freq,
        resampled=config.irregular.policy == "resample",
    )  # fmt: skip
    if others.any():
        table, names, steps = _without(table, names, steps, others, config, ledger)
    freq = with_day(
        steps.freq, table.ds, table.ds[bounds(table.codes, len(table.ids))[:-1]], table.codes
    )
    as_read = table.ds
    if config.stamps.label == "end":
        _to_start(table, freq, ledger)
    guessed = rows.stamps.facts if rows.stamps.guessed else {}
    table, grid = to_grid(table, freq, config, ledger, guessed)
    offsets, start, table = fill_gaps(table, grid, freq, config, ledger)
    refuse_growth(as_read, len(table), freq, config, ledger.facts | rows.facts)
    spread_and_fill(table, clock.tz, clock.daily, ledger)
    static = static_columns(table, offsets, config, ledger, part=part)
    flags = raise_flags(table, offsets, config.flags, freq, ledger)
    facts = {**rows.facts, **ledger.facts}
    facts |= blank_ends(table.ids, table.y, offsets, start, freq, config)
    return Clean(
        table.ids, names, offsets, start, table.y, freq, clock.tz, table.columns, static, ledger,
        steps, len(rows), raw.removed, facts, flags, rows.aside,
    )  # fmt: skip


def _nothing(
    names: Array, clock: Clock, config: DataConfig, ledger: Ledger, rows: Rows, raw: Raw
) -> Clean:
    none = np.empty(0, np.int64)
    return Clean(
        none.astype(object), names, np.zeros(1, np.int64), none, none.astype(np.float64),
        Frequency.parse(config.freq or ("step" if clock.integer else "D")), clock.tz, {}, {},
        ledger, None, len(rows), raw.removed, {**rows.facts, **ledger.facts}, {},
        rows.aside,
    )  # fmt: skip


def _with_step_format(config: DataConfig) -> DataConfig:
    """Integers are steps, not years or epochs, when the frequency says so."""
    if config.freq is None:
        return config
    if Frequency.parse(config.freq).integer:
        return config.replace(stamps={"formats": ("step",)})
    return config.replace(stamps={"freq": config.stamps.freq or config.freq})


def _placed(rows: Rows, config: DataConfig, ledger: Ledger) -> tuple[Table, Array, Clock]:
    """Rows with a series and a stamp, sorted."""
    names, codes = clean_names(rows.ids, rows.codes, rows.row, config.ids)
    seen = codes if config.ids.twins == "keep" else np.append(fold(names), -1)[codes]
    clock = set_clock(rows.stamps, seen, rows.row, config, ledger)
    ds = clock.ds
    if not clock.integer:
        refuse_exchanged(codes, ds, rows.row, rows.stamps)
    note_names(rows.ids, rows.codes, names, codes, rows.row, ds, ledger)
    _note_numbers(rows, codes, ds, config, ledger)
    keep = np.ones(len(rows), bool)
    keep[clock.dropped] = False
    _drop_nameless(keep, codes, ds, rows, config, ledger)
    _drop_unwanted(keep, names, codes, ds, rows, config, ledger)
    _drop_stampless(keep, codes, ds, rows, config, ledger)
    codes = join_twins(names, codes, ds, rows.row, config.ids, ledger)
    table = Table(names, codes, ds, _scaled(rows, codes, ds, config, ledger), rows.row,
                  rows.columns)  # fmt: skip
    if not keep.all():
        table = table.take(np.flatnonzero(keep))
    order = sort_rows(table.codes, table.ds, table.row, names, ledger)
    if order is not None:
        table = table.take(order)
    return table, names, clock


def _note_numbers(rows: Rows, codes: Array, ds: Array, config: DataConfig, ledger: Ledger) -> None:
    places = Places(codes, ds, rows.row, rows.ids, ledger)
    note_codes(rows.y, "y", places)
    note_signs(rows.y, "y", places, config.values)
    for name, column in rows.columns.items():
        if column.numbers is not None:
            note_codes(column.numbers, name, places)
            note_signs(column.numbers, name, places, column.config)
        if column.respelled is not None:
            note_spellings(column.respelled, name, places)


def _too_many(lost: int, rows: int, share: float) -> bool:
    """Whether more rows would go than footers and stray lines explain, in small tables too."""
    return lost > max(share * rows, FEW_LOST) or lost > max(MOST_OF_FEW, share) * rows


def _drop_nameless(
    keep: Array, codes: Array, ds: Array, rows: Rows, config: DataConfig, ledger: Ledger
) -> None:
    at = np.flatnonzero((codes < 0) & keep)
    share = config.stamps.max_unreadable
    if _too_many(len(np.unique(rows.row[at])), len(codes), share):
        raise DataError(
            f"row {rows.row[at[0]]}: the row names no series ({len(at):,} of {len(codes):,} rows, "
            f"stamps.max_unreadable = {share:g}); name another column as id, or fill it"
        )
    ledger.note(
        "no_id", "removed", "the row names no series",
        series=codes[at], ds=ds[at], row=rows.row[at], column="id", before=rows.y.values[at],
    )  # fmt: skip
    keep[at] = False


def _drop_unwanted(
    keep: Array, names: Array, codes: Array, ds: Array, rows: Rows, config: DataConfig,
    ledger: Ledger,
) -> None:  # fmt: skip
    if not config.ids.drop:
        return
    out = np.append(dropped_names(names, config.ids), False)[codes]
    at = np.flatnonzero(out & keep)
    ledger.note(
        "dropped_id", "removed", "the series is left out by ids.drop",
        series=codes[at], ds=ds[at], row=rows.row[at], before=rows.y.values[at], repair=False,
    )  # fmt: skip
    keep[at] = False


def _drop_stampless(
    keep: Array, codes: Array, ds: Array, rows: Rows, config: DataConfig, ledger: Ledger
) -> None:
    at = np.flatnonzero((ds == NAT) & keep)
    if not len(at):
        return
    texts = rows.stamps.text(at)
    policy = config.stamps
    if not policy.formats and (foreign := foreign_months(texts, " ".join(config.ds or ("ds",)))):
        raise DataError(f"row {rows.row[at[0]]}: {foreign}")
    # Cells of one row of a wide table count once.
    distinct = len(np.unique(rows.row[at]))
    many = _too_many(distinct, len(ds), policy.max_unreadable) or len(at) == int(keep.sum())
    if policy.unreadable == "refuse" or many:
        raise DataError(
            f"row {rows.row[at[0]]}: ds = {shown(texts[0])} cannot be read as a time stamp "
            f"({len(at):,} of {len(ds):,} rows, stamps.max_unreadable = "
            f"{policy.max_unreadable:g}); give its format in stamps.formats"
        )
    ledger.note(
        "unreadable_stamp", "removed", "the row has no stamp that can be read",
        series=codes[at], row=rows.row[at], column="ds", before=texts,
    )  # fmt: skip
    keep[at] = False
    ledger.facts |= lost_ends(codes, ds, rows.row, at, rows.y.values, texts)


def _scaled(rows: Rows, codes: Array, ds: Array, config: DataConfig, ledger: Ledger) -> Array:
    """y in the unit that is wanted."""
    y = rows.y.values
    if rows.unit_factor is not None:
        at = np.flatnonzero(np.isnan(rows.unit_factor) & ~np.isnan(y))
        ledger.note(
            "unknown_unit", "changed", "the unit is not in values.unit.scale; read as missing",
            series=codes[at], ds=ds[at], row=rows.row[at], column="y", before=y[at],
        )  # fmt: skip
        y = y * rows.unit_factor
    return y * config.values.scale if config.values.scale != 1.0 else y


def _values(table: Table, config: DataConfig, ledger: Ledger) -> Table:
    places = table.with_ledger(ledger)
    y = check_values(table.y, "y", config.values, config.flags, places)
    columns = {}
    for name, column in table.columns.items():
        if column.categories is None:
            values = check_values(column.values, name, column.config, config.flags, places)
            column = replace(column, values=values)
        columns[name] = column
    return replace(table, y=y, columns=columns)


def _compact(table: Table, names: Array, ledger: Ledger) -> tuple[Table, Array]:
    """Series numbered in their order; the names of those without rows go behind."""
    new = np.ones(len(table), bool)
    new[1:] = table.codes[1:] != table.codes[:-1]
    used = table.codes[new]
    if len(used) == len(names) and bool((used == np.arange(len(used))).all()):
        return table, names
    number = np.full(len(names), -1, np.int64)
    number[used] = np.arange(len(used))
    unused = np.flatnonzero(number < 0)
    number[unused] = np.arange(len(used), len(names))
    ledger.renumber(number)
    order = np.concatenate([used, unused])
    codes = (np.cumsum(new) - 1).astype(np.int32)
    return replace(table, ids=names[used], codes=codes), names[order]


def _without(
    table: Table, names: Array, steps: Steps, others: Array, config: DataConfig, ledger: Ledger
) -> tuple[Table, Array, Steps]:
    """Series of another step dropped, or flagged."""
    rows = np.flatnonzero(others[table.codes])
    if config.other_freq == "keep":
        ledger.note(
            "other_freq_kept", "flagged", "the series keeps another step than the panel",
            **table.places(rows), repair=False,
        )  # fmt: skip
        return table, names, steps
    ledger.note(
        "other_freq", "removed", "the series keeps another step than the panel",
        **table.places(rows), before=table.y[rows],
    )  # fmt: skip
    table = table.take(np.flatnonzero(~others[table.codes]))
    table, names = _compact(table, names, ledger)
    regular = ~others
    return table, names, replace(steps, alias=steps.alias[regular], share=steps.share[regular])


def _of_weeks(rows: Rows) -> bool:
    """Whether the stamps are years and their weeks."""
    return rows.stamps.weeks


def _to_start(table: Table, freq: Frequency, ledger: Ledger) -> None:
    """Stamps that end their interval, moved to its start."""

    def back(ds: Array) -> Array:
        stamps = ds if freq.integer else ds.astype("datetime64[us]")
        return np.asarray(freq.shift(stamps, -1)).astype(np.int64)

    table.ds = back(table.ds)
    ledger.move(back)
    ledger.facts["label"] = "stamps ended their interval; they were moved to its start"


def _why(ledger: Ledger, rows: int) -> str:
    counts = ledger.counts("removed")
    reasons = ", ".join(f"{count:,} {code}" for code, count in counts.items())
    return f"{rows:,} rows were read, {reasons or 'none with a series and a stamp'}"
