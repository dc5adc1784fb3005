"""Long tables as panels: stamps, names, order, the grid of each series, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency, wall_clock
from forecasting.data.encoding import category, encode, numbers, unseen
from forecasting.data.steps import step_of, with_day
from forecasting.data.tables.needs import (
    need_columns,
    need_frame,
    need_frames,
    need_names,
    refuse_two_roles,
)
from forecasting.data.tables.schemas import refuse_unknown, schema_of
from forecasting.data.tables.series import refuse_foreign_rows, series_codes
from forecasting.data.tables.static import static_beside, static_values
from forecasting.data.tables.warned import say_blank
from forecasting.data.whole import refuse_dates, refuse_size, say_dates
from forecasting.data.zones import refuse_steps_of_the_clock, zone_name
from forecasting.errors import DataError, warn
from forecasting.interop.kinds import as_pandas
from forecasting.schema import Covariate, Schema

# A grid of more rows than this, and so many times more than were given, is a mistake.
VAST, SPARSE = 10_000_000, 1_000
# Steps for each distinct stamp, over all series, from which on an inferred step is not believed;
# and stamps under which their distances say nothing.
MOST_GROWTH = 2.0
FEW_STAMPS = 5
_ISO = (
    r"\s*[+-]?\d{4}-\d{2}(?:-\d{2}(?:[T ]\d{2}(?::?\d{2}){0,2}(?:[.,]\d+)?)?)?"
    r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)?\s*"
)


class Arrays(NamedTuple):
    """What a long table holds, in the terms and order of a `Panel`'s fields."""

    ids: Array
    offsets: Array
    y: Array
    start: Array
    freq: Frequency
    tz: str | None
    schema: Schema
    past: Array
    future: Array
    horizon: Array | None
    static: Array


def read(
    frame: Any,
    *,
    freq: str | Frequency | None = None,
    static: Any = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    categorical: Sequence[str] = (),
    schema: Schema | None = None,
    future_frame: Any = None,
) -> Arrays:
    """The arrays of `Panel.from_frame`, which says what goes in and what is refused."""
    frame, static, future_frame = (as_pandas(t) for t in (frame, static, future_frame))
    need_frame(frame, "df")
    need_frames(static=static, future=future_frame)
    for name, column_names in (("past", past), ("future", future), ("categorical", categorical)):
        need_names(column_names, name)
    refuse_two_roles(past, future)
    if schema is not None:
        past = [c.name for c in schema.past]
        future = [c.name for c in schema.future]
    need_columns(frame, ("unique_id", "ds", "y", *past, *future))
    if future_frame is not None:
        frame = _append_future(frame, future_frame, future)
    if frame.empty:
        raise DataError("the table has no rows: nothing to forecast")
    stamps, tz = _stamps(frame["ds"])
    if stamps.dtype.kind == "i":
        _check_steps(stamps, freq, trained=schema is not None)
    ids, codes = series_codes(frame["unique_id"])
    order = _order(codes, stamps)
    if order is not None:
        codes, stamps, frame = codes[order], stamps[order], frame.iloc[order]
    offsets = np.searchsorted(codes, np.arange(len(ids) + 1)).astype(np.int64)
    _refuse_duplicates(codes, stamps, ids)
    statics = static_beside(frame, codes, ids, schema) if static is None else static
    step = step_of(freq, stamps, offsets, tz, ids)
    if tz is not None and not step.sub_daily and not step.integer:
        stamps = _local_days(stamps, tz)
    step = with_day(step, stamps, (start := stamps[offsets[:-1]]), codes)
    position = step.steps_between(start[codes], stamps)
    if tz is not None and step.sub_daily and (step.shift(start[codes], position) != stamps).any():
        refuse_steps_of_the_clock(step, stamps, codes, tz)
    _refuse_irregular(step, start, codes, position, stamps, ids)

    trained = schema is not None
    schema = schema or schema_of(frame, static, past, future, categorical)
    say_blank(frame, static, schema, trained=trained)
    y = numbers(frame["y"], "y", frame)
    refuse_unknown(categorical, schema)
    columns = {c.name: encode(frame[c.name], c, frame) for c in schema.past}
    for c in schema.future:
        # A category that is not given ahead is no unknown one: nothing can be forecast by it.
        columns[c.name] = encode(frame[c.name], c, frame, missing=np.nan)
    lengths = np.zeros(len(ids), np.int64)
    np.maximum.at(lengths, codes, position + 1)
    _refuse_vast(step, lengths, len(frame), ids)
    if freq is None:
        _refuse_growth(step, codes, position, start, lengths)
    rows = _Grid(codes, position, lengths)
    past_grid = rows.fill_columns([columns[c.name] for c in schema.past])
    future_grid = rows.fill_columns([columns[c.name] for c in schema.future])
    static_grid = static_values(statics, ids, schema)
    for c in (*schema.past, *schema.future):
        _say_unseen(c, frame, columns[c.name])
    for c, static_codes in zip(schema.static, static_grid.T, strict=True):
        _say_unseen(c, statics, static_codes)
    return Arrays(
        ids=ids,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=rows.fill(y),
        start=start,
        freq=step,
        tz=tz,
        schema=schema,
        past=past_grid,
        future=future_grid,
        horizon=None,
        static=static_grid,
    )


