"""Ways in which the errors of one forecast go together from step to step, each a correlation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasting.arrays import Array

# Of steps [n, 1] and [1, n], counted from 1, and the steps of a season.
Kernel = Callable[[Array, Array, int], Array]


def _fading(memory: float) -> Kernel:
    return lambda a, b, season: memory ** np.abs(a - b)


# ``level``: one error for all steps. ``walk``: errors that pile up, as a random walk's do.
# ``fading``: what is left of an error after each step. ``season``: one for each place in it.
KERNELS: dict[str, Kernel] = {
    "alone": lambda a, b, season: np.asarray(a == b, np.float64),
    "fading_0.5": _fading(0.5),
    "fading_0.8": _fading(0.8),
    "fading_0.95": _fading(0.95),
    "walk": lambda a, b, season: np.sqrt(np.minimum(a, b) / np.maximum(a, b)),
    "level": lambda a, b, season: np.ones(np.broadcast(a, b).shape),
    "season": lambda a, b, season: np.asarray((a - b) % max(season, 1) == 0, np.float64),
}


def correlation(name: str, steps: Array, season: int) -> Array:
    """[n, n] of a kernel at steps [n], counted from 1; ``season`` in steps, 1 for none."""
    return KERNELS[name](steps[:, None], steps[None, :], season)
