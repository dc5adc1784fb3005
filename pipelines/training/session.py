"""One run of the pipeline: candidates, their backtest, the winner on every row, the gate."""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.masking import masked
from forecasting.signing import SigningKey
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared
from pipelines.machine.say import Progress, Say, heard_by, once
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.spread.places import each
from pipelines.spread.task import Here, Place
from pipelines.tracking.links import runs_beside, runs_page
from pipelines.tracking.run import Run
from pipelines.tracking.store import on_a_server
from pipelines.tracking.tracker import Tracker
from pipelines.training import pages
from pipelines.training.begin import Begin
from pipelines.training.candidates import Making, origins
from pipelines.training.challenger import Candidacy, champion_predictor, register_and_judge
from pipelines.training.evaluate import Evaluation, evaluate, load_predictor
from pipelines.training.gate import Decision
from pipelines.training.trained import Trained, bundle_weights, describe

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.config import ForecasterConfig


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
    late
        Of data that have not changed, that rows should have come by now; "" where none should.
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
    late: str = ""


class Clock:
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
class Session:
    """What every step of one run of the pipeline needs."""

    config: ExperimentConfig
    tracker: Tracker
    data: Prepared
    known: Prepared
    lineage: dict[str, Any]
    clock: Clock
    force: bool
    say: Say
    progress: Progress
    accepted: str | None
    signer: SigningKey | None
    begin: Begin | None = None
    place: Place = field(default_factory=Here)

    def making(self, run: Run) -> Making:
        """How its models are made, noted in a run."""
        return Making(
            self.config, run, self.tracker, self.force, self.progress, self.place, self.say
        )


def carry_out(session: Session, promote: bool) -> Outcome:
    """One run of the pipeline, noted in MLflow."""
    title = f"train {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    tags = session.lineage | {"kind": "pipeline"}
    if session.begin is not None:
        tags |= {key: str(value) for key, value in session.begin.tags.items()}
    with session.tracker.run(title, tags=tags) as pipeline:
        return _run(session, pipeline, promote)


def _run(session: Session, pipeline: Run, promote: bool) -> Outcome:
    """The story itself: candidates, backtest, winner, gate."""
    config, data, clock, say = session.config, session.data, session.clock, session.say
    pipeline.params(config.model_dump(mode="json", exclude={"tracking", "schedule", "spread"}))
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
                others=[(runs[name], one) for name, one in trained.items() if name != winner],
                page=runs_beside(session.tracker.experiment_id),
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
        if result.late:
            say(result.late)
        if on_a_server(session.tracker.uri):
            page = runs_page(session.tracker.uri, session.tracker.experiment_id)
            say(f"the runs beside each other: {masked(page)}")
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
            late=result.late,
        )


def _fit_candidates(
    session: Session, pipeline: Run, stack: ExitStack
) -> tuple[dict[str, Run], dict[str, Trained]]:
    """Every candidate on what came before the backtest; their runs stay open on the stack."""
    config, say = session.config, session.say
    runs: dict[str, Run] = {}
    trained: dict[str, Trained] = {}
    begin = session.begin
    names = list(config.candidates) if begin is None else [begin.candidate]
    # Those that are trained at the same time are noted in runs that are open at the same time.
    together = [names] if session.place.workers > 1 else [[name] for name in names]
    for group in together:
        fitting = []
        for name in group:
            settings = config.forecaster(name, freq=session.data.panel.freq.alias)
            label = f"{name} · {describe(settings)}"
            tags = session.lineage | pages.candidate_tags(name, settings)
            run = session.tracker.run(label, parent=pipeline, monitor=True, tags=tags)
            runs[name] = stack.enter_context(run)
            say(f"training {label}")
            fitting.append(partial(_fit_candidate, session, name, settings, runs[name]))
        with session.clock("train"):
            trained |= zip(group, each(session.place, fitting), strict=True)
        for name in group:
            pages.log_input(runs[name], session.data, session.data.digest)
            pages.log_candidate(runs[name], trained[name])
            settled = trained[name].config.model_dump(mode="json")
            runs[name].model(session.tracker.experiment_id, settled)
            if trained[name].skipped:
                say(f"  {name}: nothing changed, kept from an earlier run (--force redoes it)")
    return runs, trained


def _fit_candidate(session: Session, name: str, settings: ForecasterConfig, run: Run) -> Trained:
    """Anew, or from the champion as it was judged."""
    making = session.making(run)
    if session.begin is None:
        return making.candidate(name, settings, session.known)
    with _saying(session.say):
        return making.carried_on(name, session.begin.judged, session.known)


@contextmanager
def _saying(say: Say) -> Iterator[None]:
    """What is warned of inside is said, each line once."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        yield
    for line in dict.fromkeys(str(warning.message) for warning in warned):
        say(f"  {line}")


def _backtest(
    session: Session,
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
    with heard_by(once(session.say)):
        return evaluate(
            session.data.panel,
            {name: load_predictor(one.bundle) for name, one in trained.items()},
            config,
            champion=predictor,
            champion_problem=problem,
        )


def _fit_winner(session: Session, run: Run, candidate: Trained) -> Trained:
    """The winner on every row: what is registered and served."""
    session.say(f"training the winner, {candidate.name}, on every row")
    title = f"{candidate.name} on every row"
    tags = session.lineage | {"kind": "final"}
    with session.tracker.run(title, parent=run, tags=tags) as final_run:
        final = _fit_final(session, candidate, final_run)
        final_run.tag(weights=bundle_weights(final.bundle))
    pages.log_diagnosis(run, final, session.data.panel)
    return final


def _fit_final(session: Session, candidate: Trained, run: Run) -> Trained:
    """Anew, or from the candidate, which went on itself."""
    making = session.making(run).on_every_row()
    if session.begin is None:
        return making.final(candidate, session.data)
    with warnings.catch_warnings():
        # It was said of the candidate.
        warnings.simplefilter("ignore", UserWarning)
        return making.carried_on(candidate.name, candidate.bundle, session.data)
