"""Forecasts of series that show one value and no other, which says little of how far they move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel, observed
from forecasting.prediction.zeros import stays_zero
from forecasting.quantiles import normal_scores
from forecasting.windows.conditioning import UNKNOWN_SHARE, own_spreads, usual_of
from forecasting.zero.constants import LEVELS

# A normal standard deviation in mean absolute ones.
SIGMA = float(np.sqrt(np.pi / 2.0))


@dataclass(frozen=True)
class Usual:
    """What the series of a panel that move deviate by from their means, on average.

    Attributes
    ----------
    share : of a level's size. amount : for a level of 0; see `usual_spread`.
    """

    share: float = UNKNOWN_SHARE
    amount: float = 0.0

    @classmethod
    def of(cls, panel: Panel) -> Usual:
        """The usual deviation of a panel; a guess where none of its series moves."""
        centre, unit = own_spreads(panel.y, panel.offsets, "identity")
        return cls(*usual_of(centre, unit, "identity")) if (unit > 0).any() else cls()


def about_one_value(panel: Panel, usual: Usual, horizon: int) -> Float:
    """Quantiles about the only value that each series shows.

    After m equal neighbours a series has moved within h steps with a chance of h / (m + h), the
    posterior mean under Haldane's prior; then it lies as far off as is usual. So one value alone
    has the whole of the usual spread, and a long standstill none at the levels near the middle.

    Parameters
    ----------
    panel : series with one value, or equal ones.

    Returns
    -------
    [N, horizon, Q] at `LEVELS`.
    """
    count = panel.counts
    first, _ = observed(panel.y, panel.offsets)
    value = panel.y[panel.offsets[:-1] + first]
    unit = usual.share * np.abs(value)
    unit = np.where(unit > 0, unit, usual.amount)
    unit[stays_zero(panel)] = 0.0
    steps = np.arange(1.0, horizon + 1.0)
    chance = steps / (count[:, None] - 1.0 + steps)
    return np.asarray(value[:, None, None] + unit[:, None, None] * SIGMA * _offsets(chance))


def _offsets(chance: Array) -> Float:
    """[N, horizon, Q] normal deviates at `LEVELS` of what moves with a chance, and else stays."""
    tail = np.minimum(np.array(LEVELS), 1.0 - np.array(LEVELS))
    inner = np.minimum(tail / chance[..., None], 0.5)
    levels, place = np.unique(inner, return_inverse=True)
    size = -normal_scores(levels)[place.reshape(inner.shape)]
    return np.asarray(np.where(np.array(LEVELS) < 0.5, -size, size))
