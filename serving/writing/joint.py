"""What a caller gets of series taken together: paths, totals, a hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.paths.coherent import Coherent
from forecasting.paths.totals import Totals
from serving.reading.stamps import write_stamps
from serving.reading.together import Joint


@dataclass(frozen=True)
class Together:
    """The answer to a `Joint`.

    Attributes
    ----------
    learned : whether the dependence was learned in training, or is the usual one.
    paths : [M, S, h] of the series that have a forecast; None where they were not asked for.
    """

    asked: Joint
    learned: bool
    paths: Array | None = None
    totals: Sequence[Totals] = field(default_factory=list)
    coherent: Coherent | None = None

    def public(self, levels: Sequence[float], tz: str | None) -> dict[str, Any]:
        """As the answer tells of it, but for the paths themselves."""
        content: dict[str, Any] = {
            "joint": {
                "paths": self.asked.draws.paths,
                "seed": self.asked.draws.seed,
                "dependence": "learned" if self.learned else "usual",
            }
        }
        keys = [f"{level:g}" for level in levels]
        if self.totals:
            content["aggregates"] = [_totals(t, levels, keys, tz) for t in self.totals]
        if self.coherent is not None:
            content["hierarchy"] = _hierarchy(self.coherent, keys, tz)
        return content


def _totals(
    found: Totals, levels: Sequence[float], keys: Sequence[str], tz: str | None
) -> dict[str, Any]:
    quantiles = np.ascontiguousarray(np.moveaxis(found.quantiles(levels), 2, 1))
    stamps = write_stamps(found.stamps(), found.forecast.freq, tz)
    mean = np.ascontiguousarray(found.mean)
    return {
        "first_step": found.first.tolist(),
        "last_step": found.last.tolist(),
        "totals": [
            {
                "id": name,
                "ds": stamps[k],
                "mean": mean[k],
                "quantiles": dict(zip(keys, quantiles[k], strict=True)),
            }
            for k, name in enumerate(found.names)
        ],
        "errors": [
            {"id": p.id, "code": p.code, "detail": p.detail, "where": p.where}
            for p in found.problems
        ],
    }


def _hierarchy(found: Coherent, keys: Sequence[str], tz: str | None) -> dict[str, Any]:
    quantiles = np.ascontiguousarray(np.moveaxis(found.quantiles, 2, 1))
    mean = np.ascontiguousarray(found.mean)
    (stamps,) = write_stamps(found.stamps()[None], found.forecast.freq, tz)
    return {
        "how": found.how,
        "ds": stamps,
        "nodes": [
            {
                "level": level,
                "id": name,
                "mean": mean[k],
                "quantiles": dict(zip(keys, quantiles[k], strict=True)),
            }
            for k, (level, name) in enumerate(zip(found.level_names, found.all_names, strict=True))
        ],
    }
