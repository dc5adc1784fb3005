"""What a watch over past forecasts found, and the rows and series it was found in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines.monitoring.finding import Finding, SeriesFinding, Verdict
from pipelines.monitoring.past import Joined
from pipelines.monitoring.rivals import Rivalry

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


@dataclass(frozen=True)
class Watch:
    """One check: the facts.

    Attributes
    ----------
    findings
        The tests of accuracy and of the data as a whole.
    series, silent
        Single series that changed, and those that stopped getting values.
    total
        Series in all.
    rivals
        Challengers beside champions, where the service kept what both said.
    """

    model: str
    version: int | None
    verdict: Verdict
    reasons: list[str]
    findings: list[Finding]
    series: list[SeriesFinding]
    silent: list[str]
    total: int
    scores: dict[str, float]
    counts: dict[str, int]
    false_alarms: float
    block: int
    recent: int
    page: Path | None = None
    run_id: str | None = None
    notes: list[str] = field(default_factory=list)
    rivals: list[Rivalry] = field(default_factory=list)

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
            "verdict": str(self.verdict),
            "reasons": self.reasons,
            "series": sorted({f.id for f in self.series}),
            "silent": self.silent,
            "scores": {k: v for k, v in self.scores.items() if np.isfinite(v)},
            "counts": self.counts,
            "challengers": [rivalry.facts() for rivalry in self.rivals],
            "run_id": self.run_id,
            "page": str(self.page) if self.page else None,
        }


@dataclass(frozen=True)
class Evidence:
    """What the facts were found in: for the page and the run, and let go after them.

    Attributes
    ----------
    joined
        The forecasts that have come true beside what happened.
    by_time, by_step, by_series
        ``rows, mase, bias, coverage`` of them, by stamp, horizon step, series.
    """

    panel: Panel
    joined: Joined
    by_time: pd.DataFrame
    by_step: pd.DataFrame
    by_series: pd.DataFrame
