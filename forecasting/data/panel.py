"""`Panel`: ragged series as flat arrays and offsets.

A long table becomes a panel, and a panel a long table, without a loop over series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.encoding import blank, decode, encode
from forecasting.data.mapped import by_series, parts_of, ranges
from forecasting.data.steps import SHORTEST, after_cut, days_meant
from forecasting.errors import DataError
from forecasting.schema import Covariate, Schema

if TYPE_CHECKING:
    # Imported where tables are handled: a service of arrays starts without pandas.
    import pandas as pd

    from forecasting.interop.kinds import Tabular


def observed(y: Array, offsets: Array) -> tuple[Array, Array]:
    """[N] rows of the first and the last value of each series; -1 and -1 where it has none.

    Parameters
    ----------
    y : [T] values, NaN = missing. offsets : [N + 1] bounds of each series.
    """
    ends = by_series(_observed, y, offsets)
    return ends[:, 0], ends[:, 1]


def _observed(y: Array, offsets: Array) -> Array:
    """[N, 2] as `observed`."""
    count = len(offsets) - 1
    at = np.flatnonzero(~np.isnan(y))
    series = np.searchsorted(offsets, at, side="right") - 1
    begin, end = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    position = at - offsets[series]
    end[series] = position  # rows come in order: the last one stays
    begin[series[::-1]] = position[::-1]
    return np.stack([begin, end], axis=1)


def _counted(y: Array, offsets: Array) -> Array:
    """[N] how many values of each series are known."""
    series = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.bincount(series[~np.isnan(y)], minlength=len(offsets) - 1)


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
        clock when a day or longer). Networks read them by the wall clock, see `data.wall`.
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

    @cached_property
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
    def counts(self) -> Array:
        """[N] values of each series that are observed."""
        return by_series(_counted, self.y, self.offsets)

    @property
    def last(self) -> Array:
        """[N] stamp of each last row."""
        return self.freq.shift(self.start, self.lengths - 1)

    @classmethod
    def from_frame(
        cls,
        frame: Tabular,
        *,
        freq: str | Frequency | None = None,
        static: Tabular | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        categorical: Sequence[str] = (),
        schema: Schema | None = None,
        future_frame: Tabular | None = None,
    ) -> Panel:
        """A panel from a long table ``unique_id, ds, y`` and covariate columns.

        Tables are of pandas, polars or Arrow, each of its own kind; see `interop.kinds`.

        Rows are sorted if need be; absent rows become missing values. With known-future
        covariates, trailing rows of a series whose ``y`` is missing are its horizon, and so are
        the rows of ``future_frame``. A given ``schema`` (of a trained forecaster) fixes the
        covariates and their categories; otherwise it is made from the columns named.

        Raises
        ------
        DataError : a missing column, a duplicate or irregular stamp, a value that is no number.
        """
        from forecasting.data import frames

        arrays = frames.read(
            frame,
            freq=freq,
            static=static,
            past=past,
            future=future,
            categorical=categorical,
            schema=schema,
            future_frame=future_frame,
        )
        panel = cls(*arrays)
        return panel._with_horizon() if panel.schema.future else panel

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
        past_columns = [encode(past[c.name], c) for c in schema.past]
        future_part = np.empty((rows, 0))
        horizon = None
        if schema.future:
            widths = np.asarray(future_sizes if future_sizes is not None else sizes, np.int64)
            columns = [encode(future[c.name], c, missing=np.nan) for c in schema.future]
            flat = np.stack(columns, axis=1)
            history_rows, horizon = _split_future(sizes, widths, len(schema.future), flat)
            future_part = history_rows
        static_part = np.stack(
            [
                encode(static[c.name], c) if c.name in static else blank(c, count)
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

    def history_lengths(self, otherwise: Array) -> Array:
        """[N] rows up to the last value, where covariates reach beyond it; else ``otherwise``.

        A trailing gap in y is history unless a covariate known ahead reaches into it.
        """
        _, last = observed(self.y, self.offsets)
        _, until = observed(np.where(np.isnan(self.future).all(axis=1), np.nan, 0.0), self.offsets)
        return np.where((until > last) & (last >= 0), last + 1, otherwise)

    def _with_horizon(self) -> Panel:
        """Move each series' trailing rows without y into the horizon part."""
        keep = self.history_lengths(self.lengths)
        extra = int((self.lengths - keep).max(initial=0))
        return self.truncate(self.lengths - keep, horizon=extra) if extra else self

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
                frame[covariate.name] = decode(block[:, j], covariate)
        return frame

    def under(self, schema: Schema) -> Panel:
        """The same values under another schema, such as that of a model trained on other rows.

        Columns are picked by name, in the schema's order; those it does not know are left out.
        Codes of categories become those of ``schema``, 0 for a category it does not know; means
        and deviations are taken over, for a forecast must not depend on the panel it came from.

        Raises
        ------
        DataError : a covariate of the schema is missing, or has another role or type.
        """
        if self.schema is schema or self.schema == schema:
            return self
        own = {c.name: c for c in self.schema.covariates}
        for covariate in schema.covariates:
            _same_kind(own.get(covariate.name), covariate, list(own))
        ahead = self.horizon if schema.future else None
        return replace(
            self,
            schema=schema,
            past=_columns(self.past, self.schema.past, schema.past),
            future=_columns(self.future, self.schema.future, schema.future),
            horizon=None if ahead is None else _columns(ahead, self.schema.future, schema.future),
            static=_columns(self.static, self.schema.static, schema.static),
        )

    def after(self, back: int, horizon: int) -> Array:
        """[n, H] y of the steps after the cutoff ``back`` rows before each end, NaN beyond it.

        Of the n series that `truncate` keeps there.
        """
        places = np.flatnonzero(self.lengths - back > 0)
        steps = (self.lengths[places] - back)[:, None] + np.arange(horizon)
        inside = steps < self.lengths[places, None]
        source = np.minimum(self.offsets[:-1][places, None] + steps, self.rows - 1)
        return np.where(inside, self.y[source], np.nan)

    def select(self, index: Array | slice) -> Panel:
        """The panel of some series, by position [M], in that order; no copy of the others.

        Of a slice of neighbours it is a view.
        """
        if isinstance(index, slice) and index.step in (None, 1):
            return self._neighbours(*index.indices(len(self))[:2])
        index = np.arange(len(self))[index]
        lengths = self.lengths[index]
        begin = self.offsets[:-1][index]
        return replace(
            self,
            ids=self.ids[index],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            y=parts_of(self.y, begin, lengths),
            start=self.start[index],
            past=parts_of(self.past, begin, lengths),
            future=parts_of(self.future, begin, lengths),
            horizon=None if self.horizon is None else self.horizon[index],
            static=self.static[index],
        )

    def _neighbours(self, begin: int, end: int) -> Panel:
        """The series from ``begin`` up to ``end``, as views."""
        end = max(begin, end)
        rows = slice(int(self.offsets[begin]), int(self.offsets[end]))
        return replace(
            self,
            ids=self.ids[begin:end],
            offsets=self.offsets[begin : end + 1] - rows.start,
            y=self.y[rows],
            start=self.start[begin:end],
            past=self.past[rows],
            future=self.future[rows],
            horizon=None if self.horizon is None else self.horizon[begin:end],
            static=self.static[begin:end],
        )

    def truncate(self, back: int | Array, horizon: int = 0) -> Panel:
        """The panel as it was known ``back`` rows (or [N] of them) before the end of each series.

        Known-future covariates of the next ``horizon`` rows become its horizon part. A series
        with nothing left is dropped.
        """
        keep = self.lengths - np.broadcast_to(np.asarray(back, np.int64), (len(self),))
        places = np.flatnonzero(keep > 0)
        panel = self if len(places) == len(self) else self.select(places)
        keep = keep[places]
        begin = panel.offsets[:-1]
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
            y=parts_of(panel.y, begin, keep),
            past=parts_of(panel.past, begin, keep),
            future=parts_of(panel.future, begin, keep),
            horizon=part,
        )

    def tail(self, rows: int) -> Panel:
        """The last ``rows`` rows of each series (all of a shorter one)."""
        skip = self.lengths - np.minimum(self.lengths, rows)
        return self._from(skip) if skip.any() else self

    def following(self) -> tuple[Array, Frequency]:
        """Where each series goes on, [N], and the step from there: a short month cuts its day."""
        ahead = self.freq.shift(self.start, self.lengths)
        return ahead, after_cut(self.freq, self.start, ahead)

    def days(self) -> Array | None:
        """[N] the days of the month that the series keep to, where short ones cut several."""
        if self.freq.unit != "month" or self.freq.end or len(self) < 2:
            return None
        days = days_meant(self.freq, self.start)
        late = days[days >= SHORTEST]
        return days if len(late) and (late != late[0]).any() else None

    def begun(self) -> Panel:
        """Every series from its first value on: rows before it are no history.

        A series without any value stays as it is; so does the panel where nothing is to be left
        out.
        """
        if self.lengths.all() and not np.isnan(self.y[self.offsets[:-1]]).any():
            return self
        first, _ = observed(self.y, self.offsets)
        skip = np.maximum(first, 0)
        return self._from(skip) if skip.any() else self

    def _from(self, skip: Array) -> Panel:
        """Each series without its first ``skip`` [N] rows."""
        keep = self.lengths - skip
        begin = self.offsets[:-1] + skip
        start = self.freq.shift(self.start, skip)
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(keep)]),
            y=parts_of(self.y, begin, keep),
            start=start,
            freq=after_cut(self.freq, self.start, start),
            past=parts_of(self.past, begin, keep),
            future=parts_of(self.future, begin, keep),
        )


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


