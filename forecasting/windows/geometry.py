"""Where each recurrent step looks: the arithmetic shared by training, prediction and serving.

Positions count along one window of ``rows`` values. Recurrent step j ends at ``reach - 1 + j * p``:
it is shown the K values up to there, level and spread are taken over the last W, and its forecast
covers the H positions after. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forecasting.arrays import Array
from forecasting.resolved import Resolved


@dataclass(frozen=True)
class Geometry:
    """Lengths, in steps of the panel's frequency.

    Attributes
    ----------
    segment : p, data steps per recurrent step. window : K, values shown to each.
    scale_window : W, values level and spread are taken over. level_window : values of the level.
    steps : S, recurrent steps read at most. horizon : H. lags : distances shown beside the window.
    """

    segment: int
    window: int
    scale_window: int
    level_window: int
    steps: int
    horizon: int
    lags: tuple[int, ...]

    @classmethod
    def of(cls, config: Resolved) -> Geometry:
        """From a forecaster's settings."""
        model, season = config.model, config.season
        window, scale_window = model.window, model.scale_window
        # About the mean of itself alone a single value shown would always be zero.
        width = season if season > 1 else window if window > 1 else scale_window
        return cls(
            segment=model.segment,
            window=window,
            scale_window=max(scale_window, window),
            level_window=min(width, max(scale_window, window)),
            steps=model.steps,
            horizon=config.horizon,
            lags=model.lags,
        )

    @cached_property
    def reach(self) -> int:
        """Values before and including the end of step 0 that any part of it looks at."""
        return max(self.scale_window, *self.lags) if self.lags else self.scale_window

    @cached_property
    def rows(self) -> int:
        """Length of a full window, without its horizon."""
        return self.length(self.steps)

    def length(self, steps: int) -> int:
        """Length of a window of some recurrent steps."""
        return self.reach + (steps - 1) * self.segment

    def steps_for(self, lengths: Array) -> Array:
        """[N] recurrent steps that series of [N] lengths fill: all that see an observation."""
        filled = -(-np.maximum(lengths, 1) // self.segment)
        return np.asarray(np.minimum(filled, self.steps))

    def lag_widths(self) -> tuple[int, ...]:
        """Values shown per lag: those that fall within the horizon once moved by the lag."""
        return tuple(min(lag, self.horizon) for lag in self.lags)
