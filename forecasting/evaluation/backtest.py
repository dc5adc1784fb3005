"""Rolling origins: what every model would have said at past cutoffs, and how far off it was.

A model only ever gets the panel truncated at the cutoff, so it cannot see what it is scored on.
Whether the model itself was trained before the first cutoff is for the caller to see to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.mapped import Filling, folder_of
from forecasting.data.panel import Panel, public_stamps
from forecasting.data.scale import mase_scale
from forecasting.errors import DataError, SeriesProblem, warn
from forecasting.evaluation import metrics
from forecasting.evaluation.catalogue import METRICS, Outcomes
from forecasting.quantiles import TRAINED, column_of

# From a panel that ends at the cutoff (with known-future covariates after it) to its forecast,
# at the horizon and levels of the backtest.
Model = Callable[[Panel], Forecast]


@dataclass(frozen=True)
class Backtest:
    """Forecasts of every model at every cutoff, beside what happened.

    Attributes
    ----------
    ids, cutoffs, steps_back : [M] the series, stamp and distance from the end of each origin.
    actual : [M, H] what happened, NaN where unknown.
    scale : [M] mean absolute seasonal difference of the history before the cutoff.
    levels : Q levels. median, mean : per model [M, H]. quantiles : per model [M, H, Q]. NaN where
        a model gave no forecast.
    """

    ids: Array
    cutoffs: Array
    steps_back: Array
    stamps: Array
    actual: Array
    scale: Array
    levels: tuple[float, ...]
    mean: dict[str, Array]
    quantiles: dict[str, Array]
    season: int
    tz_panel: Panel

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order given."""
        return list(self.mean)

    def median(self, model: str) -> Array:
        """[M, H] the point forecasts that are scored."""
        return np.asarray(self.quantiles[model][:, :, self.levels.index(0.5)])

    @property
    def table(self) -> pd.DataFrame:
        """Long table ``unique_id, ds, cutoff, step, y, model, mean, q<level>…``."""
        count, horizon = self.actual.shape
        parts = []
        for model in self.models:
            part = pd.DataFrame(
                {
                    "unique_id": np.repeat(self.ids, horizon),
                    "ds": public_stamps(self.stamps.ravel(), self.tz_panel),
                    "cutoff": public_stamps(np.repeat(self.cutoffs, horizon), self.tz_panel),
                    "step": np.tile(np.arange(1, horizon + 1), count),
                    "y": self.actual.ravel(),
                    "model": model,
                    "mean": self.mean[model].ravel(),
                }
            )
            for k, level in enumerate(self.levels):
                part[column_of(level)] = self.quantiles[model][:, :, k].ravel()
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def outcomes(self, model: str) -> Outcomes:
        """What a model said, as the measures of `METRICS` take it."""
        quantiles = self.quantiles[model]
        # Where a model gave no forecast there is nothing of it to score.
        answered = np.where(np.isnan(quantiles).any(axis=-1), np.nan, self.actual)
        return Outcomes(answered, self.median(model), quantiles, self.levels, self.scale)

    def errors(self, model: str) -> dict[str, Array]:
        """Per origin and step [M, H] the measures told by parts; NaN unknown."""
        outcomes = self.outcomes(model)
        return {name: m.steps(outcomes) for name, m in METRICS.items() if m.parted}

    def scores(self) -> pd.DataFrame:
        """One row per model, one column per measure of `METRICS`."""
        rows = {}
        for model in self.models:
            outcomes = self.outcomes(model)
            rows[model] = {name: metric.score(outcomes) for name, metric in METRICS.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")

    def coverage(self, model: str, width: int) -> float:
        """Share of known values within the central ``width`` percent interval."""
        outcomes = self.outcomes(model)
        low, high = outcomes.ends(width)
        return float(metrics.coverage(outcomes.actual.ravel(), low.ravel(), high.ravel()))

    def by_step(self) -> pd.DataFrame:
        """Scores per model and horizon step."""
        return self._grouped("step")

    def by_series(self) -> pd.DataFrame:
        """Scores per model and series."""
        return self._grouped("unique_id")

    def by_cutoff(self) -> pd.DataFrame:
        """Scores per model and distance of the cutoff from the end."""
        return self._grouped("steps_back")

    def _grouped(self, key: str) -> pd.DataFrame:
        horizon = self.actual.shape[1]
        keys = {
            "step": np.tile(np.arange(1, horizon + 1), len(self.ids)),
            "unique_id": np.repeat(self.ids, horizon),
            "steps_back": np.repeat(self.steps_back, horizon),
        }[key]
        parts = []
        for model in self.models:
            errors = {name: e.ravel() for name, e in self.errors(model).items()}
            part = pd.DataFrame({key: keys, **errors}).groupby(key, sort=True).mean()
            part = part.apply(lambda column: METRICS[str(column.name)].finish(column.to_numpy()))
            parts.append(part.reset_index().assign(model=model))
        return pd.concat(parts, ignore_index=True)


class Refitted:
    """A model that is trained anew at every n-th cutoff, on what was known there.

    `backtest` asks its models from the oldest cutoff on, so each training serves the n cutoffs from
    its own on.

    Parameters
    ----------
    train : from the panel that ends at a cutoff to the model. every : n, 1 or more.
    """

    def __init__(self, train: Callable[[Panel], Model], every: int) -> None:
        if every < 1:
            raise DataError(f"a model can be trained anew at every cutoff or fewer, not at {every}")
        self.train, self.every = train, every
        self.asked = 0
        self.model: Model | None = None

    def __call__(self, known: Panel) -> Forecast:
        """The forecast of a panel that ends at the next cutoff."""
        if self.model is None or self.asked % self.every == 0:
            self.model = self.train(known)
        self.asked += 1
        return self.model(known)


def backtest(
    panel: Panel,
    models: Mapping[str, Model],
    *,
    horizon: int,
    season: int,
    windows: int = 3,
    step: int | None = None,
    levels: Sequence[float] = TRAINED,
) -> Backtest:
    """Forecast from the last ``windows`` cutoffs, ``step`` rows apart, with every model.

    Parameters
    ----------
    models : callables that get the truncated panel and give a `Forecast` of ``horizon`` steps at
        ``levels``, which must contain 0.5.
    season : steps per season, for the scale of MASE.
    step : rows between cutoffs; None: the horizon.

    Raises
    ------
    DataError : when no series is long enough for a single cutoff.
    """
    if 0.5 not in levels:
        raise DataError("levels must contain 0.5: the median is what is scored")
    step = step or horizon
    parts: dict[str, list[Array]] = {n: [] for n in ("ids", "cut", "back", "ds", "y", "scale")}
    # As large as the panel where horizons are long: they lie where its values do.
    folder = folder_of(panel.y)
    mean = {name: Filling(folder, width=(horizon,)) for name in models}
    quantiles = {name: Filling(folder, width=(horizon, len(levels))) for name in models}
    lacking: dict[str, list[SeriesProblem]] = {name: [] for name in models}
    for window in range(windows, 0, -1):
        back = horizon + (window - 1) * step
        if not (panel.lengths > back).any():
            continue
        history = panel.truncate(back, horizon)
        parts["ids"].append(history.ids)
        parts["cut"].append(history.last)
        parts["back"].append(np.full(len(history), back))
        parts["ds"].append(history.freq.stamps(history.start, history.lengths, horizon))
        parts["y"].append(panel.after(back, horizon))
        parts["scale"].append(mase_scale(history.y, history.offsets, season))
        for name, model in models.items():
            forecast = model(history)
            lacking[name] += forecast.problems
            m, q = _aligned(forecast, history.ids, horizon, len(levels))
            mean[name].add(m)
            quantiles[name].add(q)
    if not parts["ids"]:
        raise DataError(
            f"no series has more than {horizon} rows, so there is no past cutoff to forecast "
            "from; lower horizon or bring longer histories"
        )
    joined = {key: np.concatenate(value) for key, value in parts.items()}
    for name, problems in lacking.items():
        if problems:
            warn(
                f"{name} has no forecast at {len(problems):,} of {len(joined['ids']):,} series and "
                "cutoffs, and is scored on the others alone; first, series "
                f"{problems[0].id!r}: {problems[0].detail}"
            )
    return Backtest(
        ids=joined["ids"],
        cutoffs=joined["cut"],
        steps_back=joined["back"],
        stamps=joined["ds"],
        actual=joined["y"],
        scale=joined["scale"],
        levels=tuple(levels),
        mean={name: filling.done() for name, filling in mean.items()},
        quantiles={name: filling.done() for name, filling in quantiles.items()},
        season=season,
        tz_panel=panel,
    )


def _aligned(
    forecast: Forecast, ids: Array, horizon: int, levels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The forecast in the order of ``ids``; NaN for a series it left out."""
    if len(forecast.ids) == len(ids) and bool((forecast.ids == ids).all()):
        return forecast.mean, forecast.quantiles
    mean = np.full((len(ids), horizon), np.nan)
    quantiles = np.full((len(ids), horizon, levels), np.nan)
    place = pd.Index(ids).get_indexer(pd.Index(forecast.ids))
    mean[place], quantiles[place] = forecast.mean, forecast.quantiles
    return mean, quantiles
