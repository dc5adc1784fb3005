"""Joint sample paths of series over the steps ahead: what totals and hierarchies are made of.

Every step's paths are the forecast's own quantiles at the middles of S equal parts, in an order
that the model's `Dependence` draws: what it says goes together does, and no step's forecast is
another than without paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.copula.dependence import FURTHEST_STEP, in_ranks, path_levels
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import DataError
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.quantiles import ASKED

if TYPE_CHECKING:
    import pandas as pd

PATHS = 200
LEAST_PATHS = 2
MOST_PATHS = 1_000
# Numbers of paths held at once: series by steps by paths.
MOST_NUMBERS = 200_000_000
# Series whose order is drawn at once.
AT_ONCE = 256

Labels = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Draws:
    """How many paths are drawn, and which: another seed draws others."""

    paths: int = PATHS
    seed: int = 0

    def checked(self) -> Draws:
        """The same; `DataError` where it asks for what there is not."""
        for name, value in (("paths", self.paths), ("seed", self.seed)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise DataError(f"{name} = {value!r} must be a whole number")
        if not LEAST_PATHS <= self.paths <= MOST_PATHS:
            raise DataError(f"paths = {self.paths} is outside {LEAST_PATHS}..{MOST_PATHS}")
        if not 0 <= self.seed < 2**63:
            raise DataError(f"seed = {self.seed} is outside 0..2^63 - 1")
        return Draws(int(self.paths), int(self.seed))


@dataclass(frozen=True)
class Paths:
    """S joint paths of N series over h steps.

    Attributes
    ----------
    forecast : of the N series, at the levels asked for; ``problems`` names those without.
    names : [N] of the series, as a caller calls them. values : [N, h, S]. seed : of the draws.
    labels : by static column the categories [A] of all series asked for, None unknown.
    asked : [A] names of those series, in the order given.
    """

    forecast: Forecast
    names: Array
    values: Array
    seed: int
    labels: Labels
    asked: Array

    def __len__(self) -> int:
        return len(self.names)

    def to_frame(self) -> pd.DataFrame:
        """Long table ``unique_id, ds, path, y``: paths are numbered from 1."""
        import pandas as pd

        count, steps, paths = self.values.shape
        stamps = np.repeat(self.forecast.stamps()[:, None], paths, axis=1)
        return pd.DataFrame(
            {
                "unique_id": np.repeat(self.names, steps * paths),
                "ds": public_stamps(stamps.ravel(), self.forecast),
                "path": np.tile(np.repeat(np.arange(1, paths + 1), steps), count),
                "y": np.ascontiguousarray(self.values.transpose(0, 2, 1)).ravel(),
            }
        )


def sample(
    engine: Engine,
    panel: Panel,
    draws: Draws | None = None,
    *,
    horizon: int | None = None,
    quantiles: Sequence[float] = ASKED,
    extend: bool = False,
    names: Sequence[str] | None = None,
) -> Paths:
    """Joint paths of every series of a panel that can be forecast.

    Parameters
    ----------
    names : [N] of the series, where the panel's ids are others: what a series draws goes by its
        name, the place where its forecast begins and the seed, and by nothing beside it.

    Raises
    ------
    DataError : as `Engine.predict_panel`, and for more paths or steps than there may be.
    """
    draws = (draws or Draws()).checked()
    steps = engine.config.horizon if horizon is None else whole_steps(horizon)
    engine.check(panel, steps, quantiles, extend)
    refuse_too_much(len(panel), steps, draws.paths)
    ids = panel.ids if names is None else np.array(list(names), dtype=object)
    labels = labels_of(panel)
    levels, own_place, path_place = levels_and_places(draws.paths, tuple(quantiles))
    path_forecast = engine.checked(panel, steps, levels)
    place = {name: k for k, name in enumerate(panel.ids.tolist())}
    rows = np.array([place[name] for name in path_forecast.ids.tolist()], dtype=np.int64)
    rising = np.take(path_forecast.quantiles, path_place, axis=-1)
    own = np.take(path_forecast.quantiles, own_place, axis=-1)
    values = np.empty(rising.shape)
    origins = path_forecast.start.astype(np.int64)
    for begin in range(0, len(rows), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        scores = engine.dependence.scores(
            [str(ids[k]) for k in rows[part]],
            origins[part].tolist(),
            {c: [column[k] for k in rows[part]] for c, column in labels.items()},
            (steps, draws.paths),
            draws.seed,
        )
        values[part] = in_ranks(rising[part], scores)
    forecast = replace(path_forecast, quantiles=own, levels=tuple(quantiles))
    return Paths(forecast, ids[rows], values, draws.seed, labels, ids)


def refuse_too_much(series: int, steps: int, paths: int) -> None:
    """`DataError` for more steps, or more numbers, than paths are drawn of at once."""
    if steps > FURTHEST_STEP:
        raise DataError(f"horizon = {steps}: paths reach {FURTHEST_STEP:,} steps; ask for less")
    numbers = series * steps * paths
    if numbers > MOST_NUMBERS:
        raise DataError(
            f"{series:,} series over {steps:,} steps in {paths:,} paths are {numbers:,} numbers; "
            f"at most {MOST_NUMBERS:,}: ask for fewer paths, steps or series at a time"
        )


def labels_of(panel: Panel) -> dict[str, list[str | None]]:
    """By static column of categories [N] the categories of a panel's series; None unknown."""
    labels: dict[str, list[str | None]] = {}
    for place, covariate in enumerate(panel.schema.static):
        if covariate.type == "categorical":
            categories = (None, *covariate.categories)
            codes = np.nan_to_num(panel.static[:, place]).astype(np.int64)
            labels[covariate.name] = [categories[code] for code in codes.tolist()]
    return labels


@lru_cache(maxsize=32)
def levels_and_places(
    paths: int, asked: tuple[float, ...]
) -> tuple[tuple[float, ...], Array, Array]:
    """Levels to ask the engine for, and where among them those asked for and those of paths are.

    A level of paths that bears the name of one asked for is that one.
    """
    named = {f"{level:g}": level for level in asked}
    middles = [named.get(f"{level:g}", level) for level in path_levels(paths)]
    levels = tuple(dict.fromkeys([*asked, *middles]))
    place = {level: k for k, level in enumerate(levels)}
    return (
        levels,
        np.array([place[level] for level in asked]),
        np.array([place[level] for level in middles]),
    )
