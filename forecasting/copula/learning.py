"""The dependence that held-back errors show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from forecasting.arrays import Array
from forecasting.copula.dependence import Dependence, Weights
from forecasting.copula.kernels import KERNELS, correlation

# Scores further out say no more than these.
FURTHEST = 2.0
# Steps whose errors are held against each other, at most.
MOST_STEPS = 24
# How many origins a horizon apart the usual dependence counts for beside those held back; and how
# many series say something each of their own steps, at most: their weather is the same.
USUAL_ORIGINS = 1.0
MOST_WITNESSES = 8
# Weights below this are left out.
LEAST = 0.01
# How exactly weights are of sum 1 before they are made so.
SURE = 1e3
# Where nothing was held back: what held-back origins of public sets show, taken together.
USUAL = Dependence(
    season=1,
    own={"alone": 0.18, "fading_0.5": 0.17, "fading_0.8": 0.22, "walk": 0.15, "level": 0.18},
    shared={"fading_0.8": 0.05, "level": 0.05},
    learned=False,
)


@dataclass(frozen=True)
class Scores:
    """Where what came lay in the forecasts of n series at one distance from their ends.

    Attributes
    ----------
    values : [n, H] normal scores, NaN unknown. origins : [n] where the forecasts began.
    labels : by static column [n] codes of the categories, 0 unknown.
    """

    values: Array
    origins: Array
    labels: Mapping[str, Array]


def scores_within(quantiles: Array, actual: Array, levels: Array) -> Array:
    """[...] the normal scores of values [...] among rising quantiles [..., Q], NaN stays NaN.

    ``levels`` : [Q] of the quantiles, in normal scores. Of a value at which several quantiles
    stand, the middle of theirs; beyond the outermost the last slope goes on.
    """
    y = actual[..., None]
    below, upto = (quantiles < y).sum(axis=-1), (quantiles <= y).sum(axis=-1)
    last = len(levels) - 1
    left = np.clip(upto - 1, 0, last - 1)
    low, high = (np.take_along_axis(quantiles, (left + k)[..., None], -1)[..., 0] for k in (0, 1))
    gap = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(gap > 0.0, (actual - low) / gap, 0.5)
    out = levels[left] + share * (levels[left + 1] - levels[left])
    several = upto - below > 1
    middle = (levels[np.minimum(below, last)] + levels[np.clip(upto - 1, 0, last)]) / 2.0
    out = np.clip(np.where(several, middle, out), -FURTHEST, FURTHEST)
    return np.asarray(np.where(np.isnan(actual), np.nan, out))


def learn(blocks: Sequence[Scores], season: int, origins: float) -> Dependence:
    """The mixture of shocks whose correlations are nearest to those of the scores.

    Parameters
    ----------
    blocks : one per distance from the ends. season : steps of a season, 1 for none.
    origins : how many horizons are held back, which is how much the scores know.
    """
    horizon = blocks[0].values.shape[1]
    at = np.unique(np.linspace(0, horizon - 1, min(horizon, MOST_STEPS)).astype(np.int64))
    columns = tuple(blocks[0].labels)
    moments = _Moments.of(blocks, at, columns)
    names = [n for n in KERNELS if n != "season" or 1 < season < horizon]
    kernels = np.stack([correlation(name, at + 1.0, season) for name in names])
    levels = ("own", "shared", *columns)
    # What each kind of pair shares: which levels' shocks, and in which share of the pairs.
    rows = [("own", np.ones(len(levels)))]
    rows += [(kind, moments.shared_by(kind, levels)) for kind in ("shared", *columns)]
    matrix, target = [], []
    series = max(len(block.values) for block in blocks)
    for kind, by_level in rows:
        correlations, pairs = moments.correlation(kind)
        usual = _usual(kind, kernels, names)
        witnesses = origins * (min(series, MOST_WITNESSES) if kind == "own" else 1)
        trust = pairs / (pairs + USUAL_ORIGINS / witnesses * moments.typical(kind))
        aim = np.where(
            pairs > 0, trust * np.nan_to_num(correlations) + (1.0 - trust) * usual, usual
        )
        upper = np.triu_indices(len(at), 1 if kind == "own" else 0)
        block = np.einsum("l,kp->plk", by_level, kernels[:, upper[0], upper[1]])
        size = 1.0 / np.sqrt(max(len(upper[0]), 1))
        matrix.append(block.reshape(len(upper[0]), -1) * size)
        target.append(aim[upper] * size)
    matrix.append(np.full((1, len(levels) * len(names)), SURE))
    target.append(np.array([SURE]))
    from scipy.optimize import nnls

    weights = nnls(np.concatenate(matrix), np.concatenate(target))[0]
    weights = np.where(weights < LEAST, 0.0, weights).reshape(len(levels), len(names))
    weights /= weights.sum()
    mixture = {
        level: {name: float(w) for name, w in zip(names, row, strict=True) if w > 0.0}
        for level, row in zip(levels, weights, strict=True)
    }
    groups: dict[str, Weights] = {column: mixture[column] for column in columns if mixture[column]}
    return Dependence(season, mixture["own"], mixture["shared"], groups)


@dataclass(frozen=True)
class _Moments:
    """Sums of products of scores over pairs of steps [G, G], and how many, by kind of pair.

    ``own``: a series with itself; ``shared``: any two of one origin; a column: two of one category.
    """

    sums: Mapping[str, Array]
    counts: Mapping[str, Array]
    both: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, blocks: Sequence[Scores], at: Array, columns: tuple[str, ...]) -> _Moments:
        sums = {kind: np.zeros((len(at), len(at))) for kind in ("own", "shared", *columns)}
        counts = {kind: np.zeros((len(at), len(at))) for kind in sums}
        both = dict.fromkeys(product(columns, columns), 0.0)
        for block in blocks:
            z = block.values[:, at]
            observed = np.isfinite(z).astype(np.float64)
            z = np.nan_to_num(z)
            sums["own"] += z.T @ z
            counts["own"] += observed.T @ observed
            origin = np.unique(block.origins, return_inverse=True)[1].reshape(-1)
            keys = {"shared": origin}
            for column, codes in block.labels.items():
                keys[column] = _crossed(origin, codes)
            for kind, key in keys.items():
                more, pairs = _pairs(z, observed, key)
                sums[kind] += more
                counts[kind] += pairs
            for a, b in both:
                both[a, b] += float(_pairs(z, observed, _joined(keys[a], keys[b]))[1].mean())
        return cls(sums, counts, both)

    def correlation(self, kind: str) -> tuple[Array, Array]:
        """[G, G] of a kind of pair, NaN where no pair is known, and the number of pairs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.sqrt(np.diagonal(self.sums["own"]) / np.diagonal(self.counts["own"]))
            correlations = self.sums[kind] / self.counts[kind] / (size[:, None] * size)
        return np.clip(correlations, -1.0, 1.0), self.counts[kind]

    def typical(self, kind: str) -> float:
        """Pairs that a step has with itself."""
        return float(max(np.diagonal(self.counts[kind]).max(), 1.0))

    def shared_by(self, kind: str, levels: tuple[str, ...]) -> Array:
        """[L] the share of a kind's pairs that share each level's shock."""
        total = float(self.counts[kind].mean())
        shares = []
        for level in levels:
            if level == "own":
                shares.append(0.0)
            elif level in ("shared", kind):
                shares.append(1.0)
            elif kind == "shared":
                shares.append(float(self.counts[level].mean()) / max(total, 1e-9))
            else:
                shares.append(self.both[kind, level] / max(total, 1e-9))
        return np.array(shares)


