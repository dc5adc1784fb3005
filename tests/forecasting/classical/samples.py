"""Series to smooth."""

from __future__ import annotations

import numpy as np


def restless(lengths: list[int], season: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positive values [T] with a level that wanders, a slope and a season, and offsets [N + 1]."""
    rng = np.random.default_rng(seed)
    series = []
    for length in lengths:
        steps = np.arange(length)
        level = 60.0 + rng.normal(0, 1.5, length).cumsum() + rng.uniform(-0.3, 0.6) * steps
        wave = 1.0 + 0.2 * np.sin(2 * np.pi * (steps / season + rng.uniform()))
        series.append(np.maximum(level * wave + rng.normal(0, 2.0, length), 1.0))
    return np.concatenate(series), np.cumsum([0, *lengths])
