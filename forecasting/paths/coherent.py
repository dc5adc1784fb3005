"""Forecasts of the series of a hierarchy and of their sums that add up, with quantiles.

Sums are forecast as series of their own: their histories are the sums of their parts'. Means are
brought to agree by `reconcile`; each part's joint paths are moved to its new mean, and the paths
of sums are sums of paths. So in every path everything adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import DataError
from forecasting.evaluation.baselines import fill_missing
from forecasting.paths.hierarchy import LEAVES, Hierarchy, Levels, refuse_parts_missing
from forecasting.paths.reconcile import DEVIATIONS, Errors, How, reconciled
from forecasting.paths.sampling import Paths
from forecasting.paths.totals import BEYOND_FLOAT, quantiles_of_paths
from forecasting.prediction.engine import Engine
from forecasting.quantiles import column_of

if TYPE_CHECKING:
    import pandas as pd

# Levels whose distance says how sure a forecast is.
OUTER = (0.1, 0.9)
# Past origins whose errors say how errors go together, and the share of a horizon between them.
ORIGINS = 8
# Of the parts that have begun, the share that must be there for a sum to count as seen.
ENOUGH_SEEN = 0.5


@dataclass(frozen=True)
class Coherent:
    """Forecasts of U sums and N series, sums first, that add up.

    Attributes
    ----------
    hierarchy : what adds up to what. names : [N] of the series. how : they were brought to agree.
    mean : [U + N, h]. quantiles : [U + N, h, Q] at ``levels``. base : [U + N, h] means before.
    values : [N, h, S] joint paths of the series; those of the sums are their sums.
    forecast : of the series, before. start : stamp of the first step.
    """

    hierarchy: Hierarchy
    names: list[str]
    how: How
    mean: Array
    quantiles: Array
    levels: tuple[float, ...]
    base: Array
    values: Array
    forecast: Forecast

    @property
    def level_names(self) -> list[str]:
        """[U + N] of each row's level."""
        return [*self.hierarchy.levels, *[LEAVES] * len(self.names)]

    @property
    def all_names(self) -> list[str]:
        """[U + N] of sums and series."""
        return [*self.hierarchy.names, *self.names]

    def stamps(self) -> Array:
        """[h] of the steps, the same for all."""
        return np.asarray(self.forecast.stamps()[0])

    def to_frame(self) -> pd.DataFrame:
        """Table ``level, unique_id, ds, mean, q<level>…``, one row for each step of each."""
        import pandas as pd

        count, steps = self.mean.shape
        frame = pd.DataFrame(
            {
                "level": np.repeat(np.array(self.level_names, object), steps),
                "unique_id": np.repeat(np.array(self.all_names, object), steps),
                "ds": public_stamps(np.tile(self.stamps(), count), self.forecast),
                "mean": self.mean.ravel(),
            }
        )
        for k, level in enumerate(self.levels):
            frame[column_of(level)] = self.quantiles[..., k].ravel()
        return frame


def coherent(
    engine: Engine, panel: Panel, paths: Paths, levels: Levels, *, extend: bool = False
) -> Coherent:
    """Bring the forecasts of a panel and of its sums to agree.

    Parameters
    ----------
    panel : every series, as ``paths`` were drawn for it.

    Raises
    ------
    DataError : series without a forecast, or that end at different stamps; ``how`` that needs
        forecasts of sums where the model has covariates that sums have none of.
    """
    there = {str(name) for name in paths.names.tolist()}
    lost = [str(name) for name in paths.asked.tolist() if str(name) not in there]
    refuse_parts_missing(lost, "have no forecast")
    if not len(paths):
        raise DataError("a hierarchy of no series: give some")
    start = paths.forecast.start
    other = [str(n) for n, s in zip(paths.names, start, strict=True) if s != start[0]]
    refuse_parts_missing(other, f"end at another stamp than {str(paths.names[0])!r}")
    hierarchy = Hierarchy.of(paths.labels, levels.by, len(panel))
    how = _how(engine, levels)
    steps, matrix = paths.values.shape[1], hierarchy.matrix
    leaves = paths.forecast.mean
    if how == "bottom_up":
        upper, errors = matrix @ leaves, Errors(np.ones(sum(matrix.shape)))
    else:
        sums = sums_of(engine, panel, hierarchy)
        found_above = engine.predict_panel(sums, horizon=steps, quantiles=OUTER, extend=extend)
        refuse_parts_missing([p.id for p in found_above.problems], "are sums and have no forecast")
        upper, ends = found_above.mean, quantiles_of_paths(paths.values, OUTER)
        spread = np.concatenate([_deviation(found_above.quantiles), _deviation(ends)])
        # In units of the largest: squares of what is huge are beyond float's range.
        unit = float(spread.max()) or 1.0
        sample = None
        if how == "mint_shrink":
            sample = errors_seen(engine, [sums, panel], steps, extend=extend) / unit
        errors = Errors((spread / unit) ** 2, sample)
    means = reconciled(matrix, upper, leaves, errors, how, nonnegative=levels.nonnegative)
    values = _moved(paths.values, leaves, means, nonnegative=levels.nonnegative)
    total = (matrix @ values.reshape(len(panel), -1)).reshape(len(hierarchy), *values.shape[1:])
    if not all(np.isfinite(part).all() for part in (values, total, matrix @ means)):
        raise DataError(f"a sum of the hierarchy is {BEYOND_FLOAT}")
    quantile_levels = paths.forecast.levels
    return Coherent(
        hierarchy=hierarchy,
        names=[str(name) for name in paths.names],
        how=how,
        mean=np.concatenate([matrix @ means, means]),
        quantiles=np.concatenate(
            [quantiles_of_paths(part, quantile_levels) for part in (total, values)]
        ),
        levels=quantile_levels,
        base=np.concatenate([upper, leaves]),
        values=values,
        forecast=paths.forecast,
    )


