"""Series of a panel with their forecasts, as a fan chart shows them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.encoding import category
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import DataError
from forecasting.plotting import Fan

MOST = 24  # series of one picture
HORIZONS, SEASONS = 4, 4  # of history that is drawn, the longer of the two


def chosen(panel: Panel, series: int | str | Sequence[Any]) -> Panel:
    """The part of a panel to be drawn: its first series, or those named.

    Raises
    ------
    DataError : a name that the panel does not have, none, or more than a picture holds.
    """
    if isinstance(series, int):
        index = np.arange(min(max(series, 0), len(panel)))
    else:
        names = [series] if isinstance(series, str) else list(series)
        place = {str(name): k for k, name in enumerate(panel.ids)}
        ids = [str(category(name)) for name in names]
        for name in ids:
            if name not in place:
                near = get_close_matches(name, place, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise DataError(
                    f"there is no series {name!r} among {len(place):,}, the first of which is "
                    f"{str(panel.ids[0])!r}{hint}"
                )
        index = np.array([place[name] for name in ids], dtype=np.int64)
    if not 1 <= len(index) <= MOST:
        raise DataError(f"series = {series!r}: a picture holds 1 to {MOST} series")
    return panel.select(index)


def fans(panel: Panel, forecast: Forecast, season: int) -> list[Fan]:
    """One fan for each forecast series, with the end of its history."""
    steps = forecast.mean.shape[1]
    ahead = forecast.stamps()
    place = {str(name): k for k, name in enumerate(panel.ids)}
    pictures = []
    for k, name in enumerate(forecast.ids):
        one = panel.select(np.array([place[str(name)]])).tail(
            max(HORIZONS * steps, SEASONS * season)
        )
        rows = one.freq.stamps(one.start, 0, one.rows).ravel()
        pictures.append(
            Fan(
                title=str(name),
                history_ds=_on_axis(rows, one),
                history_y=one.y,
                ds=_on_axis(ahead[k], forecast),
                levels=forecast.levels,
                quantiles=forecast.quantiles[k],
            )
        )
    return pictures


def _on_axis(stamps: Array, like: Any) -> Array:
    """Stamps by the clock of their zone: an axis has one zone, and series may have several."""
    labels = public_stamps(stamps, like)
    if isinstance(labels, pd.DatetimeIndex):
        return np.asarray(labels.tz_localize(None))
    return np.asarray(labels)
