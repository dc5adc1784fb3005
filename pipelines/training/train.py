"""The training pipeline: raw table → panel → candidates → backtest → gate → champion.

Every stage is a plain function with typed input and output. The command line, the scheduler and
the demo all call `train`; nothing here knows which of them did.
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError, StartAnewError
from forecasting.signing import SigningKey, configured_key, configured_ring
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared, prepare
from pipelines.machine.lineage import git_commit, hardware, versions
from pipelines.machine.say import Say, silent
from pipelines.machine.state import home, locked
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.run import Run
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import Tracker, open_tracker, process_tag
from pipelines.training import pages
from pipelines.training.begin import Begin, begin
from pipelines.training.candidates import (
    Progress,
    carry_on,
    fit_candidate,
    fit_final,
    no_progress,
    origins,
    split,
)
from pipelines.training.challenger import Candidacy, champion_predictor, register_and_judge
from pipelines.training.evaluate import Evaluation, check_baselines, evaluate, load_predictor
from pipelines.training.gate import Decision
from pipelines.training.trained import Trained, bundle_weights, describe

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.config import ForecasterConfig
    from forecasting.data.panel import Panel
    from forecasting.prediction.predictor import Predictor


@dataclass
class Outcome:
    """What one run of the pipeline came to.

    Attributes
    ----------
    version
        Of the registered model; None when nothing had changed and nothing was registered.
    decision
        The gate's; None when it was not asked.
    promoted
        Whether the version is champion now.
    """

    name: str
    evaluation: Evaluation
    winner: str
    run_id: str
    candidate_run_ids: dict[str, str]
    bundle: Path
    version: int | None
    decision: Decision | None
    promoted: bool
    data_hash: str
    seconds: dict[str, float] = field(default_factory=dict)


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            passed = time.monotonic() - began
            self.seconds[name] = round(self.seconds.get(name, 0.0) + passed, 3)


@dataclass(frozen=True)
class _Session:
    """What every step of one run of the pipeline needs."""

    config: ExperimentConfig
    tracker: Tracker
    data: Prepared
    known: Prepared
    lineage: dict[str, Any]
    clock: _Clock
    force: bool
    say: Say
    progress: Progress
    accepted: str | None = None
    signer: SigningKey | None = None
    begin: Begin | None = None


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
    with locked(f"train-{config.name}", wait=1.0):
        # What can be missing is looked for first: it must be known before an hour of training.
        check_baselines(config)
        signer = signing_key(config)
        tracker = open_tracker(config)
        tracker.close_abandoned()
        clock = _Clock()
        with clock("ingest"):
            say("reading the data")
            data = prepare(config)
        for line in (data.summary, *data.notes):
            say(line)
        known = split(data, config)
        lineage = _lineage(config, data, trigger) | dict(tags or {})
        session = _Session(config, tracker, data, known, lineage, clock, force, say, progress)
        session = replace(session, accepted=accept_revision, signer=signer)
        if config.training.begin == "champion":
            found, told = begin(config, Registry(tracker.client), data, lineage)
            say(told)
            outcome = _gone_on(replace(session, begin=found), promote)
            if outcome is not None:
                return outcome
        return _told(session, promote)


def _told(session: _Session, promote: bool) -> Outcome:
    """One run of the pipeline, noted in MLflow."""
    title = f"train {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    tags = session.lineage | {"kind": "pipeline"}
    if session.begin is not None:
        tags |= {key: str(value) for key, value in session.begin.tags.items()}
    with session.tracker.run(title, tags=tags) as pipeline:
        return _run(session, pipeline, promote)


def _gone_on(session: _Session, promote: bool) -> Outcome | None:
    """A run that goes on from the champion; None where one that begins anew must follow."""
    if session.begin is None:
        return None
    try:
        outcome = _told(session, promote)
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


def _run(session: _Session, pipeline: Run, promote: bool) -> Outcome:
    """The story itself: candidates, backtest, winner, gate."""
    config, data, clock, say = session.config, session.data, session.clock, session.say
    pipeline.params(config.model_dump(mode="json", exclude={"tracking", "schedule"}))
    pipeline.text(config.to_yaml(), "config.yaml")
    pages.log_dataset(pipeline, data, data.digest)
    registry = Registry(session.tracker.client)
    with ExitStack() as stack:
        runs, trained = _fit_candidates(session, pipeline, stack)
        with clock("backtest"):
            champion = registry.alias(config.name, CHAMPION)
            evaluation = _backtest(session, registry, champion, trained)
            pages.log_evaluation(session.tracker, pipeline, runs, evaluation, data.panel)
        winner = evaluation.best(list(trained), config.backtest.metric)
        say(pages.comparison_line(evaluation, config.backtest.metric, winner))
        with clock("train"):
            final = _fit_winner(session, runs[winner], trained[winner])
        with clock("register"):
            candidacy = Candidacy(
                config=config,
                pipeline=pipeline,
                run=runs[winner],
                candidate=trained[winner],
                final=final,
                evaluation=evaluation,
                data=data,
                champion=champion,
                lineage=session.lineage | (session.begin.tags if session.begin else {}),
                accepted=session.accepted,
                signer=session.signer,
            )
            result = register_and_judge(candidacy, registry, force=session.force, promote=promote)
        pipeline.tags(
            {
                "winner": winner,
                "model": config.name,
                "version": result.version,
                "promoted": result.promoted,
                "cost_seconds": round(sum(clock.seconds.values()), 1),
            }
        )
        logging = sum(run.seconds_logging for run in (pipeline, *runs.values()))
        seconds = clock.seconds | {"logging": round(logging, 3)}
        pipeline.metrics({f"seconds_{name}": value for name, value in seconds.items()})
        if result.decision is not None:
            say(result.decision.reason)
        return Outcome(
            name=config.name,
            evaluation=evaluation,
            winner=winner,
            run_id=runs[winner].id,
            candidate_run_ids={name: run.id for name, run in runs.items()},
            bundle=final.bundle,
            version=result.version,
            decision=result.decision,
            promoted=result.promoted,
            data_hash=data.digest,
            seconds=clock.seconds,
        )


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


def _fit_candidates(
    session: _Session, pipeline: Run, stack: ExitStack
) -> tuple[dict[str, Run], dict[str, Trained]]:
    """Every candidate on what came before the backtest; their runs stay open on the stack."""
    config, say = session.config, session.say
    runs: dict[str, Run] = {}
    trained: dict[str, Trained] = {}
    begin = session.begin
    for name in config.candidates if begin is None else (begin.candidate,):
        settings = config.forecaster(name, freq=session.data.panel.freq.alias)
        label = f"{name} · {describe(settings)}"
        tags = session.lineage | pages.candidate_tags(name, settings)
        run = session.tracker.run(label, parent=pipeline, monitor=True, tags=tags)
        runs[name] = stack.enter_context(run)
        with session.clock("train"):
            say(f"training {label}")
            trained[name] = _fit_candidate(session, name, settings, runs[name])
        pages.log_candidate(runs[name], trained[name])
        if trained[name].skipped:
            say(f"  {name}: nothing changed, kept from an earlier run (--force redoes it)")
    return runs, trained


def _fit_candidate(session: _Session, name: str, settings: ForecasterConfig, run: Run) -> Trained:
    """Anew, or from the champion as it was judged."""
    beside: dict[str, Any] = {
        "run": run,
        "tracker": session.tracker,
        "force": session.force,
        "progress": session.progress,
    }
    config, known = session.config, session.known
    if session.begin is None:
        return fit_candidate(config, name, settings, known, **beside)
    with _saying(session.say):
        return carry_on(config, name, session.begin.judged, known, **beside)


@contextmanager
def _saying(say: Say) -> Iterator[None]:
    """What is warned of inside is said, each line once."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        yield
    for line in dict.fromkeys(str(warning.message) for warning in told):
        say(f"  {line}")


