"""Is one model better than another, or was it luck? The paired bootstrap over series."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.errors import DataError

# Resampled scores held at once: 32 MB of indices, however many series there are.
_DRAWS_AT_ONCE = 4_000_000


def paired_bootstrap(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Difference of two models' mean scores, with a percentile interval over series.

    Series are drawn with replacement, both models' scores of a series together, so that what is
    common to both (a hard series is hard for each) cancels (Efron & Tibshirani, 1993).

    Parameters
    ----------
    a, b : [N] scores of the two models on the same series, lower is better. A series with a NaN
        in either is left out of both.
    samples : resamples; level : of the central interval; seed : makes it repeatable.

    Returns
    -------
    ``(mean(a) - mean(b), low, high)``: ``a`` is better for sure, at ``level``, when ``high < 0``.
    With one series the interval has no width: it says nothing about other series.

    Raises
    ------
    DataError : different lengths, no series scored by both, or a level outside (0, 1).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"paired scores need two vectors of one length, not {a.shape}, {b.shape}")
    if not 0.0 < level < 1.0 or samples < 1:
        raise DataError(f"level = {level} must lie in (0, 1) and samples = {samples} be positive")
    difference = a - b
    difference = difference[~np.isnan(difference)]
    count = len(difference)
    if count == 0:
        raise DataError("no series is scored by both models: there is nothing to compare")
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    chunk = max(1, _DRAWS_AT_ONCE // count)
    for begin in range(0, samples, chunk):
        size = min(chunk, samples - begin)
        means[begin : begin + size] = difference[rng.integers(count, size=(size, count))].mean(1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(difference.mean()), float(low), float(high)
