"""What networks make of the ends of series, and how that becomes quantiles.

Networks are asked once; what is made of their answer, with which shares of classical forecasts,
of which members, with which correction, can then be tried as often as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.config import Classical
from forecasting.data.panel import Panel
from forecasting.prediction.window_theta import window_theta
from forecasting.quantiles import quantiles_of, rearrange
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch

# Maps y [R], offsets [N + 1], season, horizon, names and rows read to forecasts [K, N, H].
Pool = Callable[[Array, Array, int, int, Sequence[Classical], int], Array]

# Observed values needed to bound what a transform that grows makes of forecasts.
ENOUGH_TO_BOUND = 8
# Members up to which a median by comparing neighbours is quicker than by sorting each value's.
FEW_MEMBERS = 7


@dataclass(frozen=True)
class Reading:
    """The answer of M networks on N series, in conditioned units: ``(y - centre) / unit``.

    Attributes
    ----------
    params : [N, M, H, D] of the head, in units of ``scale`` about ``level``, [N] each.
    centre, unit : [N] of the conditioning, in transformed units.
    bounds : [N] each, the lowest and highest value that a forecast may take; None for no bounds.
    classical : [K, N, H] the pool's forecasts, or the Theta method's of the window; NaN where
        there is none; None where nobody asked for them. names : [K] of the pool's, or none.
    """

    params: Array
    level: Array
    scale: Array
    centre: Array
    unit: Array
    bounds: tuple[Array, Array] | None
    classical: Array | None
    names: tuple[Classical, ...] = ()

    @classmethod
    def of(
        cls,
        batch: Batch[Array],
        conditioning: tuple[Array, Array],
        answer: tuple[Array, Array, Array],
        config: Resolved,
        *,
        beside: Panel | None,
        pool: Pool,
    ) -> Reading:
        """From an assembled batch and a runner's ``answer`` to it: params, level and scale.

        ``beside`` : the panel of the batch, where classical forecasts are wanted. ``pool`` : who
        makes those of whole histories.
        """
        params, level, scale = answer
        grows = config.model.y_transform.grows
        bounds = bounds_of(batch["y"], batch["mask"]) if grows else None
        classical = None
        if beside is not None and config.model.pool:
            classical = pooled(beside, config, conditioning, batch, bounds, pool)
        elif beside is not None:
            classical = window_theta(batch["y"], batch["mask"], config.season, config.horizon)[None]
        return cls(
            params=params,
            # Level and spread depend on the data alone: they are the same for every member.
            level=level[:, 0].astype(np.float64),
            scale=scale[:, 0].astype(np.float64),
            centre=conditioning[0],
            unit=conditioning[1],
            bounds=bounds,
            classical=classical,
            names=tuple(config.model.pool),
        )

    @property
    def spread(self) -> Array:
        """[N] that forecasts are scaled by, in transformed units."""
        return np.asarray(self.scale * self.unit)

    def quantiles(
        self,
        config: Resolved,
        correction: Array | None,
        *,
        blend: float,
        members: Sequence[int] | None = None,
    ) -> Array:
        """[N, H, Q] at the trained levels, in transformed units.

        Parameters
        ----------
        correction : [H, Q] in units of the spread. blend : share of the classical
            forecasts, weighted as the settings say.
        members : which of the networks forecast, with the median of theirs; None: all.
        """
        params = self.params if members is None else self.params[:, list(members)]
        values = quantiles_of(params, self.scale[:, None, None], config.model)
        values = values[:, 0] if values.shape[1] == 1 else median_of(values.astype(np.float64))
        spread, level = self.spread, self.level * self.unit
        shift = (level + self.centre)[:, None]
        if blend:
            if self.classical is None:
                raise AssertionError("a reading without classical forecasts cannot be blended")
            pool = config.model.pool
            weights = [pool.get(name, 0.0) for name in self.names] or [1.0]
            classical = self.classical[0] * weights[0]
            for weight, part in zip(weights[1:], self.classical[1:], strict=True):
                classical += weight * part
            away = classical * self.unit[:, None]
            away -= level[:, None]
            away -= values[..., values.shape[2] // 2] * spread[:, None]
            away *= blend
            away[~np.isfinite(classical)] = 0.0
            shift = shift + away
        if correction is not None:
            values = rearrange(values + correction)
        out = values * spread[:, None, None]
        out += shift[..., None]
        if self.bounds is not None:
            low, high = (end * self.unit + self.centre for end in self.bounds)
            np.maximum(out, low[:, None, None], out=out)
            np.minimum(out, high[:, None, None], out=out)
        return np.asarray(out)

    def count_means(self, config: Resolved) -> Array | None:
        """[N, H] means of counts, the members' own averaged; None where nothing is counted."""
        mean_of = config.model.told_by.count_mean
        if mean_of is None:
            return None
        return np.asarray(mean_of(self.params, self.scale[:, None, None]).mean(axis=1))


def median_of(values: Array) -> Array:
    """[N, ...] the median over the members, [N, M, ...]: what `numpy.median` gives, for a few."""
    count = values.shape[1]
    if count > FEW_MEMBERS:
        return np.asarray(np.median(values, axis=1))
    order = [values[:, k] for k in range(count)]
    # As many bubbles as it takes for the middle to be in place.
    for end in range(count - 1, (count - 1) // 2 - 1, -1):
        for k in range(end):
            low, high = order[k], order[k + 1]
            order[k], order[k + 1] = np.minimum(low, high), np.maximum(low, high)
    middle = order[count // 2]
    return np.asarray(middle if count % 2 else (order[count // 2 - 1] + middle) / 2.0)


def pooled(
    panel: Panel,
    config: Resolved,
    conditioning: tuple[Array, Array],
    batch: Batch[Array],
    bounds: tuple[Array, Array] | None,
    pool: Pool,
) -> Array:
    """[K, N, H] the pool's forecasts of whole histories, in conditioned units.

    ``panel`` : the series of the batch. What the transform cannot read counts as missing; a
    forecast that it cannot read is the lowest value of the window.
    """
    transform, model = config.model.y_transform, config.model
    y = np.where(np.isnan(transform.forward(panel.y)), np.nan, panel.y)
    names = tuple(model.pool)
    forecasts = pool(y, panel.offsets, config.season, config.horizon, names, model.pool_rows)
    centre, unit = (part[:, None] for part in conditioning)
    read = (transform.forward(forecasts) - centre) / unit
    low = np.min(batch["y"], axis=1, where=batch["mask"] > 0, initial=np.inf)[:, None]
    lost = np.isfinite(forecasts) & np.isnan(read) & np.isfinite(low)
    read = np.where(lost, low, read)
    if bounds is not None:
        read = np.clip(read, bounds[0][:, None], bounds[1][:, None])
    return np.asarray(read)


def bounds_of(y: Array, mask: Array) -> tuple[Array, Array]:
    """[N] each: a whole range beyond what the window [N, R] has shown.

    In logs a restless series' far quantiles would otherwise be thousands of times its values.
    """
    seen = mask > 0
    if y.shape[1] >= ENOUGH_TO_BOUND and seen.all():
        low, high = y.min(axis=1), y.max(axis=1)
        span = high - low
        span[span == 0.0] = np.inf
        return low - span, high + span
    # Of a window that shows nothing both are 0, and its span is no bound.
    low = np.min(y, axis=1, where=seen, initial=np.inf)
    high = np.max(y, axis=1, where=seen, initial=-np.inf)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
    span = np.where((seen.sum(axis=1) >= ENOUGH_TO_BOUND) & (high > low), high - low, np.inf)
    return low - span, high + span
