"""What points were expected to be, before they were seen: their quantiles, as scores and back.

A score is the standard normal quantile of the level at which a value lies under its forecast: 0 at
the median, 1.96 where a fortieth was expected above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.quantiles import normal_scores
from forecasting.resolved import ResolvedModel

# Half the width of the widest interval is at least this share of the median's size: a series that
# stands still is not expected to the last digit.
NARROWEST = 1e-6
# Of counts it is at least one of them.
ONE_COUNT = 1.0
# And where the median is 0, it is this.
TINY = 1e-12
# The score of a value that the transform cannot read, where all that is expected can be: as far
# below as any.
UNREADABLE = -1e6


@dataclass(frozen=True)
class Expected:
    """Forecasts of n points, one step ahead of what was known.

    Attributes
    ----------
    values : [n, Q] rising, in the units of the model's transform where it reads them all.
    read : [n] whether these are the transform's units; else they are the series' own.
    knots : [Q] scores of the levels. model : the settings they come from.
    """

    values: Array
    read: Array
    knots: Array
    model: ResolvedModel

    @classmethod
    def of(cls, quantiles: Array, levels: tuple[float, ...], model: ResolvedModel) -> Expected:
        """From quantiles [n, Q] at rising levels about 0.5, in the series' units."""
        read = model.y_transform.forward(quantiles)
        fine = np.asarray(np.isfinite(read).all(axis=1))
        values = np.where(fine[:, None], read, quantiles)
        knots = normal_scores(np.asarray(levels))
        middle = values[:, [len(levels) // 2]]
        least = ONE_COUNT if model.counts else NARROWEST * np.abs(middle) + TINY
        line = least * knots / knots[-1]
        away = np.where(
            knots > 0, np.maximum(values - middle, line), np.minimum(values - middle, line)
        )
        return cls(middle + away, fine, knots, model)

    @property
    def median(self) -> Array:
        """[n] in the series' units."""
        return self._back(self.values[:, len(self.knots) // 2])

    def scores(self, y: Array) -> Array:
        """[n] of values [n] in the series' units; NaN where missing.

        A value that cannot be read, such as 0 under logs, lies below all that can be.
        """
        x = self.reading(y)
        q, knots, last = self.values, self.knots, len(self.knots) - 1
        rows, middle = np.arange(len(q)), q[:, last // 2]
        above = x > middle
        # Where several levels have one value, the score is that of the one nearest to the median.
        under = np.where(above[:, None], q < x[:, None], q <= x[:, None]).sum(axis=1)
        left = np.clip(under - 1, 0, last - 1)
        low, high = q[rows, left], q[rows, left + 1]
        share = np.where(high > low, (x - low) / np.where(high > low, high - low, 1.0), 1.0)
        inside = knots[left] + np.clip(share, 0.0, 1.0) * (knots[left + 1] - knots[left])
        upper = knots[last] * (x - middle) / (q[:, last] - middle)
        lower = knots[0] * (middle - x) / (middle - q[:, 0])
        out = np.where(x > q[:, last], upper, np.where(x < q[:, 0], lower, inside))
        out = np.where(np.isnan(x), UNREADABLE, out)
        return np.asarray(np.where(np.isnan(y), np.nan, out))

    def at(self, score: Array) -> Array:
        """[n] values at scores [n], in the series' units: what `scores` gives back."""
        q, knots, last = self.values, self.knots, len(self.knots) - 1
        rows, middle = np.arange(len(q)), q[:, last // 2]
        left = np.clip(np.searchsorted(knots, score, side="right") - 1, 0, last - 1)
        share = np.clip((score - knots[left]) / (knots[left + 1] - knots[left]), 0.0, 1.0)
        inside = q[rows, left] + share * (q[rows, left + 1] - q[rows, left])
        upper = middle + (q[:, last] - middle) * score / knots[last]
        lower = middle - (middle - q[:, 0]) * score / knots[0]
        reading = np.where(score > knots[last], upper, np.where(score < knots[0], lower, inside))
        value = self._back(reading)
        return np.maximum(value, 0.0) if self.model.nonnegative else value

    def reading(self, y: Array) -> Array:
        """[n] values of y in the units that each point is measured in."""
        return np.asarray(np.where(self.read, self.model.y_transform.forward(y), y))

    def _back(self, values: Array) -> Array:
        back = self.model.y_transform.inverse(np.where(self.read, values, 0.0))
        return np.asarray(np.where(self.read, back, values))
