"""``gatecast monitor``: how past forecasts did, and whether it is time to train again."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from pipelines.commands.common import CONFIG_SUFFIXES, SetOption, print_table, tell
from pipelines.gate import EXIT_REFUSED


def register(app: typer.Typer) -> None:
    app.command("monitor")(monitor_command)


def monitor_command(
    what: str = typer.Argument(
        ..., metavar="CONFIG|NAME", help="A YAML config, or a registered model."
    ),
    sets: list[str] | None = SetOption,
    forecasts: str | None = typer.Option(
        None,
        "--forecasts",
        help="File, folder or database URL of past forecasts; default: what the config says.",
    ),
    page: Path | None = typer.Option(
        None, "--page", help="Where the page goes; default: .gatecast/monitor/NAME.html."
    ),
    retrain: bool | None = typer.Option(
        None,
        "--retrain/--no-retrain",
        help="Train when the verdict says so; default: monitor.retrain.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the verdict as JSON."),
) -> None:
    """Hold past forecasts against what happened: "fine", "look at these series" or "retrain".

    Exit code 3 when --retrain trained a model that the gate refused.

    Examples: `gatecast monitor configs/m3_monthly.yaml`,
    `gatecast monitor demand --forecasts sqlite:///forecasts.db --retrain`
    """
    from pipelines.monitor import monitor
    from pipelines.monitor_log import findings_table

    if what.endswith(CONFIG_SUFFIXES):
        from pipelines.config import load_config

        config = load_config(what, sets or ())
    else:
        from pipelines.commands.forecast import model_config

        config = model_config(what, sets)
    watch = monitor(config, forecasts=forecasts, page=page, retrain=retrain, say=tell)
    if as_json:
        print(json.dumps(watch.facts(), ensure_ascii=False))
    else:
        table = findings_table(watch)
        if len(table):
            print_table(table.set_index("test"))
        for note in watch.notes:
            print(note)
        print(watch.line)
        print(f"page: {watch.page}")
    outcome = watch.retrained
    if outcome is not None:
        state = "champion" if outcome.promoted else "challenger"
        tell(f"trained version {outcome.version}: {state}")
        if outcome.decision is not None and not outcome.decision.promote:
            raise typer.Exit(EXIT_REFUSED)
