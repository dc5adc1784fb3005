"""``gatecast monitor``: how past forecasts did, and whether it is time to train again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.commands.common import (
    CONFIG_SUFFIXES,
    DataOption,
    NotifyOption,
    SetOption,
    follow,
    print_table,
    teller_of,
)
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    from pipelines.config import ExperimentConfig
    from pipelines.monitoring.watch import Watch


def register(app: typer.Typer) -> None:
    """Add ``monitor``."""
    app.command("monitor")(monitor_command)


def monitor_command(
    what: str = typer.Argument(
        ..., metavar="CONFIG|NAME", help="A YAML config, or a registered model."
    ),
    sets: list[str] | None = SetOption,
    data: str | None = DataOption,
    forecasts: str | None = typer.Option(
        None,
        "--forecasts",
        help="File, folder, database or lake URL of past forecasts; default: what the config says.",
    ),
    compared: Path | None = typer.Option(
        None,
        "--compared",
        help="Folder of what champion and challenger both said; default: the service's, here.",
    ),
    page: Path | None = typer.Option(
        None, "--page", help="Where the page goes; default: .gatecast/monitor/NAME.html."
    ),
    retrain: bool | None = typer.Option(
        None,
        "--retrain/--no-retrain",
        help="Train when the verdict says so; default: monitor.retrain.",
    ),
    notify: bool = NotifyOption,
) -> None:
    """Hold past forecasts against what happened: "fine", "look at these series" or "retrain";
    or "too little history to tell".

    Exit code 3 when --retrain trained a model that the gate refused.

    Examples: `gatecast monitor configs/m3_monthly.yaml`,
    `gatecast monitor demand --data today.parquet --forecasts sqlite:///forecasts.db --retrain`
    """
    from pipelines.jobs.run import Ended, watched
    from pipelines.monitoring.monitor import monitor
    from pipelines.training.gate import EXIT_REFUSED

    teller = teller_of(what, notify)
    with teller.watching():
        config = teller.by(_experiment(what, sets, data))
        if retrain is not None:
            section = config.monitor.replace(retrain=retrain)
            config = config.model_copy(update={"monitor": section})
        with waiting(f"holding the forecasts of {config.name} against what happened"):
            watch = monitor(config, forecasts=forecasts, compared=compared, page=page, say=tell)
        _show(watch)
        again = f"gatecast train {shlex.quote(what)}"
        is_config = what.endswith(CONFIG_SUFFIXES)
        done(
            watch.facts(),
            made=[watch.page] if watch.page else [],
            following=again if is_config and watch.verdict == "retrain" else (),
        )
        results = follow("monitor", config, watched(watch), teller)
    if any(result.state is Ended.REFUSED for result in results):
        raise typer.Exit(EXIT_REFUSED)


def _experiment(what: str, sets: list[str] | None, data: str | None) -> ExperimentConfig:
    if what.endswith(CONFIG_SUFFIXES):
        from pipelines.config import load_config

        config = load_config(what, sets or ())
    else:
        from pipelines.commands.forecast import model_config

        config = model_config(what, sets, needs_source=data is None)
    if data is None:
        return config
    return config.model_copy(update={"data": config.data.replace(source=data)})


def _show(watch: Watch) -> None:
    from pipelines.monitoring.log import findings_table

    table = findings_table(watch)
    if len(table):
        print_table(table.set_index("test"))
    for note in watch.notes:
        print(note)
    print(watch.line)
