"""Watching: how past forecasts did, whether data or accuracy have changed, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.errors import DataError, GatecastError
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.data.profile import panel_digest
from pipelines.forecasts.kept import read_forecasts
from pipelines.forecasts.targets import default_output
from pipelines.machine.say import Say, silent
from pipelines.machine.state import home
from pipelines.monitoring.drift import (
    MOST_BLOCKS,
    TESTS,
    Accuracy,
    accuracy,
    accuracy_findings,
    block_length,
    changes,
    data_findings,
    series_findings,
)
from pipelines.monitoring.finding import Finding
from pipelines.monitoring.log import log
from pipelines.monitoring.past import join, scores_by
from pipelines.monitoring.rivals import folder_of, read_compared, rivalries
from pipelines.monitoring.verdict import (
    blocks_of,
    notes_of,
    noticed,
    scores_of,
    verdict_of,
    versions_judged,
)
from pipelines.monitoring.watch import Evidence, Watch
from pipelines.registry.registered import season_of
from pipelines.registry.registry import CHAMPION, Registry

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


def monitor(
    config: ExperimentConfig,
    *,
    forecasts: str | None = None,
    compared: Path | None = None,
    page: Path | None = None,
    track: bool = True,
    say: Say = silent,
) -> Watch:
    """Join past forecasts with what happened, test for drift, say what to do.

    Parameters
    ----------
    forecasts
        File, folder or database URL; default: ``monitor.forecasts``, ``forecast.output``, or the
        model's folder below ``.gatecast``.
    compared
        Folder of what champion and challenger both said; default: where the service on this
        machine keeps it, below ``.gatecast/compared``.
    page
        Where the HTML page goes; default: ``.gatecast/monitor/NAME.html``.
    track
        Whether the check is logged to MLflow.

    Raises
    ------
    GatecastError
        Data or forecasts that cannot be read, or do not belong together.
    """
    from pipelines.monitoring.page import write_page
    from pipelines.tracking.tracker import open_tracker

    if forecasts is not None and "://" not in forecasts and not Path(forecasts).exists():
        raise DataError(f"--forecasts {forecasts}: there is no such file or folder")
    if compared is not None and not compared.is_dir():
        raise DataError(f"--compared {compared}: there is no such folder")
    tracker = open_tracker(config)
    data = prepare(config)
    for line in data.said:
        say(line)
    source = forecasts or config.monitor.forecasts or config.forecast.output
    recent = config.monitor.recent or config.horizon
    past = read_forecasts(
        source or default_output(config.name),
        config.forecast.table,
        config.name,
        since=_since(data.panel, recent),
    )
    registry = Registry(tracker.client)
    champion = registry.alias(config.name, CHAMPION)
    notes: list[str] = []
    season = None
    if champion is not None:
        try:
            season = season_of(registry, champion)
        except GatecastError as error:
            notes.append(f"MASE may have another season than on the backtest: {error}")
    watch, evidence = check(
        data.panel,
        past,
        config,
        champion=int(champion.version) if champion is not None else None,
        trained_on=champion.tags.get("data_hash") if champion is not None else None,
        backtest=json.loads(champion.tags.get("scores") or "{}") if champion is not None else {},
        season=season,
    )
    both = read_compared(compared or folder_of(config.name), say)
    rivals = rivalries(both, data.panel, season or config.season or data.panel.freq.season)
    notes += [rivalry.line for rivalry in rivals]
    watch = replace(watch, notes=[*watch.notes, *notes], rivals=rivals)
    say(f"{watch.counts['judged']:,} forecasts have come true")
    target = page or home() / "monitor" / f"{config.name}.html"
    write_page(watch, evidence, target)
    run_id = log(tracker, watch, evidence, data.source, target) if track else None
    if track and watch.version is not None:
        registry.watched(config.name, watch.version, str(watch.verdict))
    say(f"the page: {target}")
    return replace(watch, page=target, run_id=run_id)


def check(
    panel: Panel,
    past: pd.DataFrame,
    config: ExperimentConfig,
    *,
    champion: int | None = None,
    trained_on: str | None = None,
    backtest: dict[str, float] | None = None,
    season: int | None = None,
) -> tuple[Watch, Evidence]:
    """The check itself, on data in memory.

    Parameters
    ----------
    champion
        The version in use; the error of versions before it is no reason to train again.
    trained_on
        Data hash the champion was trained on; the same data cannot teach it more.
    backtest
        The champion's scores when it was judged.
    season
        Of the champion, so that its errors are in the unit they were judged in; default: the
        config's, or by frequency.
    """
    season = season or config.season or panel.freq.season
    recent = config.monitor.recent or config.horizon
    share = config.monitor.false_alarms / TESTS
    joined = join(past, panel, season)
    rows = joined.rows
    length = block_length(panel, recent, season)
    awake, silent = _awake(panel, length)
    moved = changes(awake, length)
    kinds = {
        "level": _all_series(panel, awake, moved.level),
        "spread": _all_series(panel, awake, moved.spread),
    }
    quality = _accuracy(rows[rows["scaled"].notna()], recent, len(panel))
    if quality is not None:
        kinds["error"] = quality.error
    series = series_findings(panel.ids, kinds, share)
    findings: list[Finding] = []
    if quality is not None:
        # What single series did is said of them; all the others are judged without them.
        odd = np.isin(panel.ids.astype(str), [f.id for f in series])
        findings += accuracy_findings(quality if odd.all() else quality.without(odd), share)
    findings += data_findings(moved, share)
    verdict, reasons = verdict_of(
        findings,
        series,
        noticed(rows, joined, findings, silent, backtest or {}),
        total=len(awake),
        champion=champion,
        versions=versions_judged(rows, recent),
        same_data=trained_on is not None and trained_on == panel_digest(panel),
    )
    watch = Watch(
        model=config.name,
        version=champion,
        verdict=verdict,
        reasons=reasons,
        findings=findings,
        series=series,
        silent=silent,
        total=len(panel),
        scores=scores_of(rows, recent),
        counts=joined.counts,
        false_alarms=config.monitor.false_alarms,
        block=length,
        recent=recent,
        notes=notes_of(findings, joined, backtest or {}, rows),
    )
    tables = [scores_by(rows, key) for key in ("time", "step", "unique_id")]
    return watch, Evidence(panel, joined, *tables)


def _accuracy(usable: pd.DataFrame, recent: int, series: int) -> Accuracy | None:
    """How the forecasts did that can be scaled; None when there is none."""
    if usable.empty:
        return None
    return accuracy(
        usable["series"].to_numpy(),
        blocks_of(usable, recent),
        usable["step"].to_numpy(),
        usable["signed"].to_numpy(),
        usable["inside"].to_numpy(),
        series,
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
