"""What can be run on a schedule, as plain functions: a config in, one line for a person out.

Prefect's flows call these, and so may anything else that keeps time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pipelines.config import ExperimentConfig
from pipelines.jobs.notify import Event, Notice
from pipelines.machine.say import Say
from pipelines.monitoring.finding import Verdict

if TYPE_CHECKING:
    from pipelines.forecasts.forecast import BatchForecast
    from pipelines.monitoring.watch import Watch
    from pipelines.training.session import Outcome


class Ended(StrEnum):
    """How a job ended, each as the word that a list of runs shows."""

    PROMOTED = "Promoted"
    REGISTERED = "Registered"
    REFUSED = "Refused"
    UNCHANGED = "Unchanged"
    FORECAST = "Forecast"
    INCOMPLETE = "Incomplete"
    FINE = "Fine"
    LOOK = "Look"
    RETRAIN = "Retrain"
    UNTESTED = "Untested"


@dataclass(frozen=True)
class JobResult:
    """What a job came to.

    Attributes
    ----------
    line
        A sentence for a person.
    events
        What there is to notify of.
    champion
        Whether there is a model that can forecast now.
    doubts_the_data
        Whether the gate stopped at the data: no forecast is made from them.
    """

    state: Ended
    line: str
    events: tuple[Event, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    champion: bool = False
    doubts_the_data: bool = False

    def notice(self, model: str) -> Notice:
        """What there is to tell of it, under the model's name."""
        return Notice(self.events, model, self.line, self.facts)


def train_job(config: ExperimentConfig, *, trigger: str, say: Say) -> JobResult:
    """Train, judge, register and perhaps promote."""
    from pipelines.training.train import train

    return trained(train(config, trigger=trigger, say=say))


def trained(outcome: Outcome) -> JobResult:
    """What a run of the training pipeline came to."""
    facts = {
        "version": outcome.version,
        "run_id": outcome.run_id,
        "data_hash": outcome.data_hash,
    }
    evaluation = outcome.evaluation
    champion = (
        outcome.promoted or evaluation.has_champion or evaluation.champion_problem is not None
    )
    if outcome.decision is None:
        line = f"nothing has changed since version {outcome.version}; nothing was registered"
        if outcome.late:
            return JobResult(
                Ended.UNCHANGED, f"{line}: {outcome.late}", ("drift",), facts, champion
            )
        return JobResult(Ended.UNCHANGED, line, (), facts, champion)
    events: list[Event] = []
    doubts = False
    if outcome.promoted:
        state = Ended.PROMOTED
        events.append("promoted")
    elif outcome.decision.promote:
        state = Ended.REGISTERED
    else:
        state = Ended.REFUSED
        events.append("refused")
        doubts = outcome.decision.doubts_the_data
        if doubts:
            events.append("drift")
    verdict = (
        f"promoted: {outcome.decision.because}" if outcome.promoted else outcome.decision.reason
    )
    line = f"version {outcome.version} {verdict}"
    return JobResult(state, line, tuple(events), facts, champion, doubts)


def forecast_job(config: ExperimentConfig, *, trigger: str, say: Say) -> JobResult:
    """Every series through the champion, into the config's output."""
    from pipelines.forecasts.forecast import forecast

    return forecasted(forecast(config, say=say), config)


def forecasted(written: BatchForecast, config: ExperimentConfig) -> JobResult:
    """What a batch of forecasts came to; too few of them is a failure to tell of."""
    facts = {"version": written.version, "target": written.target, "rows": written.rows}
    if written.refused > config.gate.max_refused:
        line = f"{written.line}; gate.max_refused allows {100 * config.gate.max_refused:g} %"
        return JobResult(Ended.INCOMPLETE, line, ("failed",), facts)
    return JobResult(Ended.FORECAST, written.line, (), facts)


VERDICTS = {
    Verdict.FINE: Ended.FINE,
    Verdict.LOOK: Ended.LOOK,
    Verdict.RETRAIN: Ended.RETRAIN,
    Verdict.UNTESTED: Ended.UNTESTED,
}


def monitor_job(config: ExperimentConfig, *, trigger: str, say: Say) -> JobResult:
    """Past forecasts against what happened; training, where it is asked for, follows."""
    from pipelines.monitoring.monitor import monitor

    return watched(monitor(config, say=say))


def watched(watch: Watch) -> JobResult:
    """What a look at past forecasts came to."""
    state = VERDICTS[watch.verdict]
    facts = {"version": watch.version, "run_id": watch.run_id, "page": watch.facts()["page"]}
    events: tuple[Event, ...] = (
        ("drift",) if watch.verdict in (Verdict.LOOK, Verdict.RETRAIN) else ()
    )
    return JobResult(state, watch.line, events, facts, champion=watch.version is not None)


def following(job: str, config: ExperimentConfig, result: JobResult) -> str | None:
    """The job that comes after one.

    Watching leads to training where the verdict and `monitor.retrain` say so. From new data,
    trained on or not, the champion forecasts.
    But not from data that the gate stopped at, for they moved too far or are not those that were
    there before: they may be an accident, and its forecasts would be one too.
    """
    if job == "monitor":
        return "train" if config.monitor.retrain and result.state is Ended.RETRAIN else None
    due = job == "train" and config.forecast.output is not None and result.champion
    return "forecast" if due and not result.doubts_the_data else None


def config_of(job: str, config: ExperimentConfig, before: JobResult | None) -> ExperimentConfig:
    """The config that a job runs by: where drift leads to a training, it begins anew."""
    drifted = before is not None and before.state is Ended.RETRAIN
    if job != "train" or not drifted or config.training.begin == "nothing":
        return config
    anew = config.training.replace(begin="nothing")
    return config.model_copy(update={"training": anew})


JOBS: dict[str, Callable[..., JobResult]] = {
    "train": train_job,
    "forecast": forecast_job,
    "monitor": monitor_job,
}
