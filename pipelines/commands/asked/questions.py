"""What people ask of forecasts: ``gatecast explain``, ``anomalies`` and ``covariates``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.commands.common import (
    HorizonOption,
    SetOption,
    WhatArgument,
    experiment,
    print_table,
    table_name,
)
from pipelines.commands.diagnose import find_bundle
from pipelines.machine.files import write_table
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 20  # anomalies on the terminal, the least likely first
WRITTEN = (".csv", ".parquet")

ForecasterArgument = typer.Argument(
    ...,
    metavar="NAME|BUNDLE|RUN",
    help="A registered model (NAME@VERSION), a saved forecaster's folder, or a run id.",
)
TableOption = typer.Option(
    ..., "--data", help="A table, read by the model's config; of a folder's: unique_id, ds, y."
)
StaticOption = typer.Option(None, "--static", help="A table of static covariates.")


def register(app: typer.Typer) -> None:
    """Add ``explain``, ``anomalies`` and ``covariates``."""
    app.command("explain")(explain_command)
    app.command("anomalies")(anomalies_command)
    app.command("covariates")(covariates_command)


def anomalies_command(
    what: str = ForecasterArgument,
    data: str = TableOption,
    rate: float = typer.Option(0.01, "--rate", help="False alarms, as a share of the points."),
    last: int | None = typer.Option(
        None, "--last", help="Judge so many points at the end of each series; default: all."
    ),
    static: str | None = StaticOption,
    out: Path | None = typer.Option(
        None, "--out", help="Every point with its interval and p-value: a .csv or .parquet file."
    ),
    picture: Path | None = typer.Option(None, "--picture", help="A .png of the first series."),
) -> None:
    """Judge every point of a table by the points before it, and name those that are odd.

    Examples: `gatecast anomalies demand --data sales.csv --picture odd.png`,
    `gatecast anomalies demand --data sales.csv --last 7 --rate 0.001 --out judged.parquet`
    """
    from forecasting.prediction.predictor import Predictor
    from pipelines.commands.asked.common import panel_of

    check_targets(out, picture)
    with tempfile.TemporaryDirectory() as scratch:
        engine = Predictor.load(find_bundle(what, Path(scratch)))
        with waiting(f"judging with {what}"):
            panel = panel_of(what, engine, data, static=static)
            watched = engine.watch_panel(panel, rate=rate, last=last)
    table = watched.table
    for line in lines(table):
        print(line)
    title = f"{table_name(data)}: expected beside what came"
    files = write_asked(table, out, lambda: watched.plot(title=title), picture)
    summary = {
        "rate": rate,
        "judged": int(table["p"].notna().sum()),
        "anomalies": table[table["anomaly"]],
    }
    done(summary, made=files)


def lines(table: pd.DataFrame) -> list[str]:
    """What was found in words: how many, and the least likely ones."""
    odd = table[table["anomaly"]].sort_values("p", kind="stable")
    judged = int(table["p"].notna().sum())
    share = len(odd) / judged if judged else 0.0
    texts = [f"{len(odd):,} of {judged:,} points are anomalies ({100 * share:.2f} %)"]
    texts += [
        f"  {row.unique_id} {row.ds}: {row.y:g}, {row.kind}; "
        f"expected {row.low:g} to {row.high:g}, p = {row.p:.1g}"
        for row in odd.head(SHOWN).itertuples()
    ]
    more = len(odd) - SHOWN
    return [*texts, f"  and {more:,} more"] if more > 0 else texts


def explain_command(
    what: str = ForecasterArgument,
    data: str = TableOption,
    future: str | None = typer.Option(None, "--future", help="Known-future covariates ahead."),
    static: str | None = StaticOption,
    horizon: int | None = typer.Option(None, "--horizon", help="Steps; default: as trained."),
    series: str | None = typer.Option(None, "--series", help="To show; default: the first."),
    out: Path | None = typer.Option(
        None, "--out", help="Every step of every series with its parts: a .csv or .parquet file."
    ),
    picture: Path | None = typer.Option(None, "--picture", help="A .png of the series shown."),
) -> None:
    """Say what the median of every step is made of: level, season, history, covariates, blend.

    Examples: `gatecast explain demand --data sales.csv --series store-7 --picture why.png`
    """
    from forecasting.prediction.predictor import Predictor
    from pipelines.commands.asked.common import panel_of

    check_targets(out, picture)
    with tempfile.TemporaryDirectory() as scratch:
        engine = Predictor.load(find_bundle(what, Path(scratch)))
        with waiting(f"explaining with {what}"):
            panel = panel_of(what, engine, data, future=future, static=static)
            why = engine.why_panel(panel, horizon=horizon)
    table = why.table
    names = table["unique_id"].astype(str)
    name = names.iloc[0] if series is None else series
    chosen = table[names == name].drop(columns="unique_id")
    figure = why.plot(name)
    chosen = chosen.loc[:, [c for c in chosen if c in ("ds", "median") or (chosen[c] != 0).any()]]
    chosen["ds"] = chosen["ds"].astype(str)
    print_table(chosen.set_index("ds"), title=f"{name}: the parts add up to the median")
    files = write_asked(table, out, lambda: figure, picture)
    done({"series": name, "parts": table[names == name]}, made=files)


def check_targets(out: Path | None, picture: Path | None) -> None:
    """`ConfigError` for files of kinds that are not written."""
    if out is not None and out.suffix.lower() not in WRITTEN:
        raise ConfigError(f"--out {out}: a table is written as {' or '.join(WRITTEN)}")
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigError(f"--picture {picture}: a picture is written as .png")


def write_asked(
    table: pd.DataFrame, out: Path | None, plot: Callable[[], Figure], picture: Path | None
) -> list[Path]:
    """The files that were asked for, written: the table and its picture."""
    if out is not None:
        write_table(table, out)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        plot().savefig(picture)
    return [path for path in (out, picture) if path is not None]


def covariates_command(
    what: str = WhatArgument,
    sets: list[str] | None = SetOption,
    horizon: int | None = HorizonOption,
    candidate: str | None = typer.Option(
        None, "--candidate", help="Whose settings to train with; default: the first."
    ),
    windows: int = typer.Option(3, "--windows", min=1, help="Held-back horizons to judge on."),
) -> None:
    """Say which covariates are worth having: what the held-back error becomes without each.

    Trains once with all of them, once without each, once without any, on the rows before.

    Examples: `gatecast covariates configs/retail_covariates.yaml`
    """
    import pandas as pd

    from forecasting.training.worth import worth
    from pipelines.data.prepare import prepare

    config = experiment(what, sets, horizon=horizon)
    data = prepare(config)
    for line in data.said:
        tell(line)
    name = candidate or next(iter(config.candidates))
    if name not in config.candidates:
        raise ConfigError(f"--candidate {name}: there are {', '.join(config.candidates)}")
    settings = config.forecaster(name, freq=data.panel.freq.alias)
    with waiting(f"training {name} with and without covariates"):
        scores = worth(data.panel, settings, windows=windows, say=tell)
    titles = {"": "with all", None: "without any"}
    rows = {
        titles.get(one.name, f"without {one.name}"): {
            "MASE": one.mase,
            "change": one.change,
            "standard error": one.error,
        }
        for one in scores
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{config.name}, {name}")
    print_table(table, title=f"error on the last {windows} horizons, held back", digits=4)
    done({"model": config.name, "candidate": name, "covariates": scores})
