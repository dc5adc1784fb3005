"""What several commands need: a config from a file or a table, and tables for a person."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forecasting.errors import ConfigError
from pipelines.terminal.outcome import complain, tell

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from pipelines.config import ExperimentConfig
    from pipelines.jobs.run import JobResult
    from pipelines.jobs.tell import Teller

CONFIG_SUFFIXES = (".yaml", ".yml")

WhatArgument = typer.Argument(..., metavar="CONFIG|TABLE", help="A YAML config, or a table.")


def _keys(incomplete: str) -> list[str]:
    """Keys of a config that begin so, for a shell that completes a line."""
    from pipelines.config import ExperimentConfig
    from pipelines.config.keys import paths

    return [f"{path}=" for path in paths(ExperimentConfig) if path.startswith(incomplete)]


SetOption = typer.Option(
    None,
    "--set",
    metavar="KEY=VALUE",
    help="Override a setting; repeatable.",
    autocompletion=_keys,
)
HorizonOption = typer.Option(None, "--horizon", help="Steps to forecast; needed with a table.")
NameOption = typer.Option(None, "--name", help="Name of the model; default: the table's.")

DataOption = typer.Option(None, "--data", help="A table to read instead of data.source.")
FutureOption = typer.Option(
    None,
    "--future",
    metavar="TABLE",
    help="Known-future covariates by series and stamp, where the data lack them.",
)
NotifyOption = typer.Option(
    True,
    "--notify/--no-notify",
    help="Tell schedule.webhook and schedule.smtp of failure, refusal and drift.",
)

WorkersOption = typer.Option(
    None, "--workers", min=1, help="Tasks at the same time, in processes of this machine or on Ray."
)
RayOption = typer.Option(
    None, "--ray", metavar="ADDRESS", help="Tasks on Ray: local, auto, or HOST:PORT of a cluster."
)


def spread_over(config: ExperimentConfig, workers: int | None, ray: str | None) -> ExperimentConfig:
    """The config with what --workers and --ray say; its file stays as it is."""
    options = {"workers": workers, "ray": ray}
    changes = {key: value for key, value in options.items() if value is not None}
    return config.model_copy(update={"spread": config.spread.replace(**changes)})


def teller_of(what: str, notify: bool) -> Teller:
    """Tells how this command ended; what cannot be sent is a line on stderr."""
    from pipelines.jobs.tell import Teller

    return Teller(what, lambda problem: complain(f"gatecast: {problem}"), send=notify)


def follow(
    job: str, config: ExperimentConfig, result: JobResult, teller: Teller
) -> list[JobResult]:
    """Tell of a job's result, and do what follows from it as the scheduler would."""
    from pipelines.jobs.run import JOBS, config_of, following

    done = [result]
    teller.ended(result)
    while (step := following(job, config, done[-1])) is not None:
        own = config_of(step, config, done[-1])
        done.append(JOBS[step](own, trigger=f"after {job}", say=tell))
        tell(done[-1].line)
        teller.ended(done[-1])
        job = step
    return done


def experiment(
    what: str,
    sets: Sequence[str] | None = None,
    *,
    horizon: int | None = None,
    name: str | None = None,
) -> ExperimentConfig:
    """The experiment of a config file; or of a table, with all else left to the defaults."""
    from pipelines.config import build_config, load_config
    from pipelines.config.file import override

    sets = list(sets or ())
    options: dict[str, Any] = {"horizon": horizon, "name": name}
    extra = [f"{key}={value}" for key, value in options.items() if value is not None]
    if what.endswith(CONFIG_SUFFIXES):
        return load_config(what, [*sets, *extra])
    if horizon is None and not any(text.startswith("horizon=") for text in sets):
        raise ConfigError(
            f"{what} is taken as a table: say how far to forecast, as in --horizon 12; "
            "or give a config file that ends in .yaml, which gatecast init writes"
        )
    values = override({"name": table_name(what), "data": {"source": what}}, [*sets, *extra])
    return build_config(values, origin=what)


def table_name(source: str) -> str:
    """A name for what is made of a table: that of its source, of letters that files may have."""
    from pipelines.data.prepare import source_name

    stem = source_name(source)
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return safe.strip("-._")[:100] or "forecast"


def frame_table(frame: pd.DataFrame, *, title: str = "", digits: int = 3) -> Table:
    """A small frame as a table for the terminal, its index as the first column."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, header_style="bold")
    table.add_column(str(frame.index.name or ""))
    for column in frame.columns:
        table.add_column(str(column), justify="right")
    for key, row in zip(frame.index, frame.itertuples(index=False), strict=True):
        cells = [f"{v:,.{digits}f}" if isinstance(v, float) else str(v) for v in row]
        table.add_row(str(key), *cells)
    return table


def print_table(frame: pd.DataFrame, *, title: str = "", digits: int = 3) -> None:
    """Print a frame as a table on stdout; where that is no terminal, 160 characters wide."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(
        frame_table(frame, title=title, digits=digits)
    )


def existing(path: str, what: str) -> Path:
    """A path that must be there, or one clear line."""
    if not Path(path).exists():
        raise ConfigError(f"no such {what}: {path}")
    return Path(path)
