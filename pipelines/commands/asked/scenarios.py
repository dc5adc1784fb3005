"""What if: ``gatecast scenarios``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forecasting.errors import ConfigError
from pipelines.commands.asked.questions import (
    WRITTEN,
    ForecasterArgument,
    StaticOption,
    TableOption,
    check_targets,
    write_asked,
)
from pipelines.commands.common import print_table, table_name
from pipelines.commands.diagnose import find_bundle, read_table
from pipelines.terminal.outcome import done
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.paths.planned import Planned
    from forecasting.schema import Schema

KEYS = ["scenario", "unique_id", "ds"]
CHANGE = "change_"


def register(app: typer.Typer) -> None:
    """Add ``scenarios``."""
    app.command("scenarios")(scenarios_command)


def scenarios_command(
    what: str = ForecasterArgument,
    data: str = TableOption,
    scenario: list[str] = typer.Option(
        ...,
        "--scenario",
        metavar="NAME:WHAT",
        help="A name, and 'promo=1, price=9.5' or a table of covariates ahead; repeatable.",
    ),
    future: str | None = typer.Option(None, "--future", help="Known-future covariates ahead."),
    static: str | None = StaticOption,
    base: str | None = typer.Option(
        None, "--base", help="The scenario to compare with; default: what the data say."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Forecasts of every scenario, and changes: a .csv or .parquet file."
    ),
    picture: Path | None = typer.Option(None, "--picture", help="A .png of the first series."),
) -> None:
    """Forecast under other known-future covariates, and say what they change.

    Examples: `gatecast scenarios demand --data sales.csv --future plan.csv --scenario 'no sale:
    promo=0' --scenario 'plan b: plan_b.csv' --picture scenarios.png`
    """
    from forecasting.paths.planned import Planned, Wanted
    from forecasting.prediction.predictor import Predictor
    from pipelines.commands.asked.common import panel_of

    check_targets(out, picture)
    with tempfile.TemporaryDirectory() as scratch:
        engine = Predictor.load(find_bundle(what, Path(scratch)))
        plans = plans_of(scenario, engine.schema)
        with waiting(f"forecasting {len(plans)} scenarios with {what}"):
            panel = panel_of(what, engine, data, future=future, static=static)
            plan = Planned.of(engine, panel, plans, Wanted(base))
    first = plan.compared.outcomes[0].name
    totals = plan.totals
    sums = totals.groupby("scenario", sort=False).size().max()
    title = f"what changes beside {first}, all steps added up, {sums:,} series"
    print_table(totals.set_index("scenario").rename_axis("scenario").head(40), title=title)
    files = write_asked(
        whole(plan), out, lambda: plan.plot(title=f"{table_name(data)}: what if"), picture
    )
    done({"base": first, "totals": totals}, made=files)


def plans_of(given: list[str], schema: Schema) -> dict[str, Any]:
    """Scenarios by name: a table, or values by column.

    Raises
    ------
    ConfigError : a text that is neither, or a name that stands twice.
    """
    plans: dict[str, Any] = {}
    kinds = {c.name: c.type for c in schema.future}
    for text in given:
        name, colon, content = (part.strip() for part in text.partition(":"))
        if not (name and colon and content):
            raise ConfigError(
                f"--scenario {text!r} must be a name and what is so in it, such as "
                "'no sale: promo=0' or 'plan b: plan_b.csv'"
            )
        if name in plans:
            raise ConfigError(f"--scenario {name!r} stands twice; give each a name of its own")
        if content.lower().endswith(WRITTEN):
            plans[name] = read_table(Path(content))
            continue
        plans[name] = {}
        for part in content.split(","):
            column, equals, value = (piece.strip() for piece in part.partition("="))
            if not (column and equals and value):
                raise ConfigError(f"--scenario {name!r}: {part.strip()!r} must be COLUMN=VALUE")
            plans[name][column] = _number(name, column, value) if (
                kinds.get(column) == "real"
            ) else value  # fmt: skip
    return plans


def _number(name: str, column: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"--scenario {name!r}: {column} = {value!r} is no number") from None


def whole(plan: Planned) -> pd.DataFrame:
    """Forecasts, and beside them what each scenario changes; nothing where it is the base."""
    import pandas as pd

    moved = plan.differences.drop(columns=KEYS).add_prefix(CHANGE)
    table: pd.DataFrame = plan.table
    rows = len(table) - len(moved)
    moved.index = pd.RangeIndex(rows, len(table))
    return table.join(moved)
