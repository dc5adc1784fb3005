"""``gatecast tune``: search the ranges of a config for better settings."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import typer

from pipelines.commands.common import (
    RayOption,
    SetOption,
    WorkersOption,
    existing,
    print_table,
    spread_over,
)
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import waiting

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add ``tune``."""
    app.command("tune")(tune_command)


def tune_command(
    what: str = typer.Argument(..., metavar="CONFIG", help="A YAML config with tune.space."),
    sets: list[str] | None = SetOption,
    trials: int | None = typer.Option(
        None, "--trials", min=1, help="In all, those of earlier sessions too; default: tune.trials."
    ),
    candidate: str | None = typer.Option(
        None, "--candidate", help="Whose settings to vary; default: the first."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="The winner's config file; default: CONFIG with .tuned.yaml."
    ),
    workers: int | None = WorkersOption,
    ray: str | None = RayOption,
) -> None:
    """Search tune.space with Optuna; the winner becomes a config file for `gatecast train`.

    Started again it goes on where it was: the same data, settings and ranges are one study.

    Examples: `gatecast tune configs/x.yaml --trials 30`, then `gatecast train configs/x.tuned.yaml`
    """
    from pipelines.config import build_config
    from pipelines.config.file import override, read_yaml

    path = existing(what, "config file")
    values = override(read_yaml(path), sets or ())
    config = spread_over(build_config(values, origin=what), workers, ray)
    from pipelines.tuning.tune import tune

    target = out or path.with_name(f"{path.stem}.tuned.yaml")
    with waiting(f"searching tune.space for {config.name}"):
        tuned = tune(config, values, out=target, trials=trials, candidate=candidate, say=tell)
    # The file may hold a password, as the one it was made from.
    shutil.copymode(path, target)
    best = tuned.trials.sort_values("value").head(SHOWN)
    print_table(best.set_index("trial"), title=f"{tuned.name}, {tuned.metric}", digits=4)
    print(tuned.line)
    done(
        {
            "model": tuned.name,
            "metric": tuned.metric,
            "value": tuned.value,
            "default": tuned.default,
            "settings": tuned.params,
            "run": tuned.run_id,
            "trials": tuned.trials,
        },
        made=[target],
        following=f"gatecast train {shlex.quote(str(target))}",
    )
