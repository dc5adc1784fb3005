"""The training pipeline: raw table → panel → candidates → backtest → gate → champion.

What begins it, and whether it goes on from the champion or begins anew; what it then does is in
`pipelines.training.session`. The command line, the scheduler and the demo all call `train`; nothing
here knows which of them did.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from forecasting.errors import StartAnewError
from forecasting.signing import SigningKey, configured_key, configured_ring
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared, prepare
from pipelines.machine.lineage import git_commit, hardware, versions
from pipelines.machine.say import Progress, Say, no_progress, silent
from pipelines.machine.state import locked
from pipelines.registry.registry import Registry
from pipelines.spread.places import open_place
from pipelines.tracking.tracker import open_tracker, process_tag
from pipelines.training.begin import begin
from pipelines.training.candidates import need_training, split
from pipelines.training.evaluate import check_baselines
from pipelines.training.session import Clock, Outcome, Session, carry_out


def train(
    config: ExperimentConfig,
    *,
    force: bool = False,
    promote: bool = True,
    trigger: str = "by hand",
    say: Say = silent,
    progress: Progress = no_progress,
    tags: Mapping[str, str] | None = None,
    accept_revision: str | None = None,
) -> Outcome:
    """Run the whole pipeline once.

    Parameters
    ----------
    config
        The experiment.
    force
        Redo stages whose inputs have not changed, and register even so.
    promote
        Let the gate make the challenger champion; otherwise it stays challenger.
    trigger
        Who started it, kept as a tag.
    say
        Gets a line of text as the work goes on.
    progress
        Gets what is being trained and the share that is done.
    accept_revision
        Why the data are right although they are not those that the champion was trained on: an
        honest restatement. Their checks pass, with this reason; those of the model stay.

    Raises
    ------
    GatecastError
        Bad data or config. What the gate says is no error: see `Outcome.decision`.
    """
    with locked(f"train-{config.name}", wait=1.0), ExitStack() as stack:
        # What can be missing is looked for first: it must be known before an hour of training.
        need_training()
        check_baselines(config)
        signer = signing_key(config)
        place = stack.enter_context(open_place(config.spread, say))
        tracker = open_tracker(config)
        tracker.close_abandoned()
        clock = Clock()
        with clock("ingest"):
            say("reading the data")
            data = prepare(config)
        for line in (data.summary, *data.notes):
            say(line)
        session = Session(
            config=config,
            tracker=tracker,
            data=data,
            known=split(data, config),
            lineage=_lineage(config, data, trigger) | dict(tags or {}),
            clock=clock,
            force=force,
            say=say,
            progress=progress,
            accepted=accept_revision,
            signer=signer,
            place=place,
        )
        if config.training.begin == "champion":
            start, reason = begin(config, Registry(tracker.client), data, session.lineage)
            say(reason)
            if start is not None:
                outcome = _gone_on(replace(session, begin=start), promote)
                if outcome is not None:
                    return outcome
        return carry_out(session, promote)


def _gone_on(session: Session, promote: bool) -> Outcome | None:
    """A run that goes on from the champion; None where one that begins anew must follow."""
    try:
        outcome = carry_out(session, promote)
    except StartAnewError as error:
        session.say(f"training anew: {error}")
        return None
    decision = outcome.decision
    beyond = outcome.evaluation.champion_problem is not None
    if decision is None or decision.promote or decision.doubts_the_data or beyond:
        # Where the data or the champion are at fault a training anew would be refused too.
        return outcome
    session.say(f"training anew: the gate refused version {outcome.version}, which went on")
    return None


def signing_key(config: ExperimentConfig) -> SigningKey | None:
    """The key that signs what passes the gate; None where none is configured.

    Raises
    ------
    ConfigError
        It cannot be used, or the key ring that is set here does not trust it.
    """
    path = configured_key(config.tracking.signing_key)
    key = SigningKey.load(path) if path is not None else None
    ring = configured_ring()
    if key is not None and ring is not None:
        ring.require(key)
    return key


def _lineage(config: ExperimentConfig, data: Prepared, trigger: str) -> dict[str, Any]:
    """Where a run comes from, as tags."""
    return {
        "data_hash": data.digest,
        "config_hash": config.digest(),
        "git_commit": git_commit(),
        "hardware": hardware(),
        "versions": versions(),
        "trigger": trigger,
        "gatecast.process": process_tag(),
    }
