"""Looking back: what would have been said at past cutoffs, by the version that was champion then.

What was said and is kept is taken as it was; beside it stands whether the same comes out again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import ConfigError, DataError, SeriesProblem
from forecasting.quantiles import column_of
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.forecasts.forecast import BatchForecast, chunks, job_of, write
from pipelines.forecasts.job import Job
from pipelines.forecasts.kept import native, read_forecasts
from pipelines.forecasts.targets import default_output, target_of
from pipelines.machine.say import Say, silent
from pipelines.machine.state import locked
from pipelines.registry.registered import load
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.prediction.predictor import Predictor

MOST_CUTOFFS = 10_000
# Relative difference up to which numbers are the same but for rounding.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Past:
    """Past cutoffs: stamps from ``first`` to ``last``, ``every`` so many steps; as they are typed.

    A day without a time means its end: all of its rows are known.
    """

    first: str
    last: str
    every: int = 1

    @classmethod
    def as_of(cls, stamp: str) -> Past:
        """One cutoff."""
        return cls(stamp, stamp)

    def cutoffs(self, panel: Panel) -> Array:
        """[K] stamps of the panel's grid, the oldest first.

        Raises
        ------
        DataError : stamps that are none, or out of order; no row of the panel up to there.
        """
        if self.every < 1:
            raise ConfigError(f"--every {self.every}: must be 1 or more steps")
        first, last = read_stamp(self.first, panel), read_stamp(self.last, panel)
        if first > last:
            raise DataError(f"--backfill {self.first} {self.last}: the second is before the first")
        origin, end = panel.start.min(), panel.last.max()
        if last < origin:
            raise DataError(
                f"{self.last} is before the first row of the data, {public(origin, panel)}"
            )
        if first > end and self.first != self.last:
            raise DataError(f"{self.first} is after the last row of the data, {public(end, panel)}")
        bounds = panel.freq.steps_between(origin, np.array([max(first, origin), min(last, end)]))
        # As of a date after the last row all that there is was known.
        high = int(bounds[1])
        low = int(bounds[0]) if self.first != self.last else high
        if panel.freq.shift(origin, low) < first and self.first != self.last:
            low += 1
        steps = np.arange(high, low - 1, -self.every)[::-1]
        if not len(steps):
            raise DataError(
                f"--backfill {self.first} {self.last}: no stamp of the data lies between; "
                "name dates that are further apart"
            )
        if len(steps) > MOST_CUTOFFS:
            raise DataError(
                f"--backfill: {len(steps):,} cutoffs, and at most {MOST_CUTOFFS:,} are made at "
                "once; name a larger --every, or go in parts"
            )
        return np.asarray(panel.freq.shift(np.broadcast_to(origin, steps.shape), steps))


def read_stamp(text: str, panel: Panel) -> Any:
    """A stamp as typed, in the panel's terms; `DataError` says how to write one."""
    if panel.freq.integer:
        try:
            return np.int64(int(text))
        except ValueError:
            raise DataError(f"{text!r} is no step: the data have integer stamps") from None
    stamp: Any = None
    with contextlib.suppress(ValueError):
        stamp = pd.Timestamp(text)
    if pd.isna(stamp):
        raise DataError(f"{text!r} is no date: write it as 2024-01-31, or 2024-01-31T06:00")
    whole = len(text.strip()) <= len("2024-01-31")
    if whole:
        stamp = stamp + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    if panel.tz is not None and panel.freq.sub_daily:
        try:
            local = stamp if stamp.tzinfo is not None else stamp.tz_localize(panel.tz)
        except ValueError:
            raise DataError(
                f"{text!r} is no hour in {panel.tz}, or two: write its offset, such as +01:00"
            ) from None
        stamp = local.tz_convert("UTC")
    elif stamp.tzinfo is not None:
        raise DataError(f"{text!r} has a time zone, the stamps of the data have none")
    return stamp.tz_localize(None).to_datetime64().astype("datetime64[us]")


def public(stamp: Any, panel: Panel) -> str:
    """A stamp for a person."""
    return str(public_stamps(np.asarray([stamp]), panel)[0]).removesuffix(".000000")


def known_at(panel: Panel, cutoff: Any, horizon: int) -> Panel:
    """The panel as it was known at a stamp: later rows are what was ahead then."""
    keep = panel.freq.steps_between(panel.start, np.asarray(cutoff)) + 1
    keep = np.clip(keep, 0, panel.lengths)
    return panel.truncate(panel.lengths - keep, horizon=horizon)


@dataclass
class Agreement:
    """Series whose forecasts were kept: by whether the same comes out again."""

    same: int = 0
    rounding: int = 0
    other: int = 0

    @property
    def line(self) -> str:
        """One line for a person; "" where nothing was kept."""
        total = self.same + self.rounding + self.other
        if not total:
            return ""
        text = f"{total:,} were kept and are written as they were said; of these "
        parts = [
            (self.same, "come out again bit for bit"),
            (self.rounding, "again but for rounding"),
            (self.other, "otherwise: the table, or what was read of it, is another now"),
        ]
        return text + ", ".join(f"{count:,} {what}" for count, what in parts if count)