def _backtest(
    session: _Session,
    registry: Registry,
    champion: ModelVersion | None,
    trained: Mapping[str, Trained],
) -> Evaluation:
    """Candidates, champion and baselines on rows that no candidate has seen."""
    config = session.config
    session.say(
        f"backtest: {config.backtest.windows} origins, the last {origins(config)[0]} rows of each "
        "series unseen"
    )
    predictor, problem = champion_predictor(registry, champion)
    return evaluate(
        session.data.panel,
        {name: load_predictor(one.bundle) for name, one in trained.items()},
        config,
        champion=predictor,
        champion_problem=problem,
    )


def _fit_winner(session: _Session, run: Run, candidate: Trained) -> Trained:
    """The winner on every row: what is registered and served."""
    session.say(f"training the winner, {candidate.name}, on every row")
    title = f"{candidate.name} on every row"
    tags = session.lineage | {"kind": "final"}
    with session.tracker.run(title, parent=run, tags=tags) as final_run:
        final = _fit_final(session, candidate, final_run)
        final_run.tag(weights=bundle_weights(final.bundle))
    pages.log_diagnosis(run, final, session.data.panel)
    return final


def _fit_final(session: _Session, candidate: Trained, run: Run) -> Trained:
    """Anew, or from the candidate, which went on itself."""
    config, data = session.config, session.data
    beside: dict[str, Any] = {"run": run, "tracker": session.tracker, "force": session.force}
    if session.begin is None:
        return fit_final(config, candidate, data, progress=session.progress, **beside)

    def on_every_row(what: str, share: float) -> None:
        session.progress(f"on every row: {what}", share)

    with warnings.catch_warnings():
        # It was said of the candidate.
        warnings.simplefilter("ignore", UserWarning)
        return carry_on(
            config, candidate.name, candidate.bundle, data, progress=on_every_row, **beside
        )


