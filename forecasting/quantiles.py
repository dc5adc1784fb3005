"""From a network's numbers to quantiles and means in original units. NumPy only."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.config import ModelConfig


def quantiles_of(params: Array, scale: Array, model: ModelConfig) -> Array:
    """The trained levels' quantiles, in units of scale: [..., D] to [..., Q].

    ``scale`` [...] is only used for counts, whose distribution knows its unit.
    """
    if model.head == "quantiles" or model.decoder == "recursive":
        return params
    levels = np.asarray(model.quantile_levels)
    if model.head == "point":
        return np.repeat(params, len(levels), axis=-1)
    # SciPy takes a third of a second to import; only these heads pay for it.
    from scipy import special, stats

    if model.head == "student_t":
        location, spread, dof = (params[..., j, None].astype(np.float64) for j in range(3))
        return np.asarray(location + spread * special.stdtrit(dof, levels))
    mean = params[..., 0].astype(np.float64) * scale
    r = 1.0 / params[..., 1].astype(np.float64)
    counts = stats.nbinom.ppf(levels, r[..., None], (r / (r + mean))[..., None])
    return np.asarray(counts / scale[..., None])


def normal_scores(levels: Array) -> Array:
    """The standard normal quantiles of levels."""
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(float(level)) for level in levels])


class Interpolation:
    """Any level from the trained ones: linear in the normal score, monotone, tails continued.

    Built once per set of levels; called with [..., Q] rising quantiles it gives [..., len(wanted)].
    """

    def __init__(self, trained: tuple[float, ...], wanted: tuple[float, ...]) -> None:
        knots = normal_scores(np.asarray(trained))
        at = normal_scores(np.asarray(wanted))
        left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
        share = (at - knots[left]) / (knots[left + 1] - knots[left])
        exact = np.abs(share - np.round(share)) < 1e-12
        self.left, self.share = left, np.where(exact, np.round(share), share)

    def __call__(self, quantiles: Array) -> Array:
        low, high = quantiles[..., self.left], quantiles[..., self.left + 1]
        return np.asarray(low + (high - low) * self.share)


def mean_weights(levels: tuple[float, ...]) -> Array:
    """Weights [Q] that turn quantiles into the mean of the distribution they describe.

    The quantile function is taken as linear between levels; each tail beyond the outermost level
    counts as that level's value.
    """
    tau = np.asarray(levels)
    edges = np.concatenate([[0.0], (tau[1:] + tau[:-1]) / 2.0, [1.0]])
    return np.asarray(np.diff(edges))


def rearrange(quantiles: Array) -> Array:
    """Quantiles made to rise from the median outwards, after a correction may have crossed them."""
    middle = quantiles.shape[-1] // 2
    out = quantiles.copy()
    out[..., middle:] = np.maximum.accumulate(out[..., middle:], axis=-1)
    out[..., : middle + 1] = np.minimum.accumulate(out[..., middle::-1], axis=-1)[..., ::-1]
    return np.asarray(out)
