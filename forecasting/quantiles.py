"""From a network's numbers to quantiles and means in original units. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError

# Nodes of the mean of a transformed distribution, and the normal score beyond which none counts:
# what lies there was never learned.
MEAN_NODES = 32
FURTHEST_SCORE = 3.7

# Levels, where nobody asks for others: of forecasts, of what is judged (the median and the ends of
# the central 80 % and 95 % intervals), and of a network's head.
ASKED = (0.1, 0.5, 0.9)
JUDGED = (0.025, 0.1, 0.5, 0.9, 0.975)
TRAINED = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)


def column_of(level: float) -> str:
    """The name of a level's column in every table of forecasts: six digits of it behind a q."""
    return f"q{level:g}"


def level_of(column: str) -> float | None:
    """The level that a column is named by; None for any other column."""
    try:
        level = float(column[1:]) if column.startswith("q") else 0.0
    except ValueError:
        return None
    return level if 0.0 < level < 1.0 else None


def check_levels(levels: Any) -> None:
    """Refuse what are no levels, or levels that no table could hold beside each other.

    Raises
    ------
    DataError : naming the first that is none, or all of them where two would be one column.
    """
    # What can be gone through once only would be empty the next time.
    listed = isinstance(levels, Collection) and not isinstance(levels, str | bytes)
    if not listed or (isinstance(levels, np.ndarray) and levels.ndim != 1):
        raise DataError(f"quantiles = {levels!r} must be a list of levels: [0.1, 0.5, 0.9]")
    for level in levels:
        if not isinstance(level, int | float | np.floating | np.integer):
            raise DataError(f"quantile {level!r} is no number within (0, 1)")
        if not 0.0 < level < 1.0:
            raise DataError(f"quantile {level} is outside (0, 1)")
    names = {column_of(level) for level in levels}
    if any(level_of(name) is None for name in names) or len(names) < len(set(levels)):
        raise DataError(
            f"quantiles = {list(levels)!r}: columns are named by six digits of a level, in "
            "which two of these are one, or one is 0 or 1; ask for levels further apart"
        )


@dataclass(frozen=True)
class Distribution:
    """What a head's parameters say, as far as it can be said without torch.

    Attributes
    ----------
    quantiles : of parameters [..., D], scale [...] and Q levels the quantiles [..., Q], in units
        of scale about the level.
    count_mean : where y counts something, from 0 up, and so is neither centred nor divided nor
        transformed: of parameters [..., D] and scale [...] the mean [...].
    drawn : a network can draw from it and feed back what it drew.
    """

    quantiles: Callable[[Array, Array, tuple[float, ...]], Array]
    count_mean: Callable[[Array, Array], Array] | None = None
    drawn: bool = False


def _student_t(params: Array, scale: Array, levels: tuple[float, ...]) -> Array:
    # SciPy takes a third of a second to import; only these heads pay for it.
    from scipy import special

    location, spread, dof = (params[..., j, None].astype(np.float64) for j in range(3))
    return np.asarray(location + spread * special.stdtrit(dof, np.asarray(levels)))


def _negative_binomial(params: Array, scale: Array, levels: tuple[float, ...]) -> Array:
    """The distribution of counts knows its unit: their quantiles are whole before scaling."""
    from scipy import stats

    mean = params[..., 0].astype(np.float64) * scale
    r = 1.0 / params[..., 1].astype(np.float64)
    counts = stats.nbinom.ppf(np.asarray(levels), r[..., None], (r / (r + mean))[..., None])
    return np.asarray(counts / scale[..., None])


# Named, not written in place: a forecaster that has answered holds one, and travels by pickle.
def _as_told(params: Array, scale: Array, levels: tuple[float, ...]) -> Array:
    return params


def _mean_count(params: Array, scale: Array) -> Array:
    return np.asarray(params[..., 0] * scale)


def _one_for_all(params: Array, scale: Array, levels: tuple[float, ...]) -> Array:
    return np.repeat(params, len(levels), axis=-1)


# By the names of `forecasting.networks.heads.HEADS`, what ``model.head`` may say.
DISTRIBUTIONS: dict[str, Distribution] = {
    "quantiles": Distribution(_as_told, drawn=True),
    "student_t": Distribution(_student_t, drawn=True),
    "negative_binomial": Distribution(_negative_binomial, count_mean=_mean_count),
    "point": Distribution(_one_for_all),
}


class Told(Protocol):
    """How a model's parameters are to be read: see `forecasting.config.ModelConfig`."""

    @property
    def told_by(self) -> Distribution:
        """What the parameters say."""

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """The trained levels."""


