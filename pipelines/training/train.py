"""The training pipeline: raw table → panel → candidates → backtest → gate → champion.

Every stage is a plain function with typed input and output. The command line, the scheduler and
the demo all call `train`; nothing here knows which of them did.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.data.profile import panel_digest, panel_profile
from pipelines.machine.lineage import git_commit, hardware, versions
from pipelines.machine.masking import hide
from pipelines.machine.state import home, locked
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.run import Run
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import open_tracker, process_tag
from pipelines.training import pages
from pipelines.training.candidates import (
    Progress,
    fit_candidate,
    fit_final,
    no_progress,
    origins,
    split,
)
from pipelines.training.challenger import champion_predictor, register_and_judge
from pipelines.training.evaluate import Evaluation, check_baselines, evaluate, load_predictor
from pipelines.training.gate import Decision
from pipelines.training.trained import Trained, bundle_weights, describe

Say = Callable[[str], None]


def _silent(_: str) -> None:
    pass


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
    logging_share: float
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


def train(
    config: ExperimentConfig,
    *,
    force: bool = False,
    promote: bool = True,
    trigger: str = "by hand",
    say: Say = _silent,
    progress: Progress = no_progress,
    tags: Mapping[str, str] | None = None,
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

    Raises
    ------
    GatecastError
        Bad data or config. What the gate says is no error: see `Outcome.decision`.
    """
    with locked(f"train-{config.name}", wait=1.0):
        return _train(config, force, promote, trigger, say, progress, tags or {})


def _train(
    config: ExperimentConfig,
    force: bool,
    promote: bool,
    trigger: str,
    say: Say,
    progress: Progress,
    tags: Mapping[str, str],
) -> Outcome:
    clock = _Clock()
    check_baselines(config)
    # The store is opened first: a dead one must be known before an hour of training, not after.
    tracker = open_tracker(config)
    tracker.close_abandoned()
    with clock("ingest"):
        say("reading the data")
        data = prepare(config)
    say(data.summary)
    known = split(data.panel, config)
    digest = panel_digest(data.panel)
    lineage: dict[str, Any] = {
        "data_hash": digest,
        "config_hash": config.digest(),
        "git_commit": git_commit(),
        "hardware": hardware(),
        "versions": versions(),
        "trigger": trigger,
        "gatecast.process": process_tag(),
        **tags,
    }
    began = datetime.datetime.now().astimezone()
    title = f"train {began:%Y-%m-%d %H:%M}"
    registry = Registry(tracker.client)
    with tracker.run(title, tags=lineage | {"kind": "pipeline"}) as parent, ExitStack() as stack:
        parent.params(hide(config.model_dump(mode="json", exclude={"tracking", "schedule"})))
        parent.text(config.to_yaml(), "config.yaml")
        pages.log_dataset(parent, data, digest)
        runs: dict[str, Run] = {}
        trained: dict[str, Trained] = {}
        for name in config.candidates:
            settings = config.forecaster(name, freq=data.panel.freq.alias)
            label = f"{name} · {describe(settings)}"
            run = stack.enter_context(
                tracker.run(
                    label,
                    parent=parent,
                    monitor=True,
                    tags=lineage | pages.candidate_tags(name, settings),
                )
            )
            runs[name] = run
            with clock("train"):
                say(f"training {label}")
                trained[name] = fit_candidate(
                    config, name, settings, known,
                    run=run, tracker=tracker, force=force, progress=progress,
                )  # fmt: skip
            pages.log_candidate(run, trained[name])
            if trained[name].skipped:
                say(f"  {name}: nothing changed, kept from an earlier run (--force redoes it)")
        with clock("backtest"):
            say(
                f"backtest: {config.backtest.windows} origins, the last {origins(config)[0]} rows "
                "of each series unseen"
            )
            champion = registry.alias(config.name, CHAMPION)
            predictor, problem = champion_predictor(registry, champion)
            evaluation = evaluate(
                data.panel,
                {name: load_predictor(t.bundle) for name, t in trained.items()},
                config,
                champion=predictor,
                champion_problem=problem,
            )
            pages.log_evaluation(tracker, parent, runs, evaluation, data.panel)
        winner = evaluation.best(list(trained), config.backtest.metric)
        say(pages.comparison_line(evaluation, config.backtest.metric, winner))
        with clock("train"):
            say(f"training the winner, {winner}, on every row")
            title = f"{winner} on every row"
            with tracker.run(title, parent=runs[winner], tags=lineage | {"kind": "final"}) as run:
                final = fit_final(
                    config, trained[winner], data.panel,
                    run=run, tracker=tracker, force=force, progress=progress,
                )  # fmt: skip
                run.tag(weights=bundle_weights(final.bundle))
            pages.log_diagnosis(runs[winner], final, data.panel)
        with clock("register"):
            profile = panel_profile(data.panel, recent=max(config.horizon, evaluation.season))
            version, decision, promoted = register_and_judge(
                config,
                registry,
                parent,
                runs[winner],
                trained[winner],
                final,
                evaluation,
                data,
                champion=champion,
                lineage=lineage,
                profile=profile,
                force=force,
                promote=promote,
            )
        parent.tags(
            {
                "winner": winner,
                "model": config.name,
                "version": version,
                "promoted": promoted,
                "cost_seconds": round(sum(clock.seconds.values()), 1),
            }
        )
        parent.metrics({f"seconds_{name}": value for name, value in clock.seconds.items()})
        if decision is not None:
            say(decision.reason)
        logged = sum(run.seconds_logging for run in runs.values()) + parent.seconds_logging
        share = logged / max(clock.seconds["train"], 1e-9)
        return Outcome(
            name=config.name,
            evaluation=evaluation,
            winner=winner,
            run_id=runs[winner].id,
            candidate_run_ids={name: run.id for name, run in runs.items()},
            bundle=final.bundle,
            version=version,
            decision=decision,
            promoted=promoted,
            data_hash=digest,
            logging_share=share,
            seconds=clock.seconds,
        )


def backtest_only(
    config: ExperimentConfig,
    *,
    model: str | None = None,
    say: Say = _silent,
    progress: Progress = no_progress,
) -> Evaluation:
    """Judge models on rolling origins and register nothing.

    Parameters
    ----------
    model
        ``NAME`` (its champion) or ``NAME@VERSION``; default: the config's candidates, fitted on
        what came before the origins.
    """
    check_baselines(config)
    data = prepare(config)
    say(data.summary)
    if model is not None:
        name, _, wanted = model.partition("@")
        registry = Registry(connect(config.tracking.uri))
        version = registry.version(name, wanted or None)
        folder = registry.download_judged(version, home() / "cache" / "bundles")
        label = f"{name}@{version.version}"
        say(f"{label} as it was when it was judged, before it saw the rows of its own backtest")
        return evaluate(data.panel, {label: load_predictor(folder)}, config)
    known = split(data.panel, config)
    trained = {}
    for name in config.candidates:
        settings = config.forecaster(name, freq=data.panel.freq.alias)
        say(f"training {name} · {describe(settings)}")
        trained[name] = fit_candidate(config, name, settings, known, progress=progress)
    return evaluate(
        data.panel,
        {name: load_predictor(t.bundle) for name, t in trained.items()},
        config,
    )
