"""What of a panel its training cannot use: refused, or said."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import blocks
from forecasting.data.panel import Panel
from forecasting.errors import DataError, warn
from forecasting.resolved import Resolved
from forecasting.transforms import Transform


def refuse_no_counts(panel: Panel, config: Resolved) -> None:
    """Raise `DataError`, naming the first, for values below 0 where counts are forecast."""
    if not config.model.counts:
        return
    below = np.flatnonzero(panel.y < 0)
    if len(below):
        at = int(below[0])
        series = panel.ids[_owner(panel, at)]
        raise DataError(
            f"series {series!r} has y = {panel.y[at]:g}, but model.head = negative_binomial "
            "forecasts counts, from 0 up; choose quantiles or student_t"
        )


def say_unread(panel: Panel, config: Resolved) -> None:
    """Warn of values that the transform cannot read: to the networks they are gaps."""
    transform = config.model.y_transform
    unread = _unread(panel, transform)
    if not len(unread):
        return
    at = int(unread[0])
    zeros = int((panel.y[unread] == 0.0).sum())
    below = len(unread) - zeros
    parts = [f"{n:,} values {what}" for n, what in ((zeros, "of 0"), (below, "below 0")) if n]
    later = (
        "series with values below 0 are refused when they are to be forecast"
        if below
        else "zeros are forecast by how often they come, not by the network"
    )
    warn(
        f"model.transform = {config.model.transform} cannot read {' and '.join(parts)} of "
        f"{int((~np.isnan(panel.y)).sum()):,}, the first in series "
        f"{str(panel.ids[_owner(panel, at)])!r}: the network is trained without them, and {later}; "
        "leave model.transform out, or set it to asinh or identity"
    )


def _unread(panel: Panel, transform: Transform) -> Array:
    """Rows whose values a transform cannot read."""
    rows = [np.empty(0, np.int64)]
    for first, last in blocks(panel.offsets):
        begin = panel.offsets[first]
        y = panel.y[begin : panel.offsets[last]]
        rows.append(begin + np.flatnonzero(~np.isnan(y) & np.isnan(transform.forward(y))))
    return np.concatenate(rows)


def _owner(panel: Panel, row: int) -> int:
    """The series that a row belongs to."""
    return int(np.searchsorted(panel.offsets, row, side="right")) - 1


def say_unreached(panel: Panel, config: Resolved) -> None:
    """Warn of steps ahead that no series of the panel is long enough to show."""
    reached = int(panel.lengths.max(initial=0)) - 1
    if 0 < reached < config.horizon:
        warn(
            f"the longest series has {reached + 1} rows, so none shows what comes after step "
            f"{reached} of horizon = {config.horizon}: what is forecast there was learned from "
            f"nothing; give longer histories, or ask for horizon = {max(reached // 2, 1)}"
        )
