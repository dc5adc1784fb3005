"""What a watch over past forecasts found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from pipelines.monitoring.drift import (
    Finding,
    SeriesFinding,
)
from pipelines.monitoring.past import Joined

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


Verdict = Literal["fine", "look at these series", "retrain"]


@dataclass(frozen=True)
class Watch:
    """One check.

    Attributes
    ----------
    findings
        The tests of accuracy and of the data as a whole.
    series, silent
        Single series that changed, and those that stopped getting values.
    by_time, by_step, by_series
        ``rows, mase, bias, coverage`` of the forecasts judged, by stamp, horizon step, series.
    """

    model: str
    version: int | None
    verdict: Verdict
    reasons: list[str]
    findings: list[Finding]
    series: list[SeriesFinding]
    silent: list[str]
    scores: dict[str, float]
    counts: dict[str, int]
    false_alarms: float
    block: int
    recent: int
    by_time: pd.DataFrame
    by_step: pd.DataFrame
    by_series: pd.DataFrame
    joined: Joined
    panel: Panel
    page: Path | None = None
    run_id: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        because = "; ".join(self.reasons)
        return f"{self.model}: {self.verdict}" + (f": {because}" if because else "")

    def facts(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return {
            "model": self.model,
            "version": self.version,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "series": sorted({f.id for f in self.series}),
            "silent": self.silent,
            "scores": {k: v for k, v in self.scores.items() if np.isfinite(v)},
            "counts": self.counts,
            "run_id": self.run_id,
            "page": str(self.page) if self.page else None,
        }
