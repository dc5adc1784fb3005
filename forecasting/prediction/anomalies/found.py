"""Points of histories beside what they were expected to be: as arrays, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import SeriesProblem

if TYPE_CHECKING:
    import pandas as pd

# What a point is called: nothing, above or below its interval, or the one from which on a level
# counts as new.
QUIET, HIGH, LOW, NEW_LEVEL = 0, 1, 2, 3
KINDS = ("", "high", "low", "new level")


@dataclass(frozen=True)
class Found:
    """R points of N series, series by series in their order in time.

    Attributes
    ----------
    panel : the series. sizes : [N] points of each, its last ones. stamps : [R].
    y : [R] NaN where missing. median, low, high : [R] what was expected, and the interval that
        holds all but the rate asked for; NaN where a point could not be judged.
    chance : [R] p-value: how likely a point so far from its median was; NaN where there is none.
    kind : [R] place in `KINDS`.
    problems : why nothing of a series could be judged, by its position.
    """

    panel: Panel
    sizes: Array
    stamps: Array
    y: Array
    median: Array
    low: Array
    high: Array
    chance: Array
    kind: Array
    problems: Mapping[int, SeriesProblem]

    @property
    def anomaly(self) -> Array:
        """[R] whether a point is one."""
        return np.asarray(self.kind != QUIET)

    @property
    def judged(self) -> Array:
        """[R] whether a point has a p-value."""
        return ~np.isnan(self.chance)

    @property
    def rate(self) -> float:
        """Share of the judged points that are anomalies; 0 where none was judged."""
        return float(self.anomaly[self.judged].mean()) if self.judged.any() else 0.0

    def to_frame(self) -> pd.DataFrame:
        """Long table ``unique_id, ds, y, expected, low, high, p, anomaly, kind``."""
        import pandas as pd

        return pd.DataFrame(
            {
                "unique_id": np.repeat(self.panel.ids, self.sizes),
                "ds": public_stamps(self.stamps, self.panel),
                "y": self.y,
                "expected": self.median,
                "low": self.low,
                "high": self.high,
                "p": self.chance,
                "anomaly": self.anomaly,
                "kind": np.array(KINDS, dtype=object)[self.kind],
            }
        )