def quantiles_of(params: Array, scale: Array, model: Told) -> Array:
    """The trained levels' quantiles, in units of scale: [..., D] to [..., Q].

    ``scale`` [...] is only used for counts, whose distribution knows its unit.
    """
    return model.told_by.quantiles(params, scale, model.quantile_levels)


def normal_scores(levels: Array) -> Array:
    """The standard normal quantiles [Q] of levels [Q] in (0, 1)."""
    return np.array([NormalDist().inv_cdf(float(level)) for level in levels])


class Interpolation:
    """Any level from the trained ones: linear in the normal score, monotone, tails continued.

    Built once per set of levels (`interpolation` keeps them); called with [..., Q] rising quantiles
    it gives [..., len(wanted)].
    """

    def __init__(self, trained: tuple[float, ...], wanted: tuple[float, ...]) -> None:
        self._place(normal_scores(np.asarray(trained)), normal_scores(np.asarray(wanted)))

    @classmethod
    def at(cls, trained: tuple[float, ...], scores: Array) -> Interpolation:
        """One for levels that are given as normal scores."""
        instance = cls.__new__(cls)
        instance._place(normal_scores(np.asarray(trained)), scores)
        return instance

    def _place(self, knots: Array, at: Array) -> None:
        left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
        share = (at - knots[left]) / (knots[left + 1] - knots[left])
        exact = np.abs(share - np.round(share)) < 1e-12
        self.left, self.share = left, np.where(exact, np.round(share), share)
        trained = exact & (self.share >= 0.0) & (self.share <= 1.0)
        # Where every level is a trained one there is nothing to reckon.
        self._picked = left + self.share.astype(np.int64) if trained.all() else None
        matrix = np.zeros((len(knots), len(at)))
        column = np.arange(len(at))
        matrix[left, column], matrix[left + 1, column] = 1.0 - self.share, self.share
        self.matrix = matrix

    def __call__(self, quantiles: Array) -> Array:
        if self._picked is not None:
            return np.asarray(np.take(quantiles, self._picked, axis=-1))
        low = np.take(quantiles, self.left, axis=-1)
        high = np.take(quantiles, self.left + 1, axis=-1)
        high -= low
        high *= self.share
        high += low
        return np.asarray(high)

    def roughly(self, quantiles: Array) -> Array:
        """The same but for rounding, [K, len(wanted)] of finite [K, Q], as one matrix product."""
        return np.asarray(quantiles @ self.matrix)


@lru_cache(maxsize=64)
def interpolation(trained: tuple[float, ...], wanted: tuple[float, ...]) -> Interpolation:
    """The `Interpolation` between two sets of levels, kept for the next forecast that asks."""
    return Interpolation(trained, wanted)


@lru_cache(maxsize=64)
def mean_weights(levels: tuple[float, ...]) -> Array:
    """Weights [Q] that turn quantiles into the mean of the distribution they describe.

    The quantile function is taken as linear between levels; each tail beyond the outermost level
    counts as that level's value.
    """
    tau = np.asarray(levels)
    edges = np.concatenate([[0.0], (tau[1:] + tau[:-1]) / 2.0, [1.0]])
    return _kept(np.diff(edges))


@lru_cache(maxsize=64)
def mean_nodes(levels: tuple[float, ...]) -> tuple[Interpolation, Array]:
    """Quantiles to take, and their weights [K], for the mean of what is transformed afterwards.

    Where the transform back grows exponentially, the mean lies far in the upper tail: the outermost
    trained quantile stands for too little of it. The nodes are those of Gauss and Hermite in the
    normal score, the furthest at `FURTHEST_SCORE`: exact to a hundredth for lognormal values whose
    logs have a deviation of up to 1.
    """
    scores, weights = np.polynomial.hermite_e.hermegauss(MEAN_NODES)
    near = np.abs(scores) <= FURTHEST_SCORE
    scores, weights = scores[near], weights[near]
    return Interpolation.at(levels, scores), _kept(weights / weights.sum())


def _kept(values: Array) -> Array:
    """An array that many share and none may change."""
    values.flags.writeable = False
    return values


def rearrange(quantiles: Array) -> Array:
    """Quantiles [..., Q] made to rise from the median outwards: a correction may cross them."""
    if (quantiles[..., 1:] >= quantiles[..., :-1]).all():
        return quantiles
    middle = quantiles.shape[-1] // 2
    out = quantiles.copy()
    out[..., middle:] = np.maximum.accumulate(out[..., middle:], axis=-1)
    out[..., : middle + 1] = np.minimum.accumulate(out[..., middle::-1], axis=-1)[..., ::-1]
    return np.asarray(out)
