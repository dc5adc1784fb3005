"""A made-up panel that any model can forecast: for exports, golden inputs and examples.

No torch here: the service answers the golden input after every load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.data.panel import Panel

if TYPE_CHECKING:
    from forecasting.prediction.engine import Engine


def example_panel(engine: Engine, count: int, rows: int | None = None) -> Panel:
    """A made-up panel that fits the model's schema: smooth seasonal series, plain covariates."""
    rows = rows or engine.context
    config, schema = engine.config, engine.schema
    season = max(config.season, 2)
    t = np.arange(rows * count, dtype=np.float64) % rows
    y = 100.0 + 0.1 * t + 10.0 * np.sin(2 * np.pi * t / season)
    ahead = rows + config.horizon

    def fill(covariate: Any, size: int) -> Any:
        if covariate.type == "categorical":
            return np.array([covariate.categories[0] if covariate.categories else None] * size,
                            dtype=object)  # fmt: skip
        return np.full(size, covariate.mean)

    start: Any = 1 if engine.freq.integer else _aligned(engine)
    return Panel.from_arrays(
        [f"example-{i + 1}" for i in range(count)],
        y,
        np.full(count, rows),
        np.array([start] * count),
        engine.freq,
        schema=schema,
        past={c.name: fill(c, rows * count) for c in schema.past},
        future={c.name: fill(c, ahead * count) for c in schema.future},
        future_sizes=np.full(count, ahead),
        static={c.name: fill(c, count) for c in schema.static},
    )


def _aligned(engine: Engine) -> np.datetime64:
    """A stamp on the grid of the model's frequency."""
    first = np.datetime64("2024-01-01T00:00:00", "us")
    freq = engine.freq
    return np.datetime64(freq.shift(np.array([first]), 0)[0]) if freq.end else first
