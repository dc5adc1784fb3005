"""What of a panel its training cannot use: refused, or said."""

from __future__ import annotations

import numpy as np

from forecasting.data.panel import Panel
from forecasting.errors import DataError, warn
from forecasting.resolved import Resolved


def refuse_no_counts(panel: Panel, config: Resolved) -> None:
    """Raise `DataError`, naming the first, for values below 0 where counts are forecast."""
    below = np.flatnonzero(panel.y < 0)
    if config.model.counts and len(below):
        at = int(below[0])
        series = panel.ids[panel.series[at]]
        raise DataError(
            f"series {series!r} has y = {panel.y[at]:g}, but model.head = negative_binomial "
            "forecasts counts, from 0 up; choose quantiles or student_t"
        )


def say_unread(panel: Panel, config: Resolved) -> None:
    """Warn of values that the transform cannot read: to the networks they are gaps."""
    transform = config.model.y_transform
    unread = np.flatnonzero(~np.isnan(panel.y) & np.isnan(transform.forward(panel.y)))
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
        f"{str(panel.ids[panel.series[at]])!r}: the network is trained without them, and {later}; "
        "leave model.transform out, or set it to asinh or identity"
    )


def say_unreached(panel: Panel, config: Resolved) -> None:
    """Warn of steps ahead that no series of the panel is long enough to show."""
    reached = int(panel.lengths.max(initial=0)) - 1
    if 0 < reached < config.horizon:
        warn(
            f"the longest series has {reached + 1} rows, so none shows what comes after step "
            f"{reached} of horizon = {config.horizon}: what is forecast there was learned from "
            f"nothing; give longer histories, or ask for horizon = {max(reached // 2, 1)}"
        )
