"""Batch forecasts: every series of a table through the champion, into a file or a database."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forecasting.errors import ConfigError, DataError, GatecastError, SeriesProblem
from pipelines.config import ExperimentConfig, build_config
from pipelines.config_file import read_yaml
from pipelines.masking import HIDDEN, masked
from pipelines.outputs import Job, Target, table_of, target_of
from pipelines.prepare import Prepared, prepare
from pipelines.profile import panel_digest
from pipelines.recode import recode
from pipelines.registry import HASH_TAG, Registry
from pipelines.state import home, locked
from pipelines.tracking import Tracker, brief, connect, default_uri

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.inference import Predictor
    from forecasting.panel import Panel

Array = npt.NDArray[Any]
Say = Callable[[str], None]

CHUNK = 2048  # series forecast and written at once


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Written:
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
    out: str | None = None,
    table: str | None = None,
    levels: Sequence[float] | None = None,
    workers: int | None = None,
    track: bool = True,
    say: Say = _silent,
) -> Written:
    """Forecast every series from its end, with the champion.

    Run again after it was cut off, it goes on with the pieces that are missing. Forecasts are
    keyed by model, version, series, cutoff and step: nothing is ever there twice.

    Parameters
    ----------
    model
        ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``; default: the config's champion.
    data
        A table to read instead of ``data.source``; the rest of the data section stays.
    out
        ``.parquet`` or ``.csv`` file (replaced), folder (gets a file per run) or database URL;
        default: ``forecast.output``, else a folder of the model's below ``.gatecast``.
    table
        Of the database; default: ``forecast.table``.
    workers
        Threads; default: the cores.
    track
        Whether the run is noted in MLflow.

    Raises
    ------
    GatecastError
        No such model, data that do not fit it, an output that cannot be written.
    """
    began = time.monotonic()
    name, _, wanted = (model or config.name).partition("@")
    output = out or config.forecast.output or default_output(name)
    target = target_of(output, table or config.forecast.table)
    registry = Registry(connect(config.tracking.uri))
    version = registry.version(name, wanted or None)
    predictor = load(registry, version)
    say(f"{name} version {version.version}, horizon {predictor.config.horizon}")
    if data is not None:
        config = config.model_copy(update={"data": config.data.replace(source=data)})
    prepared = prepare(config, every_series=True)
    say(prepared.summary)
    lock = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0):
        panel = recode(prepared.panel, predictor.schema)
        steps = min(config.horizon, predictor.config.horizon)
        job = _job(version, panel, steps, tuple(levels or config.forecast.levels))
        written = write(predictor, panel, job, target, workers=workers, say=say)
    written = Written(**{**written.__dict__, "seconds": time.monotonic() - began})
    if track:
        try:
            _note(config, written, prepared)
        except Exception as error:
            # The forecasts are where they belong: a busy store must not make them look failed.
            say(f"the run could not be noted in MLflow: {brief(error)}")
    return written


def write(
    predictor: Predictor,
    panel: Panel,
    job: Job,
    target: Target,
    *,
    workers: int | None = None,
    say: Say = _silent,
) -> Written:
    """Forecast a panel in chunks on several threads, and write what a target lacks."""
    began = time.monotonic()
    target.open(job)
    done = target.done([str(i) for i in panel.ids])
    if done.any():
        say(f"{int(done.sum()):,} series are there from a run that was cut off")
    left = np.flatnonzero(~done)
    problems: list[SeriesProblem] = []
    series = rows = 0
    for piece, (found, faults) in enumerate(_chunks(predictor, panel, left, job, workers)):
        problems += faults
        if found.num_rows:
            target.write(piece, found)
            rows += found.num_rows
            series += found.num_rows // job.horizon
    if not series and not done.any():
        first = f"; first: series {problems[0].id!r}: {problems[0].detail}" if problems else ""
        raise DataError(f"none of the {len(panel):,} series could be forecast{first}")
    return Written(
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


def _chunks(
    predictor: Predictor, panel: Panel, left: Array, job: Job, workers: int | None
) -> Iterator[tuple[pa.Table, list[SeriesProblem]]]:
    """Forecasts in order; a few chunks ahead of the writer, so that memory stays bounded."""
    workers = workers or cores()
    parts = [left[k : k + CHUNK] for k in range(0, len(left), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[tuple[pa.Table, list[SeriesProblem]]]] = []
        try:
            for index in parts:
                waiting.append(pool.submit(_one, predictor, panel, index, job))
                if len(waiting) > workers + 1:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _one(
    predictor: Predictor, panel: Panel, index: Array, job: Job
) -> tuple[pa.Table, list[SeriesProblem]]:
    part = panel.select(index)
    found = predictor.predict_panel(part, horizon=job.horizon, quantiles=job.levels)
    # One step back from the first forecast stamp is the last row of the series.
    cutoffs = found.freq.shift(found.start, -1)
    return table_of(found, cutoffs, job), found.problems


def _job(version: ModelVersion, panel: Panel, horizon: int, levels: tuple[float, ...]) -> Job:
    if list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
        raise ConfigError(f"levels {list(levels)} must increase and lie between 0 and 1")
    facts = [version.name, version.version, version.tags[HASH_TAG], panel_digest(panel), horizon]
    text = json.dumps([*map(str, facts), list(levels)])
    newest = str(panel.last.max()).split(".")[0].replace(":", "")
    return Job(
        model=str(version.name),
        version=int(version.version),
        run_id=str(version.run_id),
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        newest=newest,
        horizon=horizon,
        levels=levels,
        created=datetime.datetime.now(datetime.UTC),
    )


def load(registry: Registry, version: ModelVersion) -> Predictor:
    """The forecaster of a version: downloaded, checked against its hash, opened."""
    from forecasting.inference import Predictor

    return Predictor.load(registry.download(version, home() / "cache" / "bundles"), threads=1)


def default_output(name: str) -> str:
    """Folder that gets a model's forecasts when nothing else is said."""
    return f"{home() / 'forecasts' / name}{os.sep}"


def cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def registered_config(name: str, *, uri: str | None = None) -> ExperimentConfig:
    """The experiment a registered model was trained by, as its pipeline run keeps it.

    Parameters
    ----------
    name
        ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``.
    """
    import tempfile

    from mlflow.artifacts import download_artifacts

    client = connect(uri)
    model, _, wanted = name.partition("@")
    version = Registry(client).version(model, wanted or None)
    run = version.tags.get("pipeline_run")
    if run is None:
        raise GatecastError(f"version {version.version} of {model!r} names no run: give the config")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = download_artifacts(
                run_id=run,
                artifact_path="config.yaml",
                dst_path=scratch,
                tracking_uri=client.tracking_uri,
            )
        except Exception as error:
            raise GatecastError(
                f"the config of {name!r} cannot be read from its run {run}: give the config file"
            ) from error
        values = read_yaml(Path(path))
    config = build_config(values, origin=f"config of {name}")
    # The run hides the password of its store; this client has it.
    where = config.tracking.replace(uri=uri or default_uri())
    return config.model_copy(update={"tracking": where})


def needs_password(config: ExperimentConfig) -> bool:
    """Whether the config came from a run, which keeps no password of the data's source."""
    return HIDDEN in (config.data.source or "")


def _note(config: ExperimentConfig, written: Written, prepared: Prepared) -> None:
    """Keep in MLflow what was forecast."""
    import pandas as pd

    tracker = Tracker.open(
        config.tracking.experiment or config.name,
        uri=config.tracking.uri,
        artifacts=config.tracking.artifacts,
        system_metrics=False,
    )
    title = f"forecast {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    tags = {
        "kind": "forecast",
        "model": written.model,
        "version": written.version,
        "target": written.target,
        "job": written.job,
        "source": masked(prepared.source),
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