@dataclass(frozen=True)
class Kept:
    """Forecasts that were kept of one model: a frame as `read_forecasts` gives it."""

    frame: pd.DataFrame
    panel: Panel

    @cached_property
    def cutoffs(self) -> Array:
        """[R] of each row, in the panel's terms."""
        return native(self.frame["cutoff"], self.panel, "cutoff")

    def at(self, known: Panel) -> pd.DataFrame:
        """The rows that were said from where a panel ends."""
        if self.frame.empty:
            return self.frame
        names = pd.Index(known.ids.astype(str))
        place = np.asarray(names.get_indexer(pd.Index(self.frame["unique_id"])))
        return self.frame[(place >= 0) & (self.cutoffs == known.last[np.maximum(place, 0)])]


@dataclass
class AsSaid:
    """A predictor whose forecasts are those that were kept, where they were.

    It stands where a `Predictor` does, in `write`.
    """

    predictor: Predictor
    said: pd.DataFrame
    agreement: Agreement = field(default_factory=Agreement)

    def predict_panel(self, panel: Panel, *, horizon: int, quantiles: Sequence[float]) -> Forecast:
        """`Engine.predict_panel`, what was said in its place."""
        found = self.predictor.predict_panel(panel, horizon=horizon, quantiles=quantiles)
        names = ["mean", *(column_of(level) for level in quantiles)]
        if self.said.empty or any(name not in self.said.columns for name in names):
            return found
        mean, values = found.mean.copy(), found.quantiles.copy()
        groups = self.said.groupby("unique_id", sort=False).indices
        steps, table = self.said["step"].to_numpy(np.int64), self.said[names].to_numpy(np.float64)
        for k, name in enumerate(map(str, found.ids)):
            rows = np.asarray(groups.get(name, ()), np.int64)
            if len(rows) < horizon:
                continue
            rows = rows[np.argsort(steps[rows])][:horizon]
            own = table[rows]
            if not np.isfinite(own).all() or steps[rows[-1]] != horizon:
                continue
            again = np.column_stack([mean[k], values[k]])
            if np.array_equal(own, again):
                self.agreement.same += 1
            elif np.allclose(own, again, rtol=ROUNDING, atol=ROUNDING):
                self.agreement.rounding += 1
            else:
                self.agreement.other += 1
            mean[k], values[k] = own[:, 0], own[:, 1:]
        return dataclasses.replace(found, mean=mean, quantiles=values)


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
    name, _, wanted = (model or config.name).partition("@")
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
    asked = _Asked(
        Registry(connect(config.tracking.uri)), name, wanted or None, Kept(frame, panel), say
    )
    agreement = Agreement()
    lock = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0):
        # One after the other: a panel for each of them would fill the memory.
        rounds = (_round(asked, panel, cutoff, config, agreement) for cutoff in cutoffs)
        if single and len(cutoffs) > 1:
            digest = hashlib.sha256(f"{name} {asked.wanted} {cutoffs.tolist()}".encode())
            batches = _into_one(rounds, output, digest.hexdigest()[:32])
        else:
            batches = [
                write(said, known, job, target_of(output, table or config.forecast.table))
                for said, known, job in rounds
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
        wanted = self.wanted or str(self._champion(cutoff, said))
        number = int(wanted) if wanted.isdigit() else -1
        if number not in self._open:
            version = self.registry.version(self.name, wanted)
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
    known = known_at(panel, cutoff, config.horizon)
    said = asked.kept.at(known)
    version, predictor = asked.at(cutoff, said)
    said = said[said["version"].astype(str) == str(version.version)] if len(said) else said
    known = known.under(predictor.schema)
    steps = min(config.horizon, predictor.config.horizon)
    return (
        AsSaid(predictor, said, agreement),
        known,
        job_of(version, known, steps, config.forecast.levels),
    )


def _into_one(
    rounds: Iterable[tuple[Any, Panel, Job]], output: str, digest: str
) -> list[BatchForecast]:
    """All cutoffs into one file, written anew: ``digest`` names them together."""
    target = target_of(output, "")
    batches: list[BatchForecast] = []
    piece = 0
    for said, known, job in rounds:
        if not batches:
            target.open(dataclasses.replace(job, digest=digest))
        series, problems = 0, []
        for found, faults in chunks(said, known, np.arange(len(known)), job, None):
            problems += faults
            if found.num_rows:
                target.write(piece, found)
                piece, series = piece + 1, series + found.num_rows // job.horizon
        batches.append(
            BatchForecast(
                model=job.model, version=job.version, run_id=job.run_id, target=output,
                job=job.digest, series=series, rows=series * job.horizon, kept=0,
                asked=len(known), problems=problems,
            )
        )  # fmt: skip
    if not piece:
        raise DataError("none of the series could be forecast from any of the cutoffs")
    target.finish()
    return batches
