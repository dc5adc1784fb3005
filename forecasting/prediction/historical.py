"""What a model says at every origin of histories, not only at their ends: all asked in one pass.

An origin is a series of its own, of as many rows as a forecast looks at, and they go through the
engine side by side: each forecast is the one that the history, cut there, would have got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel, public_stamps
from forecasting.data.steps import after_cut
from forecasting.data.wall import rows_for
from forecasting.errors import DataError
from forecasting.quantiles import column_of

if TYPE_CHECKING:
    import pandas as pd

# Numbers that one answer may hold, and rows of histories that are laid side by side at once.
MOST_NUMBERS = 50_000_000
ROWS_AT_ONCE = 4_000_000

# From a panel to its forecast; `Engine.predict_panel` at some horizon and levels.
Ask = Callable[[Panel], Forecast]


@dataclass(frozen=True)
class Origins:
    """Rows of a panel from which is forecast: [M] its ``series``, and the last ``row`` known."""

    panel: Panel
    series: Array
    row: Array

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, panel: Panel, *, least: int, every: int, last: int | None) -> Origins:
        """Every so many rows, counted back from the end, from ``least`` rows on.

        ``last`` : the last so many origins of each series; None: all.
        """
        count = np.maximum(panel.lengths - least, -1) // every + 1
        if last is not None:
            count = np.minimum(count, last)
        series = np.repeat(np.arange(len(panel)), count)
        back = ranges(np.zeros_like(count), count)[::-1] * every
        # From the end back, turned round: the series from the last to the first, each rising.
        row = panel.lengths[series[::-1]] - 1 - back
        order = np.argsort(series[::-1], kind="stable")
        return cls(panel, series, row[order])

    def part(self, index: slice) -> Origins:
        """Some neighbours of them."""
        return replace(self, series=self.series[index], row=self.row[index])

    def as_series(self, rows: int, horizon: int) -> Panel:
        """[M] series that end at the origins, of their last ``rows`` rows; ids are positions.

        Where the first of these has no value the series begins with the value before it: what
        comes before a series is not what is missing in it.
        """
        panel, end = self.panel, self.row + 1
        begin = np.maximum(end - rows, 0)
        at = np.arange(panel.rows)
        seen = np.maximum.accumulate(np.where(np.isnan(panel.y), -1, at))
        offset = panel.offsets[:-1][self.series]
        before = seen[offset + begin] - offset
        begin = np.where(before >= 0, before, begin)
        lengths = end - begin
        source = ranges(offset + begin, lengths)
        start = panel.freq.shift(panel.start[self.series], begin)
        return replace(
            panel,
            ids=np.arange(len(self)),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            y=panel.y[source],
            start=start,
            freq=after_cut(panel.freq, panel.start[self.series], start),
            past=panel.past[source],
            future=panel.future[source],
            horizon=self._ahead(horizon),
            static=panel.static[self.series],
        )

    def _ahead(self, horizon: int) -> Array | None:
        """[M, H, F] covariates known ahead of each origin, NaN beyond what is given."""
        panel = self.panel
        if not panel.future.shape[1]:
            return None
        steps = (self.row + 1)[:, None] + np.arange(horizon)
        length = panel.lengths[self.series, None]
        within = np.minimum(steps, length - 1) + panel.offsets[:-1][self.series, None]
        ahead = np.where((steps < length)[..., None], panel.future[within], np.nan)
        if panel.horizon is None or not panel.horizon.shape[1]:
            return ahead
        beyond = steps - length
        inside = (beyond >= 0) & (beyond < panel.horizon.shape[1])
        place = np.clip(beyond, 0, panel.horizon.shape[1] - 1)
        return np.where(inside[..., None], panel.horizon[self.series[:, None], place], ahead)

    def actual(self, horizon: int) -> Array:
        """[M, H] y of the steps after each origin, NaN where it is not known."""
        steps = (self.row + 1)[:, None] + np.arange(horizon)
        length = self.panel.lengths[self.series, None]
        at = np.minimum(steps, length - 1) + self.panel.offsets[:-1][self.series, None]
        return np.where(steps < length, self.panel.y[at], np.nan)


@dataclass(frozen=True)
class Historical:
    """Forecasts from M origins, beside what happened.

    Attributes
    ----------
    origins : those that could be forecast from. mean, actual : [M, H]. quantiles : [M, H, Q].
    left_out : how many could not. reason : of the first of these; "" where there is none.
    """

    origins: Origins
    mean: Array
    quantiles: Array
    levels: tuple[float, ...]
    actual: Array
    left_out: int
    reason: str

    def to_frame(self) -> pd.DataFrame:
        """Long table ``unique_id, cutoff, step, ds, y, mean, q<level>…``."""
        import pandas as pd

        panel, steps = self.origins.panel, self.mean.shape[1]
        cutoff = panel.freq.shift(panel.start[self.origins.series], self.origins.row)
        ahead = self.origins.row[:, None] + np.arange(1, steps + 1)
        ds = panel.freq.shift(panel.start[self.origins.series][:, None], ahead)
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(panel.ids[self.origins.series], steps),
                "cutoff": public_stamps(np.repeat(cutoff, steps), panel),
                "step": np.tile(np.arange(1, steps + 1), len(cutoff)),
                "ds": public_stamps(ds.ravel(), panel),
                "y": self.actual.ravel(),
                "mean": self.mean.ravel(),
            }
        )
        for k, level in enumerate(self.levels):
            frame[column_of(level)] = self.quantiles[:, :, k].ravel()
        return frame


def forecasts_of_the_past(
    ask: Ask, origins: Origins, *, horizon: int, levels: Sequence[float], context: int
) -> Historical:
    """Ask from every origin, some at a time so that memory stays bounded.

    ``context`` : rows of history that a forecast looks at.

    Raises
    ------
    DataError : no origin, more than an answer should hold, or none that can be forecast from.
    """
    refuse_too_much(len(origins), horizon, len(levels))
    panel = origins.panel
    if panel.tz is not None and panel.freq.sub_daily:
        context = rows_for(context, panel.freq)
    at_once = max(ROWS_AT_ONCE // max(context, 1), 1)
    places, means, quantiles = [], [], []
    reason = ""
    for first in range(0, len(origins), at_once):
        part = origins.part(slice(first, first + at_once))
        forecast = ask(part.as_series(context, horizon))
        reason = reason or next((problem.detail for problem in forecast.problems), "")
        places.append(first + forecast.ids.astype(np.int64))
        means.append(forecast.mean)
        quantiles.append(forecast.quantiles)
    place = np.concatenate(places)
    if not len(place):
        raise DataError(f"none of the {len(origins):,} origins can be forecast from: {reason}")
    chosen = replace(origins, series=origins.series[place], row=origins.row[place])
    return Historical(
        origins=chosen,
        mean=np.concatenate(means),
        quantiles=np.concatenate(quantiles),
        levels=tuple(levels),
        actual=chosen.actual(horizon),
        left_out=len(origins) - len(place),
        reason=reason,
    )


def refuse_too_much(count: int, horizon: int, levels: int) -> None:
    """Raise `DataError` where there is nothing to ask, or too much."""
    if not count:
        raise DataError(
            "no series is long enough for a past origin: give longer histories, or a smaller least"
        )
    numbers = count * horizon * (levels + 1)
    if numbers > MOST_NUMBERS:
        raise DataError(
            f"{count:,} origins of {horizon} steps at {levels} levels are {numbers:,} numbers, and "
            f"an answer holds at most {MOST_NUMBERS:,}: ask for every n-th origin (every=), the "
            "last ones (last=), fewer steps or fewer series"
        )