def _pairs(z: Array, known: Array, key: Array) -> tuple[Array, Array]:
    """Sums of products over ordered pairs of different series with one key, and their number.

    ``key`` : [n] group of each series, negative for none.
    """
    z, known, key = z[key >= 0], known[key >= 0], key[key >= 0]
    if not len(key):
        return np.zeros((z.shape[1],) * 2), np.zeros((z.shape[1],) * 2)
    groups = np.unique(key, return_inverse=True)[1].reshape(-1)
    total, number = (np.zeros((groups.max() + 1, z.shape[1])) for _ in range(2))
    np.add.at(total, groups, z)
    np.add.at(number, groups, known)
    return total.T @ total - z.T @ z, number.T @ number - known.T @ known


def _crossed(origin: Array, codes: Array) -> Array:
    """[n] groups of one origin and category; -1 where the category is unknown."""
    codes = np.nan_to_num(codes).astype(np.int64)
    return np.where(codes > 0, origin * (codes.max(initial=0) + 1) + codes, -1)


def _joined(a: Array, b: Array) -> Array:
    return np.where((a >= 0) & (b >= 0), a * (b.max(initial=0) + 1) + b, -1)


def _usual(kind: str, kernels: Array, names: Sequence[str]) -> Array:
    """[G, G] the correlation that `USUAL` gives a kind of pair."""
    weights = dict(USUAL.shared)
    if kind == "own":
        for name, weight in USUAL.own.items():
            weights[name] = weights.get(name, 0.0) + weight
    return np.asarray(sum(weights.get(n, 0.0) * k for n, k in zip(names, kernels, strict=True)))
