"""`Panel`: ragged series as flat arrays and offsets.

A long table becomes a panel, and a panel a long table, without a loop over series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forecasting.calendar import Frequency, infer_frequency, wall_clock
from forecasting.config import Covariate, Schema
from forecasting.errors import DataError

if TYPE_CHECKING:
    # Imported where tables are handled: a service of arrays starts without pandas.
    import pandas as pd

Array = npt.NDArray[Any]

# A grid of more rows than this, and so many times more than were given, is a mistake.
VAST, SPARSE = 10_000_000, 1_000


@dataclass(frozen=True)
class Panel:
    """N regular series of T rows in all, one after the other.

    Attributes
    ----------
    ids : [N] series names.
    offsets : [N + 1] int64; series i is rows ``offsets[i]:offsets[i + 1]``.
    y : [T] float64, NaN where missing.
    start : [N] stamp of each first row, ``datetime64[us]`` or int64.
    freq, tz : the step, and the zone the stamps belong to (stamps are UTC when sub-daily, wall
        clock when a day or longer).
    schema : the covariates, in column order.
    past : [T, P]; future : [T, F] known-future covariates over the history; both NaN = missing.
        A categorical column holds codes, 0 for unseen or missing.
    horizon : [N, H, F] known-future covariates after the last row; None when there are none.
    static : [N, S].
    """

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

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Array:
        """[N] rows of each series."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> int:
        """Rows in all, T."""
        return len(self.y)

    @property
    def series(self) -> Array:
        """[T] index of the series each row belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def last(self) -> Array:
        """[N] stamp of each last row."""
        return self.freq.shift(self.start, self.lengths - 1)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        freq: str | Frequency | None = None,
        static: pd.DataFrame | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        categorical: Sequence[str] = (),
        schema: Schema | None = None,
        future_frame: pd.DataFrame | None = None,
    ) -> Panel:
        """A panel from a long table ``unique_id, ds, y`` and covariate columns.

        Rows are sorted if need be; absent rows become missing values. With known-future
        covariates, trailing rows of a series whose ``y`` is missing are its horizon, and so are
        the rows of ``future_frame``. A given ``schema`` (of a trained forecaster) fixes the
        covariates and their categories; otherwise it is made from the columns named.

        Raises
        ------
        DataError : a missing column, a duplicate or irregular stamp, a value that is no number.
        """
        if schema is not None:
            past = [c.name for c in schema.past]
            future = [c.name for c in schema.future]
        _need_columns(frame, ("unique_id", "ds", "y", *past, *future))
        if future_frame is not None:
            frame = _append_future(frame, future_frame, future)
        if frame.empty:
            raise DataError("the table has no rows: nothing to forecast")
        stamps, tz = _stamps(frame["ds"])
        ids, codes = _ids(frame["unique_id"])
        order = _order(codes, stamps)
        if order is not None:
            codes, stamps, frame = codes[order], stamps[order], frame.iloc[order]
        offsets = np.searchsorted(codes, np.arange(len(ids) + 1)).astype(np.int64)
        _refuse_duplicates(codes, stamps, ids)
        step = Frequency.parse(freq) if freq is not None else infer_frequency(stamps, offsets)
        if freq is None and tz is not None and not step.sub_daily:
            # Months, weekdays and weekends are those of the place, not of UTC.
            step = infer_frequency(wall_clock(stamps, tz), offsets)
        if step.integer != np.issubdtype(stamps.dtype, np.integer):
            kind = "integers" if stamps.dtype.kind == "i" else "time stamps"
            raise DataError(f"column ds holds {kind}, which freq = {step.alias} does not fit")
        if tz is not None and not step.sub_daily and not step.integer:
            stamps = _local_days(stamps, tz)
        start = stamps[offsets[:-1]]
        position = step.steps_between(start[codes], stamps)
        _refuse_irregular(step, start, codes, position, stamps, ids)

        schema = schema or _schema(frame, static, past, future, categorical)
        y = _numbers(frame["y"], "y", frame)
        columns = {c.name: _encode(frame[c.name], c, frame) for c in (*schema.past, *schema.future)}
        lengths = np.zeros(len(ids), np.int64)
        np.maximum.at(lengths, codes, position + 1)
        _refuse_vast(step, lengths, len(frame), ids)
        rows = _Grid(codes, position, lengths)
        y_grid = rows.fill(y)
        past_grid = rows.fill_columns([columns[c.name] for c in schema.past])
        future_grid = rows.fill_columns([columns[c.name] for c in schema.future])
        panel = cls(
            ids=ids,
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            y=y_grid,
            start=start,
            freq=step,
            tz=tz,
            schema=schema,
            past=past_grid,
            future=future_grid,
            horizon=None,
            static=_static(static, ids, schema),
        )
        return panel._split_horizon() if schema.future else panel

    @classmethod
    def from_arrays(
        cls,
        ids: Sequence[str] | Array,
        y: Array,
        sizes: Array,
        start: Array,
        freq: str | Frequency,
        *,
        schema: Schema | None = None,
        tz: str | None = None,
        past: Mapping[str, Array] | None = None,
        future: Mapping[str, Array] | None = None,
        future_sizes: Array | None = None,
        static: Mapping[str, Array] | None = None,
    ) -> Panel:
        """A panel from flat arrays, as a request delivers it.

        Parameters
        ----------
        y : [T] values, NaN = missing; ``sizes`` : [N] rows of each series.
        past : per column [T]; future : per column [sum of ``future_sizes``] values over the
            history and the horizon; static : per column [N]. Categorical columns may be strings.
        """
        schema = schema or Schema()
        sizes = np.asarray(sizes, np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        count, rows = len(sizes), int(offsets[-1])
        past, future, static = past or {}, future or {}, static or {}
        past_columns = [_encode(past[c.name], c) for c in schema.past]
        future_part = np.empty((rows, 0))
        horizon = None
        if schema.future:
            widths = np.asarray(future_sizes if future_sizes is not None else sizes, np.int64)
            flat = np.stack([_encode(future[c.name], c) for c in schema.future], axis=1)
            history_rows, horizon = _split_future(sizes, widths, len(schema.future), flat)
            future_part = history_rows
        static_part = np.stack(
            [
                _encode(static[c.name], c) if c.name in static else _blank(c, count)
                for c in schema.static
            ],
            axis=1,
        ) if schema.static else np.empty((count, 0))  # fmt: skip
        step = Frequency.parse(freq)
        return cls(
            ids=np.asarray(ids, dtype=object),
            offsets=offsets,
            y=np.asarray(y, dtype=np.float64),
            start=np.asarray(start, np.int64 if step.integer else "datetime64[us]"),
            freq=step,
            tz=tz,
            schema=schema,
            past=np.stack(past_columns, axis=1) if past_columns else np.empty((rows, 0)),
            future=future_part,
            horizon=horizon,
            static=static_part,
        )

    def to_frame(self) -> pd.DataFrame:
        """The long table: ``unique_id, ds, y`` and covariates as numbers or category names."""
        import pandas as pd

        series = self.series
        steps = np.arange(self.rows) - self.offsets[series]
        frame = pd.DataFrame(
            {
                "unique_id": self.ids[series],
                "ds": public_stamps(self.freq.shift(self.start[series], steps), self),
                "y": self.y,
            }
        )
        for role, block in (("past", self.past), ("future", self.future)):
            for j, covariate in enumerate(self.schema.role(role)):
                frame[covariate.name] = _decode(block[:, j], covariate)
        return frame

    def under(self, schema: Schema) -> Panel:
        """The same values under another schema of the same covariates, such as a model's own.

        Codes of categories become those of ``schema``, 0 for a category it does not know; means
        and deviations are taken over, for a forecast must not depend on the panel it came from.

        Raises
        ------
        DataError : other covariates, or a category where the schema has a number.
        """
        if self.schema is schema or self.schema == schema:
            return self
        kinds = [[(c.name, c.role, c.type) for c in s.covariates] for s in (self.schema, schema)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"the panel's covariates are not the model's: {[c[0] for c in kinds[1]]}; build "
                "it with the model's schema"
            )

        def blocks(role: str, values: Array) -> Array:
            pairs = zip(self.schema.role(role), schema.role(role), strict=True)
            for j, (given, wanted) in enumerate(pairs):
                if given.type == "real" or given.categories == wanted.categories:
                    continue
                place = {name: code for code, name in enumerate(wanted.categories, 1)}
                codes = np.array([0, *(place.get(name, 0) for name in given.categories)], float)
                values = values.copy()
                known = ~np.isnan(values[..., j])
                values[known, j] = codes[values[known, j].astype(np.int64)]
            return values

        return replace(
            self,
            schema=schema,
            past=blocks("past", self.past),
            future=blocks("future", self.future),
            horizon=None if self.horizon is None else blocks("future", self.horizon),
            static=blocks("static", self.static),
        )

    def select(self, index: Array) -> Panel:
        """The panel of some series, by position and in that order; no copy of the others."""
        index = np.arange(len(self))[index]
        lengths = self.lengths[index]
        rows = ranges(self.offsets[:-1][index], lengths)
        return replace(
            self,
            ids=self.ids[index],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            y=self.y[rows],
            start=self.start[index],
            past=self.past[rows],
            future=self.future[rows],
            horizon=None if self.horizon is None else self.horizon[index],
            static=self.static[index],
        )

    def truncate(self, back: int | Array, horizon: int = 0) -> Panel:
        """The panel as it was known ``back`` rows before the end of each series.

        Known-future covariates of the next ``horizon`` rows become its horizon part. A series
        with nothing left is dropped.
        """
        keep = self.lengths - np.broadcast_to(np.asarray(back, np.int64), (len(self),))
        left = np.flatnonzero(keep > 0)
        panel = self if len(left) == len(self) else self.select(left)
        keep = keep[left]
        rows = ranges(panel.offsets[:-1], keep)
        part = None
        if horizon and panel.future.shape[1]:
            steps = keep[:, None] + np.arange(horizon)
            inside = steps < panel.lengths[:, None]
            source = np.minimum(panel.offsets[:-1, None] + steps, max(panel.rows - 1, 0))
            part = np.where(inside[..., None], panel.future[source], np.nan)
            if panel.horizon is not None:
                beyond = steps - panel.lengths[:, None]
                usable = (beyond >= 0) & (beyond < panel.horizon.shape[1])
                picked = panel.horizon[
                    np.arange(len(panel))[:, None], np.clip(beyond, 0, panel.horizon.shape[1] - 1)
                ]
                part = np.where(usable[..., None], picked, part)
        return replace(
            panel,
            offsets=np.concatenate([[0], np.cumsum(keep)]),
            y=panel.y[rows],
            past=panel.past[rows],
            future=panel.future[rows],
            horizon=part,
        )

    def tail(self, rows: int) -> Panel:
        """The last ``rows`` rows of each series (all of a shorter one)."""
        keep = np.minimum(self.lengths, rows)
        skip = self.lengths - keep
        index = ranges(self.offsets[:-1] + skip, keep)
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(keep)]),
            y=self.y[index],
            start=self.freq.shift(self.start, skip),
            past=self.past[index],
            future=self.future[index],
        )

    def _split_horizon(self) -> Panel:
        """Move each series' trailing rows without y into the horizon part."""
        observed = ~np.isnan(self.y)
        position = np.arange(self.rows) - self.offsets[self.series]
        last = np.full(len(self), -1, np.int64)
        np.maximum.at(last, self.series[observed], position[observed])
        known = ~np.isnan(self.future).any(axis=1)
        known_until = np.full(len(self), -1, np.int64)
        np.maximum.at(known_until, self.series[known], position[known])
        # A trailing gap in y is history unless covariates reach into it.
        keep = np.where((known_until > last) & (last >= 0), last + 1, self.lengths)
        extra = int((self.lengths - keep).max(initial=0))
        return self.truncate(self.lengths - keep, horizon=extra) if extra else self


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


