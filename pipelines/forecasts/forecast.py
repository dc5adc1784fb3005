"""Batch forecasts: every series of a table through the champion, into a file or a database."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import ConfigError, DataError, SeriesProblem, heard
from forecasting.paths.sampling import labels_of
from forecasting.prediction.predictor import Predictor
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.data.profile import panel_digest
from pipelines.forecasts.job import Job, Maker, Predicts, Target, table_of
from pipelines.forecasts.joint import asked, write_joint
from pipelines.forecasts.targets import default_output, target_of
from pipelines.machine.say import Say, heard_by, once, silent
from pipelines.machine.state import cores, locked
from pipelines.registry.files import HASH_TAG
from pipelines.registry.registered import load
from pipelines.registry.registry import Registry
from pipelines.terminal.waiting import counted
from pipelines.tracking.store import brief, connect
from pipelines.tracking.tracker import open_tracker

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.data.panel import Panel


CHUNK = 2048  # series forecast and written at once
# A piece of the forecasts, the series without one, and what is noted of it.
_Part = tuple["pa.Table", list[SeriesProblem], list[str]]


@dataclass(frozen=True)
class BatchForecast:
    """What a batch forecast came to.

    Attributes
    ----------
    target
        Where the forecasts are.
    series, rows
        Forecast and written by this run.
    kept
        Series that an earlier run of the same job had written already.
    problems
        Series that could not be forecast; the others were.
    joint
        Files of paths, totals and hierarchies.
    """

    model: str
    version: int
    run_id: str
    target: str
    job: str
    series: int
    rows: int
    kept: int
    asked: int
    problems: list[SeriesProblem] = field(default_factory=list)
    seconds: float = 0.0
    joint: tuple[str, ...] = ()

    @property
    def refused(self) -> float:
        """Share of the series without a forecast."""
        return len(self.problems) / self.asked if self.asked else 0.0

    @property
    def line(self) -> str:
        """One line for a person."""
        text = (
            f"{self.model} version {self.version}: {self.series:,} series, {self.rows:,} rows "
            f"in {self.seconds:.1f} s to {self.target}"
        )
        if self.kept:
            text += f"; {self.kept:,} series were there already"
        if self.problems:
            text += f"; {len(self.problems):,} of {self.asked:,} could not be forecast"
        return text


def forecast(
    config: ExperimentConfig,
    *,
    model: str | None = None,
    data: str | None = None,
    future: str | None = None,
    out: str | None = None,
    table: str | None = None,
    track: bool = True,
    say: Say = silent,
) -> BatchForecast:
    """Forecast every series from its end, with the champion.

    Run again after it was cut off, it goes on with the pieces that are missing. Forecasts are
    keyed by model, version, series, cutoff and step: nothing is ever there twice.

    Parameters
    ----------
    model
        ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``; default: the config's champion.
    data
        A table to read instead of ``data.source``; the rest of the data section stays.
    future
        A table of known-future covariates, where they do not stand below the history; default:
        ``forecast.future``.
    out
        ``.parquet`` or ``.csv`` file (replaced), folder (gets a file per run) or database URL;
        default: ``forecast.output``, else a folder of the model's below ``.gatecast``.
    table
        Of the database; default: ``forecast.table``.
    track
        Whether the run is noted in MLflow.

    Raises
    ------
    GatecastError
        No such model, data that do not fit it, an output that cannot be written.
    """
    began, say = time.monotonic(), once(say)
    name, _, alias = (model or config.name).partition("@")
    output = out or config.forecast.output or default_output(name)
    target = target_of(output, table or config.forecast.table)
    registry = Registry(connect(config.tracking.uri))
    version = registry.version(name, alias or None)
    predictor = load(registry, version)
    say(f"{name} version {version.version}, horizon {predictor.config.horizon}")
    if data is not None:
        config = config.model_copy(update={"data": config.data.replace(source=data)})
    prepared = prepare(config, every_series=True, future=future or config.forecast.future)
    for line in prepared.said:
        say(line)
    lock = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0):
        panel = prepared.panel.under(predictor.schema)
        say_odd(predictor, panel, say)
        steps = min(config.horizon, predictor.config.horizon)
        job = job_of(maker_of(version), panel, steps, config.forecast.levels)
        if config.forecast.joint is not None:
            # What cannot be asked for is said before anything is forecast.
            asked(config.forecast.joint, steps, tuple(labels_of(prepared.panel)))
        written = write(predictor, panel, job, target, say=say)
        if config.forecast.joint is not None:
            tables = write_joint(
                predictor,
                prepared.panel,
                config.forecast.joint,
                steps=steps,
                levels=config.forecast.levels,
                name=name,
                say=say,
            )
            written = replace(written, joint=tuple(map(str, tables)))
    written = replace(written, seconds=time.monotonic() - began)
    if track:
        noted(config, written, prepared.source, say)
    return written


def noted(config: ExperimentConfig, written: BatchForecast, source: str, say: Say) -> None:
    """Keep in MLflow what was forecast, where it can be reached."""
    try:
        note(config, written, source)
    except Exception as error:
        # The forecasts are where they belong: a busy store must not make them look failed.
        say(f"the run could not be noted in MLflow: {brief(error)}")


def write(
    predictor: Predicts,
    panel: Panel,
    job: Job,
    target: Target,
    *,
    workers: int | None = None,
    say: Say = silent,
) -> BatchForecast:
    """Forecast a panel in chunks on several threads, and write what a target lacks."""
    began = time.monotonic()
    target.open(job)
    done = target.done([str(i) for i in panel.ids])
    if done.any():
        say(f"{int(done.sum()):,} series are there from an earlier run of this job")
    remaining = np.flatnonzero(~done)
    problems: list[SeriesProblem] = []
    series = rows = 0
    parts = chunks(predictor, panel, remaining, job, workers, say)
    for piece, (forecasts, faults) in enumerate(counted(parts, -(-len(remaining) // CHUNK))):
        problems += faults
        if forecasts.num_rows:
            target.write(piece, forecasts)
            rows += forecasts.num_rows
            series += forecasts.num_rows // job.horizon
    if not series and not done.any():
        first = f"; first: series {problems[0].id!r}: {problems[0].detail}" if problems else ""
        ahead = any(problem.code == "missing_future_covariate" for problem in problems)
        cure = "; give what is known ahead in --future TABLE, or in rows without y" if ahead else ""
        raise DataError(f"none of the {len(panel):,} series could be forecast{first}{cure}")
    return BatchForecast(
        model=job.model,
        version=job.version,
        run_id=job.run_id,
        target=target.finish(),
        job=job.digest,
        series=series,
        rows=rows,
        kept=int(done.sum()),
        asked=len(panel),
        problems=problems,
        seconds=time.monotonic() - began,
    )


def chunks(
    predictor: Predicts, panel: Panel, left: Array, job: Job, workers: int | None, say: Say
) -> Iterator[tuple[pa.Table, list[SeriesProblem]]]:
    """Forecasts in order; a few chunks ahead of the writer, so that memory stays bounded.

    What the predictor notes of them is said once.
    """
    workers = workers or cores()
    say = once(say)

    def done(found: _Part) -> tuple[pa.Table, list[SeriesProblem]]:
        table, problems, notes = found
        for note in notes:
            say(note)
        return table, problems

    parts = [left[k : k + CHUNK] for k in range(0, len(left), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[_Part]] = []
        try:
            for index in parts:
                waiting.append(pool.submit(_one, predictor, panel, index, job))
                if len(waiting) > workers + 1:
                    yield done(waiting.pop(0).result())
            while waiting:
                yield done(waiting.pop(0).result())
        finally:
            for future in waiting:
                future.cancel()


def _one(predictor: Predicts, panel: Panel, index: Array, job: Job) -> _Part:
    part = panel.select(index)
    with heard() as notes:
        forecasts = predictor.predict_panel(part, horizon=job.horizon, quantiles=job.levels)
    # One step back from the first forecast stamp is the last row of the series.
    cutoffs = forecasts.freq.shift(forecasts.start, -1)
    return table_of(forecasts, cutoffs, job), forecasts.problems, notes


def say_odd(predictor: Predictor, panel: Panel, say: Say) -> None:
    """Say which histories are not what they seem."""
    with heard_by(say):
        predictor.say_odd(panel)


def maker_of(version: ModelVersion) -> Maker:
    """What forecasts, of a registered version."""
    digest = version.tags[HASH_TAG]
    return Maker(str(version.name), int(version.version), str(version.run_id), str(digest))


def job_of(maker: Maker, panel: Panel, horizon: int, levels: tuple[float, ...]) -> Job:
    """What is to be written: by its digest the same data, version, horizon and levels are one job.

    Raises
    ------
    ConfigError : levels that do not increase within (0, 1).
    """
    levels = levels_checked(levels)
    facts = [maker.model, maker.version, maker.digest, panel_digest(panel), horizon]
    text = json.dumps([*map(str, facts), list(levels)])
    newest = str(panel.last.max()).split(".")[0].replace(":", "")
    return Job(
        model=maker.model,
        version=maker.version,
        run_id=maker.run_id,
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        newest=newest,
        horizon=horizon,
        levels=levels,
        created=datetime.datetime.now(datetime.UTC),
    )


def levels_checked(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Levels that may be asked for; `ConfigError` where they may not."""
    if list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
        raise ConfigError(f"levels {list(levels)} must increase and lie between 0 and 1")
    return levels


def note(config: ExperimentConfig, written: BatchForecast, source: str) -> None:
    """Keep in MLflow what was forecast."""
    import pandas as pd

    tracker = open_tracker(config, system_metrics=False)
    title = f"forecast {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    tags = {
        "kind": "forecast",
        "model": written.model,
        "version": written.version,
        "target": written.target,
        "job": written.job,
        "source": source,
    }
    with tracker.run(title, tags=tags) as run:
        run.metrics(
            {
                "series": written.series,
                "rows": written.rows,
                "kept": written.kept,
                "problems": len(written.problems),
                "seconds": written.seconds,
            }
        )
        if written.problems:
            rows = [
                {"unique_id": p.id, "code": p.code, "detail": p.detail} for p in written.problems
            ]
            run.table(pd.DataFrame(rows), "problems.json")
