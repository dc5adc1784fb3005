"""The classical forecasts by name, for whole panels at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.block import Block
from forecasting.classical.few import FEW
from forecasting.classical.seasonal import Adjusted, adjusted
from forecasting.classical.smoothing import Season, Trend, damped, seasonal, trend_of
from forecasting.classical.theta import theta

# Series worked on at once: all candidates of their constants stay in cache.
AT_ONCE = 512
# Beyond this season smoothing has too many states; it stays as it is.
LONGEST_SEASON = 24
# Seasons that a series must hold for its season to be smoothed.
SEASONS_NEEDED = 2


class Fits:
    """Fits of one block with a season of m steps, each made when it is first asked for."""

    def __init__(self, block: Block, season: int) -> None:
        self.block, self.season = block, season

    @cached_property
    def by_ratio(self) -> Adjusted:
        """The block over its season, or less it where values are not all positive."""
        return adjusted(self.block, self.season)

    @cached_property
    def trend(self) -> Trend:
        """Damped smoothing of that."""
        return damped(self.by_ratio.block)

    @cached_property
    def multiplied(self) -> Season:
        """Smoothing with a season that multiplies."""
        return seasonal(self.block, self.by_ratio, self.trend, ratios=True)

    @cached_property
    def added(self) -> Season:
        """Smoothing with a season that adds up; the slope moves as in ``trend``."""
        begin, like = adjusted(self.block, self.season, ratios=False), self.trend
        trend = trend_of(begin.block, like.alpha, like.share, like.phi)
        return seasonal(self.block, begin, trend, ratios=False)


def _theta(fits: Fits, horizon: int) -> Array:
    return fits.by_ratio.again(theta(fits.by_ratio.block).forecast(horizon))


def _damped(fits: Fits, horizon: int) -> Array:
    return fits.by_ratio.again(fits.trend.forecast(horizon))


def _seasonal(fits: Fits, horizon: int) -> Array:
    """The season that errs less of the two; none for a series too short to show one."""
    plain = _damped(fits, horizon)
    if not 1 < fits.season <= LONGEST_SEASON:
        return plain
    forecast, ratios = fits.added.forecast(horizon), fits.by_ratio.ratios
    if ratios.any():
        better = ratios & (fits.multiplied.trend.errors < fits.added.trend.errors)
        forecast = np.where(better, fits.multiplied.forecast(horizon), forecast)
    return np.where(fits.block.lengths >= SEASONS_NEEDED * fits.season, forecast, plain)


def _drift(fits: Fits, horizon: int) -> Array:
    """The last season, repeated, moved by the mean change from the first season to the last."""
    block, n = fits.block, fits.block.lengths
    m = np.where(n >= SEASONS_NEEDED * fits.season, fits.season, 1)
    ahead, rows = np.arange(horizon)[:, None], np.arange(len(block.y))[:, None]
    last = np.take_along_axis(block.y, n - m + ahead % m, axis=0)
    first, final = rows < m, (rows >= n - m) & (rows < n)
    change = np.where(final, block.y, 0.0).sum(axis=0) - np.where(first, block.y, 0.0).sum(axis=0)
    return np.asarray(last + change / np.maximum(n - m, 1) * (1 + ahead // m))


# By what ``model.pool`` calls them; what settings must know of each stands in
# `forecasting.parts.CLASSICAL`.
MEMBERS: dict[str, Callable[[Fits, int], Array]] = {
    "theta": _theta,
    "damped": _damped,
    "seasonal": _seasonal,
    "drift": _drift,
}


def classical(
    y: Array,
    offsets: Array,
    season: int,
    horizon: int,
    names: Sequence[str],
    rows: int | None = None,
) -> Array:
    """Forecasts of a panel's series by each of the named methods.

    Parameters
    ----------
    y : [T] histories, NaN = missing; offsets : [N + 1] bounds. season : steps, 1 for none.
    names : of `MEMBERS`. rows : of the end of each history that count; None: all.

    Returns
    -------
    [len(names), N, H]; NaN for a series without any value.
    """
    block = Block.of(y, offsets, season, rows)
    count = len(block.lengths)
    out = np.full((len(names), count, horizon), np.nan)
    filled = int((block.lengths > 0).sum())
    for chosen in _parts(block.lengths[:filled]):
        part = block.columns(chosen)
        fits = Fits(part, season)
        for k, name in enumerate(names):
            out[k, part.order] = (MEMBERS[name](fits, horizon) * part.unit).T
    return out


def _parts(lengths: Array) -> list[slice]:
    """Neighbours to be worked on together, of falling ``lengths``: few by their lengths."""
    count = len(lengths)
    bounds = [*range(0, count, AT_ONCE), count]
    if count <= FEW:
        bounds = [k for k in range(count) if k == 0 or lengths[k] != lengths[k - 1]]
        bounds.append(count)
    return [slice(a, b) for a, b in pairwise(bounds)]