def _same_kind(given: Covariate | None, wanted: Covariate, names: list[str]) -> None:
    if given is None:
        listed = ", ".join(names) or "none"
        raise DataError(
            f"the model needs the {wanted.role} covariate {wanted.name!r}, which the data do not "
            f"have (covariates there: {listed}); build the panel with the model's schema, or in "
            "a config declare it under data.covariates, with `column:` where it has been renamed"
        )
    if (given.role, given.type) != (wanted.role, wanted.type):
        raise DataError(
            f"covariate {wanted.name!r} is {given.role} and {given.type} in the data, but the "
            f"model was trained with it as {wanted.role} and {wanted.type}"
        )


def _columns(block: Array, have: tuple[Covariate, ...], want: tuple[Covariate, ...]) -> Array:
    """[..., C] columns picked by name, categories translated."""
    place = {c.name: k for k, c in enumerate(have)}
    out = np.empty((*block.shape[:-1], len(want)))
    for k, covariate in enumerate(want):
        values, own = block[..., place[covariate.name]], have[place[covariate.name]].categories
        if covariate.type == "categorical" and own != covariate.categories:
            new_codes = {name: code for code, name in enumerate(covariate.categories, 1)}
            codes = np.array([0, *(new_codes.get(name, 0) for name in own)], dtype=np.float64)
            # Beyond the end of a series a code is NaN: not given, which is not "unseen".
            translated = codes[np.nan_to_num(values).astype(np.int64)]
            values = np.where(np.isnan(values), np.nan, translated)
        out[..., k] = values
    return out
