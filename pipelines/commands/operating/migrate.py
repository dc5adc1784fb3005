"""``gatecast migrate``: from one machine to a server, or to another folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import progress_bar

if TYPE_CHECKING:
    from pipelines.moving.migrate import Migration


def register(app: typer.Typer) -> None:
    """Add ``migrate``."""
    app.command("migrate")(migrate_command)


def migrate_command(
    target: str = typer.Argument(
        ..., metavar="URI", help="An MLflow server, PostgreSQL, or sqlite:///FOLDER/mlflow.db."
    ),
    source: str | None = typer.Option(
        None, "--from", metavar="URI", help="Default: the state folder's own store."
    ),
    artifacts: str | None = typer.Option(
        None, "--artifacts", metavar="ROOT", help="Of a database: where its files go."
    ),
    state: Path | None = typer.Option(
        None, "--state", metavar="FOLDER", help="The target's state folder: kept forecasts, clock."
    ),
    forecasts: str | None = typer.Option(
        None, "--forecasts", metavar="URL", help="A database for kept forecasts instead."
    ),
    table: str = typer.Option("forecasts", "--table", help="Its table."),
    prefect: str | None = typer.Option(
        None, "--prefect", metavar="URL", help="Prefect's API, for schedules."
    ),
    pool: str | None = typer.Option(None, "--pool", help="Its work pool; needed with --prefect."),
    configs: str | None = typer.Option(
        None, "--configs", metavar="FOLDER", help="Where that pool finds the configs."
    ),
    replace: list[str] = typer.Option(
        [], "--replace", metavar="NAME", help="Delete the target's model of that name; repeatable."
    ),
    key: str | None = typer.Option(
        None, "--key", metavar="FILE", help="Signs again what is signed."
    ),
    unsigned: bool = typer.Option(False, "--unsigned", help="Leave signatures behind."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be moved."),
) -> None:
    """Copy runs, models, kept forecasts and schedules into another set-up, and verify them.

    Nothing here is changed. Given again it goes on where it was cut off, and brings what is new.

    Examples: `gatecast migrate http://mlflow:5000 --dry-run`,
    `gatecast migrate postgresql://mlflow@db/mlflow --artifacts s3://models`
    """
    from forecasting.signing import SigningKey, configured_key
    from pipelines.moving.migrate import Move, Options
    from pipelines.moving.places import source_of, target_of
    from pipelines.scheduling.carried import Clock

    if (prefect is None) != (pool is None):
        raise ConfigError("--prefect and --pool go together: a server, and who runs its jobs")
    key_file = None if unsigned else configured_key(key)
    options = Options(
        replaced=tuple(replace),
        signer=SigningKey.load(key_file) if key_file is not None else None,
        unsigned=unsigned,
        forecasts=forecasts,
        table=table,
        clock=Clock(url=prefect, pool=pool, configs=configs) if prefect is not None else None,
    )
    here = source_of(source)
    place = target_of(target, artifacts=artifacts, state=state, dry=dry_run)
    move = Move(here, place, options)
    if dry_run:
        came = move.dry()
    else:
        with progress_bar() as progress:
            came = move.carry(tell, progress)
    _print(came, place.name, dry_run)
    done({"target": place.name, "dry_run": dry_run, **asdict(came)})


def _print(came: Migration, target: str, dry: bool) -> None:
    print(f"{'would move' if dry else 'moved'} to {target}:")
    for what, held in asdict(came.held).items():
        new = getattr(came.new, what)
        print(f"  {what:12} {held:>8,}, {new:,} of them {'lacking there' if dry else 'new there'}")
    for name in came.deleted:
        print(f"  the model {name!r} there {'would be' if dry else 'was'} deleted for ours")
    for line in came.left:
        print(f"  {line}")
    if dry:
        print("nothing was written")
    else:
        print("verified: every run, file, version, alias and forecast of it is there as it is here")
