"""What is asked of all series of a request together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from forecasting.paths.coherent import ORIGINS
from forecasting.paths.hierarchy import Levels
from forecasting.paths.sampling import Draws
from forecasting.paths.totals import Total

JOINT_KEYS: Final = frozenset({"paths", "seed", "aggregate", "hierarchy", "labels"})


@dataclass(frozen=True)
class Joint:
    """What is asked of all series of a request together.

    Attributes
    ----------
    shown : whether the paths themselves are wanted. totals : in the order asked.
    levels : of the hierarchy; None for none.
    labels : columns of categories [N] of the request's series, given for this alone.
    """

    draws: Draws
    shown: bool
    totals: tuple[Total, ...] = ()
    levels: Levels | None = None
    labels: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """How often the numbers of the paths are gone through, about."""
        return 1 + len(self.totals) + (len(self.levels.by) if self.levels else 0)

    def runs(self) -> int:
        """Forecasts of each series and sum that a hierarchy needs, at most."""
        if self.levels is None:
            return 1
        past = ORIGINS if self.levels.how == "mint_shrink" else 0
        return (1 + len(self.levels.by)) * (1 + past)
