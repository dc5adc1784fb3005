"""What can be run on a schedule, as plain functions: a config in, one line for a person out.

Prefect's flows call these, and so may anything else that keeps time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.config import ExperimentConfig
from pipelines.notify import Event, Notice

if TYPE_CHECKING:
    from pipelines.train import Outcome

Say = Callable[[str], None]


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
    """

    state: str
    line: str
    events: tuple[Event, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def notice(self, model: str) -> Notice:
        return Notice(self.events, model, self.line, self.facts)


def train_job(config: ExperimentConfig, *, trigger: str, say: Say) -> JobResult:
    """Train, judge, register and perhaps promote."""
    from pipelines.train import train

    return trained(train(config, trigger=trigger, say=say))


def trained(outcome: Outcome) -> JobResult:
    """What a run of the training pipeline came to."""
    facts = {
        "version": outcome.version,
        "run_id": outcome.run_id,
        "data_hash": outcome.data_hash,
    }
    if outcome.decision is None:
        line = f"nothing has changed since version {outcome.version}; nothing was registered"
        return JobResult("Unchanged", line, (), facts)
    events: list[Event] = []
    if outcome.promoted:
        state = "Promoted"
        events.append("promoted")
    elif outcome.decision.promote:
        state = "Registered"
    else:
        state = "Refused"
        events.append("refused")
        if any(c.name == SHIFT_CHECK and not c.passed for c in outcome.decision.checks):
            events.append("drift")
    line = f"version {outcome.version} {outcome.decision.reason}"
    return JobResult(state, line, tuple(events), facts)


SHIFT_CHECK = "shift of the data"  # the gate's name for it

JOBS: dict[str, Callable[..., JobResult]] = {"train": train_job}
