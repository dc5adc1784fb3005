"""Scores of a model on a public task, window by window, in little memory.

A task may have tens of thousands of windows of hundreds of steps: each round is scored as it is
forecast, and only the scores are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.errors import DataError
from forecasting.evaluation import metrics
from forecasting.evaluation.baselines import naive_arrays
from forecasting.evaluation.bootstrap import paired_bootstrap
from forecasting.evaluation.catalogue import METRICS, Metric, Outcomes
from pipelines.data.datasets import Task

Predict = Callable[[Panel], Forecast]

# Deciles for the weighted quantile loss, and the ends of the central 80 % and 95 % intervals.
LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
_DECILES = LEVELS[1:10]
_MEDIAN, _LOW80, _HIGH80 = 5, 1, 9
# Log errors of forecasts at or below zero are those of one unit.
_LEAST_FOR_LOGS = 1.0


def score_task(
    task: Task, predict: Predict, *, context: int | None = None, every: int = 1
) -> pd.DataFrame:
    """One row of scores per window.

    Parameters
    ----------
    predict : from a panel cut at its origins to its `Forecast` with the quantile `LEVELS` (or
        with none, for a model of points only).
    context : rows of history the model looks at; every : take each ``every``-th origin.

    Returns
    -------
    ``series`` (its id), the point scores, ``loss`` and ``size`` whose sums give WQL, ``msis``,
    ``inside80`` and ``inside95`` (shares), ``steps`` counted, ``refused`` (1 where the model had
    no forecast and seasonal naive stood in).
    """
    about = task.about
    history = task.history
    scale = mase_scale(history.y, history.offsets, about.measure_season)
    tables = []
    for panel, y, series in task.rounds(context, every):
        forecast = predict(panel)
        mean, quantiles, refused = _aligned(task, panel, forecast)
        rows: dict[str, Any] = {"series": task.full.ids[series]}
        rows |= _point_scores(task, y, mean, quantiles, scale[series])
        if quantiles is not None:
            rows |= _interval_scores(y, quantiles, scale[series])
        rows["steps"] = (~np.isnan(y)).sum(axis=1)
        rows["refused"] = refused.astype(np.int64)
        tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True)


def summary(scores: pd.DataFrame, naive2: pd.DataFrame | None = None) -> dict[str, float]:
    """Averages over the windows of `score_task`; with Naive2's scores, OWA too."""
    averaged = [*_benchmarked(), "mse", "mae_log", "bias", "msis"]
    out = {name: metrics.average(scores[name].to_numpy()) for name in averaged if name in scores}
    counted = scores["steps"].to_numpy(np.float64)
    if "loss" in scores:
        size = float(scores["size"].sum())
        out["wql"] = 2.0 * float(scores["loss"].sum()) / size if size > 0 else float("nan")
        for width in ("80", "95"):
            inside = scores[f"inside{width}"].to_numpy() * counted
            out[f"coverage{width}"] = float(np.nansum(inside) / counted.sum())
    if naive2 is not None:
        out["owa"] = metrics.owa(
            *(t[c].to_numpy() for t in (scores, naive2) for c in ("smape", "mase"))
        )
    out["windows"] = float(len(scores))
    out["refused"] = float(scores["refused"].sum())
    return out


def difference(
    task: Task, ours: pd.DataFrame, theirs: pd.DataFrame, naive2: pd.DataFrame
) -> tuple[float, float, float] | None:
    """Ours minus theirs in the task's metric, with the 95 % paired bootstrap interval over series.

    Over windows where there is one series only. None where the two were not scored on the same
    windows.
    """
    if len(ours) != len(theirs):
        return None
    if len(task.full) == 1:
        windows = np.arange(len(ours))
        ours, theirs, naive2 = (t.assign(series=windows) for t in (ours, theirs, naive2))
    a, b = (_by_series(task, t, naive2) for t in (ours, theirs))
    return paired_bootstrap(a.to_numpy(), b.loc[a.index].to_numpy())


def _by_series(task: Task, scores: pd.DataFrame, naive2: pd.DataFrame) -> pd.Series:
    if task.about.metric != "owa":
        return scores.groupby("series")[task.about.metric].mean()
    # Each series' share of OWA: their mean is OWA itself.
    unit = {c: metrics.average(naive2[c].to_numpy()) for c in ("smape", "mase")}
    share = 0.5 * (scores["smape"] / unit["smape"] + scores["mase"] / unit["mase"])
    return share.groupby(scores["series"]).mean()


def _aligned(
    task: Task, panel: Panel, forecast: Forecast
) -> tuple[Array, Array | None, npt.NDArray[np.bool_]]:
    """The forecast in the panel's order; seasonal naive where a series was refused."""
    if forecast.levels and tuple(forecast.levels) != LEVELS:
        raise DataError(f"the benchmark scores the levels {LEVELS}, not {forecast.levels}")
    place = pd.Index(forecast.ids).get_indexer(pd.Index(panel.ids))
    refused = place < 0
    mean = forecast.mean[place]
    quantiles = forecast.quantiles[place] if forecast.levels else None
    if refused.any():
        refused_series = panel.select(np.flatnonzero(refused))
        instead = naive_arrays(
            refused_series.y,
            refused_series.offsets,
            task.horizon,
            task.about.measure_season,
            LEVELS,
        )
        mean = mean.copy()
        mean[refused] = np.nan_to_num(instead.mean)
        if quantiles is not None:
            quantiles = quantiles.copy()
            quantiles[refused] = np.nan_to_num(instead.quantiles)
    return mean, quantiles, refused


def _point_scores(
    task: Task, y: Array, mean: Array, quantiles: Array | None, scale: Array
) -> dict[str, Array]:
    median = mean if quantiles is None else quantiles[..., _MEDIAN]
    point = mean if task.about.point == "mean" else median
    outcomes = Outcomes(y, point, np.empty((*y.shape, 0)), (), scale)
    out = {name: m.finish(m.by_origin(outcomes)) for name, m in _benchmarked().items()}
    out |= {"mse": metrics.mse(y, point), "bias": metrics.bias(y, point)}
    if task.about.metric == "mae_log":
        out["mae_log"] = metrics.mae(np.log(y), np.log(np.maximum(point, _LEAST_FOR_LOGS)))
    return out


def _benchmarked() -> dict[str, Metric]:
    return {name: metric for name, metric in METRICS.items() if metric.benchmarked}


def _interval_scores(y: Array, quantiles: Array, scale: Array) -> dict[str, Array]:
    counted = (~np.isnan(y)).sum(axis=1)
    low, high = quantiles[..., 0], quantiles[..., -1]
    deciles = metrics.pinball(y, quantiles[..., _LOW80 : _HIGH80 + 1], _DECILES)
    return {
        "loss": np.nan_to_num(deciles) * counted,
        "size": np.nansum(np.abs(y), axis=1),
        "msis": metrics.msis(y, low, high, scale),
        "inside80": metrics.coverage(y, quantiles[..., _LOW80], quantiles[..., _HIGH80]),
        "inside95": metrics.coverage(y, low, high),
    }