def backtest_only(
    config: ExperimentConfig,
    *,
    model: str | None = None,
    future: str | None = None,
    say: Say = silent,
    progress: Progress = no_progress,
) -> Evaluation:
    """Judge models on rolling origins and register nothing.

    Parameters
    ----------
    model
        ``NAME`` (its champion) or ``NAME@VERSION``; default: the config's candidates, fitted on
        what came before the origins.
    future
        A table of known-future covariates, where the table of the history lacks them.
    """
    check_baselines(config)
    data = prepare(config, future=future)
    for line in (data.summary, *data.planned):
        say(line)
    if model is not None:
        name, _, wanted = model.partition("@")
        registry = Registry(connect(config.tracking.uri))
        version = registry.version(name, wanted or None)
        folder = registry.download_judged(version, home() / "cache" / "bundles")
        label = f"{name}@{version.version}"
        say(f"{label} as it was when it was judged, before it saw the rows of its own backtest")
        if config.backtest.refit is not None:
            raise ConfigError(
                f"backtest.refit trains candidates anew, and {model} is asked as it is: leave "
                "--model out, or backtest.refit"
            )
        return evaluate(data.panel, {label: load_predictor(folder)}, config)
    known = split(data, config)
    trained = {}
    for name in config.candidates:
        settings = config.forecaster(name, freq=data.panel.freq.alias)
        say(f"training {name} · {describe(settings)}")
        trained[name] = fit_candidate(config, name, settings, known, progress=progress)
    again = config.backtest.refit
    refitted = {}
    if again is not None:
        say(f"and each anew at every {again}. origin" if again > 1 else "and each at every origin")
        refitted = {f"{n}, refitted": _refit(config, n, data, progress) for n in config.candidates}
    return evaluate(
        data.panel,
        {name: load_predictor(t.bundle) for name, t in trained.items()},
        config,
        refitted=refitted,
    )


def _refit(
    config: ExperimentConfig, name: str, data: Prepared, progress: Progress
) -> Callable[[Panel], Predictor]:
    """Trains a candidate on what was known at a cutoff, as it would have been trained then."""
    settings = config.forecaster(name, freq=data.panel.freq.alias)

    def train(known: Panel) -> Predictor:
        there = replace(data, panel=known)
        return load_predictor(
            fit_candidate(config, name, settings, there, progress=progress).bundle
        )

    return train
