"""Looking back: what would have been said at past cutoffs, by the version that was champion then.

What was said and is kept is taken as it was; beside it stands whether the same comes out again.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError, SeriesProblem
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.forecasts.cutoffs import Past, known_at, public
from pipelines.forecasts.forecast import (
    BatchForecast,
    chunks,
    job_of,
    maker_of,
    say_odd,
    write,
)
from pipelines.forecasts.job import Job
from pipelines.forecasts.kept import read_forecasts
from pipelines.forecasts.said import Agreement, AsSaid, Kept
from pipelines.forecasts.targets import default_output, target_of
from pipelines.machine.say import Say, once, silent
from pipelines.machine.state import locked
from pipelines.registry.registered import load
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.prediction.predictor import Predictor


@dataclass(frozen=True)
class LookedBack:
    """What looking back came to: a batch for each cutoff, and what of them was kept."""

    batches: list[BatchForecast]
    agreement: Agreement
    seconds: float

    @property
    def problems(self) -> list[SeriesProblem]:
        """Series that could not be forecast, at any cutoff."""
        return [problem for batch in self.batches for problem in batch.problems]

    @property
    def refused(self) -> float:
        """Share of the series without a forecast, of the cutoff where it is largest."""
        return max(batch.refused for batch in self.batches)

    @property
    def line(self) -> str:
        """One line for a person."""
        versions = sorted({batch.version for batch in self.batches})
        series = sum(batch.series for batch in self.batches)
        named = ", ".join(map(str, versions))
        text = (
            f"{self.batches[0].model} as of {len(self.batches):,} cutoff"
            f"{'s' * (len(self.batches) > 1)}, version{'s' * (len(versions) > 1)} {named}: "
            f"{series:,} forecasts in {self.seconds:.1f} s to {self.batches[-1].target}"
        )
        return "; ".join(part for part in (text, self.agreement.line) if part)


def look_back(
    config: ExperimentConfig,
    past: Past,
    *,
    model: str | None = None,
    data: str | None = None,
    future: str | None = None,
    out: str | None = None,
    table: str | None = None,
    say: Say = silent,
) -> LookedBack:
    """Forecast from past cutoffs, each by the version that was champion then.

    That is the version of the forecasts that were kept from the cutoff, else the one that the
    model's history names for the end of that day (in UTC). ``NAME@VERSION`` asks that one for all.

    Parameters
    ----------
    past
        The cutoffs. The others as `forecast` takes them.

    Raises
    ------
    GatecastError
        No version was champion then, data that do not fit it, an output that cannot be written.
    """
    began = time.monotonic()
    say = once(say)
    if config.data.known is not None:
        raise ConfigError(
            "data.known is joined as of the newest row: from a past cutoff later values would be "
            "seen; give --data that ends there to `gatecast forecast` without --as-of or --backfill"
        )
    name, _, alias = (model or config.name).partition("@")
    output = out or config.forecast.output or default_output(name)
    target = target_of(output, table or config.forecast.table)
    single = getattr(target, "folder", True) is False
    if single and out is None:
        raise ConfigError(
            f"forecast.output = {output} is one file, which holds what is said now: name another "
            "with --out"
        )
    if data is not None:
        config = config.model_copy(update={"data": config.data.replace(source=data)})
    prepared = prepare(config, every_series=True, future=future or config.forecast.future)
    for line in prepared.said:
        say(line)
    panel = prepared.panel
    cutoffs = past.cutoffs(panel)
    source = config.monitor.forecasts or config.forecast.output or default_output(name)
    frame = read_forecasts(source, table or config.forecast.table, name)
    question = _Asked(
        Registry(connect(config.tracking.uri)), name, alias or None, Kept(frame, panel), say
    )
    agreement = Agreement()
    lock = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0):
        # One after the other: a panel for each of them would fill the memory.
        rounds = (_round(question, panel, cutoff, config, agreement) for cutoff in cutoffs)
        if single and len(cutoffs) > 1:
            digest = hashlib.sha256(f"{name} {question.wanted} {cutoffs.tolist()}".encode())
            batches = _into_one(rounds, output, digest.hexdigest()[:32], say)
        else:
            batches = [
                write(
                    predictor,
                    history,
                    job,
                    target_of(output, table or config.forecast.table),
                    say=say,
                )
                for predictor, history, job in rounds
            ]
    return LookedBack(batches, agreement, time.monotonic() - began)


class _Asked:
    """Who is asked at which cutoff."""

    def __init__(
        self, registry: Registry, name: str, wanted: str | None, kept: Kept, say: Say
    ) -> None:
        self.registry, self.name, self.wanted, self.kept, self.say = (
            registry, name, wanted, kept, say,
        )  # fmt: skip
        self._open: dict[int, tuple[ModelVersion, Predictor]] = {}

    def at(self, cutoff: Any, said: pd.DataFrame) -> tuple[ModelVersion, Predictor]:
        """The version of a cutoff, opened."""
        alias = self.wanted or str(self._champion(cutoff, said))
        number = int(alias) if alias.isdigit() else -1
        if number not in self._open:
            version = self.registry.version(self.name, alias)
            predictor = load(self.registry, version)
            self._open[number] = version, predictor
            self._say_seen(version, predictor, cutoff)
        return self._open[number]

    def _champion(self, cutoff: Any, said: pd.DataFrame) -> int:
        if not said.empty:
            return int(said["version"].iloc[-1])
        if self.kept.panel.freq.integer:
            raise DataError(
                f"no forecast from step {cutoff} was kept, and steps are no dates at which there "
                f"was a champion: name the version that is to be asked, {self.name}@1"
            )
        day = pd.Timestamp(cutoff).floor("D") + pd.Timedelta(days=1, microseconds=-1)
        return self.registry.champion_at(
            self.name, day.to_pydatetime(warn=False).replace(tzinfo=datetime.UTC)
        )

    def _say_seen(self, version: ModelVersion, predictor: Predictor, cutoff: Any) -> None:
        until = predictor.manifest.get("fitted", {}).get("until")
        stamp = np.int64(cutoff) if self.kept.panel.freq.integer else cutoff.astype(np.int64)
        if until is not None and until > int(stamp):
            day = public(cutoff, self.kept.panel)
            self.say(
                f"version {version.version} learned from rows after {day}: what it says of them "
                "flatters it"
            )


def _round(
    asked: _Asked, panel: Panel, cutoff: Any, config: ExperimentConfig, agreement: Agreement
) -> tuple[Any, Panel, Job]:
    """Who forecasts from a cutoff, what was known there, and as which job."""
    history = known_at(panel, cutoff, config.horizon)
    earlier = asked.kept.at(history)
    version, predictor = asked.at(cutoff, earlier)
    earlier = (
        earlier[earlier["version"].astype(str) == str(version.version)] if len(earlier) else earlier
    )
    history = history.under(predictor.schema)
    say_odd(predictor, history, asked.say)
    steps = min(config.horizon, predictor.config.horizon)
    return (
        AsSaid(predictor, earlier, agreement),
        history,
        job_of(maker_of(version), history, steps, config.forecast.levels),
    )


def _into_one(
    rounds: Iterable[tuple[Any, Panel, Job]], output: str, digest: str, say: Say
) -> list[BatchForecast]:
    """All cutoffs into one file, written anew: ``digest`` names them together."""
    target = target_of(output, "")
    batches: list[BatchForecast] = []
    piece = 0
    for predictor, history, job in rounds:
        if not batches:
            target.open(dataclasses.replace(job, digest=digest))
        series, problems = 0, []
        for forecasts, faults in chunks(
            predictor, history, np.arange(len(history)), job, None, say
        ):
            problems += faults
            if forecasts.num_rows:
                target.write(piece, forecasts)
                piece, series = piece + 1, series + forecasts.num_rows // job.horizon
        batches.append(
            BatchForecast(
                model=job.model, version=job.version, run_id=job.run_id, target=output,
                job=job.digest, series=series, rows=series * job.horizon, kept=0,
                asked=len(history), problems=problems,
            )
        )  # fmt: skip
    if not piece:
        raise DataError("none of the series could be forecast from any of the cutoffs")
    target.finish()
    return batches
