"""Forecasts to beat: naive, seasonal naive and Naive2 for whole panels at once.

Each takes a `Panel` and gives a `Forecast`, like a trained forecaster does, so that a backtest
treats them alike. Nothing here loops over series. AutoETS and AutoTheta are in
`forecasting.evaluation.statistical`.

Missing values: seasonal naive repeats the last observed value of each season position; the
others see the history filled by `fill_missing`. A series that was never observed is refused and
named in the forecast's problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array, Float
from forecasting.data.forecast import Forecast
from forecasting.data.mapped import blocks
from forecasting.data.panel import Panel
from forecasting.errors import DataError, SeriesProblem
from forecasting.quantiles import JUDGED

# A seasonal series exceeds this many standard errors at its season's lag (90 %, two-sided).
SEASONALITY_LIMIT = 1.645


@dataclass(frozen=True)
class Reference:
    """What a baseline says of N series.

    Attributes
    ----------
    mean : [N, h], NaN for a series without any observation.
    quantiles : [N, h, Q].
    """

    mean: Float
    quantiles: Float

    @classmethod
    def normal(cls, mean: Float, sigma: Float, levels: Sequence[float]) -> Reference:
        """Normal quantiles around ``mean`` [N, h] with standard deviation ``sigma`` [N, h]."""
        z = np.array([NormalDist().inv_cdf(level) for level in levels])
        return cls(mean, mean[..., None] + sigma[..., None] * z)

    def of(self, panel: Panel, levels: Sequence[float]) -> Forecast:
        """As the `Forecast` of a panel; series without a forecast become problems."""
        known = np.isfinite(self.mean).all(axis=1)
        problems = [
            SeriesProblem(
                str(name),
                "no_observed_value",
                f"series {name!r} has no observed value: there is nothing to repeat",
            )
            for name in panel.ids[~known]
        ]
        (start, freq), days = panel.following(), panel.days()
        return Forecast(
            ids=panel.ids[known],
            start=start[known],
            freq=freq,
            tz=panel.tz,
            mean=self.mean[known],
            quantiles=self.quantiles[known],
            levels=tuple(levels),
            problems=problems,
            days=None if days is None else days[known],
        )


def naive(
    panel: Panel,
    horizon: int,
    *,
    season: int | None = None,
    levels: Sequence[float] = JUDGED,
) -> Forecast:
    """The last observed value, repeated; intervals grow with the square root of the step.

    ``season`` is ignored: it is there so that baselines can be called alike.
    """
    return naive_arrays(panel.y, panel.offsets, horizon, 1, levels).of(panel, levels)


def seasonal_naive(
    panel: Panel,
    horizon: int,
    *,
    season: int | None = None,
    levels: Sequence[float] = JUDGED,
) -> Forecast:
    """The last observed season, repeated; see `naive_arrays`.

    ``season`` is in steps; None takes the frequency's own.
    """
    season = _season(panel, season)
    return naive_arrays(panel.y, panel.offsets, horizon, season, levels).of(panel, levels)


def naive2(
    panel: Panel,
    horizon: int,
    *,
    season: int | None = None,
    levels: Sequence[float] = JUDGED,
) -> Forecast:
    """The last seasonally adjusted value, reseasoned: M4's scaling method; see `naive2_arrays`."""
    season = _season(panel, season)
    return naive2_arrays(panel.y, panel.offsets, horizon, season, levels).of(panel, levels)


def _by_blocks(told: Callable[[Array, Array], Reference], y: Array, offsets: Array) -> Reference:
    """What a baseline says of each series, of some blocks of them at a time."""
    parts = [
        told(y[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
        for first, last in blocks(offsets)
    ] or [told(y, offsets)]
    if len(parts) == 1:
        return parts[0]
    return Reference(
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.quantiles for part in parts]),
    )


def naive_arrays(
    y: Array, offsets: Array, horizon: int, season: int, levels: Sequence[float] = JUDGED
) -> Reference:
    """Repeat the last observed value of each season position.

    The interval is normal. Its variance is the mean squared in-sample difference over a season,
    times the number of seasons since the last observed one (Hyndman & Athanasopoulos, FPP3,
    section 5.5). A series shorter than a season, and a season position that was never observed,
    repeat the last value instead; a series whose differences are all unobserved gets intervals
    of no width.

    Parameters
    ----------
    y : [T] histories, NaN = missing; offsets : [N + 1] bounds of each series.
    season : steps, 1 for the plain naive forecast.
    """
    return _by_blocks(
        partial(_naive_arrays, horizon=horizon, season=season, levels=levels), y, offsets
    )


