"""The conditioning that lets float32 carry any magnitude.

The network sees ``(transform(y) - centre) / unit``. Centre and unit only keep float32 exact: level
and spread are taken again, causally, at every origin inside the network.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import by_series
from forecasting.transforms import TRANSFORMS

# Share of its mean's size below which a series' deviation is rounding.
ROUNDING = 1e-12
# A series' deviation, as a share of its level, where no series of a panel says one.
UNKNOWN_SHARE = 0.1


def own_spreads(y: Array, offsets: Array, transform: str) -> tuple[Array, Array]:
    """[N] mean of each series in a transform's units, and mean deviation, 0 where it says none.

    Parameters
    ----------
    y : [T] values, NaN missing; offsets : [N + 1] bounds of each series.
    """

    def spreads_of(some: Array, bounds: Array) -> Array:
        count = len(bounds) - 1
        series = np.repeat(np.arange(count), np.diff(bounds))
        t = TRANSFORMS[transform].forward(some)
        spreads = condition(
            t, ~np.isnan(t), series, count, centred=True, scaled=True, usual=(0.0, 0.0)
        )
        return np.stack(spreads, axis=1)

    moments = by_series(spreads_of, y, offsets)
    return moments[:, 0], moments[:, 1]


def usual_spread(y: Array, offsets: Array, transform: str) -> tuple[float, float]:
    """How far a panel's series deviate from their means, for those that cannot say it.

    Parameters
    ----------
    y : [T] values, NaN missing; offsets : [N + 1] bounds of each series.

    Returns
    -------
    share : the typical series' mean absolute deviation over its mean's size; 0 in logs, where
        every deviation is a share. amount : in logs the typical deviation; elsewhere that of the
        least restless series (the 5th percentile), which a series about 0 is most like.
    """
    return usual_of(*own_spreads(y, offsets, transform), transform)


def usual_of(centre: Array, unit: Array, transform: str) -> tuple[float, float]:
    """As `usual_spread`, of the [N] means and mean deviations that `own_spreads` found."""
    says, shares = unit > 0, TRANSFORMS[transform].grows
    if not says.any():
        return (0.0, UNKNOWN_SHARE) if shares else (UNKNOWN_SHARE, 1.0)
    level = np.abs(centre)
    if shares or not (says & (level > 0)).any():
        return 0.0, float(np.median(unit[says]))
    share = np.median(unit[says & (level > 0)] / level[says & (level > 0)])
    return min(float(share), 1.0), float(np.percentile(unit[says], 5))


def condition(
    t: Array,
    mask: Array,
    series: Array,
    count: int,
    *,
    centred: bool,
    scaled: bool,
    usual: tuple[float, float] = (0.0, 1.0),
) -> tuple[Array, Array]:
    """Centre and unit of each series over the given flat rows: mean, mean absolute deviation.

    Parameters
    ----------
    usual : what series deviate by whose rows do not say it (one value, equal ones): a share of
        the centre's size, and where that is nothing, an amount; see `usual_spread`.

    Returns
    -------
    [N] float64 each; the centre is 0 where there is nothing to take it from.
    """
    counts = np.bincount(series, weights=mask, minlength=count)
    safe = np.maximum(counts, 1)
    values = np.where(mask, t, 0.0)
    centre = np.zeros(count)
    if centred:
        centre = np.bincount(series, weights=values, minlength=count) / safe
    unit = np.ones(count)
    if scaled:
        deviation = np.where(mask, np.abs(t - centre[series]), 0.0)
        unit = _spoken(
            np.bincount(series, weights=deviation, minlength=count) / safe, centre, usual
        )
    return centre, unit


def condition_rows(
    t: Array,
    known: Array | None,
    *,
    centred: bool,
    scaled: bool,
    usual: tuple[float, float] = (0.0, 1.0),
) -> tuple[Array, Array, Array]:
    """What `condition` says of series side by side, and them by it.

    Parameters
    ----------
    t : [N, R] values. known : [N, R] which of them are; None: all.

    Returns
    -------
    z : [N, R] float64, 0 where nothing is known. centre, unit : [N] float64.
    """
    count, rows = t.shape
    often = np.full(count, rows) if known is None else np.maximum(known.sum(axis=1), 1)
    values = t if known is None else np.where(known, t, 0.0)
    centre, unit = np.zeros(count), np.ones(count)
    if centred:
        centre = values.sum(axis=1) / often
        values = values - centre[:, None]
        if known is not None:
            values[~known] = 0.0
    if scaled:
        unit = _spoken(np.abs(values).sum(axis=1) / often, centre, usual)
        values = values / unit[:, None]
    return values, centre, unit


def _spoken(unit: Array, centre: Array, usual: tuple[float, float]) -> Array:
    """[N] deviations as units: what is usual where a series' own is rounding."""
    share, amount = usual
    unspoken = share * np.abs(centre)
    # Equal values leave their rounding behind, which is no deviation.
    says = unit > ROUNDING * np.abs(centre)
    return np.where(says, unit, np.where(unspoken > 0, unspoken, amount))
