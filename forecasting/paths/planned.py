"""Scenarios as people hold them: tables in, tables and a picture out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from forecasting import plotting
from forecasting.arrays import Array
from forecasting.data.encoding import encode
from forecasting.data.forecast import Forecast, as_given
from forecasting.data.panel import Panel
from forecasting.data.tables.needs import need_frame
from forecasting.errors import DataError, listed
from forecasting.interop.kinds import Tabular, as_pandas
from forecasting.paths.sampling import Draws
from forecasting.paths.scenarios import Compared, Outcome, ahead_of, check_plan, compare
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.quantiles import ASKED
from forecasting.schema import Covariate, Schema

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Of a picture: scenarios drawn beside the base.
DRAWN = 5
# Of the band about a difference.
BAND = (0.1, 0.9)


@dataclass(frozen=True)
class Wanted:
    """What is asked of scenarios: beside which base, how far, at which levels, by which paths."""

    base: str | None = None
    horizon: int | None = None
    quantiles: Sequence[float] = ASKED
    draws: Draws | None = None


@dataclass(frozen=True)
class Planned:
    """Forecasts of a table's series in every scenario, and what each changes of the base."""

    compared: Compared
    given: Any

    @classmethod
    def by(
        cls,
        engine: Engine,
        df: Any,
        scenarios: Mapping[str, Any],
        wanted: Wanted | None = None,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
    ) -> Self:
        """Compare scenarios of a long table; see `Forecaster.scenarios`."""
        table = as_pandas(df)
        need_frame(table, "df")
        if not isinstance(scenarios, Mapping):
            raise DataError("scenarios must be a mapping of names to what is known ahead in them")
        panel = engine.panel_of(table, static=static, future=future)
        return cls.of(engine, panel, scenarios, wanted, given=df)

    @classmethod
    def of(
        cls,
        engine: Engine,
        panel: Panel,
        scenarios: Mapping[str, Any],
        wanted: Wanted | None = None,
        *,
        given: Any = None,
    ) -> Self:
        """As `by`, of a panel; ``given`` : the table it came from, whose kind and ids are kept."""
        wanted = wanted or Wanted()
        check_plan(list(scenarios), wanted.base, engine.schema)
        steps = engine.config.horizon if wanted.horizon is None else whole_steps(wanted.horizon)
        engine.check(panel, steps, wanted.quantiles, False)
        blocks = {name: ahead_in(panel, steps, name, plan) for name, plan in scenarios.items()}
        compared = compare(
            engine,
            panel,
            blocks,
            base=wanted.base,
            draws=wanted.draws,
            horizon=steps,
            quantiles=wanted.quantiles,
        )
        if compared.problems:
            scenario, first = compared.problems[0]
            where = "" if scenario is None else f"scenario {scenario!r}, "
            raise DataError(
                f"{len(compared.problems)} forecasts cannot be made; first: {where}series "
                f"{first.id!r}: {first.detail}"
            )
        return cls(compared, panel.to_frame() if given is None else given)

    def __repr__(self) -> str:
        base, *others = (one.name for one in self.compared.outcomes)
        return f"Planned({', '.join(map(repr, others))} beside {base!r})"

    @property
    def table(self) -> Any:
        """``scenario, unique_id, ds, mean, q<level>…``, the base first."""
        return self._told([(one.name, one.forecast.to_frame()) for one in self.compared.outcomes])

    @property
    def differences(self) -> Any:
        """``scenario, unique_id, ds, mean, median, q<level>…`` less those of the base."""
        return self._told([(one.name, _differences(one)) for one in self._others()])

    @property
    def totals(self) -> Any:
        """Differences added up over all steps: ``scenario, unique_id, mean, q<level>…``."""
        return self._told([(one.name, _totals(one)) for one in self._others()])

    def plot(self, series: str | int | None = None, *, title: str = "") -> Figure:
        """Draw one series' forecasts, and what each scenario changes of the base.

        Parameters
        ----------
        series : its name; None: the first.

        Raises
        ------
        DataError : no such series; forecasts without the levels 0.1 and 0.9.
        """
        names = [str(name) for name in self.compared.outcomes[0].forecast.ids]
        if not names or (series is not None and str(series) not in names):
            raise DataError(f"no series {series!r} was forecast")
        i = 0 if series is None else names.index(str(series))
        levels = self.compared.outcomes[0].forecast.levels
        if not set(BAND) <= set(levels):
            raise DataError(f"a picture shows the quantiles {BAND}: ask for them, too")
        low, high = (levels.index(level) for level in BAND)
        base, *others = self.compared.outcomes
        moved: dict[str, tuple[Array, Array, Array, Array]] = {}
        for one in others[:DRAWN]:
            change = one.difference
            if change is None:
                raise AssertionError("only the base has no difference")
            band = change.quantiles[i, :, low], change.quantiles[i, :, high]
            moved[one.name] = (one.forecast.mean[i], change.mean[i], *band)
        stamps = base.forecast.stamps()[i]
        return plotting.scenarios_chart(
            stamps, base.name, base.forecast.mean[i], moved, title=title or names[i]
        )

    def _others(self) -> Sequence[Outcome]:
        return self.compared.outcomes[1:]

    def _told(self, parts: Sequence[tuple[str, pd.DataFrame]]) -> Any:
        import pandas as pd

        for name, frame in parts:
            frame.insert(0, "scenario", name)
        return as_given(pd.concat([frame for _, frame in parts], ignore_index=True), self.given)


