"""``gatecast reproduce``: does a run come out the same?"""

from __future__ import annotations

import typer

from pipelines.commands.common import print_table
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import progress_bar

DIFFERS = 1


def register(app: typer.Typer) -> None:
    """Add ``reproduce``."""
    app.command("reproduce")(reproduce_command)


def reproduce_command(
    run_id: str = typer.Argument(..., metavar="RUN_ID", help="Of the pipeline or a candidate."),
    config: str | None = typer.Option(
        None, "--config", help="The config file, where the run's copy hides a password."
    ),
) -> None:
    """Repeat a run and compare data, settings, versions and weights (exit code 1: they differ).

    Example: `gatecast reproduce 4f1c0d0f6c0c4d4f9a4d0a3f7f0e1b2a`
    """
    from pipelines.config import load_config
    from pipelines.training.reproduce import reproduce

    loaded = load_config(config) if config is not None else None
    with progress_bar() as progress:
        result = reproduce(run_id, config=loaded, say=tell, progress=progress)
    print_table(result.table().set_index("what"))
    print(result.verdict)
    done({"same": result.same, "verdict": result.verdict, "findings": result.table()})
    if not result.same:
        raise typer.Exit(DIFFERS)