def ranges(begin: Array, lengths: Array) -> Array:
    """The concatenation of ``arange(b, b + n)`` for each pair, without a loop."""
    total = int(lengths.sum())
    shift = np.repeat(begin - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.asarray(np.arange(total) + shift)


def public_stamps(stamps: Array, like: Panel | Any) -> Any:
    """Stamps as a user sees them: with their zone, if there is one."""
    if like.tz is None or like.freq.integer:
        return stamps
    import pandas as pd

    index = pd.DatetimeIndex(stamps.ravel())
    if like.freq.sub_daily:
        return index.tz_localize("UTC").tz_convert(like.tz)
    return index.tz_localize(like.tz, nonexistent="shift_forward", ambiguous=True)


def _split_future(
    sizes: Array, widths: Array, columns: int, flat: Array
) -> tuple[Array, Array | None]:
    begins = np.concatenate([[0], np.cumsum(widths)[:-1]])
    held = np.minimum(sizes, widths)
    history = np.full((int(sizes.sum()), columns), np.nan)
    to = ranges(np.concatenate([[0], np.cumsum(sizes)[:-1]]), held)
    history[to] = flat[ranges(begins, held)]
    ahead = widths - held
    width = int(ahead.max(initial=0))
    if not width:
        return history, None
    horizon = np.full((len(sizes), width, columns), np.nan)
    row = np.repeat(np.arange(len(sizes)), ahead)
    horizon[row, ranges(np.zeros_like(ahead), ahead)] = flat[ranges(begins + held, ahead)]
    return history, horizon


def _need_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    import pandas as pd

    twice = [n for n in names if n in frame.columns and isinstance(frame[n], pd.DataFrame)]
    if twice:
        raise DataError(f"column {twice[0]} stands twice in the table; drop or rename one of them")
    missing = [n for n in names if n not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns[:20]))
        raise DataError(
            f"missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"the table has: {there or 'none'}"
        )


