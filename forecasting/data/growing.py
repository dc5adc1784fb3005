"""Panels that grow: pieces of them, rows that arrive, series that are merged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


def piece(panel: Panel, series: Array, begin: Array, end: Array) -> Panel:
    """Rows ``begin`` to ``end`` [M] of the series at [M] positions, named more than once or not."""
    rows = ranges(panel.offsets[:-1][series] + begin, end - begin)
    return replace(
        panel,
        ids=panel.ids[series],
        offsets=np.concatenate([[0], np.cumsum(end - begin)]),
        y=panel.y[rows],
        start=panel.freq.shift(panel.start[series], begin),
        past=panel.past[rows],
        future=panel.future[rows],
        horizon=None,
        static=panel.static[series],
    )


def arrived(table: pd.DataFrame, like: Panel) -> Panel:
    """The rows of a table as history, also those without y at its end.

    `Panel.from_frame` would take such rows for steps ahead, were their covariates known-future.
    """
    schema = like.schema
    moved = (c.replace(role="past") for c in schema.future)
    columns = Schema(covariates=(*schema.past, *moved))
    panel = Panel.from_frame(table, freq=like.freq, schema=columns)
    past = len(schema.past)
    return replace(panel, past=panel.past[:, :past], future=panel.past[:, past:], schema=schema)


def extended(kept: Panel, rows: Panel) -> Panel:
    """``kept`` with the rows of ``rows`` appended, series by series in the same order.

    Rows between the two are missing values; their known-future covariates are those that were
    announced. The horizon is what is left of the announced one.

    Raises
    ------
    DataError : a row already read, a stamp off the grid, another time zone.
    """
    if kept.tz != rows.tz:
        raise DataError(
            f"the new rows have time zone {rows.tz}, the history has {kept.tz}: bring both into one"
        )
    freq = kept.freq
    following = freq.shift(kept.start, kept.lengths)
    gap = freq.steps_between(following, rows.start)
    late, off = gap < 0, freq.shift(following, gap) != rows.start
    if late.any():
        i = int(np.flatnonzero(late)[0])
        raise DataError(
            f"series {kept.ids[i]!r}: ds = {rows.start[i]} was read already, the state ends at "
            f"{freq.shift(following, -1)[i]} ({int(late.sum())} such series); a state only moves "
            "on: to correct the past, encode the history again"
        )
    if off.any():
        i = int(np.flatnonzero(off)[0])
        raise DataError(
            f"series {kept.ids[i]!r}: ds = {rows.start[i]} does not lie on the grid of "
            f"freq = {freq.alias} that goes on at {following[i]}"
        )
    before, new = kept.lengths, rows.lengths
    lengths = before + gap + new
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    old_at = ranges(offsets[:-1], before)
    new_at = ranges(offsets[:-1] + before + gap, new)

    def grown(old: Array, fresh: Array) -> Array:
        out = np.full((int(offsets[-1]), *old.shape[1:]), np.nan)
        out[old_at], out[new_at] = old, fresh
        return out

    future, horizon = grown(kept.future, rows.future), None
    if kept.horizon is not None:
        width = kept.horizon.shape[1]
        announced = np.minimum(gap, width)
        series = np.repeat(np.arange(len(kept)), announced)
        step = ranges(np.zeros_like(announced), announced)
        future[offsets[series] + before[series] + step] = kept.horizon[series, step]
        ahead = np.arange(width) + (gap + new)[:, None]
        remaining = kept.horizon[np.arange(len(kept))[:, None], np.minimum(ahead, width - 1)]
        horizon = np.where((ahead < width)[..., None], remaining, np.nan)
    return replace(
        kept,
        offsets=offsets,
        y=grown(kept.y, rows.y),
        past=grown(kept.past, rows.past),
        future=future,
        horizon=horizon,
    )


def merged(panel: Panel, part: Panel, where: Array) -> Panel:
    """The panel with the series at positions ``where`` [M] replaced by the M of ``part``."""
    if len(where) == len(panel) and bool((where == np.arange(len(panel))).all()):
        return part
    count, lengths = len(panel), np.concatenate([panel.lengths, part.lengths])
    horizon = None
    if panel.horizon is not None or part.horizon is not None:
        blocks = [p.horizon if p.horizon is not None else _unknown(p) for p in (panel, part)]
        width = max(b.shape[1] for b in blocks)
        horizon = np.concatenate([_widened(b, width) for b in blocks])
    both = replace(
        panel,
        ids=np.concatenate([panel.ids, part.ids]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=np.concatenate([panel.y, part.y]),
        start=np.concatenate([panel.start, part.start]),
        past=np.concatenate([panel.past, part.past]),
        future=np.concatenate([panel.future, part.future]),
        horizon=horizon,
        static=np.concatenate([panel.static, part.static]),
    )
    index = np.arange(count)
    index[where] = count + np.arange(len(where))
    return both.select(index)


def _widened(block: Array, width: int) -> Array:
    out = np.full((len(block), width, block.shape[2]), np.nan)
    out[:, : block.shape[1]] = block
    return out


def _unknown(panel: Panel) -> Array:
    return np.full((len(panel), 1, panel.future.shape[1]), np.nan)


def continued(panel: Panel, values: Array) -> Panel:
    """The panel with [N, h] more values of y; past covariates are missing there.

    Known-future ones are those that were announced, and the horizon what is left of them.
    """
    extra = values.shape[1]
    lengths = panel.lengths + extra
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    series = panel.series
    position = np.arange(panel.rows) - panel.offsets[series]
    y = np.empty(int(offsets[-1]))
    y[offsets[series] + position] = panel.y
    y[offsets[:-1, None] + panel.lengths[:, None] + np.arange(extra)] = values
    past = np.full((len(y), panel.past.shape[1]), np.nan)
    past[offsets[series] + position] = panel.past
    future = np.full((len(y), panel.future.shape[1]), np.nan)
    future[offsets[series] + position] = panel.future
    horizon = None
    if panel.horizon is not None:
        announced = panel.horizon[:, :extra]
        steps = np.arange(announced.shape[1])
        future[offsets[:-1, None] + panel.lengths[:, None] + steps] = announced
        horizon = panel.horizon[:, extra:]
    return replace(panel, offsets=offsets, y=y, past=past, future=future, horizon=horizon)
