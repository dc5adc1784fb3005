"""The smoothing constants of many series at once: a grid for all, then steps that halve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from forecasting.arrays import Array

# Squared errors [C, N] of C candidates: of each constant [C, 1] for all series, or [C, N].
Errors = Callable[..., Array]

# Share of a candidate's squared errors by which another must be better, and what of the errors of
# series of size 1 is rounding.
ALIKE = 1e-10
ROUNDING = 1e-24
# Share of its diagonal that settles a beginning which the values do not tell.
RIDGE = 1e-9


@dataclass(frozen=True)
class Constant:
    """One smoothing constant: where it is looked for, ``grid`` values first, within bounds."""

    grid: tuple[float, ...]
    low: float
    high: float

    @property
    def step(self) -> float:
        """Of the first round: half the typical distance of the grid."""
        return (self.grid[-1] - self.grid[0]) / max(2 * (len(self.grid) - 1), 1)


def search(errors: Errors, constants: Sequence[Constant], rounds: int) -> Array:
    """[D, N] the constants of least error found for each series.

    First every combination of the grids, the same for all series; then ``rounds`` times a step up
    and down in each constant from the best of each series, half as far every time.
    """
    grid = np.array(list(product(*(c.grid for c in constants)))).T[..., None]
    losses = errors(*grid)
    # Of candidates that err alike the first, whatever rounding makes of them.
    pick = (losses <= losses.min(axis=0) * (1.0 + ALIKE) + ROUNDING).argmax(axis=0)
    series = np.arange(len(pick))
    best, least = grid[:, pick, 0], losses[pick, series]
    steps = np.array([c.step for c in constants])
    low, high = (np.array([getattr(c, end) for c in constants]) for end in ("low", "high"))
    # A constant that the grid does not vary is not searched.
    free = np.flatnonzero(steps > 0.0)
    for _ in range(rounds):
        moves = np.zeros((len(steps), 2 * len(free)))
        moves[free, np.arange(len(free))] = steps[free]
        moves[free, np.arange(len(free)) + len(free)] = -steps[free]
        candidates = np.clip(
            best[:, None] + moves[..., None], low[:, None, None], high[:, None, None]
        )
        losses = errors(*candidates)
        pick = losses.argmin(axis=0)
        better = losses[pick, series] < least * (1.0 - ALIKE) - ROUNDING
        best = np.where(better, candidates[:, pick, series], best)
        least = np.where(better, losses[pick, series], least)
        steps = steps / 2.0
    return best
