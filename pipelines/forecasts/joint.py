"""Series of a batch forecast taken together: sample paths, totals, a hierarchy, each a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError, DataError
from forecasting.paths.coherent import coherent
from forecasting.paths.hierarchy import Levels
from forecasting.paths.sampling import Draws, Paths, sample
from forecasting.paths.totals import BETWEEN, EVERYTHING, Total, TotalError, add_up
from pipelines.config.experiment import JointConfig
from pipelines.machine.files import write_table
from pipelines.machine.say import Say, heard_by
from pipelines.machine.state import home

if TYPE_CHECKING:
    from forecasting.data.panel import Panel
    from forecasting.prediction.predictor import Predictor

# Names of the tables.
PATHS_FILE, TOTALS_FILE, HIERARCHY_FILE = "paths", "totals", "hierarchy"
SHOWN = 10  # totals that cannot be made, named on the terminal


def read_total(text: str) -> dict[str, Any]:
    """``steps=7,blocks``, ``by=state+purpose``, ``steps=10,by=`` as `Total.of` takes it.

    Raises
    ------
    ConfigError : what is none of these.
    """
    options: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key == "blocks" and not equals:
            options["blocks"] = True
        elif key == "steps" and value.strip().isdigit():
            options["steps"] = int(value)
        elif key == "by" and equals:
            options["by"] = [name.strip() for name in value.split("+") if name.strip()]
        else:
            raise ConfigError(
                f"--aggregate {text}: {part!r} is none of steps=NUMBER, blocks, by=COLUMN+COLUMN "
                "(by= adds up all series)"
            )
    return options


def read_levels(text: str) -> list[list[str]]:
    """``total,state,state/region`` as levels of columns."""
    levels = [level.strip() for level in text.split(",")]
    return [[] if level == EVERYTHING else level.split(BETWEEN) for level in levels]


def asked(
    given: JointConfig, horizon: int, columns: tuple[str, ...]
) -> tuple[list[Total], Levels | None]:
    """The totals and the hierarchy of a config, checked; `ConfigError` names its key."""
    totals = []
    for k, each in enumerate(given.aggregate):
        try:
            totals.append(Total.of(each, horizon, columns))
        except TotalError as error:
            raise _named(f"aggregate.{k}", error) from None
    levels = None
    if given.levels:
        settings = {"levels": given.levels, "nonnegative": given.nonnegative}
        try:
            levels = Levels.of(settings | ({"how": given.how} if given.how else {}), columns)
        except TotalError as error:
            raise _named("", error) from None
    return totals, levels


def write_joint(
    predictor: Predictor,
    panel: Panel,
    given: JointConfig,
    *,
    steps: int,
    levels: tuple[float, ...],
    name: str,
    say: Say,
) -> list[Path]:
    """Draw paths of every series, and write the tables that are asked for.

    Parameters
    ----------
    panel : with every static column that there is, whatever the model reads.

    Raises
    ------
    GatecastError : what cannot be added up, or written.
    """
    columns = tuple(c.name for c in panel.schema.static if c.type == "categorical")
    totals, hierarchy = asked(given, steps, columns)
    folder = Path(given.output or home() / "joint" / name).expanduser()
    draws = Draws(given.paths or Draws().paths, given.seed)
    with heard_by(say):
        paths = sample(predictor, panel, draws, horizon=steps, quantiles=levels)
    if not predictor.dependence.learned:
        say("its dependence was never learned: paths take the usual one (docs/paths.md)")
    written = []
    if given.paths is not None:
        written.append(write_table(paths.to_frame(), folder / f"{PATHS_FILE}.parquet"))
    if totals:
        table = _totals(paths, totals, levels, say)
        written.append(write_table(table, folder / f"{TOTALS_FILE}.parquet"))
    if hierarchy is not None:
        aggregates = coherent(predictor, panel.under(predictor.schema), paths, hierarchy)
        written.append(write_table(aggregates.to_frame(), folder / f"{HIERARCHY_FILE}.parquet"))
    for path in written:
        say(f"written: {path}")
    return written


def _totals(drawn: Paths, totals: list[Total], levels: tuple[float, ...], say: Say) -> Any:
    """One table of all totals, which ``total`` numbers from 1."""
    import pandas as pd

    parts, problems = [], []
    for number, total in enumerate(totals, 1):
        sums = add_up(drawn, total)
        problems += sums.problems
        frame = sums.to_frame(levels)
        frame.insert(0, "total", number)
        parts.append(frame)
    for problem in problems[:SHOWN]:
        say(f"no total of {problem.id}: {problem.detail}")
    if len(problems) > SHOWN:
        say(f"and {len(problems) - SHOWN:,} more have no total")
    table = pd.concat(parts, ignore_index=True)
    if not len(table):
        raise DataError("none of the totals could be made")
    return table


def _named(key: str, error: TotalError) -> ConfigError:
    path = ".".join(str(part) for part in (key, *error.path) if part != "")
    return ConfigError(f"forecast.joint.{path}: {error.text}")
