"""What can be run on a schedule, as plain functions: a config in, one line for a person out.

Prefect's flows call these, and so may anything else that keeps time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.config import ExperimentConfig
from pipelines.jobs.notify import Event, Notice
from pipelines.machine.say import Say
from pipelines.monitoring.finding import Verdict

if TYPE_CHECKING:
    from pipelines.forecasts.forecast import BatchForecast
    from pipelines.monitoring.watch import Watch
    from pipelines.training.train import Outcome


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes
    ----------
    state
        One word for a list: ``Promoted``, ``Refused``, ``Unchanged``.
    line
        A sentence for a person.
    events
        What there is to notify of.
    champion
        Whether there is a model that can forecast now.
    """

    state: str
    line: str
    events: tuple[Event, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    champion: bool = False

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
        return JobResult("Unchanged", line, (), facts, champion)
    events: list[Event] = []
    if outcome.promoted:
        state = "Promoted"
        events.append("promoted")
    elif outcome.decision.promote:
        state = "Registered"
    else:
        state = "Refused"
        events.append("refused")
        if outcome.decision.doubts_the_data:
            events.append("drift")
    said = f"promoted: {outcome.decision.because}" if outcome.promoted else outcome.decision.reason
    line = f"version {outcome.version} {said}"
    return JobResult(state, line, tuple(events), facts, champion)


def forecast_job(config: ExperimentConfig, *, trigger: str, say: Say) -> JobResult:
    """Every series through the champion, into the config's output."""
    from pipelines.forecasts.forecast import forecast

    return forecasted(forecast(config, say=say), config)


def forecasted(written: BatchForecast, config: ExperimentConfig) -> JobResult:
    """What a batch of forecasts came to; too few of them is a failure to tell of."""
    facts = {"version": written.version, "target": written.target, "rows": written.rows}
    if written.refused > config.gate.max_refused:
        line = f"{written.line}; gate.max_refused allows {100 * config.gate.max_refused:g} %"
        return JobResult("Incomplete", line, ("failed",), facts)
    return JobResult("Forecast", written.line, (), facts)


VERDICTS = {
    Verdict.FINE: "Fine",
    Verdict.LOOK: "Look",
    Verdict.RETRAIN: "Retrain",
    Verdict.UNTESTED: "Untested",
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
        return "train" if config.monitor.retrain and result.state == "Retrain" else None
    wanted = job == "train" and config.forecast.output is not None and result.champion
    return "forecast" if wanted and "drift" not in result.events else None


JOBS: dict[str, Callable[..., JobResult]] = {
    "train": train_job,
    "forecast": forecast_job,
    "monitor": monitor_job,
}
