"""How the errors of forecasts go together: over the steps of a series, and over series.

A path is drawn in normal scores: at every step a standard normal number, whose rank says which of
the forecast's own quantiles the path takes there. So whatever goes together, each step's paths are
the forecast's quantiles. A score adds up shocks: one that all series of an origin share, one for
each group of a static column, one of the series' own. Each kind of shock is a mixture of
`kernels`, and the weights of all of them are of sum 1.

Source: Nelsen (2006), "An Introduction to Copulas", of which this is the Gaussian one; Schefzik,
Thorarinsdottir & Gneiting (2013), "Uncertainty quantification in complex simulation models using
ensemble copula coupling", of the ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np

from forecasting.arrays import Array
from forecasting.copula.kernels import KERNELS, correlation

# The last step that paths reach: their shocks are drawn from a matrix of steps by steps.
FURTHEST_STEP = 2_000
# Steps that roots are made of: the next one up from those asked for.
SIZES = (16, 32, 64, 128, 256, 512, 1_024, FURTHEST_STEP)
KEPT_SIZE = 256
# Of a correlation's diagonal, so that its root exists although kernels are singular.
RIDGE = 1e-9

Weights = Mapping[str, float]


@dataclass(frozen=True)
class Dependence:
    """Weights of the shocks that errors are made of.

    Attributes
    ----------
    season : steps of the kernel ``season``.
    own, shared : weights by kernel of a series' own shock, and of that of all series of an origin.
    groups : by static column, those of the shock that series of one category share.
    learned : from held-back errors; False for `USUAL`.
    """

    season: int
    own: Weights
    shared: Weights
    groups: Mapping[str, Weights] = field(default_factory=dict)
    learned: bool = True

    def to_json(self) -> dict[str, Any]:
        """As a bundle keeps it."""
        return {
            "season": self.season,
            "own": dict(self.own),
            "shared": dict(self.shared),
            "groups": {column: dict(weights) for column, weights in self.groups.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """From `to_json`; `ValueError` where it is no dependence."""
        dependence = cls(
            season=int(content["season"]),
            own=_weights(content["own"]),
            shared=_weights(content["shared"]),
            groups={str(c): _weights(w) for c, w in dict(content["groups"]).items()},
        )
        total = sum(
            sum(w.values())
            for w in (dependence.own, dependence.shared, *dependence.groups.values())
        )
        if abs(total - 1.0) > 1e-6 or dependence.season < 1:
            raise ValueError(f"weights of sum {total:g} and season {dependence.season}")
        return dependence

    def scores(
        self,
        ids: Sequence[str],
        origins: Sequence[int],
        labels: Mapping[str, Sequence[str | None]],
        shape: tuple[int, int],
        seed: int,
    ) -> Array:
        """[N, h, S] normal scores of the paths, the same for a series whoever is asked beside it.

        Parameters
        ----------
        ids, origins : [N] of each series its name and where its forecast begins: what is shared
            is shared by one origin. labels : by static column [N] categories, None unknown.
        shape : steps h and paths S. seed : another one draws other paths.
        """
        steps, paths = shape
        out = np.empty((len(ids), steps, paths))
        shocks: dict[tuple[str, ...], Array] = {}

        def drawn(name: str, weights: Weights, *key: str) -> Array:
            if (name, *key) not in shocks:
                shocks[name, *key] = self._shock(weights, (str(seed), name, *key), shape)
            return shocks[name, *key]

        columns = [c for c, weights in self.groups.items() if weights]
        for i, name in enumerate(ids):
            begin = str(origins[i])
            out[i] = self._shock(self.own, (str(seed), "own", name, begin), shape)
            if self.shared:
                out[i] += drawn("shared", self.shared, begin)
            for column in columns:
                label, weights = labels.get(column, [None] * len(ids))[i], self.groups[column]
                if label is None:
                    out[i] += self._shock(weights, (str(seed), column, name, begin, ""), shape)
                else:
                    out[i] += drawn(f"group {column}", weights, label, begin)
        return out

    def _shock(self, weights: Weights, key: tuple[str, ...], shape: tuple[int, int]) -> Array:
        """[h, S] of a mixture of kernels; those of fewer steps are the beginning of more."""
        digest = hashlib.blake2b("\x1f".join(key).encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))
        return _root(tuple(sorted(weights.items())), shape[0], self.season) @ (
            generator.standard_normal(shape)
        )


def _root(weights: tuple[tuple[str, float], ...], steps: int, season: int) -> Array:
    """[h, h] lower triangular: of white noise it makes shocks of a mixture of kernels.

    That of fewer steps is the corner of that of more, so a few sizes do for all: callers who ask
    for every horizon in turn fill no memory.
    """
    size = next((size for size in SIZES if size >= steps), steps)
    root = _long_root if size > KEPT_SIZE else _short_root
    return root(weights, size, season)[:steps, :steps]


def _root_of(weights: tuple[tuple[str, float], ...], steps: int, season: int) -> Array:
    at = np.arange(1.0, steps + 1.0)
    total = np.zeros((steps, steps))
    for name, weight in weights:
        total += weight * correlation(name, at, season)
    total[np.diag_indices(steps)] += RIDGE
    root = np.linalg.cholesky(total)
    root.flags.writeable = False
    return root


# At most 64 of 0.5 MB, and four of 32 MB.
_short_root = lru_cache(maxsize=64)(_root_of)
_long_root = lru_cache(maxsize=4)(_root_of)


def _weights(given: Any) -> dict[str, float]:
    weights = {str(name): float(weight) for name, weight in dict(given).items()}
    if not weights.keys() <= KERNELS.keys() or not all(0.0 <= w <= 1.0 for w in weights.values()):
        raise ValueError(f"no weights of {', '.join(KERNELS)}: {weights}")
    return weights


def in_ranks(quantiles: Array, scores: Array) -> Array:
    """[N, h, S] paths: S rising quantiles [N, h, S] in the order of scores [N, h, S]."""
    out = np.empty_like(quantiles)
    np.put_along_axis(out, scores.argsort(axis=-1), quantiles, axis=-1)
    return out


def path_levels(paths: int) -> tuple[float, ...]:
    """Levels of the quantiles that so many paths take at a step: the middles of equal parts."""
    return tuple(round((k + 0.5) / paths, 12) for k in range(paths))