def _naive_arrays(
    y: Array, offsets: Array, *, horizon: int, season: int, levels: Sequence[float]
) -> Reference:
    y = np.asarray(y, np.float64)
    lengths = np.diff(offsets)
    steps = np.arange(horizon)
    last = _last(forward_fill(y, offsets), offsets)
    seasonal = lengths >= season
    by_season = _seasonal_fill(y, offsets, season)
    rows = offsets[1:, None] - season + steps % season
    picked = by_season[np.where(seasonal[:, None], rows, 0)] if len(y) else np.empty((0, horizon))
    usable = seasonal[:, None] & ~np.isnan(picked)
    mean = np.where(usable, picked, last[:, None])
    lag_season, lag_one = _mean_square(y, offsets, season), _mean_square(y, offsets, 1)
    variance = np.where(
        seasonal[:, None] & ~np.isnan(lag_season)[:, None],
        np.nan_to_num(lag_season)[:, None] * (1 + steps // season),
        np.nan_to_num(lag_one)[:, None] * (1 + steps),
    )
    return Reference.normal(mean, np.sqrt(variance), levels)


def naive2_arrays(
    y: Array, offsets: Array, horizon: int, season: int, levels: Sequence[float] = JUDGED
) -> Reference:
    """M4's Naive2: seasonal adjustment where a test finds a season, then the last value.

    The test compares the autocorrelation at the season's lag with its 90 % limit; the adjustment
    is a classical multiplicative decomposition. A series that it can't adjust (an index that is
    not positive, as with zeros and negative values) counts as not seasonal. Intervals are those
    of a random walk on the adjusted series, times the index.

    ``y`` : [T] histories, one after the other, with bounds ``offsets`` [N + 1].
    """
    return _by_blocks(
        partial(_naive2_arrays, horizon=horizon, season=season, levels=levels), y, offsets
    )


def _naive2_arrays(
    y: Array, offsets: Array, *, horizon: int, season: int, levels: Sequence[float]
) -> Reference:
    y = fill_missing(y, offsets, season)
    seasonal = seasonality_test(y, offsets, season)
    index, seasonal = _indices(y, offsets, season, seasonal)
    series, position = _places(offsets)
    adjusted = y / index[series, position % season]
    lengths = np.diff(offsets)
    steps = np.arange(horizon)
    ahead = index[np.arange(len(lengths))[:, None], (lengths[:, None] + steps) % season]
    mean = _last(adjusted, offsets)[:, None] * ahead
    variance = np.nan_to_num(_mean_square(adjusted, offsets, 1))[:, None] * (1 + steps)
    return Reference.normal(mean, np.sqrt(variance) * ahead, levels)


def seasonality_test(y: Array, offsets: Array, season: int) -> npt.NDArray[np.bool_]:
    """Whether each series is seasonal by the 90 % autocorrelation test of the M4 competition.

    ``y`` [T] without missing values. Never seasonal: a season of 1, fewer than three seasons, or
    a season beyond the largest lag computed, ``floor(10 log10(n))``.
    """
    lengths = np.diff(offsets)
    count = len(lengths)
    largest = np.floor(10.0 * np.log10(np.maximum(lengths, 1)))
    candidate = (season > 1) & (lengths >= 3 * season) & (season <= largest)
    if not candidate.any():
        return np.zeros(count, np.bool_)
    series, _ = _places(offsets)
    centre = y - (np.bincount(series, y, count) / np.maximum(lengths, 1))[series]
    power = np.bincount(series, centre * centre, count)
    squares = np.zeros(count)
    correlation = np.zeros(count)
    for lag in range(1, season + 1):
        inside = series[lag:] == series[:-lag]
        product = np.where(inside, centre[lag:] * centre[:-lag], 0.0)
        total = np.bincount(series[lag:], product, count)
        correlation = np.divide(total, power, out=np.zeros(count), where=power > 0)
        if lag < season:
            squares += correlation**2
    limit = SEASONALITY_LIMIT * np.sqrt((1.0 + 2.0 * squares) / np.maximum(lengths, 1))
    return np.asarray(candidate & (np.abs(correlation) > limit))


def forward_fill(y: Array, offsets: Array) -> Float:
    """``y`` [T] with each missing value replaced by the last one observed before it."""
    return _carry(np.asarray(y, np.float64), np.repeat(offsets[:-1], np.diff(offsets)))


def fill_missing(y: Array, offsets: Array, season: int = 1) -> Float:
    """``y`` [T] without holes, for methods that allow none.

    A missing value takes the last one observed at its season position, else the last one
    observed, else the next one. A series never observed stays missing.
    """
    y = np.asarray(y, np.float64)
    if not np.isnan(y).any():
        return y
    filled = forward_fill(_seasonal_fill(y, offsets, season), offsets)
    backwards = forward_fill(filled[::-1], (len(y) - offsets)[::-1])[::-1]
    return np.where(np.isnan(filled), backwards, filled)


def _season(panel: Panel, season: int | None) -> int:
    season = panel.freq.season if season is None else season
    if season < 1:
        raise DataError(f"season = {season}: give the steps of a season, 1 for none")
    return season


def _places(offsets: Array) -> tuple[Array, Array]:
    """[T] series of each row, [T] position within it."""
    series = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return series, np.arange(len(series)) - offsets[series]


def _last(y: Float, offsets: Array) -> Float:
    """[N] value of each last row, NaN for a series without rows."""
    if not len(y):
        return np.full(len(offsets) - 1, np.nan)
    return np.where(np.diff(offsets) > 0, y[offsets[1:] - 1], np.nan)


def _carry(y: Float, first: Array) -> Float:
    """Carry the last observation forward, never past ``first`` [T], the row a group starts at."""
    if not np.isnan(y).any():
        return y
    source = np.maximum.accumulate(np.where(np.isnan(y), -1, np.arange(len(y))))
    return np.where(source >= first, y[source], np.nan)


def _seasonal_fill(y: Float, offsets: Array, season: int) -> Float:
    """``y`` with each missing value replaced by the last one at its season position."""
    if not np.isnan(y).any():
        return y
    series, position = _places(offsets)
    key = series * season + position % season
    order = np.argsort(key, kind="stable")
    key = key[order]
    opens = np.concatenate([[True], key[1:] != key[:-1]])
    first = np.maximum.accumulate(np.where(opens, np.arange(len(key)), 0))
    out = np.empty_like(y)
    out[order] = _carry(y[order], first)
    return out


def _mean_square(y: Float, offsets: Array, lag: int) -> Float:
    """[N] mean squared difference of values ``lag`` rows apart; NaN where there is no pair."""
    count = len(offsets) - 1
    series, _ = _places(offsets)
    if len(y) <= lag:
        return np.full(count, np.nan)
    squares = np.square(y[lag:] - y[:-lag])
    used = (series[lag:] == series[:-lag]) & ~np.isnan(squares)
    pairs = np.bincount(series[lag:][used], minlength=count)
    total = np.bincount(series[lag:][used], squares[used], count)
    out = np.full(count, np.nan)
    return np.asarray(np.divide(total, pairs, out=out, where=pairs > 0))


def _indices(
    y: Float, offsets: Array, season: int, seasonal: npt.NDArray[np.bool_]
) -> tuple[Float, npt.NDArray[np.bool_]]:
    """[N, season] multiplicative seasonal indices, 1 where a series is not seasonal."""
    count = len(offsets) - 1
    index = np.ones((count, season))
    if not seasonal.any():
        return index, seasonal
    series, position = _places(offsets)
    half = season // 2
    weights = np.full(2 * half + 1, 1.0 / season)
    if season % 2 == 0:
        weights[[0, -1]] /= 2.0
    trend = np.zeros(len(y))
    # Shifted sums, not a running one: differences of long cumulative sums lose digits.
    for shift, weight in zip(range(-half, half + 1), weights, strict=True):
        trend += weight * np.roll(y, -shift)
    inner = (position >= half) & (position < np.diff(offsets)[series] - half)
    inner &= seasonal[series] & (trend != 0.0)
    key = (series * season + position % season)[inner]
    total = np.bincount(key, y[inner] / trend[inner], count * season)
    number = np.bincount(key, minlength=count * season)
    ratio = np.divide(total, number, out=np.zeros(count * season), where=number > 0)
    ratio = ratio.reshape(count, season)
    adjustable = seasonal & (ratio > 0.0).all(axis=1) & np.isfinite(ratio).all(axis=1)
    index[adjustable] = ratio[adjustable] / ratio[adjustable].mean(axis=1, keepdims=True)
    return index, adjustable