class _Grid:
    """Places rows on each series' regular grid; absent rows stay missing."""

    def __init__(self, codes: Array, position: Array, lengths: Array) -> None:
        self.rows = int(lengths.sum())
        target = np.concatenate([[0], np.cumsum(lengths)])[codes] + position
        dense = self.rows == len(codes) and bool((target == np.arange(self.rows)).all())
        self.target = None if dense else target

    def fill(self, values: Array) -> Array:
        if self.target is None:
            return values
        out = np.full(self.rows, np.nan)
        out[self.target] = values
        return out

    def fill_columns(self, columns: list[Array]) -> Array:
        if not columns:
            return np.empty((self.rows, 0))
        return np.stack([self.fill(c) for c in columns], axis=1)


def _say_unseen(covariate: Covariate, table: pd.DataFrame | None, codes: Array) -> None:
    """Warn of categories that a trained forecaster's schema does not know."""
    if covariate.type != "categorical" or table is None or (codes != 0.0).all():
        return
    if covariate.name in table:
        note = unseen(covariate, map(category, table[covariate.name].dropna().unique()))
        if note:
            warn(note)


def _check_steps(stamps: Array, freq: str | Frequency | None, *, trained: bool) -> None:
    """Whole numbers that are dates: refused, or said where a model that counts steps reads them."""
    if freq is None:
        refuse_dates(stamps)
    elif trained and Frequency.parse(freq).integer:
        say_dates(stamps)


def _append_future(frame: pd.DataFrame, extra: pd.DataFrame, future: Sequence[str]) -> pd.DataFrame:
    need_columns(extra, ("unique_id", "ds", *future))
    extra = extra[["unique_id", "ds", *future]]
    if extra.empty:
        return frame
    stamps, tz = _stamps(frame["ds"])
    when, zone = _stamps(extra["ds"])
    if (tz is None) != (zone is None):
        raise DataError(
            f"ds has {tz or 'no'} time zone in the history, but {zone or 'none'} in the future "
            "table; write both alike"
        )
    refuse_foreign_rows(
        (*series_codes(frame["unique_id"]), stamps), (*series_codes(extra["unique_id"]), when)
    )
    # Read once, so that stamps written in two ways stay those they are.
    tables = [(frame, stamps), (extra, when)]
    return pd.concat([t.assign(ds=_column(s, tz)) for t, s in tables], ignore_index=True)


def _column(stamps: Array, tz: str | None) -> Any:
    if tz is None:
        return stamps
    return pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(tz)


def _stamps(column: pd.Series) -> tuple[Array, str | None]:
    if column.isna().any():
        row = int(np.flatnonzero(column.isna().to_numpy())[0])
        raise DataError(f"row {row}: ds is missing")
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(dtype=np.int64), None
    if pd.api.types.is_float_dtype(column.dtype) and (column % 1 == 0).all():
        return column.to_numpy().astype(np.int64), None
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        utc = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return _in_microseconds(utc), zone_name(column.dt.tz)
    if not pd.api.types.is_datetime64_dtype(column.dtype):
        column = _parsed(column)
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            return _stamps(column)
    return _in_microseconds(column), None


def _in_microseconds(column: pd.Series) -> Array:
    """Stamps of any unit as ``datetime64[us]``; `DataError` for those that it cannot hold."""
    stamps = column.to_numpy()
    microseconds = stamps.astype("datetime64[us]")
    lost = np.flatnonzero(microseconds.astype(stamps.dtype) != stamps)
    if len(lost):
        row, unit = int(lost[0]), np.datetime_data(stamps.dtype)[0]
        if unit == "ns":
            raise DataError(
                f"row {row}: ds = {stamps[row]} is finer than microseconds, which stamps are kept "
                'in: round them, df["ds"] = df["ds"].dt.round("us")'
            )
        raise DataError(
            f"row {row}: ds lies {int(stamps[row].astype(np.int64)):,} {unit} from 1970, beyond "
            "the years that stamps can have: were they counted in another unit?"
        )
    return microseconds


