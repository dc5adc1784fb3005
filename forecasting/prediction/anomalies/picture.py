"""A picture of judged points: the interval each was expected in, and those that left it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forecasting import plotting
from forecasting.errors import DataError
from forecasting.prediction.anomalies.found import Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 24
# Points of each series in a picture, its last ones: more would be a smear.
POINTS = 160


def draw(found: Found, rate: float, *, series: int = 4, title: str = "") -> Figure:
    """One panel for each of the first series with an anomaly, or of the first ones if none has.

    Raises
    ------
    DataError : nothing to draw, or more series than a picture holds.
    """
    if not 1 <= series <= MOST_DRAWN:
        raise DataError(f"series = {series}: a picture holds 1 to {MOST_DRAWN}")
    ends = np.cumsum(found.sizes)
    begins = np.maximum(ends - np.minimum(found.sizes, POINTS), 0)
    odd = [int(found.anomaly[b:e].any()) for b, e in zip(begins, ends, strict=True)]
    chosen = sorted(np.argsort(-np.array(odd), kind="stable")[:series].tolist())
    chosen = [i for i in chosen if found.sizes[i]]
    if not chosen:
        raise DataError("there is nothing to draw: no point was judged")
    watched = []
    for i in chosen:
        rows = slice(int(begins[i]), int(ends[i]))
        watched.append(
            plotting.Watched(
                title=str(found.panel.ids[i]),
                ds=found.stamps[rows],
                y=found.y[rows],
                median=found.median[rows],
                low=found.low[rows],
                high=found.high[rows],
                anomaly=found.anomaly[rows],
            )
        )
    return plotting.watch_chart(watched, rate=rate, title=title)
