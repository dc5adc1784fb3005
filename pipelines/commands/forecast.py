"""``gatecast forecast``: every series of a table, into a file or a database."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forecasting.errors import ConfigError
from pipelines.commands.common import (
    CONFIG_SUFFIXES,
    DataOption,
    FutureOption,
    NotifyOption,
    RayOption,
    SetOption,
    WorkersOption,
    experiment,
    spread_over,
    teller_of,
)
from pipelines.terminal.outcome import complain, done, tell
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    from pipelines.config import ExperimentConfig
    from pipelines.forecasts.cutoffs import Past
    from pipelines.forecasts.forecast import BatchForecast
    from pipelines.forecasts.past import LookedBack

SHOWN = 10  # series that could not be forecast, named on the terminal
EXIT_FAILED = 1
ZERO = "zero"  # the pretrained network's name


def register(app: typer.Typer) -> None:
    """Add ``forecast``."""
    app.command("forecast")(forecast_command)


def forecast_command(
    what: str = typer.Argument(
        ...,
        metavar="CONFIG|NAME|TABLE",
        help="A YAML config, a registered model (NAME@VERSION), or with --model zero a table.",
    ),
    horizon: int | None = typer.Option(
        None, "--horizon", help="Steps to forecast of a table, with --model zero."
    ),
    sets: list[str] | None = SetOption,
    data: str | None = DataOption,
    future: str | None = FutureOption,
    model: str | None = typer.Option(
        None,
        "--model",
        help="NAME or NAME@VERSION, zero for the pretrained network; default: the config's "
        "champion.",
    ),
    out: str | None = typer.Option(
        None,
        "--out",
        help="A .parquet or .csv file, a folder/, a database or lake URL; default: "
        "forecast.output, else .gatecast/forecasts/NAME/.",
    ),
    table: str | None = typer.Option(None, "--table", help="Of the database; default: forecasts."),
    problems: Path | None = typer.Option(
        None, "--problems", help="Also write the series that could not be forecast: .csv/.parquet"
    ),
    as_of: str | None = typer.Option(
        None,
        "--as-of",
        metavar="DATE",
        help="What was said then: rows up to DATE, by the version that was champion.",
    ),
    backfill: tuple[str, str] | None = typer.Option(
        None, "--backfill", metavar="FROM TO", help="The same, from every cutoff between."
    ),
    every: int = typer.Option(1, "--every", help="Of --backfill: steps between cutoffs."),
    paths: int | None = typer.Option(None, "--paths", help="Also write so many joint paths."),
    seed: int | None = typer.Option(None, "--seed", min=0, help="Another one draws other paths."),
    aggregate: list[str] | None = typer.Option(
        None,
        "--aggregate",
        help="Also write totals: steps=10; steps=7,blocks; by=state+purpose; steps=7,by= of all.",
    ),
    hierarchy: str | None = typer.Option(
        None, "--hierarchy", help="Also write what adds up: total,state,state/region."
    ),
    how: str | None = typer.Option(
        None, "--how", help="Of a hierarchy: bottom_up, ols, wls_struct, wls or mint_shrink."
    ),
    nonnegative: bool = typer.Option(
        False, "--nonnegative", help="Nothing of a hierarchy below 0."
    ),
    joint_out: str | None = typer.Option(
        None, "--joint-out", help="Folder of these tables; default: .gatecast/joint/NAME/."
    ),
    workers: int | None = WorkersOption,
    ray: str | None = RayOption,
    notify: bool = NotifyOption,
) -> None:
    """Forecast every series of a table with the champion; run again after a crash, it goes on.

    With --workers or --ray a folder of Parquet files, a file at a time, into a folder of them.

    Exit code 1 when more series than gate.max_refused could not be forecast.

    Examples: `gatecast forecast configs/m3_monthly.yaml --out forecasts.parquet`,
    `gatecast forecast demand --data today.parquet --out sqlite:///forecasts.db`,
    `gatecast forecast demand --data today.csv --future promotions.csv`,
    `gatecast forecast demand --as-of 2024-03-31 --out march.parquet`,
    `gatecast forecast demand --backfill 2024-01-01 2024-03-31 --out past/`,
    `gatecast forecast demand --aggregate steps=10 --hierarchy total,state,state/region`,
    `gatecast forecast sales.csv --model zero --horizon 12`
    """
    from pipelines.config import load_config
    from pipelines.forecasts.forecast import forecast
    from pipelines.forecasts.joint import read_levels, read_total
    from pipelines.forecasts.pretrained import forecast_pretrained
    from pipelines.jobs.run import forecasted

    teller = teller_of(what, notify)
    with teller.watching():
        pretrained = model == ZERO
        if pretrained:
            _refuse_with_zero(
                as_of=as_of, backfill=backfill, future=future, workers=workers, ray=ray
            )
            config = experiment(what, sets, horizon=horizon)
        elif horizon is not None:
            raise ConfigError(
                f"--horizon goes with --model {ZERO}: a trained model has its own, and a config "
                "says less by --set horizon=N"
            )
        elif what.endswith(CONFIG_SUFFIXES):
            config = load_config(what, sets or ())
        else:
            config = model_config(what, sets, needs_source=data is None)
            model = model or what
        spread = workers is not None or ray is not None
        config = before = spread_over(config, workers, ray)
        config = _together(
            config,
            {
                "paths": paths,
                "seed": seed,
                "aggregate": [read_total(text) for text in aggregate or ()] or None,
                "levels": None if hierarchy is None else read_levels(hierarchy),
                "how": how,
                "nonnegative": nonnegative or None,
                "output": joint_out,
            },
        )
        past = _past(as_of, backfill, every)
        if past is not None:
            if spread:
                raise ConfigError(
                    "--workers and --ray forecast from now on: leave out --as-of and --backfill"
                )
            if config is not before:
                raise ConfigError(
                    "--as-of and --backfill say what was said then: paths, totals and hierarchies "
                    "are made of forecasts from now on; leave one or the other out"
                )
            from pipelines.forecasts.past import look_back

            looked = look_back(
                config, past, model=model, data=data, future=future, out=out, table=table, say=tell
            )
            _report(looked, problems)
            print(looked.line)
            targets = list(dict.fromkeys(batch.target for batch in looked.batches))
            done(
                {**asdict(looked), "refused": looked.refused},
                made=[*targets, *([] if problems is None else [problems])],
            )
            _fail_if_refused(looked, config)
            return
        with waiting(f"forecasting with {model or config.name}"):
            heeded = teller.by(config)
            if pretrained:
                written = forecast_pretrained(heeded, data=data, out=out, table=table, say=tell)
            elif spread:
                written = _by_partitions(heeded, model, (data, future), (out, table))
            else:
                written = forecast(
                    heeded, model=model, data=data, future=future, out=out, table=table, say=tell
                )
        _report(written, problems)
        teller.ended(forecasted(written, config))
    print(written.line)
    name = what.partition("@")[0]
    done(
        {**asdict(written), "refused": written.refused},
        made=[written.target, *written.joint, *([] if problems is None else [problems])],
        following=() if pretrained else f"gatecast monitor {shlex.quote(name)}",
    )
    _fail_if_refused(written, config)


def _fail_if_refused(written: BatchForecast | LookedBack, config: ExperimentConfig) -> None:
    """End with `EXIT_FAILED` where too many series have no forecast."""
    if written.refused > config.gate.max_refused:
        complain(
            f"gatecast: {100 * written.refused:.1f} % of the series have no forecast; "
            f"gate.max_refused allows {100 * config.gate.max_refused:g} %"
        )
        raise typer.Exit(EXIT_FAILED)


def _refuse_with_zero(**given: object) -> None:
    """What the pretrained network cannot be asked for here."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} needs a model that was trained, not {ZERO}, which "
                "forecasts each series from its end and reads no covariates"
            )


