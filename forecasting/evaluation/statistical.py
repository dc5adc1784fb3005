"""AutoETS and AutoTheta of the statsforecast package, spoken to like any other baseline.

statsforecast is an optional dependency and fits one series after the other: minutes for a
thousand series, where everything else here takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.errors import lacking
from forecasting.evaluation.baselines import Reference, fill_missing, naive_arrays
from forecasting.hardware.switches import no_warnings
from forecasting.quantiles import JUDGED

if TYPE_CHECKING:
    from forecasting.data.forecast import Forecast


# Beyond this season exponential smoothing has too many states; R's forecast package and
# statsforecast both drop the season there.
LONGEST_ETS_SEASON = 24
# The median of a normal interval has no lower and upper end.
_MEDIAN = 0.5


def auto_ets(
    panel: Panel,
    horizon: int,
    *,
    season: int | None = None,
    levels: Sequence[float] = JUDGED,
    rows: int | None = None,
    jobs: int = 1,
) -> Forecast:
    """Exponential smoothing with the components that its AICc chooses; see `auto_ets_arrays`.

    ``rows`` : of history to look at, None for all. ``jobs`` : processes to fit the series in.
    """
    return _of_panel(auto_ets_arrays, panel, horizon, season, levels, rows, jobs)


def auto_theta(
    panel: Panel,
    horizon: int,
    *,
    season: int | None = None,
    levels: Sequence[float] = JUDGED,
    rows: int | None = None,
    jobs: int = 1,
) -> Forecast:
    """The best of four Theta models by in-sample error; see `auto_theta_arrays`.

    ``rows`` : of history to look at, None for all. ``jobs`` : processes to fit the series in.
    """
    return _of_panel(auto_theta_arrays, panel, horizon, season, levels, rows, jobs)


def auto_ets_arrays(
    y: Array,
    offsets: Array,
    horizon: int,
    season: int,
    levels: Sequence[float] = JUDGED,
    jobs: int = 1,
) -> Reference:
    """AutoETS of [T] histories; a season beyond 24 is taken out by STL first.

    Raises
    ------
    MissingGroupError : statsforecast is not installed.
    """
    models = _models()
    if season > LONGEST_ETS_SEASON:
        model = models.MSTL(season_length=season, trend_forecaster=models.AutoETS(model="ZZN"))
    else:
        model = models.AutoETS(season_length=season)
    return _forecast(model, y, offsets, horizon, season, levels, jobs)


def auto_theta_arrays(
    y: Array,
    offsets: Array,
    horizon: int,
    season: int,
    levels: Sequence[float] = JUDGED,
    jobs: int = 1,
) -> Reference:
    """AutoTheta of [T] histories.

    Raises
    ------
    MissingGroupError : statsforecast is not installed.
    """
    model = _models().AutoTheta(season_length=season)
    return _forecast(model, y, offsets, horizon, season, levels, jobs)


def _of_panel(
    fit: Callable[..., Reference],
    panel: Panel,
    horizon: int,
    season: int | None,
    levels: Sequence[float],
    rows: int | None,
    jobs: int,
) -> Forecast:
    panel = panel if rows is None else panel.tail(rows)
    season = panel.freq.season if season is None else season
    return fit(panel.y, panel.offsets, horizon, season, levels, jobs).of(panel, levels)


def _models() -> Any:
    try:
        from statsforecast import models
    except ModuleNotFoundError as error:
        raise lacking("a forecast of AutoETS or AutoTheta", error) from None
    return models


def _forecast(
    model: Any,
    y: Array,
    offsets: Array,
    horizon: int,
    season: int,
    levels: Sequence[float],
    jobs: int,
) -> Reference:
    """Histories are filled first; where the library fails on a series, seasonal naive stands in."""
    from statsforecast import StatsForecast

    reference = naive_arrays(y, offsets, horizon, season, levels)
    filled = fill_missing(y, offsets, season)
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    known = ~np.isnan(filled)
    places = np.unique(series[known])
    if not len(places):
        return reference
    # Loaded with the forecasts: who only reads the names of baselines need not wait for it.
    import pandas as pd

    frame = pd.DataFrame(
        {"unique_id": series[known], "ds": np.flatnonzero(known), "y": filled[known]}
    )
    # A central interval's width in percent gives the library both of its ends.
    widths = {q: round(100.0 * abs(2.0 * q - 1.0), 6) for q in levels if q != _MEDIAN}
    asked_widths = sorted(set(widths.values()))
    # One line per awkward series would drown everything else.
    with no_warnings():
        library = StatsForecast(
            models=[model], freq=1, n_jobs=jobs, fallback_model=_models().Naive()
        )
        out = library.forecast(df=frame, h=horizon, level=asked_widths or None)
    out = out.sort_values("unique_id", kind="stable")
    name = model.alias
    mean = reference.mean.copy()
    quantiles = reference.quantiles.copy()
    mean[places] = out[name].to_numpy(np.float64).reshape(-1, horizon)
    # The library mixes up its columns lo-80, lo-95, … as soon as one series of the panel falls
    # back (statsforecast 2.0.3), but their values are right: sorted, each is in its place.
    ends = out[[c for c in out.columns if c.startswith(f"{name}-")]].to_numpy(np.float64)
    ends = np.sort(ends, axis=1).reshape(len(places), horizon, -1)
    for column, q in enumerate(levels):
        if q == _MEDIAN:
            quantiles[..., column] = mean
            continue
        rank = asked_widths.index(widths[q])
        place = len(asked_widths) + rank if q > _MEDIAN else len(asked_widths) - 1 - rank
        quantiles[places, :, column] = ends[..., place]
    failed = ~(np.isfinite(mean).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2)))
    mean[failed], quantiles[failed] = reference.mean[failed], reference.quantiles[failed]
    return Reference(mean, quantiles)
