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
from forecasting.selection.decider import Decided, Decider
from forecasting.selection.held_back import Evidence
from forecasting.selection.rule import is_better


@dataclass(frozen=True)
class Start:
    """One way to begin on a panel, scored at held-back origins.

    Attributes
    ----------
    name : ``shipped``, ``tuned`` or ``none``. decided : what its networks made of the origins,
        and the shares that this asks for. errors : [2, F] of each forecast, in steps and
        relative; NaN unknown.
    """

    name: str
    decided: Decided
    errors: Array

    @classmethod
    def of(cls, name: str, evidence: Evidence, decider: Decider) -> Start:
        """Score networks, at the best shares of classical forecasts where those are open."""
        config = evidence.config.replace(training={"start": name})
        decided = decider.decide(replace(evidence, config=config))
        settled = decided.settled
        return cls(name, decided, settled.errors_by_forecast(settled.config.model.blend))

    @property
    def evidence(self) -> Evidence:
        """At the shares that were chosen."""
        return self.decided.settled

    @property
    def config(self) -> Resolved:
        """Its settings, the shares chosen."""
        return self.evidence.config

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
    """The first, unless a later one is better by a standard error of the difference."""
    leader = starts[0]
    for other in starts[1:]:
        if is_better(leader.errors, other.errors):
            leader = other
    return leader
