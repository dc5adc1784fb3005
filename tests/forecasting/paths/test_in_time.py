"""Days, weeks and months of the same series agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from forecasting.paths.in_time import coherent_in_time
from forecasting.paths.reconcile import HOWS, How


def forecast(alias: str, periods: int, level: float, seed: int = 0) -> pd.DataFrame:
    """Forecasts of two series from Monday 2024-01-01 on."""
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2024-01-01", periods=periods, freq=alias)
    mean = level * rng.uniform(0.5, 1.5, 2 * periods)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b"], periods),
            "ds": np.tile(stamps, 2),
            "mean": mean,
            "q0.1": 0.8 * mean,
            "q0.9": 1.3 * mean,
        }
    )


def tables() -> dict[str, pd.DataFrame]:
    return {
        "D": forecast("D", 40, 10.0),
        "W-MON": forecast("W-MON", 7, 75.0, 1),
        "MS": forecast("MS", 3, 290.0, 2),
    }


@pytest.mark.parametrize("how", HOWS[:-1])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_whole_weeks_and_months_are_the_sums_of_their_days(how: How, nonnegative: bool) -> None:
    given = tables()
    found = coherent_in_time(given, how=how, nonnegative=nonnegative)
    for name in "ab":
        days, weeks, months = (t[t.unique_id == name].set_index("ds") for t in found.values())
        by_week = days["mean"].resample("W-MON", closed="left", label="left").sum()
        np.testing.assert_allclose(weeks["mean"].iloc[:5], by_week.iloc[:5], rtol=1e-9)
        january = days["mean"].loc["2024-01"].sum()
        assert months["mean"].iloc[0] == pytest.approx(january, rel=1e-9)
        # The sixth week and February do not lie whole within forty days.
        before = given["MS"][given["MS"].unique_id == name]["mean"].to_numpy()
        np.testing.assert_array_equal(months["mean"].iloc[1:], before[1:])
        np.testing.assert_array_equal(
            weeks["mean"].iloc[5:],
            given["W-MON"][given["W-MON"].unique_id == name]["mean"].iloc[5:],
        )


def test_quantiles_are_moved_with_their_means() -> None:
    given = tables()
    found = coherent_in_time(given)
    for alias, table in found.items():
        moved = table["mean"].to_numpy() - given[alias]["mean"].to_numpy()
        for level in ("q0.1", "q0.9"):
            off = table[level].to_numpy() - given[alias][level].to_numpy()
            np.testing.assert_allclose(off, moved, atol=1e-9)


def test_steps_stamped_at_their_ends() -> None:
    days = forecast("D", 31, 10.0)
    weeks, months = forecast("W-SUN", 4, 70.0, 1), forecast("ME", 1, 310.0, 2)
    found = coherent_in_time({"D": days, "W-SUN": weeks, "ME": months}, ends=["W-SUN"])
    one = found["D"][found["D"].unique_id == "a"].set_index("ds")["mean"]
    assert found["W-SUN"]["mean"].iloc[0] == pytest.approx(one.loc[:"2024-01-07"].sum())
    assert found["ME"]["mean"].iloc[0] == pytest.approx(one.sum())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"W-MON": None, "MS": None}, "two steps or more"),
        (
            {"MS": forecast("MS", 3, 1.0).drop(columns="mean")},
            r"forecasts\['MS'\] has no column mean",
        ),
        ({"MS": forecast("MS", 3, 1.0).iloc[:3]}, "'b' is not in all forecasts"),
        ({"MS": forecast("MS", 3, 1.0).assign(ds=1)}, "has no stamps in ds"),
    ],
)
def test_what_cannot_agree_is_said(change: dict[str, pd.DataFrame | None], told: str) -> None:
    given = {k: v for k, v in {**tables(), **change}.items() if v is not None}
    with pytest.raises(DataError, match=told):
        coherent_in_time(given)
    with pytest.raises(DataError, match="mint_shrink"):
        coherent_in_time(tables(), how="mint_shrink")