def ahead_in(panel: Panel, steps: int, name: str, told: Any) -> Array:
    """[N, h, F] what is known ahead in a scenario: what it says, and else what the panel does.

    Parameters
    ----------
    told : a table ``unique_id, ds`` and columns, of some series or all; or by column a value for
        every step, or one for each step, of all series alike.

    Raises
    ------
    DataError : naming the scenario and the column, series or stamp that is wrong.
    """
    block = ahead_of(panel, steps)
    if isinstance(told, Mapping):
        for place, covariate in _places(name, list(told), panel.schema):
            block[:, :, place] = _of_all(name, covariate, told[covariate.name], steps)
        return block
    table = as_pandas(told)
    need_frame(table, f"scenario {name!r}")
    columns = [str(c) for c in table.columns if c not in ("unique_id", "ds")]
    places = _places(name, columns, panel.schema)
    rows = _rows(name, table, panel, Schema(covariates=tuple(c for _, c in places)))
    index, following, first = _on_the_grid(name, rows, panel)
    series = rows.series
    ahead = np.arange(rows.rows) - rows.offsets[series] + first[series]
    inside = (ahead >= 0) & (ahead < steps)
    for own, (place, covariate) in enumerate(places):
        block[index, :, place] = np.nan
        block[index[series[inside]], ahead[inside], place] = rows.future[inside, own]
        missing = np.argwhere(np.isnan(block[index, :, place]))
        if len(missing):
            i, k = missing[0].tolist()
            stamp = panel.freq.shift(following[i : i + 1], np.array([k]))[0]
            raise DataError(
                f"scenario {name!r}, series {rows.ids[i]!r}: {covariate.name} is missing at "
                f"{stamp}; a scenario says a column for every one of the {steps} steps ahead, or "
                "leaves it out to keep what the base says"
            )
    return block


