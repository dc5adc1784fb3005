"""Conformal correction: intervals that cover what past origins say they should.

For every horizon step and level the forecast is moved by the empirical quantile of its own past
errors, in units of the spread at the origin, pooled over series. So it holds for series never
seen, as far as their errors are like those of the others. Source: Romano, Patterson & Candès
(2019), "Conformalized Quantile Regression", one side at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Errors per horizon step under which the steps are pooled, and under which nothing is corrected.
ENOUGH_PER_STEP = 200
ENOUGH = 24


def conformal_correction(errors: Array, levels: tuple[float, ...]) -> Array | None:
    """Correction [H, Q] from scaled errors ``(y - quantile) / spread`` [n, H, Q], NaN = unknown.

    The median is left alone. With few origins neighbouring steps are pooled and the correction
    shrunk; with fewer than `ENOUGH` errors there is none.
    """
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


def _pooled(per_step: Array, reach: int) -> Array:
    total = np.concatenate([[0], np.cumsum(per_step)])
    h = np.arange(len(per_step))
    high = np.minimum(h + reach + 1, len(per_step))
    return np.asarray(total[high] - total[np.maximum(h - reach, 0)])