def _parsed(column: pd.Series) -> pd.Series:
    """Stamps of text in ISO 8601, or of date objects; nothing else is guessed at."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(
            "column ds is neither time stamps nor integers: it holds numbers such as "
            f"{column.iloc[0]}; bring it into ISO format, or run `gatecast ingest` on the file"
        )
    text = column.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
    numbers = column.map(lambda value: isinstance(value, (int, float))).to_numpy(dtype=bool)
    if numbers.any():
        row = int(np.flatnonzero(numbers)[0])
        raise DataError(
            f"row {row}: ds = {column.iloc[row]!r} is a number among dates or texts: write every "
            "stamp alike"
        )
    iso = column[text].str.fullmatch(_ISO).to_numpy(dtype=bool) if text.any() else text
    if text.any() and not iso.all():
        row = int(np.flatnonzero(text)[~iso][0])
        raise DataError(
            f"row {row}: ds = {column.iloc[row]!r} is text, but not in ISO 8601 (2024-01-31, or "
            "with a time): which number is the day is not guessed at here; parse it first, "
            'df["ds"] = pd.to_datetime(df["ds"], format="%d/%m/%Y"), or let `gatecast ingest` read '
            "the file, which says how it read the stamps"
        )
    try:
        return pd.to_datetime(column, format="ISO8601" if text.all() else None)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"column ds is neither time stamps nor integers: {error}; "
            "bring it into ISO format, or run `gatecast ingest` on the file"
        ) from None


def _refuse_growth(
    step: Frequency, codes: Array, position: Array, start: Array, lengths: Array
) -> None:
    """Stamps far apart, in each series and in all together, speak for a step misread.

    One series may have holes where others have none, and series may lie years apart.
    """
    if step.integer:
        refuse_size(step.size, int(start[np.abs(start).argmin()]))
    if lengths.sum() < MOST_GROWTH * len(codes):
        return
    first = start[codes]
    place = np.unique(step.steps_between(np.full(len(first), first.min()), first) + position)
    slots = int(place[-1] - place[0]) + 1
    if slots >= MOST_GROWTH * len(place) and len(place) > FEW_STAMPS:
        raise DataError(
            f"the {len(place):,} distinct stamps of the table, of {len(lengths):,} series, lie "
            f"among {slots:,} steps of freq = {step.alias}, which was inferred: if the stamps are "
            "read wrongly, parse them as they are written; if they are right, say "
            f'freq="{step.alias}"'
        )


def _order(codes: Array, stamps: Array) -> Array | None:
    ahead = (codes[1:] > codes[:-1]) | ((codes[1:] == codes[:-1]) & (stamps[1:] >= stamps[:-1]))
    return None if bool(ahead.all()) else np.lexsort((stamps, codes))


def _refuse_duplicates(codes: Array, stamps: Array, ids: Array) -> None:
    twice = (codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"series {ids[codes[at]]!r} has two rows for ds = {stamps[at]} "
            f"({int(twice.sum())} such rows in all); `gatecast ingest` can mend this"
        )


def _refuse_irregular(
    step: Frequency, start: Array, codes: Array, position: Array, stamps: Array, ids: Array
) -> None:
    wrong = step.shift(start[codes], position) != stamps
    wrong[1:] |= (codes[1:] == codes[:-1]) & (position[1:] == position[:-1])
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        regular = np.bincount(codes, weights=wrong, minlength=len(ids)) == 0
        other = f", which series {ids[regular.argmax()]!r} keeps" if regular.any() else ""
        months = step.unit == "month" and bool(regular.any())
        cure = (
            'bring all to begins of months, df["ds"] = df["ds"].dt.to_period("M").dt.to_timestamp()'
            if months
            else "name the right freq"
        )
        raise DataError(
            f"series {ids[codes[at]]!r}: ds = {stamps[at]} does not lie on the grid of "
            f"freq = {step.alias} that starts at {start[codes[at]]}{other} "
            f"({int(wrong.sum())} such rows in all); {cure}, or let "
            "`gatecast ingest` snap or resample the stamps"
        )


def _refuse_vast(step: Frequency, lengths: Array, rows: int, ids: Array) -> None:
    """One mistyped year must not fill the memory with missing rows."""
    total = int(lengths.sum())
    if total > VAST and total > SPARSE * rows:
        at = int(lengths.argmax())
        raise DataError(
            f"series {ids[at]!r} would span {int(lengths[at]):,} rows of freq = {step.alias}, but "
            f"the table has {rows:,} rows in all; look for a stamp far from the others, or name a "
            "longer freq"
        )


def _local_days(stamps: Array, tz: str) -> Array:
    """UTC stamps as local ones; where clocks skipped midnight, the day's first hour is midnight."""
    local = wall_clock(stamps, tz)
    days = local.astype("datetime64[D]").astype("datetime64[us]")
    late = np.flatnonzero(local != days)
    if len(late):
        first = pd.DatetimeIndex(days[late]).tz_localize(
            tz, nonexistent="shift_forward", ambiguous=True
        )
        same = first.tz_convert("UTC").tz_localize(None).to_numpy() == stamps[late]
        local[late[same]] = days[late[same]]
    return local
