"""How likely a score is: p-values that hold what they say, series by series, as points go by.

Three things make a score's chance. A table says how scores of forecasts that were right are spread;
a scale says how much wider a series' scores are than that, taken from the bulk of those before; and
a slow hand moves the threshold where alarms come more often, or more seldom, than asked.

Source of the slow hand: Gibbs & Candès (2021), "Adaptive conformal inference under distribution
shift", on the logarithm of the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecasting.arrays import Array

# Scores that the scale of a series without history counts for, and over how many points what was
# seen fades by a factor e.
PRIOR = 30.0
MEMORY = 300.0
# A score counts for the scale as no more than so many times the scale itself.
FURTHEST = 2.5
# How far an alarm moves the threshold, in natural logs; by how much more the first does, which
# fades with as many points as follow; and how far it may be moved in all.
STEP = 0.2
EARLY = 0.6
SETTLED = 50.0
MOST_MOVED = 2.0
# Beyond the score at which the trained levels end, chances fall by a factor e with every so many.
KNEE, FALL = 0.05, 0.7
# Chances of the table, falling.
CHANCES = np.concatenate([np.linspace(1.0, KNEE, 96), np.geomspace(KNEE, 1e-12, 48)[1:]])


def default_scores() -> Array:
    """[K] the scores of `CHANCES`: normal up to the trained levels, with a heavier tail beyond."""
    normal = NormalDist()
    body = [normal.inv_cdf(1.0 - chance / 2.0) for chance in CHANCES if chance >= KNEE]
    tail = body[-1] + FALL * np.log(KNEE / CHANCES[len(body) :])
    return np.concatenate([body, tail])


@dataclass(frozen=True)
class Table:
    """How far scores lie from 0 when nothing is wrong: ``scores`` [K] at `CHANCES`, rising."""

    scores: Array

    def chance(self, score: Array) -> Array:
        """The two-sided p-value of scores, in (0, 1]."""
        return np.asarray(np.exp(np.interp(score, self.scores, np.log(CHANCES))))

    def score(self, chance: float) -> float:
        """The score that is as likely as a chance says."""
        return float(np.interp(-np.log(chance), -np.log(CHANCES), self.scores))

    @property
    def usual(self) -> float:
        """The mean score, none counting as more than `FURTHEST`."""
        middle = (np.arange(4000) + 0.5) / 4000
        scores = np.interp(-np.log(middle), -np.log(CHANCES), self.scores)
        return float(np.minimum(scores, FURTHEST).mean())


DEFAULT = Table(default_scores())


@dataclass(frozen=True)
class Learned:
    """What the points of N series so far say of their scores; each [N].

    Attributes
    ----------
    weight, total : of the scores seen, fading, in units of the usual one.
    moved : how far the threshold was moved, in natural logs.
    """

    weight: Array
    total: Array
    moved: Array

    @classmethod
    def nothing(cls, count: int) -> Learned:
        """Of series of which nothing was seen."""
        return cls(*(np.zeros(count) for _ in range(3)))

    @property
    def parts(self) -> tuple[Array, Array, Array]:
        """``weight``, ``total`` and ``moved``."""
        return self.weight, self.total, self.moved

    @property
    def bulk(self) -> Array:
        """[N] how much wider the bulk of the scores is than usual."""
        return np.asarray((PRIOR + self.total) / (PRIOR + self.weight))

    @property
    def scale(self) -> Array:
        """[N] what scores are divided by before the table is asked."""
        return np.asarray(self.bulk * np.exp(self.moved))

    def after(self, where: Array, size: Array, chance: Array, rate: float, usual: float) -> Learned:
        """What is known once the series at positions ``where`` [n] have shown one more score.

        Parameters
        ----------
        size : [n] scores, whatever their sign. chance : [n] theirs. rate : of alarms.
        usual : the table's.
        """
        weight, total, moved = self.weight.copy(), self.total.copy(), self.moved.copy()
        alarm = chance < rate
        fade = 1.0 - 1.0 / MEMORY
        seen = np.minimum(size, FURTHEST * self.bulk[where]) / usual
        step = STEP + EARLY / (1.0 + weight[where] / SETTLED)
        weight[where] = fade * weight[where] + 1.0
        total[where] = fade * total[where] + seen
        moved[where] = np.clip(moved[where] + step * (alarm - rate), -MOST_MOVED, MOST_MOVED)
        return Learned(weight, total, moved)
