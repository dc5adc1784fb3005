"""Whether a small panel is forecast by a pretrained start, by a tuned one, or from nothing.

Each is judged on origins held back from all of them, at its best shares of classical
forecasts. Where nothing can be held back the start forecasts as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecasting.arrays import Array
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.selection.held_back import Evidence
from forecasting.selection.shares import with_shares

# What is simpler is kept unless another is better by so many standard errors of the difference.
SURE = 1.0


@dataclass(frozen=True)
class Start:
    """One way to begin on a panel, scored at held-back origins.

    Attributes
    ----------
    name : ``shipped``, ``tuned`` or ``none``. config : its settings, the blend chosen.
    evidence : what its networks made of the origins.
    errors : [2, F] of each forecast, in steps and relative; NaN unknown.
    """

    name: str
    config: Resolved
    evidence: Evidence
    errors: Array

    @classmethod
    def of(cls, name: str, evidence: Evidence, *, open_blend: bool, open_pool: bool) -> Start:
        """Score networks, at the best shares of classical forecasts where those are open."""
        evidence = with_shares(evidence, blend=open_blend, pool=open_pool)
        config = evidence.config.replace(training={"start": name})
        return cls(
            name=name,
            config=config,
            evidence=replace(evidence, config=config),
            errors=evidence.errors_by_forecast(config.model.blend),
        )

    @property
    def networks(self) -> list[ForecastNetwork]:
        """Trained on rows up to the earliest origin."""
        return self.evidence.networks

    @property
    def score(self) -> float:
        """Mean absolute error in steps; NaN where none is known."""
        known = self.errors[0][np.isfinite(self.errors[0])]
        return float(known.mean()) if len(known) else math.nan


def best(starts: Sequence[Start]) -> Start:
    """The first, unless a later one is better by `SURE` standard errors of the difference."""
    kept = starts[0]
    for other in starts[1:]:
        gain, unsure = lead(kept, other)
        if gain > SURE * unsure:
            kept = other
    return kept


def lead(one: Start, other: Start) -> tuple[float, float]:
    """How much less another errs, as a share of the error of one, and its standard error.

    NaN where no forecast of both is known.
    """
    unit = np.maximum(np.nanmean(one.errors, axis=1, keepdims=True), 1e-12)
    gain = ((one.errors - other.errors) / unit).mean(axis=0)
    gain = gain[np.isfinite(gain)]
    if not len(gain):
        return math.nan, math.nan
    return float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
