"""Forecasts in original units: what a series' own rows say of zero and of bounds holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.prediction.original import in_original_units
from forecasting.prediction.zeros import FADING, SURE
from tests.forecasting.samples import settings

# Zeros from which on a series that shows nothing else is expected to stay at 0.
ENOUGH = int(np.ceil(np.log(1.0 - SURE) / np.log(FADING)))
LEVELS = (0.1, 0.5, 0.9)
ROWS = 70  # of each history that a forecast looks at


def told(history: list[float], transform: str) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of networks' quantiles that say 3 to 8, whatever the history says."""
    config = settings(model={"transform": transform, "scale_window": ROWS})
    panel = Panel.from_arrays(
        ["a", "b"], np.array([*history, 5.0, 0.0, 6.0]), np.array([len(history), 3]),
        np.zeros(2, np.int64), "step",
    )  # fmt: skip
    trained = len(config.model.quantile_levels)
    values = np.broadcast_to(np.linspace(3.0, 8.0, trained), (2, 4, trained)).copy()
    return in_original_units(panel, config, values, None, LEVELS, plain=False)


@pytest.mark.parametrize("transform", ["identity", "asinh", "log"])
@given(st.integers(1, 60), st.integers(0, 5))
@drawn(max_examples=15, deadline=None)
def test_a_series_of_zeros_stays_zero_whatever_the_networks_say(
    transform: str, zeros: int, gaps: int
) -> None:
    wanted, mean = told([np.nan] * gaps + [0.0] * zeros, transform)
    still = zeros >= ENOUGH
    if still:
        assert (wanted[0] == 0.0).all()
        assert (mean[0] == 0.0).all()
    elif transform != "log":
        assert (wanted[0] > 0.0).all()
        assert (mean[0] > 0.0).all()
    assert (mean[1] > 0.0).all()
    assert (wanted[1, :, -1] > 0.0).all()


@pytest.mark.parametrize("transform", ["identity", "asinh"])
def test_one_value_beside_the_zeros_and_nothing_is_still(transform: str) -> None:
    wanted, mean = told([0.0] * 40 + [1.0], transform)
    assert (wanted[0] > 0.0).all()
    assert (mean[0] > 0.0).all()