def sums_of(engine: Engine, panel: Panel, hierarchy: Hierarchy) -> Panel:
    """The histories of the sums as series of their own, as far back as a forecast looks.

    Before its first row a series counts as 0; one that misses a value counts as it stood at that
    place of the season before. Where most series of a sum miss theirs, so does the sum.
    """
    panel = panel.begun().tail(engine.context + 1)
    lengths = panel.lengths
    rows = int(lengths.max(initial=0))
    y = np.zeros((len(panel), rows))
    seen, begun = np.zeros((2, len(panel), rows))
    at = np.repeat(rows - lengths, lengths) + ranges(np.zeros_like(lengths), lengths)
    filled = fill_missing(panel.y, panel.offsets, engine.config.season)
    y[panel.series, at] = np.nan_to_num(filled)
    seen[panel.series, at] = ~np.isnan(panel.y)
    begun[panel.series, at] = 1.0
    matrix = hierarchy.matrix
    total, weights, there = matrix @ y, matrix @ seen, matrix @ begun
    total[weights < np.maximum(ENOUGH_SEEN * there, 1e-9)] = np.nan
    count = len(hierarchy)
    first = panel.freq.shift(panel.start, lengths - rows)[:1]
    static = np.full((count, len(panel.schema.static)), np.nan)
    for place, covariate in enumerate(panel.schema.static):
        if covariate.type == "categorical":
            codes = {name: code for code, name in enumerate(covariate.categories, 1)}
            static[:, place] = [codes.get(k.get(covariate.name, ""), 0) for k in hierarchy.keys]
    sums = replace(
        panel,
        ids=np.array(
            [f"{a}\x1f{b}" for a, b in zip(hierarchy.levels, hierarchy.names, strict=True)]
        ),
        offsets=np.arange(count + 1) * rows,
        y=total.ravel(),
        start=np.repeat(first, count),
        past=np.empty((count * rows, panel.past.shape[1])),
        future=np.empty((count * rows, panel.future.shape[1])),
        horizon=None,
        static=static,
    )
    return sums.begun()


def errors_seen(
    engine: Engine, panels: Sequence[Panel], steps: int, *, extend: bool = False
) -> Array:
    """[n, T] errors of the mean at past origins, of the series of all panels in order."""
    blocks = []
    for back in _backs(min(int(panel.lengths.min()) for panel in panels), steps):
        parts = []
        for panel in panels:
            history = panel.truncate(back)
            forecast = engine.predict_panel(history, horizon=steps, extend=extend)
            whole = len(forecast.ids) == len(panel)
            parts.append(panel.after(back, steps) - forecast.mean if whole else None)
        if all(part is not None for part in parts):
            blocks.append(np.concatenate([part for part in parts if part is not None]))
    if not blocks:
        raise DataError(
            "how = mint_shrink needs errors at past origins, and the histories are too short for "
            "one: ask how = wls_struct"
        )
    errors = np.concatenate(blocks, axis=1)
    return np.asarray(np.nan_to_num(errors))


def _backs(shortest: int, steps: int) -> list[int]:
    """Past origins of a horizon's length, as many as leave half of the shortest history."""
    most = min(ORIGINS, max(shortest // 2 // steps, 0))
    return [steps * (k + 1) for k in range(most)]


def _how(engine: Engine, levels: Levels) -> How:
    alone = bool(engine.schema.past or engine.schema.future)
    if levels.how is None:
        return "bottom_up" if alone else "wls_struct"
    if alone and levels.how != "bottom_up":
        raise DataError(
            f"how = {levels.how} needs forecasts of sums, and this model reads covariates that "
            "sums have none of: ask how = bottom_up"
        )
    return levels.how


def _deviation(ends: Array) -> Array:
    """[n] mean over the steps of the deviations that `OUTER` quantiles [n, h, 2] say."""
    return np.asarray(((ends[..., 1] - ends[..., 0]) / DEVIATIONS).mean(axis=1))


def _moved(values: Array, before: Array, after: Array, *, nonnegative: bool) -> Array:
    """[N, h, S] paths of another mean: moved, or from zero up stretched."""
    if not nonnegative:
        return np.asarray(values + (after - before)[..., None])
    values = np.maximum(values, 0.0)
    mean = values.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        stretch = np.where(mean > 0.0, after / mean, 0.0)
    own = values * stretch[..., None]
    return np.asarray(np.where((mean > 0.0)[..., None], own, after[..., None]))
