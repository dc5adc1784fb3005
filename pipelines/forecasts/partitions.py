"""Batch forecasts of a folder of Parquet files, a file at a time: as tasks, in bounded memory.

Each file is read, forecast and written by one task, into a file of the same name. All of them lie
in a folder beside their place until the last is there, and then take it by one rename.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from forecasting.arrays import Array
from forecasting.errors import ConfigError, DataError, SeriesProblem
from forecasting.prediction.predictor import Predictor
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import Prepared, prepare
from pipelines.forecasts.file_target import parquet_writer
from pipelines.forecasts.forecast import BatchForecast, chunks, levels_checked, noted, say_odd
from pipelines.forecasts.job import Job
from pipelines.forecasts.targets import default_output
from pipelines.ingestion.pieces import refuse_guesses_of
from pipelines.machine.files import aside
from pipelines.machine.say import Say, once, silent
from pipelines.machine.state import cores, home, locked
from pipelines.registry.files import HASH_TAG
from pipelines.registry.registry import Registry
from pipelines.spread.parcel import pack, unpack
from pipelines.spread.places import each, open_place
from pipelines.spread.task import Hand, Place, Task
from pipelines.terminal.waiting import counted
from pipelines.tracking.store import connect

WORK = f"{__name__}:partition"
FACTS = ".facts"  # of a file that is done: what its task answered
UNDER_WAY, OLD = ".under-way", ".old"  # of a run: until it is whole; what it replaces


def partitions_of(source: str | None) -> list[Path]:
    """The Parquet files of a folder, by name; none where it is no folder, or holds something else.

    Names that begin with a dot or an underscore are marks of those who write such folders.
    """
    if not source or not Path(source).is_dir():
        return []
    files = sorted(
        p
        for p in Path(source).rglob("*")
        if p.is_file() and not any(part[0] in "._" for part in p.relative_to(source).parts)
    )
    return files if all(p.suffix == ".parquet" for p in files) else []


@dataclass(frozen=True)
class _Run:
    """One run: its files, where they go, and what every task is told."""

    source: Path
    files: Sequence[Path]
    target: Path
    job: Job
    values: Mapping[str, Any]

    @property
    def staging(self) -> Path:
        return self.target.with_name(f".{self.target.name}{UNDER_WAY}")

    @property
    def facts(self) -> Path:
        return self.target.with_name(f".{self.target.name}{FACTS}")

    def facts_of(self, file: Path) -> Path:
        name = file.relative_to(self.source)
        return self.facts / name.with_name(name.name + FACTS)

    def is_done(self, file: Path) -> bool:
        """Whether its task has answered, and what it wrote is still to be put in its place."""
        facts = self.facts_of(file)
        if not facts.exists():
            return False
        written = (self.staging / file.relative_to(self.source)).exists()
        return written or not unpack(facts.read_bytes())["series"]

    def task(self, file: Path, bundle: Any) -> Task:
        name = file.relative_to(self.source)
        parcel = {
            "config": {**self.values, "data": {**self.values["data"], "source": str(file)}},
            "target": str(self.staging / name),
            "model": self.job.model,
            "version": self.job.version,
            "run_id": self.job.run_id,
            "digest": self.job.digest,
            "horizon": self.job.horizon,
            "levels": list(self.job.levels),
            "created": self.job.created.isoformat(),
        }
        return Task(name=str(name), work=WORK, parcel=parcel, shared=(bundle,))


def forecast_partitions(
    config: ExperimentConfig,
    *,
    model: str | None = None,
    data: str | None = None,
    out: str | None = None,
    track: bool = True,
    say: Say = silent,
) -> BatchForecast:
    """Forecast every series of a folder's Parquet files from its end, with the champion.

    A series lies in one file as a whole. Run again after it was cut off, it goes on with the files
    that are missing. The result is a folder of the run's own below the output, with a file for
    each of the source; workers on other machines see both under the same paths.

    Parameters
    ----------
    model, data, out : as `pipelines.forecasts.forecast.forecast` takes them; ``out`` is a folder.

    Raises
    ------
    ConfigError : no such folder; something asked for that needs all series at once.
    DataError : a series in two files, or none that could be forecast.
    """
    began = time.monotonic()
    source = data or config.data.source
    files = partitions_of(source)
    _refuse(config, source, files)
    name, _, alias = (model or config.name).partition("@")
    output = Path(out or config.forecast.output or default_output(name)).expanduser().resolve()
    if output.is_relative_to(Path(str(source)).resolve()):
        raise ConfigError(f"{output} lies in {source}: forecasts there would be read as series")
    if output.suffix or output.is_file():
        raise ConfigError(f"{output}: forecasts of a folder go into a folder; name one")
    registry = Registry(connect(config.tracking.uri))
    version = registry.version(name, alias or None)
    folder = registry.download(version, home() / "cache" / "bundles")
    run = _run_of(config, version, folder, (Path(str(source)).resolve(), files), output)
    say(f"{name} version {version.version}, {len(files):,} files, horizon {run.job.horizon}")
    lock = hashlib.sha256(str(output).encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0), open_place(config.spread, say) as place:
        written = _carried_out(run, place, folder, say)
    written = replace(written, seconds=time.monotonic() - began)
    if track:
        noted(config, written, str(source), say)
    return written


def _refuse(config: ExperimentConfig, source: str | None, files: Sequence[Path]) -> None:
    if not files:
        raise ConfigError(
            f"--workers and --ray forecast a folder of Parquet files, a file at a time, and "
            f"{source} is none; a single table is forecast on all cores as it is"
        )
    if config.forecast.joint is not None:
        raise ConfigError(
            "paths, totals and hierarchies are made of all series at once, not of a file at a "
            "time: leave them out, or --workers and --ray"
        )
    if config.data.known is not None:
        raise ConfigError(
            "data.known is joined to all series at once, not to a file at a time: leave out "
            "--workers and --ray"
        )
    if config.forecast.future is not None:
        raise ConfigError(
            "forecast.future: where files are forecast one at a time, covariates known ahead "
            "stand below the history in each"
        )


def _run_of(
    config: ExperimentConfig,
    version: Any,
    bundle: Path,
    source: tuple[Path, Sequence[Path]],
    output: Path,
) -> _Run:
    """What is to be written: the same files, version, horizon and levels are one run."""
    predictor = Predictor.load(bundle, threads=1, trusted=True)
    folder, files = source[0], [file.resolve() for file in source[1]]
    levels = levels_checked(config.forecast.levels)
    horizon = min(config.horizon, predictor.config.horizon)
    values = config.model_dump(mode="json", exclude_unset=True)
    values = {k: v for k, v in values.items() if k not in ("schedule", "tracking", "spread")}
    # What one file is too short to show, another must not be read by.
    values["freq"] = config.freq or predictor.freq.alias
    stats = [[str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    facts = [version.name, version.version, version.tags[HASH_TAG], horizon, levels, stats]
    text = json.dumps([*facts, values["data"], values["freq"]], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    target = output / f"{version.name}-v{version.version}-{digest[:8]}"
    job = Job(
        model=str(version.name),
        version=int(version.version),
        run_id=str(version.run_id),
        digest=digest,
        newest="",
        horizon=horizon,
        levels=levels,
        created=datetime.datetime.now(datetime.UTC),
    )
    return _Run(folder, files, target, job, values)


def _clear_up(run: _Run) -> None:
    """Put back what a kill took from its place, and take away what runs of other jobs left."""
    folder, names = run.target.parent, f".{glob.escape(run.job.model)}-v*-????????"
    for old in folder.glob(f"{names}{OLD}"):
        place = old.with_name(old.name.removeprefix(".").removesuffix(OLD))
        if place.exists():
            shutil.rmtree(old)
        else:
            old.rename(place)
    for mark in (UNDER_WAY, FACTS):
        for other in folder.glob(f"{names}{mark}"):
            if other not in (run.staging, run.facts):
                shutil.rmtree(other)


def _carried_out(run: _Run, place: Place, bundle: Path, say: Say) -> BatchForecast:
    _clear_up(run)
    missing = [file for file in run.files if not run.is_done(file)]
    if len(missing) < len(run.files):
        say(f"{len(run.files) - len(missing):,} files are there from an earlier run of this job")
    shared = place.share(bundle)

    def calls() -> Iterator[Any]:
        for file in missing:
            yield partial(_one, run, file, place, shared)

    for _ in counted(each(place, calls()), len(missing)):
        pass
    answers = [unpack(run.facts_of(file).read_bytes()) for file in run.files]
    _refuse_twice(run, [np.frombuffer(answer["keys"], np.uint64) for answer in answers])
    problems = [SeriesProblem(*one) for answer in answers for one in answer["problems"]]
    tell = once(say)
    for note in (note for answer in answers for note in answer["notes"]):
        tell(note)
    series, all_series = (sum(answer[key] for answer in answers) for key in ("series", "asked"))
    if not series:
        first = f"; first: series {problems[0].id!r}: {problems[0].detail}" if problems else ""
        raise DataError(f"none of the {all_series:,} series could be forecast{first}")
    old = run.target.with_name(f".{run.target.name}{OLD}")
    if run.target.exists():
        run.target.rename(old)
    run.staging.rename(run.target)
    # A kill from here on leaves facts without what they tell of: such files are done again.
    shutil.rmtree(run.facts)
    shutil.rmtree(old, ignore_errors=True)
    again = set(run.files) - set(missing)
    earlier = sum(a["series"] for f, a in zip(run.files, answers, strict=True) if f in again)
    return BatchForecast(
        model=run.job.model,
        version=run.job.version,
        run_id=run.job.run_id,
        target=f"{run.target}{os.sep}",
        job=run.job.digest,
        series=series - earlier,
        rows=(series - earlier) * run.job.horizon,
        kept=earlier,
        asked=all_series,
        problems=problems,
    )


def _one(run: _Run, file: Path, place: Place, bundle: Any) -> None:
    answer = place.do(run.task(file, bundle))
    facts = run.facts_of(file)
    facts.parent.mkdir(parents=True, exist_ok=True)
    with aside(facts) as scratch:
        scratch.write_bytes(pack(answer))


def _refuse_twice(run: _Run, keys: Sequence[Array]) -> None:
    """A series in two files would be forecast twice, from half of its history each."""
    together = np.concatenate(keys)
    order = np.argsort(together, kind="stable")
    twice = np.flatnonzero(together[order][1:] == together[order][:-1])
    if not len(twice):
        return
    ends = np.cumsum([len(one) for one in keys])
    pair = np.searchsorted(ends, order[twice[0] : twice[0] + 2], side="right")
    names = " and ".join(str(run.files[k].relative_to(run.source)) for k in pair)
    raise DataError(
        f"{len(twice):,} series lie in two files each, the first in {names}: where files are "
        "forecast one at a time a series must lie in one as a whole; nothing was written"
    )


@lru_cache(maxsize=1)
def _predictor(folder: Path) -> Predictor:
    """Opened once for all files of a worker, which names the folder of a bundle by its content."""
    return Predictor.load(folder, threads=1, trusted=True)


def partition(parcel: Mapping[str, Any], shared: Sequence[Any], _hand: Hand) -> dict[str, Any]:
    """Forecast one file into another; a work of `pipelines.spread`.

    Parameters
    ----------
    parcel : ``config`` of an experiment whose source is the file, ``target``, and what a `Job`
        holds. shared : the folder of a bundle.

    Returns
    -------
    dict : how many ``series`` were forecast of those ``asked``, the ``problems`` of the others,
        ``notes`` for people, and ``keys``: 64 bits of a hash of each id.
    """
    import pandas as pd

    if not pq.ParquetFile(parcel["config"]["data"]["source"]).metadata.num_rows:
        # Engines write such files for a worker that had nothing to write.
        return {"series": 0, "asked": 0, "problems": [], "notes": [], "keys": b""}
    predictor = _predictor(shared[0])
    config = build_config(parcel["config"])
    refuse_guesses_of(str(config.data.source), config.data)
    prepared: Prepared = prepare(config, every_series=True)
    panel = prepared.panel.under(predictor.schema)
    created = datetime.datetime.fromisoformat(parcel["created"])
    own = {key: parcel[key] for key in ("model", "version", "run_id", "digest", "horizon")}
    job = Job(**own, newest="", levels=tuple(parcel["levels"]), created=created)
    target = Path(parcel["target"])
    problems: list[SeriesProblem] = []
    notes = [line for line in (prepared.mended, prepared.reading, *prepared.planned) if line]
    series = 0
    say_odd(predictor, panel, notes.append)
    with aside(target) as scratch:
        writer: pq.ParquetWriter | None = None
        every = np.arange(len(panel))
        for table, faults in chunks(predictor, panel, every, job, cores(), notes.append):
            problems += faults
            if table.num_rows:
                writer = writer or parquet_writer(scratch, table.schema)
                writer.write_table(table)
                series += table.num_rows // job.horizon
        if writer is not None:
            writer.close()
    if not series:
        target.unlink()
    ids = np.array([str(name) for name in panel.ids], dtype=object)
    return {
        "series": series,
        "asked": len(panel),
        "problems": [[p.id, p.code, p.detail] for p in problems],
        "notes": notes,
        "keys": pd.util.hash_array(ids, categorize=False).astype(np.uint64).tobytes(),
    }
