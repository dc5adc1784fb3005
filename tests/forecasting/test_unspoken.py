"""Series that cannot say their own spread, and bounds that the data imply."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting import Forecaster

QUICK = {
    "training": {"max_steps": 60, "start": "none", "threads": 1, "seed": 1},
    "model": {"hidden_size": 8, "layers": 1},
}
LEVELS = (0.025, 0.5, 0.975)


def table(*, shift: float = 0.0) -> pd.DataFrame:
    """Nine monthly series at three levels, from 100 to 10,000; the first one lower by ``shift``."""
    rng = np.random.default_rng(0)
    stamps, steps = pd.date_range("2016-01-01", periods=72, freq="MS"), np.arange(72)
    parts = []
    for i in range(9):
        wave = 1.0 + 0.2 * np.sin(steps / 12 * 2 * np.pi + i) + 0.05 * rng.standard_normal(72)
        y = 10.0 ** (2 + i % 3) * wave - (shift if i == 0 else 0.0)
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module", params=["log", "identity"])
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    config = {**QUICK, "model": {**QUICK["model"], "transform": request.param}}
    return Forecaster.fit(table(), horizon=4, config=config, device="cpu")


@pytest.mark.parametrize("rows", [1, 2, 8, 40])
@pytest.mark.parametrize("level", [1e-6, 100.0, 3e6])
def test_an_interval_about_equal_values_is_a_share_of_their_level(
    forecaster: Forecaster, level: float, rows: int
) -> None:
    """Neither nothing nor thousands of times the level, whatever the unit."""
    stamps = pd.date_range("2016-01-01", periods=rows, freq="MS")
    history = pd.DataFrame({"unique_id": "x", "ds": stamps, "y": level})
    forecast = forecaster.predict(history, quantiles=LEVELS)
    width = (forecast["q0.975"] - forecast["q0.025"]) / level
    assert width.between(0.01, 3.0).all()
    assert (forecast["q0.5"] / level).between(0.5, 2.0).all()


def test_what_was_never_below_zero_is_not_forecast_below_it() -> None:
    rng = np.random.default_rng(3)
    low = table()
    low["y"] = rng.poisson(0.7, len(low)).astype(float)
    config = {**QUICK, "model": {**QUICK["model"], "transform": "identity"}}
    bounded = Forecaster.fit(low, horizon=4, config=config, device="cpu")
    assert bounded.config.model.nonnegative
    forecast = bounded.predict(low, quantiles=(0.01, 0.5))
    assert (forecast[["mean", "q0.01", "q0.5"]] >= 0.0).all(axis=None)
    free = {**config, "model": {**config["model"], "nonnegative": False}}
    unbounded = Forecaster.fit(low, horizon=4, config=free, device="cpu")
    assert (unbounded.predict(low, quantiles=(0.01,))["q0.01"] < 0.0).any()
    # A series that does fall below 0 is forecast there all the same.
    low.loc[low["unique_id"] == "s0", "y"] -= 50.0
    assert (bounded.predict(low, quantiles=(0.01,)).iloc[:4]["q0.01"] < 0.0).all()


def test_a_panel_with_values_below_zero_has_no_bound() -> None:
    below = table(shift=200.0)
    free = Forecaster.fit(below, horizon=4, config=QUICK, device="cpu")
    assert free.config.model.nonnegative is False
