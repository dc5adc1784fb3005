"""What is put before the gate, and what one check answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecasting.arrays import Array
from pipelines.config import GateConfig
from pipelines.data.revision import Revision


@dataclass(frozen=True)
class Judged:
    """How one model did on the frozen origins.

    Attributes
    ----------
    errors : [U] the gate's metric of each unit (a series, or a series at an origin when there
        are few series), in the same order for every model; NaN where it gave no forecast.
    coverage : share of actuals inside the checked interval; None when it gives no interval.
    bias : mean(forecast - actual) / mean(|actual|).
    finite : whether every number it gave was finite.
    refused : share of the units it gave no forecast for.
    latency_ms, size_mb : None for a baseline.
    """

    name: str
    errors: Array
    coverage: float | None = None
    bias: float | None = None
    finite: bool = True
    refused: float = 0.0
    latency_ms: float | None = None
    size_mb: float | None = None

    @property
    def mean(self) -> float:
        """Mean of `errors` over the units it has a forecast of; NaN where it has none."""
        return float(np.nanmean(self.errors)) if np.isfinite(self.errors).any() else float("nan")


@dataclass(frozen=True)
class Before:
    """The delivery beside what the champion was trained on.

    Attributes
    ----------
    revision : what the delivery changed; None where there is nothing to compare with.
    problem : why nothing could be compared, though there is something.
    accepted : why a person takes the delivery as it is, whatever it changed; None: nobody does.
    """

    revision: Revision | None = None
    problem: str | None = None
    accepted: str | None = None


@dataclass(frozen=True)
class Case:
    """What is put before the gate.

    Attributes
    ----------
    challenger, champion, naive : judged on the same units; no champion when there is none yet.
    segments : [U] name of each unit's segment; None when the config names no column.
    drift : shift of the data against the champion's reference profile, as ``|ln ratio|``.
    champion_problem : why there is a champion that could not be judged.
    before : the data beside what the champion was trained on.
    """

    challenger: Judged
    champion: Judged | None
    naive: Judged
    config: GateConfig
    segments: Array | None = None
    drift: float | None = None
    champion_problem: str | None = None
    before: Before = Before()


NOTHING_BEFORE = Before()


class Answer(NamedTuple):
    """What one check says, in words for people."""

    name: str
    value: str
    limit: str
    passed: bool
    detail: str = ""


def limited(name: str, value: float | None, limit: float, unit: str) -> Answer | None:
    """A value that must not lie above its limit; None where there is none."""
    if value is None:
        return None
    passed = bool(np.isfinite(value) and value <= limit)
    return Answer(name, f"{value:.3g} {unit}", f"{limit:g} {unit}", passed)
