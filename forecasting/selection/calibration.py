"""Conformal correction: intervals that cover what past origins say they should.

For every horizon step and level the forecast is moved by the empirical quantile of its own past
errors, in units of the spread at the origin, pooled over series. So it holds for series never
seen, as far as their errors are like those of the others. Source: Romano, Patterson & Candès
(2019), "Conformalized Quantile Regression", one side at a time.

Series share the weather of one origin: a thousand errors of one week are no thousand witnesses.
So where errors of several origins are known, the correction is taken in the share that would have
helped at each origin, had it been learned from the others.

And few forecasts are no witnesses at all: the errors of one series from one origin lie on one side
as often as not. So the fewer they are the more counts what the classical forecasts erred by all
along the history: intervals are widened to hold that, on both sides alike, and never narrowed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.arrays import Array

# Errors per horizon step under which the steps are pooled, and under which nothing is corrected.
ENOUGH_PER_STEP = 200
ENOUGH = 24
# Forecasts (a series from an origin) at held-back origins that count as much as errors all along
# the history do, and from which on the latter are not worth their time.
AS_GOOD = 8
ENOUGH_FORECASTS = 64
# Shares of the correction to choose from.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def conformal_correction(blocks: Sequence[Array], levels: tuple[float, ...]) -> Array | None:
    """Correction [H, Q] from scaled errors ``(y - quantile) / spread`` at past origins.

    The median is left alone. With few errors neighbouring steps are pooled and the correction
    shrunk; with fewer than `ENOUGH` errors there is none.

    Parameters
    ----------
    blocks : for each origin the errors [n, H, Q] of its series, NaN = unknown.
    levels : the Q levels of the quantiles.
    """
    errors = blocks[0] if len(blocks) == 1 else np.concatenate(list(blocks))
    whole = correction_of(errors, levels)
    if whole is None or len(blocks) < 2:
        return whole
    return helpful_share(blocks, levels) * whole


def helpful_share(blocks: Sequence[Array], levels: tuple[float, ...]) -> float:
    """The share of `SHARES` with the least pinball loss at origins it was not learned from.

    ``blocks``, ``levels`` : as for `conformal_correction`.
    """
    losses = np.zeros(len(SHARES))
    tau = np.array(levels)
    for held, block in enumerate(blocks):
        others = np.concatenate([b for k, b in enumerate(blocks) if k != held])
        correction = correction_of(others, levels)
        if correction is None:
            continue
        known = block[np.isfinite(block[..., 0])]
        moved = np.broadcast_to(correction, block.shape)[np.isfinite(block[..., 0])]
        for k, share in enumerate(SHARES):
            error = known - share * moved
            losses[k] += float(np.maximum(tau * error, (tau - 1.0) * error).sum())
    return SHARES[int(losses.argmin())] if losses.any() else 1.0


def correction_of(errors: Array, levels: tuple[float, ...]) -> Array | None:
    """The whole correction [H, Q] that errors [n, H, Q] ask for, origins told apart or not."""
    known = np.isfinite(errors[..., 0])
    if int(known.sum()) < ENOUGH:
        return None
    horizon, count = errors.shape[1], len(levels)
    out = np.zeros((horizon, count))
    per_step = known.sum(axis=0)
    reach = 0
    while reach < horizon and _pooled(per_step, reach).min() < ENOUGH_PER_STEP:
        reach += 1
    for k, level in enumerate(levels):
        if level == 0.5:
            continue
        for h in range(horizon):
            near = errors[:, max(h - reach, 0) : h + reach + 1, k]
            near = near[np.isfinite(near)]
            # The finite-sample rank of split conformal prediction, for either side.
            rank = (len(near) + 1) * level if level > 0.5 else (len(near) + 1) * level - 1
            position = np.clip(rank / max(len(near), 1), 0.0, 1.0)
            out[h, k] = np.quantile(near, position) * len(near) / (len(near) + ENOUGH)
    return out


def forecasts_in(blocks: Sequence[Array]) -> int:
    """Forecasts [n, H, Q] of a series from an origin of which any error is known."""
    return sum(int(np.isfinite(block[..., 0]).any(axis=1).sum()) for block in blocks)


def widening(blocks: Sequence[Array], levels: tuple[float, ...]) -> Array | None:
    """What errors ask intervals to be widened by, [H, Q]: at least 0, on both sides alike.

    ``blocks``, ``levels`` : as for `conformal_correction`; None where no error is known. Levels
    without a counterpart on the other side of the median are left alone.
    """
    errors = np.concatenate(list(blocks))
    known = np.isfinite(errors[..., 0])
    if not known.any():
        return None
    horizon = errors.shape[1]
    reach, per_step = 0, known.sum(axis=0)
    while reach < horizon and _pooled(per_step, reach).min() < ENOUGH_PER_STEP:
        reach += 1
    out = np.zeros((horizon, len(levels)))
    for low, high in _intervals(levels):
        outside = np.maximum(-errors[..., low], errors[..., high])
        for h in range(horizon):
            near = outside[:, max(h - reach, 0) : h + reach + 1]
            near = near[np.isfinite(near)]
            wide = max(float(np.quantile(near, levels[high] - levels[low])), 0.0)
            out[h, low], out[h, high] = -wide, wide
    return out


def beside(held: Array | None, forecasts: int, rolled: Array | None) -> Array | None:
    """The correction of held-back origins, drawn to the widening that is ``rolled`` from all of
    the history the more, the fewer ``forecasts`` it was learned from.
    """
    if rolled is None:
        return held
    if held is None:
        return rolled
    share = forecasts**2 / (forecasts**2 + AS_GOOD**2)
    return share * held + (1.0 - share) * rolled


def _intervals(levels: tuple[float, ...]) -> list[tuple[int, int]]:
    """Places of two levels that are as far from either end."""
    places = {round(level, 9): k for k, level in enumerate(levels)}
    pairs = ((k, places.get(round(1.0 - level, 9))) for k, level in enumerate(levels))
    return [(k, other) for k, other in pairs if other is not None and k < other]


def _pooled(per_step: Array, reach: int) -> Array:
    total = np.concatenate([[0], np.cumsum(per_step)])
    h = np.arange(len(per_step))
    high = np.minimum(h + reach + 1, len(per_step))
    return np.asarray(total[high] - total[np.maximum(h - reach, 0)])
