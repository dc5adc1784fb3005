"""A global LightGBM model through mlforecast: the peer on data with covariates known ahead.

One model over all series, trained on lags, rolling means, calendar, covariates and static columns,
on logs where all values are positive, with the absolute error. It forecasts points, step by step
where a lag is shorter than the horizon.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import wall_clock
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError, MissingGroupError
from forecasting.evaluation.baselines import fill_missing

SHORT_LAGS = (1, 2, 3, 4, 8, 13, 26, 52)
ROLLING = (4, 13)
# Half or twice the trees, leaves or rate change the error inside the histories by under 3 %.
SETTINGS: dict[str, Any] = {
    "objective": "l1",
    "n_estimators": 600,
    "learning_rate": 0.05,
    "num_leaves": 63,
    "min_child_samples": 20,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.8,
    "random_state": 0,
    "n_jobs": 1,
    "verbose": -1,
}


def fit_lightgbm(train: Panel, horizon: int, season: int) -> Callable[[Panel], Forecast]:
    """Train on a panel; the result forecasts panels that carry their future covariates.

    Raises
    ------
    MissingGroupError : lightgbm or mlforecast is not installed.
    """
    try:
        import lightgbm
        import mlforecast
        from mlforecast.lag_transforms import RollingMean
    except ImportError:
        raise MissingGroupError(
            "benchmark",
            "the LightGBM peer needs lightgbm and mlforecast: pip install 'gatecast[benchmark]'",
        ) from None
    logs = bool(np.nanmin(train.y) > 0)
    if season >= horizon > 1:
        # A day ahead from days and weeks back: no step depends on another forecast.
        lags = [k * season for k in (1, 2, 3, 4, 5, 6, 7, 14)]
        transforms: dict[int, list[Any]] = {season: [RollingMean(season, min_samples=1)]}
    else:
        lags = list(SHORT_LAGS)
        transforms = {1: [RollingMean(w, min_samples=1) for w in ROLLING]}
    model = mlforecast.MLForecast(
        models={"point": lightgbm.LGBMRegressor(**SETTINGS)},
        freq=1,
        lags=lags,
        lag_transforms=transforms,
        num_threads=1,
    )
    static = [c.name for c in train.schema.static]
    frame = _table(train, season, logs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(frame, static_features=static, dropna=False)

    def predict(panel: Panel) -> Forecast:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = model.predict(
                horizon, new_df=_table(panel, season, logs), X_df=_ahead(panel, horizon)
            )
        out = out.sort_values(["unique_id", "ds"])
        mean = out["point"].to_numpy(np.float64).reshape(len(panel), horizon)
        return Forecast(
            ids=panel.ids,
            start=panel.freq.shift(panel.start, panel.lengths),
            freq=panel.freq,
            tz=panel.tz,
            mean=np.exp(mean) if logs else mean,
            quantiles=np.empty((*mean.shape, 0)),
            levels=(),
        )

    return predict


def _table(panel: Panel, season: int, logs: bool) -> pd.DataFrame:
    """The long table of features known at each row; series and steps are numbers."""
    series = panel.series
    steps = np.arange(panel.rows) - panel.offsets[series]
    y = fill_missing(panel.y, panel.offsets, season)
    columns: dict[str, Array] = {
        "unique_id": series,
        "ds": steps,
        "y": np.log(y) if logs else y,
    }
    columns |= _known(panel, panel.freq.shift(panel.start[series], steps), panel.future)
    for j, covariate in enumerate(panel.schema.static):
        columns[covariate.name] = panel.static[series, j]
    return pd.DataFrame(columns)


def _ahead(panel: Panel, horizon: int) -> pd.DataFrame:
    """What is known of the steps ahead."""
    if panel.horizon is None:
        raise GatecastError("the LightGBM peer needs the covariates of the steps ahead")
    steps = (panel.lengths[:, None] + np.arange(horizon)).ravel()
    series = np.repeat(np.arange(len(panel)), horizon)
    future = panel.horizon[:, :horizon].reshape(-1, panel.horizon.shape[2])
    stamps = panel.freq.shift(panel.start[series], steps)
    return pd.DataFrame({"unique_id": series, "ds": steps, **_known(panel, stamps, future)})


def _known(panel: Panel, stamps: Array, future: Array) -> dict[str, Array]:
    columns = {c.name: future[:, j] for j, c in enumerate(panel.schema.future)}
    if panel.freq.integer:
        return columns
    local = wall_clock(stamps, panel.tz) if panel.freq.sub_daily else stamps
    days = local.astype("datetime64[D]")
    year = days.astype("datetime64[Y]")
    columns["day_of_year"] = (days - year.astype("datetime64[D]")).astype(np.float64)
    if panel.freq.sub_daily:
        columns["hour"] = (local - days).astype(np.float64) / 3.6e9
        columns["weekday"] = ((days.astype(np.int64) + 3) % 7).astype(np.float64)
    return columns
