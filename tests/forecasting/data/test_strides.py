"""Values that stand several steps apart are of another step; gaps of chance are not."""

from __future__ import annotations

from itertools import pairwise
from math import gcd

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.data.panel import Panel
from forecasting.data.strides import CHANCE, LEAST_GAPS, MONTHS, MOSTLY, strides
from forecasting.errors import DataError

QUICK = {
    "model": {"hidden_size": 4, "layers": 1, "calendar": False},
    "training": {"max_steps": 2, "start": "none", "threads": 1},
}


def table(name: str, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    y = 10.0 + np.arange(len(stamps)) % 5
    return pd.DataFrame({"unique_id": name, "ds": stamps, "y": y})


def slow(panel: Panel) -> list[int]:
    found = []
    for i in range(len(panel)):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        rows = [k for k, v in enumerate(y) if not np.isnan(v)]
        gaps = [b - a for a, b in pairwise(rows)]
        size = gcd(*gaps) if gaps else 1
        alike = gaps.count(size) >= MOSTLY * len(gaps)
        rare = size ** (len(gaps) - 1) >= CHANCE if gaps else False
        found.append(size if len(gaps) >= LEAST_GAPS and (alike or rare) else 1)
    return found


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True), min_size=1,
             max_size=5),
    st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_strides_are_those_of_a_loop(series: list[list[int]], stretch: int) -> None:
    rows = [
        {"unique_id": f"s{i}", "ds": step * stretch, "y": 1.0}
        for i, steps in enumerate(series)
        for step in steps
    ]
    panel = Panel.from_frame(pd.DataFrame(rows), freq="step")
    assert strides(panel).tolist() == slow(panel)


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.95), st.integers(12, 200))
@settings(max_examples=100, deadline=None)
def test_honest_gaps_are_gaps(seed: int, share: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=count)
    kept = rng.random(count) < share
    kept[[0, 1]] = True
    panel = Panel.from_frame(table("a", days[kept]), freq="D")
    assert strides(panel).tolist() == [1]


@pytest.mark.parametrize(("missing", "rows"), [(0.9, 60), (0.95, 200), (0.98, 400), (0.99, 400)])
def test_few_values_of_chance_are_no_longer_step(missing: float, rows: int) -> None:
    """In at most one series in a hundred, however few values it has."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random((300, rows)) < missing, np.nan, 1.0)
    y[:, [0, -1]] = 1.0
    ids, step = np.divmod(np.flatnonzero(~np.isnan(y)), rows)
    panel = Panel.from_frame(pd.DataFrame({"unique_id": ids, "ds": step, "y": 1.0}), freq="step")
    assert (strides(panel) != 1).mean() <= 0.01


def test_two_values_are_as_far_apart_as_they_are() -> None:
    days = pd.date_range("2024-01-01", periods=200)
    for first in (0, 50, 129):
        panel = Panel.from_frame(table("a", days[[first, 130, 199]]), freq="D")
        assert strides(panel).tolist() == [1]


@pytest.mark.parametrize(
    ("grid", "rows", "expected"),
    [
        ("MS", "QS", 3), ("MS", "YS", 12), ("D", "W-MON", 7), ("D", "MS", MONTHS),
        ("D", "ME", MONTHS), ("D", "QS", MONTHS), ("D", "B", 1), ("h", "D", 24),
        ("h", "MS", MONTHS),        ("15min", "h", 4),
        ("QS", "YS", 4), ("W-SUN", "2W-SUN", 2), ("D", "YS", MONTHS), ("h", "h", 1),
    ],
)  # fmt: skip
def test_a_longer_step_is_seen(grid: str, rows: str, expected: int) -> None:
    panel = Panel.from_frame(
        table("a", pd.date_range("2020-01-05", periods=12, freq=rows)), freq=grid
    )
    assert strides(panel).tolist() == [expected]


def test_predict_names_series_of_another_step() -> None:
    months = table("m", pd.date_range("2015-01-01", periods=60, freq="MS"))
    quarters = table("q", pd.date_range("2015-01-01", periods=20, freq="QS"))
    forecaster = Forecaster.fit(months, horizon=3, config=QUICK, device="cpu")
    with pytest.raises(DataError, match=r"'q'.*3 steps of MS apart \(2015-01-01.*, 2015-04-01"):
        forecaster.predict(quarters)
    both = Panel.from_frame(pd.concat([months, quarters]), freq="MS")
    found = forecaster.predict_panel(both)
    assert list(found.ids) == ["m"]
    assert [(p.id, p.code) for p in found.problems] == [("q", "other_step")]
    with pytest.raises(DataError, match="grid"):
        forecaster.predict(table("d", pd.date_range("2015-01-01", periods=90)))
    with pytest.raises(DataError, match="grid"):
        forecaster.predict(table("w", pd.date_range("2015-01-01", periods=90, freq="W")))
    # Years without a spring are gaps.
    spring = months[months["ds"].dt.month.isin([3, 4])].index
    assert len(forecaster.predict(months.drop(index=spring))) == 3


def test_what_training_has_seen_is_no_other_step() -> None:
    months = table("m", pd.date_range("2015-01-01", periods=60, freq="MS"))
    quarters = table("q", pd.date_range("2015-01-01", periods=20, freq="QS"))
    both = pd.concat([months, quarters])
    forecaster = Forecaster.fit(both, horizon=3, freq="MS", config=QUICK, device="cpu")
    assert forecaster.config.model.strides == (3,)
    assert len(forecaster.predict(both)) == 6
    years = table("y", pd.date_range("2005-01-01", periods=9, freq="YS"))
    with pytest.raises(DataError, match="12 steps of MS apart"):
        forecaster.predict(years)
