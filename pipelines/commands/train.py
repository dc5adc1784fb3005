"""``gatecast train`` and ``gatecast backtest``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.commands.common import (
    FutureOption,
    HorizonOption,
    NameOption,
    NotifyOption,
    RayOption,
    SetOption,
    WhatArgument,
    WorkersOption,
    experiment,
    follow,
    print_table,
    spread_over,
    teller_of,
)
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import progress_bar

if TYPE_CHECKING:
    from pipelines.config import ExperimentConfig
    from pipelines.training.evaluate import Evaluation


def register(app: typer.Typer) -> None:
    """Add ``train`` and ``backtest``."""
    app.command("train")(train_command)
    app.command("backtest")(backtest_command)


def train_command(
    what: str = WhatArgument,
    horizon: int | None = HorizonOption,
    name: str | None = NameOption,
    sets: list[str] | None = SetOption,
    force: bool = typer.Option(False, "--force", help="Redo stages whose inputs are unchanged."),
    promote: bool = typer.Option(
        True, "--promote/--no-promote", help="Let the gate make the winner champion."
    ),
    accept_revision: str | None = typer.Option(
        None,
        "--accept-revision",
        metavar="REASON",
        help="The data are right though not those the champion knew; the reason is kept.",
    ),
    go_on: bool = typer.Option(
        False,
        "--continue",
        help="Train on from the champion, a little, instead of anew; as training.begin: champion.",
    ),
    workers: int | None = WorkersOption,
    ray: str | None = RayOption,
    notify: bool = NotifyOption,
) -> None:
    """Train, backtest, register, and promote what passes the gate (exit code 3 when refused).

    Examples:
    `gatecast train configs/m3_monthly.yaml --set training.max_steps=300`,
    `gatecast train sales.csv --horizon 12`,
    `gatecast train configs/m3_monthly.yaml --continue`
    """
    from pipelines.jobs.run import trained
    from pipelines.training.gate import EXIT_REFUSED
    from pipelines.training.train import train

    accepted = accept_revision.strip() if accept_revision is not None else None
    if accepted == "":
        raise ConfigError("--accept-revision needs a reason, which is kept: why the data changed")
    teller = teller_of(what, notify)
    with teller.watching():
        if go_on:
            sets = [*(sets or ()), "training.begin=champion"]
        config = teller.by(experiment(what, sets, horizon=horizon, name=name))
        config = spread_over(config, workers, ray)
        with progress_bar() as progress:
            outcome = train(
                config,
                force=force,
                promote=promote,
                say=tell,
                progress=progress,
                accept_revision=accepted,
            )
        _print_scores(outcome.evaluation, config)
        follow("train", config, trained(outcome), teller)
    state = "champion" if outcome.promoted else "challenger"
    look, serve = f"gatecast ui {_experiment(config)}", f"gatecast serve --model {outcome.name}"
    done(
        {
            "model": outcome.name,
            "version": outcome.version,
            "winner": outcome.winner,
            "state": state,
            "run": outcome.run_id,
            "scores": outcome.evaluation.scores,
            "gate": None if outcome.decision is None else outcome.decision.table(),
            "seconds": outcome.seconds,
        },
        following=[serve, look] if outcome.promoted else [look],
    )
    if outcome.decision is None:
        print(f"{outcome.name}: nothing has changed since version {outcome.version} ({state})")
        return
    print(f"{outcome.name} version {outcome.version} ({outcome.winner}) is {state}")
    print(f"MLflow run {outcome.run_id}")
    if not outcome.decision.promote:
        print_table(outcome.decision.table().set_index("check"), title="The gate refused it")
        if outcome.decision.doubts_the_data:
            print("if the data are right as they are: --accept-revision 'why they changed'")
        raise typer.Exit(EXIT_REFUSED)


def backtest_command(
    what: str = WhatArgument,
    horizon: int | None = HorizonOption,
    name: str | None = NameOption,
    sets: list[str] | None = SetOption,
    model: str | None = typer.Option(
        None, "--model", help="A registered model, NAME or NAME@VERSION; default: the candidates."
    ),
    future: str | None = FutureOption,
    out: Path | None = typer.Option(None, "--out", help="Also write every forecast: .parquet/.csv"),
    workers: int | None = WorkersOption,
    ray: str | None = RayOption,
) -> None:
    """Score models on rolling origins at the end of the history, and register nothing.

    Examples: `gatecast backtest configs/m3_monthly.yaml --model m3-monthly`,
    `gatecast backtest sales.csv --horizon 12 --out forecasts.parquet`
    """
    config = spread_over(experiment(what, sets, horizon=horizon, name=name), workers, ray)
    from pipelines.training.backtest import backtest_only

    with progress_bar() as progress:
        evaluation = backtest_only(config, model=model, future=future, say=tell, progress=progress)
    if out is not None:
        from pipelines.machine.files import write_table

        write_table(evaluation.backtest.table, out)
    _print_scores(evaluation, config)
    option = f" --horizon {horizon}" if horizon is not None else ""
    done(
        {"model": config.name, "horizon": config.horizon, "scores": evaluation.scores},
        made=[out] if out is not None else [],
        following=f"gatecast train {shlex.quote(what)}{option}" if model is None else (),
    )


def _experiment(config: ExperimentConfig) -> str:
    return shlex.quote(config.tracking.experiment or config.name)


def _print_scores(evaluation: Evaluation, config: ExperimentConfig) -> None:
    from forecasting.evaluation.catalogue import METRICS

    titles = {name: metric.title for name, metric in METRICS.items() if metric.shown}
    print_table(
        evaluation.scores[list(titles)].rename(columns=titles),
        title=f"{config.backtest.windows} rolling origins, horizon {config.horizon}",
    )
