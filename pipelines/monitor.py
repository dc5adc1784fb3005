"""Watching: how past forecasts did, whether data or accuracy have changed, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.errors import DataError
from pipelines.config import ExperimentConfig
from pipelines.drift import (
    MOST_BLOCKS,
    TESTS,
    Finding,
    SeriesFinding,
    accuracy,
    accuracy_findings,
    block_length,
    changes,
    data_findings,
    series_findings,
)
from pipelines.masking import masked
from pipelines.monitor_log import log
from pipelines.past import Joined, join, read_forecasts, scores_by
from pipelines.prepare import prepare
from pipelines.profile import panel_digest
from pipelines.registry import CHAMPION, Registry
from pipelines.score import default_output
from pipelines.state import home

if TYPE_CHECKING:
    from forecasting.panel import Panel

Array = npt.NDArray[Any]
Say = Callable[[str], None]
Verdict = Literal["fine", "look at these series", "retrain"]

WIDESPREAD = 0.2  # more of the series than this changed one by one: no longer single series


def _silent(_: str) -> None:
    pass


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


def monitor(
    config: ExperimentConfig,
    *,
    forecasts: str | None = None,
    page: Path | None = None,
    track: bool = True,
    say: Say = _silent,
) -> Watch:
    """Join past forecasts with what happened, test for drift, say what to do.

    Parameters
    ----------
    forecasts
        File, folder or database URL; default: ``monitor.forecasts``, ``forecast.output``, or the
        model's folder below ``.gatecast``.
    page
        Where the HTML page goes; default: ``.gatecast/monitor/NAME.html``.
    track
        Whether the check is logged to MLflow.

    Raises
    ------
    GatecastError
        Data or forecasts that cannot be read, or do not belong together.
    """
    from pipelines.monitor_page import write_page
    from pipelines.train import open_tracker

    if forecasts is not None and "://" not in forecasts and not Path(forecasts).exists():
        raise DataError(f"--forecasts {forecasts}: there is no such file or folder")
    tracker = open_tracker(config)
    data = prepare(config)
    say(data.summary)
    source = forecasts or config.monitor.forecasts or config.forecast.output
    recent = config.monitor.recent or config.horizon
    past = read_forecasts(
        source or default_output(config.name),
        config.forecast.table,
        config.name,
        since=_since(data.panel, recent),
    )
    champion = Registry(tracker.client).alias(config.name, CHAMPION)
    watch = check(
        data.panel,
        past,
        config,
        champion=int(champion.version) if champion is not None else None,
        trained_on=champion.tags.get("data_hash") if champion is not None else None,
        backtest=json.loads(champion.tags.get("scores") or "{}") if champion is not None else {},
    )
    say(f"{watch.counts['judged']:,} forecasts have come true")
    target = page or home() / "monitor" / f"{config.name}.html"
    write_page(watch, target)
    changed: dict[str, Any] = {"page": target}
    if track:
        changed["run_id"] = log(tracker, watch, masked(data.source), target)
    say(f"the page: {target}")
    return Watch(**{**watch.__dict__, **changed})


def check(
    panel: Panel,
    past: pd.DataFrame,
    config: ExperimentConfig,
    *,
    champion: int | None = None,
    trained_on: str | None = None,
    backtest: dict[str, float] | None = None,
) -> Watch:
    """The check itself, on data in memory.

    Parameters
    ----------
    champion
        The version in use; the error of versions before it is no reason to train again.
    trained_on
        Data hash the champion was trained on; the same data cannot teach it more.
    backtest
        The champion's scores when it was judged.
    """
    season = config.season or panel.freq.season
    recent = config.monitor.recent or config.horizon
    share = config.monitor.false_alarms / TESTS
    joined = join(past, panel, season)
    rows = joined.rows
    length = block_length(panel, recent)
    awake, silent = _awake(panel, length)
    found = changes(awake, length)
    kinds = {
        "level": _all_series(panel, awake, found.level),
        "spread": _all_series(panel, awake, found.spread),
    }
    findings: list[Finding] = []
    usable = rows[rows["scaled"].notna()]
    if len(usable):
        did = accuracy(
            usable["series"].to_numpy(),
            _blocks(usable, recent),
            usable["step"].to_numpy(),
            usable["signed"].to_numpy(),
            usable["inside"].to_numpy(),
            len(panel),
        )
        kinds["error"] = did.error
    series = series_findings(panel.ids, kinds, share)
    if len(usable):
        # What single series did is said of them; all the others are judged without them.
        odd = np.isin(panel.ids.astype(str), [f.id for f in series])
        findings += accuracy_findings(did if odd.all() else did.without(odd), share)
    findings += data_findings(found, share)
    verdict, reasons = _verdict(
        findings, series, silent, len(awake), rows, recent, champion,
        same_data=trained_on is not None and trained_on == panel_digest(panel),
    )  # fmt: skip
    return Watch(
        model=config.name,
        version=champion,
        verdict=verdict,
        reasons=reasons,
        findings=findings,
        series=series,
        silent=silent,
        scores=_scores(rows, recent),
        counts=joined.counts,
        false_alarms=config.monitor.false_alarms,
        block=length,
        recent=recent,
        by_time=scores_by(rows, "time"),
        by_step=scores_by(rows, "step"),
        by_series=scores_by(rows, "unique_id"),
        joined=joined,
        panel=panel,
        notes=_notes(findings, joined, backtest or {}, rows),
    )


def _all_series(panel: Panel, part: Panel, values: Array) -> Array:
    """Rows of some series in the order of all; NaN for the others."""
    out = np.full((len(panel), values.shape[1]), np.nan)
    out[np.isin(panel.ids.astype(str), part.ids.astype(str))] = values
    return out


def _since(panel: Panel, recent: int) -> Any:
    """Stamp before which no forecast matters any more."""
    newest = panel.last.max()
    return panel.freq.shift(np.array([newest]), -(MOST_BLOCKS + 2) * recent)[0]


def _blocks(rows: pd.DataFrame, length: int) -> Array:
    """[R] block of each row's stamp, 0 the newest."""
    time = rows["time"].to_numpy()
    return np.asarray((time.max(initial=0) - time) // length)


def _awake(panel: Panel, length: int) -> tuple[Panel, list[str]]:
    """The series that still get values, and those that stopped within the last blocks.

    Where series end at different stamps by nature there is no telling who stopped.
    """
    known = np.isfinite(panel.y)
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    last = np.full(len(panel), -1, np.int64)
    np.maximum.at(last, panel.series[known], position[known])
    stamp = panel.freq.shift(panel.start, np.maximum(last, 0))
    newest = stamp.max()
    gap = panel.freq.steps_between(stamp, np.full(len(panel), newest))
    if np.mean(gap == 0) < 0.5:
        return panel, []
    stopped = (last < 0) | (gap >= length)
    lately = stopped & (last >= 0) & (gap < 3 * length)
    return panel.select(np.flatnonzero(~stopped)), [str(i) for i in panel.ids[lately]]


def _verdict(
    findings: list[Finding],
    series: list[SeriesFinding],
    silent: list[str],
    count: int,
    rows: pd.DataFrame,
    recent: int,
    champion: int | None,
    *,
    same_data: bool,
) -> tuple[Verdict, list[str]]:
    reasons = []
    worse = [f for f in findings if f.alarm]
    accuracy = [f for f in worse if not f.name.endswith("of the data")]
    newest = set(rows.loc[_blocks(rows, recent) == 0, "version"]) if len(rows) else set()
    replaced = champion is not None and bool(newest) and champion not in newest
    for finding in worse:
        text = f"{finding.name} {_where(finding)} (p = {finding.p:.1g})"
        if finding in accuracy and replaced:
            text += f", by versions before the champion, {champion}"
        reasons.append(text)
    names = sorted({f.id for f in series})
    if names:
        reasons.append(f"{len(names)} of {count} series changed: {_listed(names)}")
    if silent:
        reasons.append(f"{len(silent)} series get no more values: {_listed(silent)}")
    counted = [f for f in worse if not (f in accuracy and replaced)]
    if counted or len(names) > max(WIDESPREAD * count, 1):
        if not same_data:
            return "retrain", reasons
        reasons.append("the champion was trained on these very data: look before you train again")
        return "look at these series", reasons
    return ("look at these series" if names or silent else "fine"), reasons


def _where(finding: Finding) -> str:
    return "above what is usual" if finding.value > finding.high else "below what is usual"


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _scores(rows: pd.DataFrame, recent: int) -> dict[str, float]:
    if rows.empty:
        return {}
    newest = rows[_blocks(rows, recent) == 0]
    out: dict[str, float] = {}
    for prefix, part in (("", rows), ("newest_", newest)):
        out |= {
            f"{prefix}mase": float(part["scaled"].mean()),
            f"{prefix}bias": float(part["signed"].mean()),
            f"{prefix}coverage": float(part["inside"].mean()),
        }
    return out


def _notes(
    findings: list[Finding], joined: Joined, backtest: dict[str, float], rows: pd.DataFrame
) -> list[str]:
    notes = []
    if rows.empty:
        notes.append("no forecast has come true yet: only the data were looked at")
    elif "mase" in backtest:
        notes.append(
            f"MASE {rows['scaled'].mean():.3f} in use, {backtest['mase']:.3f} on the backtest of "
            "the champion"
        )
    idle = [f.name for f in findings if not f.possible]
    if idle:
        notes.append(f"too little history to test: {', '.join(idle)}")
    strange = {k: joined.counts[k] for k in ("series not in the data", "off the grid")}
    notes += [f"{n:,} forecast rows left out: {what}" for what, n in strange.items() if n]
    return notes
