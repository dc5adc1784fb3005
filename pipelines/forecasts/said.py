"""What was said at a cutoff and kept, and how it agrees with what is said now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.quantiles import column_of
from pipelines.forecasts.kept import native

if TYPE_CHECKING:
    from forecasting.prediction.predictor import Predictor


# Relative difference up to which numbers are the same but for rounding.
ROUNDING = 1e-5


@dataclass
class Agreement:
    """Series whose forecasts were kept: by whether the same comes out again."""

    same: int = 0
    rounding: int = 0
    other: int = 0

    @property
    def line(self) -> str:
        """One line for a person; "" where nothing was kept."""
        total = self.same + self.rounding + self.other
        if not total:
            return ""
        text = f"{total:,} were kept and are written as they were said; of these "
        parts = [
            (self.same, "come out again bit for bit"),
            (self.rounding, "again but for rounding"),
            (self.other, "otherwise: the table, or what was read of it, is another now"),
        ]
        return text + ", ".join(f"{count:,} {what}" for count, what in parts if count)


@dataclass(frozen=True)
class Kept:
    """Forecasts that were kept of one model: a frame as `read_forecasts` gives it."""

    frame: pd.DataFrame
    panel: Panel

    @cached_property
    def cutoffs(self) -> Array:
        """[R] of each row, in the panel's terms."""
        return native(self.frame["cutoff"], self.panel, "cutoff")

    def at(self, known: Panel) -> pd.DataFrame:
        """The rows that were said from where a panel ends."""
        if self.frame.empty:
            return self.frame
        names = pd.Index(known.ids.astype(str))
        place = np.asarray(names.get_indexer(pd.Index(self.frame["unique_id"])))
        return self.frame[(place >= 0) & (self.cutoffs == known.last[np.maximum(place, 0)])]


@dataclass
class AsSaid:
    """A predictor whose forecasts are those that were kept, where they were.

    It stands where a `Predictor` does, in `write`.
    """

    predictor: Predictor
    said: pd.DataFrame
    agreement: Agreement = field(default_factory=Agreement)

    def predict_panel(self, panel: Panel, *, horizon: int, quantiles: Sequence[float]) -> Forecast:
        """`Engine.predict_panel`, what was said in its place."""
        forecast = self.predictor.predict_panel(panel, horizon=horizon, quantiles=quantiles)
        names = ["mean", *(column_of(level) for level in quantiles)]
        if self.said.empty or any(name not in self.said.columns for name in names):
            return forecast
        mean, values = forecast.mean.copy(), forecast.quantiles.copy()
        groups = self.said.groupby("unique_id", sort=False).indices
        steps, table = self.said["step"].to_numpy(np.int64), self.said[names].to_numpy(np.float64)
        for k, name in enumerate(map(str, forecast.ids)):
            rows = np.asarray(groups.get(name, ()), np.int64)
            if len(rows) < horizon:
                continue
            rows = rows[np.argsort(steps[rows])][:horizon]
            own = table[rows]
            if not np.isfinite(own).all() or steps[rows[-1]] != horizon:
                continue
            again = np.column_stack([mean[k], values[k]])
            if np.array_equal(own, again):
                self.agreement.same += 1
            elif np.allclose(own, again, rtol=ROUNDING, atol=ROUNDING):
                self.agreement.rounding += 1
            else:
                self.agreement.other += 1
            mean[k], values[k] = own[:, 0], own[:, 1:]
        return dataclasses.replace(forecast, mean=mean, quantiles=values)