def _by_partitions(
    config: ExperimentConfig,
    model: str | None,
    source: tuple[str | None, str | None],
    target: tuple[str | None, str | None],
) -> BatchForecast:
    from pipelines.forecasts.partitions import forecast_partitions

    (data, future), (out, table) = source, target
    if future is not None or table is not None:
        raise ConfigError(
            "--future and --table belong to one table: a folder of Parquet files goes into a "
            "folder, and has its covariates known ahead below the history in each file"
        )
    return forecast_partitions(config, model=model, data=data, out=out, say=tell)


def _past(as_of: str | None, backfill: tuple[str, str] | None, every: int) -> Past | None:
    """The past cutoffs that are asked for; None for none."""
    from pipelines.forecasts.cutoffs import Past

    if as_of is not None and backfill is not None:
        raise ConfigError("--as-of and --backfill exclude each other: one cutoff, or several")
    if backfill is not None:
        return Past(*backfill, every)
    return Past.as_of(as_of) if as_of is not None else None


def _together(config: ExperimentConfig, given: dict[str, Any]) -> ExperimentConfig:
    """The config with what the options say of all series together."""
    from pipelines.config import JointConfig

    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        return config
    before = config.forecast.joint
    values = {**(before.model_dump(exclude_unset=True) if before else {}), **changes}
    joint = JointConfig.parse(values, at="forecast.joint")
    if joint.paths is None and not joint.aggregate and not joint.levels:
        raise ConfigError(
            "--seed, --how, --nonnegative and --joint-out say how something is made: add "
            "--paths, --aggregate or --hierarchy"
        )
    return config.model_copy(
        update={"forecast": config.forecast.model_copy(update={"joint": joint})}
    )


def model_config(
    what: str, sets: list[str] | None, *, needs_source: bool = True
) -> ExperimentConfig:
    """The experiment a registered model was trained by."""
    from pipelines.registry.registered import needs_password, registered_config

    if sets:
        raise ConfigError(f"--set changes a config file; {what} is taken as a registered model")
    config = registered_config(what)
    if needs_source and needs_password(config):
        raise ConfigError(
            f"the runs of {what} keep no password of their data's source: "
            "give the config file instead of the name, or --data"
        )
    return config


def _report(written: BatchForecast | LookedBack, path: Path | None) -> None:
    for problem in written.problems[:SHOWN]:
        tell(f"  {problem.id}: {problem.detail}")
    if written.problems:
        tell(f"  what that means: gatecast docs {written.problems[0].code}")
    more = len(written.problems) - SHOWN
    if more > 0:
        tell(f"  and {more:,} more" + ("" if path else "; --problems FILE lists them all"))
    if path is not None:
        import pandas as pd

        from pipelines.machine.files import write_table

        columns = ["unique_id", "code", "detail"]
        rows = [(p.id, p.code, p.detail) for p in written.problems]
        write_table(pd.DataFrame(rows, columns=columns), path)