def _on_the_grid(name: str, rows: Panel, panel: Panel) -> tuple[Array, Array, Array]:
    """[n] each: which series of the panel, where its steps ahead begin, and the first row's."""
    where = {str(series): i for i, series in enumerate(panel.ids)}
    lost = [str(series) for series in rows.ids if str(series) not in where]
    if lost:
        raise DataError(
            f"scenario {name!r} holds series that the table does not: "
            f"{listed(list(map(repr, lost)), 5)}"
        )
    index = np.array([where[str(series)] for series in rows.ids], np.int64)
    following, freq = panel.following()
    following = following[index]
    step = freq.steps_between(following, rows.start)
    off = freq.shift(following, step) != rows.start
    if off.any():
        i = int(np.flatnonzero(off)[0])
        raise DataError(
            f"scenario {name!r}, series {rows.ids[i]!r}: ds = {rows.start[i]} does not lie on the "
            f"grid of freq = {panel.freq.alias} that goes on at {following[i]}"
        )
    return index, following, step


def _places(name: str, given: Sequence[str], schema: Schema) -> list[tuple[int, Covariate]]:
    """Where the columns that a scenario names stand among those known ahead."""
    place = {c.name: (k, c) for k, c in enumerate(schema.future)}
    role = {c.name: c.role for c in schema.covariates}
    if not given:
        raise DataError(f"scenario {name!r} names no covariate: there are {', '.join(place)}")
    for column in given:
        if column in place:
            continue
        if column == "y":
            why = "is what is forecast"
        elif column in role:
            why = f"is a {role[column]} covariate of the model, of which nothing is known ahead"
        else:
            why = "is no covariate of the model"
        raise DataError(
            f"scenario {name!r}: {column!r} {why}; a scenario may say: {', '.join(place)}"
        )
    return [place[column] for column in given]


def _of_all(name: str, covariate: Covariate, told: Any, steps: int) -> Array:
    """[h] values of a column, from one value or a list; a column of a table is one by its order."""
    if hasattr(told, "__array__"):
        told = np.asarray(told, object).tolist()
    values = list(told) if isinstance(told, list | tuple | range) else [told] * steps
    if len(values) != steps:
        raise DataError(
            f"scenario {name!r}: {covariate.name} has {len(values)} values for {steps} steps"
        )
    for k, value in enumerate(values):
        if _is_missing(value):
            raise DataError(f"scenario {name!r}: {covariate.name} is missing at step {k + 1}")
        real = covariate.type == "real"
        if not (_is_number(value) if real else isinstance(value, str | Real)):
            what = "number" if real else "name of a category"
            raise DataError(
                f"scenario {name!r}: {covariate.name} = {value!r} at step {k + 1} is no {what}"
            )
    return encode(values, covariate, missing=np.nan)


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:
        # What pandas has for missing values equals nothing, and differs from nothing.
        return True


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def _rows(name: str, table: Any, panel: Panel, schema: Schema) -> Panel:
    """The rows of a scenario's table, without values of y."""
    try:
        rows = Panel.from_frame(table.assign(y=np.nan), freq=panel.freq, schema=schema)
    except DataError as error:
        raise DataError(f"scenario {name!r}: {error}") from None
    if rows.tz != panel.tz:
        raise DataError(f"scenario {name!r} has time zone {rows.tz}, the table {panel.tz}")
    return rows


def _differences(one: Outcome) -> pd.DataFrame:
    change, forecast = _change(one), one.forecast
    frame = Forecast(
        ids=forecast.ids,
        start=forecast.start,
        freq=forecast.freq,
        tz=forecast.tz,
        mean=change.mean,
        quantiles=change.quantiles,
        levels=forecast.levels,
        days=forecast.days,
    ).to_frame()
    frame.insert(3, "median", change.median.ravel())
    return frame


def _totals(one: Outcome) -> pd.DataFrame:
    import pandas as pd

    change = _change(one)
    columns: dict[str, Any] = {"unique_id": one.forecast.ids, "mean": change.total_mean}
    for k, level in enumerate(one.forecast.levels):
        columns[f"q{level:g}"] = change.total_quantiles[:, k]
    return pd.DataFrame(columns)


def _change(one: Outcome) -> Any:
    if one.difference is None:
        raise AssertionError("only the base has no difference")
    return one.difference