def _append_future(frame: pd.DataFrame, extra: pd.DataFrame, future: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    _need_columns(extra, ("unique_id", "ds", *future))
    extra = extra[["unique_id", "ds", *future]]
    return pd.concat([frame, extra], ignore_index=True)


def _stamps(column: pd.Series) -> tuple[Array, str | None]:
    import pandas as pd

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
        return utc.to_numpy().astype("datetime64[us]"), str(column.dt.tz)
    if not pd.api.types.is_datetime64_dtype(column.dtype):
        try:
            if pd.api.types.is_numeric_dtype(column.dtype):
                raise ValueError(f"it holds numbers such as {column.iloc[0]}")
            column = pd.to_datetime(column)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"column ds is neither time stamps nor integers: {error}; "
                "bring it into ISO format, or run `gatecast ingest` on the file"
            ) from None
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            return _stamps(column)
    return column.to_numpy().astype("datetime64[us]"), None


def _ids(column: pd.Series) -> tuple[Array, Array]:
    import pandas as pd

    codes, found = pd.factorize(column, sort=False)
    ids = [str(i) for i in found]
    if len(set(ids)) < len(ids):
        # 1 and "1" are one name.
        again, names = pd.factorize(np.asarray(ids, dtype=object), sort=False)
        codes, ids = np.where(codes < 0, -1, again[codes]), list(names)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"row {row}: unique_id is missing")
    return np.asarray(ids, dtype=object), codes.astype(np.int64)


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
        raise DataError(
            f"series {ids[codes[at]]!r}: ds = {stamps[at]} does not lie on the grid of "
            f"freq = {step.alias} that starts at {start[codes[at]]} "
            f"({int(wrong.sum())} such rows in all); name the right freq, or let "
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
        import pandas as pd

        first = pd.DatetimeIndex(days[late]).tz_localize(
            tz, nonexistent="shift_forward", ambiguous=True
        )
        same = first.tz_convert("UTC").tz_localize(None).to_numpy() == stamps[late]
        local[late[same]] = days[late[same]]
    return local


def _numbers(column: pd.Series, name: str, frame: pd.DataFrame) -> Array:
    import pandas as pd

    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
        at = int(np.flatnonzero(bad.to_numpy())[0])
        where = f"series {frame['unique_id'].iloc[at]!r}, ds = {frame['ds'].iloc[at]}"
        raise DataError(
            f"column {name}: {column.iloc[at]!r} is not a number ({where}); mend it, or let "
            "`gatecast ingest` read it as missing"
        ) from None
    if np.isinf(values).any():
        at = int(np.flatnonzero(np.isinf(values))[0])
        where = f"series {frame['unique_id'].iloc[at]!r}, ds = {frame['ds'].iloc[at]}"
        raise DataError(f"column {name} is infinite ({where}); leave it empty if it is missing")
    return values


def _schema(
    frame: pd.DataFrame,
    static: pd.DataFrame | None,
    past: Sequence[str],
    future: Sequence[str],
    categorical: Sequence[str],
) -> Schema:
    import pandas as pd

    covariates = []
    tables = [("past", list(past), frame), ("future", list(future), frame)]
    if static is not None:
        tables.append(("static", [c for c in static.columns if c != "unique_id"], static))
    for role, names, table in tables:
        for name in names:
            column = table[name]
            is_text = not (
                pd.api.types.is_numeric_dtype(column.dtype)
                or pd.api.types.is_bool_dtype(column.dtype)
            )
            values: dict[str, Any] = {"name": str(name), "role": role}
            if is_text or name in categorical:
                kinds = {_category(v) for v in column.dropna().unique()}
                values |= {"type": "categorical", "categories": tuple(sorted(kinds))}
            else:
                numbers = _numbers(column, str(name), frame if role != "static" else _flat(table))
                known = numbers[~np.isnan(numbers)]
                if len(known):
                    spread = float(known.std())
                    values |= {"mean": float(known.mean()), "std": spread if spread > 0 else 1.0}
            covariates.append(Covariate.parse(values))
    return Schema(covariates=tuple(covariates))


def _flat(static: pd.DataFrame) -> pd.DataFrame:
    return static.assign(ds="static")


def _encode(column: Any, covariate: Covariate, frame: pd.DataFrame | None = None) -> Array:
    """Codes of a categorical column, numbers of a real one; float64 either way."""
    if hasattr(column, "iloc"):
        return _encode_series(column, covariate, frame)
    if covariate.type == "real":
        return np.asarray(column, dtype=np.float64)
    place = {name: float(code) for code, name in enumerate(covariate.categories, 1)}
    codes = {v: place.get(_category(v), 0.0) for v in dict.fromkeys(column) if not _is_missing(v)}
    return np.array([codes.get(v, 0.0) for v in column], dtype=np.float64)


def _encode_series(column: pd.Series, covariate: Covariate, frame: pd.DataFrame | None) -> Array:
    import pandas as pd

    if covariate.type == "real":
        return _numbers(column, covariate.name, frame if frame is not None else pd.DataFrame())
    rows, found = pd.factorize(column)
    place = {name: code for code, name in enumerate(covariate.categories, 1)}
    codes = np.array([place.get(_category(v), 0) for v in found] + [0], dtype=np.float64)
    return codes[rows]  # a missing value is row -1: the 0 at the end


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _category(value: Any) -> str:
    """The name of a category; 7.0 is 7, as a whole number becomes beside missing values."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _decode(values: Array, covariate: Covariate) -> Any:
    if covariate.type == "real":
        return values
    names = np.array([None, *covariate.categories], dtype=object)
    return names[np.nan_to_num(values).astype(np.int64)]


def _blank(covariate: Covariate, count: int) -> Array:
    return np.full(count, 0.0 if covariate.type == "categorical" else np.nan)


def _static(static: pd.DataFrame | None, ids: Array, schema: Schema) -> Array:
    if not schema.static:
        return np.empty((len(ids), 0))
    if static is None:
        return np.stack([_blank(c, len(ids)) for c in schema.static], axis=1)
    import pandas as pd

    _need_columns(static, ("unique_id", *(c.name for c in schema.static)))
    keys = static["unique_id"].map(str)
    if keys.duplicated().any():
        raise DataError(f"static table: series {keys[keys.duplicated()].iloc[0]!r} stands twice")
    position = pd.Index(keys).get_indexer(pd.Index(ids))
    table = _flat(static)
    columns = []
    for covariate in schema.static:
        values = _encode(static[covariate.name], covariate, table)
        columns.append(np.where(position >= 0, values[position], _blank(covariate, len(ids))))
    return np.stack(columns, axis=1)
