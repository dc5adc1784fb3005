"""Which covariates are worth having."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.schema import Covariate, Schema
from forecasting.training.worth import worth
from tests.forecasting.samples import asked, make_panel


def sales(rows: int = 36, count: int = 4) -> Panel:
    """Series that a promotion known ahead moves, beside a column that says nothing."""
    rng = np.random.default_rng(0)
    schema = Schema(
        covariates=(
            Covariate(name="promo", role="future", mean=0.5, std=0.5),
            Covariate(name="noise", role="future", mean=0.0, std=1.0),
        )
    )
    total = count * rows
    promo = rng.integers(0, 2, total).astype(float)
    return Panel.from_arrays(
        [f"s{i}" for i in range(count)],
        100.0 + 20.0 * promo + rng.normal(size=total),
        np.full(count, rows),
        np.array([np.datetime64("2024-01-01", "us")] * count),
        "D",
        schema=schema,
        future={"promo": promo, "noise": rng.normal(size=total)},
        future_sizes=np.full(count, rows),
    )


def test_what_moves_the_series_is_worth_more_than_what_does_not() -> None:
    config = asked(training={"max_steps": 60, "epoch_steps": 60, "learning_rate": 0.02})
    lines: list[str] = []
    found = worth(sales(), config, windows=2, say=lines.append)
    assert [one.name for one in found] == ["", "promo", "noise", None]
    whole, promo, noise, nothing = found
    assert whole.change == 0.0
    assert promo.mase > 1.5 * whole.mase
    assert promo.change > 4 * promo.error > 0
    assert promo.change > 5 * abs(noise.change)
    assert promo.change == pytest.approx(promo.mase - whole.mase)
    assert nothing.mase > 1.5 * whole.mase
    assert lines == ["training", *(f"training without {n}" for n in ("promo", "noise", "any"))]


def test_what_cannot_be_asked_says_so() -> None:
    config: Any = asked()
    with pytest.raises(DataError, match="no covariates"):
        worth(make_panel([40]), config)
    with pytest.raises(DataError, match="windows = 30"):
        worth(sales(), config, windows=30)
