"""What a network of this size can learn exactly is learned, by the project's own training.

Each recurrent step is shown one value and nothing else: no window, lag, season or skip helps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.forecaster import Forecaster

ROWS, HORIZON = 80, 5


def table(values: list[np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"unique_id": f"s{i}", "ds": np.arange(len(y)), "y": y})
            for i, y in enumerate(values)
        ]
    )


def sines(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every phase and size, periods from 12 to 20 steps."""
    t = np.arange(ROWS)
    return [
        rng.uniform(1.0, 50.0) * np.sin(2.0 * np.pi * (t / rng.uniform(12, 20) + rng.random()))
        for _ in range(count)
    ]


def echoes(count: int, rng: np.random.Generator, delay: int = 8) -> list[np.ndarray]:
    """y_t = y_{t - delay}: noise that repeats; nothing but a memory of the past foretells it."""
    return [np.tile(rng.uniform(-1, 1, delay), ROWS // delay) for _ in range(count)]


def error(cell: str, make: Any, *, updates: int, hidden: int) -> float:
    """Mean absolute error on series never seen, as a share of their standard deviation."""
    rng = np.random.default_rng(1)
    config = {
        "season": 1,
        "calibrate": False,
        "model": {
            "cell": cell,
            "hidden_size": hidden,
            "layers": 1,
            "segment": 1,
            "window": 1,
            "scale_window": 20,
            "steps": 40,
            "lags": (),
            "skip": False,
            "blend": 0.0,
            "transform": "identity",
            "level": "mean",
            "spread": "mad",
        },
        "training": {
            "max_steps": updates,
            "batch_size": 32,
            "learning_rate": 1e-2,
            "threads": 1,
            "validation": "none",
        },
    }
    forecaster = Forecaster.fit(table(make(300, rng)), horizon=HORIZON, config=config, device="cpu")
    unseen = table(make(50, rng))
    found = forecaster.predict(unseen[unseen["ds"] < ROWS - HORIZON])
    both = found.merge(unseen, on=["unique_id", "ds"])
    size = both.groupby("unique_id")["y"].transform("std")
    return float(((both["q0.5"] - both["y"]).abs() / size).mean())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_sine_is_learned(cell: str) -> None:
    assert error(cell, sines, updates=200, hidden=32) < 0.15


@pytest.mark.slow
def test_an_echo_is_learned() -> None:
    assert error("gru", echoes, updates=400, hidden=64) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_echo_is_learned_better_with_time(cell: str) -> None:
    assert error(cell, echoes, updates=800, hidden=64) < 0.06
