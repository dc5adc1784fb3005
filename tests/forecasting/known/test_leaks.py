"""Covariates that are y itself are named; what merely goes with y, or was known in time, is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.arrays import Float
from forecasting.data.panel import Panel
from forecasting.datasets import load
from forecasting.known.leaks import leaks, said_of_leaks, say_leaks

HORIZON = 6


def targets(draw: np.random.Generator, kind: str, rows: int) -> Float:
    t = np.arange(rows)
    return {
        "noise": 50 + draw.normal(size=rows),
        "walk": draw.normal(size=rows).cumsum(),
        "season": 100 + 20 * np.sin(t / 4) + draw.normal(size=rows),
        "trend": 3.0 * t + draw.normal(size=rows),
        "counts": draw.poisson(6, rows).astype(float),
        "large": 1e12 * (1 + 0.1 * draw.random(rows)),
    }[kind]


KINDS = st.sampled_from(["noise", "walk", "season", "trend", "counts", "large"])


def panel_of(pairs: list[tuple[Float, Float]], role: str = "future") -> Panel:
    parts = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": np.arange(len(y)), "y": y, "x": x})
        for k, (y, x) in enumerate(pairs)
    ]
    return Panel.from_frame(pd.concat(parts), freq="step", **{role: ["x"]})


@given(
    kind=KINDS,
    seed=st.integers(0, 99),
    rows=st.integers(30, 120),
    count=st.integers(1, 4),
    slope=st.floats(0.01, 1e6) | st.floats(-1e6, -0.01),
    offset=st.floats(-1e3, 1e3),
    shift=st.integers(-HORIZON - 4, 10),
    holes=st.booleans(),
    role=st.sampled_from(["future", "past"]),
)
def test_a_linear_function_of_y_is_named_unless_it_was_known_in_time(
    kind: str,
    seed: int,
    rows: int,
    count: int,
    slope: float,
    offset: float,
    shift: int,
    holes: bool,
    role: str,
) -> None:
    draw = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        y = targets(draw, kind, rows)
        # Of any slope, what is added leaves the digits of y.
        x = slope * (y + offset * np.std(y))
        x = pd.Series(x).shift(-shift).to_numpy()
        if holes:
            y = np.where(draw.random(rows) < 0.1, np.nan, y)
        pairs.append((y, x))
    found = leaks(panel_of(pairs, role), HORIZON)
    known_in_time = shift <= -HORIZON if role == "future" else shift <= 0
    if known_in_time:
        assert found == []
    else:
        assert [(leak.column, leak.role, leak.shift) for leak in found] == [("x", role, shift)]
        assert "'s0'" in said_of_leaks(found)


@given(
    kind=KINDS,
    how=st.sampled_from(["noise", "walk", "promo", "price", "week", "trend", "steps", "month"]),
    effect=st.floats(0, 5),
    error=st.floats(0.4, 5),
    seed=st.integers(0, 999),
    rows=st.integers(8, 150),
    count=st.integers(1, 4),
)
def test_what_goes_with_y_is_not_named(
    kind: str, how: str, effect: float, error: float, seed: int, rows: int, count: int
) -> None:
    draw, t = np.random.default_rng(seed), np.arange(rows)
    pairs = []
    for _ in range(count):
        x = {
            "noise": draw.normal(size=rows),
            "walk": draw.normal(size=rows).cumsum(),
            "promo": (draw.random(rows) < 0.2).astype(float),
            "price": draw.choice([1.99, 2.49, 2.99], rows),
            "week": (t % 7).astype(float),
            "trend": t.astype(float),
            "steps": np.floor(t / 20),
            "month": np.sin(2 * np.pi * t / 12),
        }[how]
        own = targets(draw, kind, rows)
        size = np.std(own)
        y = own + effect * size * (x - x.mean()) / (x.std() or 1.0)
        # What no covariate says is more than rounding.
        y += error * size * draw.normal(size=rows)
        pairs.append((y, x))
    assert leaks(panel_of(pairs), HORIZON) == []


@pytest.mark.parametrize("name", ["vic_elec", "orange_juice", "etth1"])
def test_covariates_of_real_data_are_not_named_and_copies_beside_them_are(
    name: str, shared_data: Path
) -> None:
    file = "train.parquet" if name == "orange_juice" else "data.parquet"
    frame = pd.read_parquet(shared_data / name / file)
    beside = [c for c in frame if c not in ("unique_id", "ds", "y", "split")]
    if name == "etth1":
        wide = frame.pivot(index="ds", columns="unique_id", values="y").reset_index()
        frame = wide.rename(columns={"OT": "y"}).assign(unique_id="OT")
        beside = [c for c in wide.columns if c not in ("ds", "OT")]
    frame[beside] = frame[beside].astype(float)
    y = frame["y"].groupby(frame["unique_id"])
    frame = frame.assign(
        copy=frame["y"] * 3 + 1, later=y.shift(-2), before=y.shift(3), old=y.shift(24)
    )
    columns = [*beside, "copy", "later", "before", "old"]
    found = leaks(Panel.from_frame(frame, future=columns), 24)
    assert [(leak.column, leak.shift) for leak in found] == [
        ("copy", 0), ("later", 2), ("before", -3),
    ]  # fmt: skip


def test_macro_series_beside_each_other_are_not_named() -> None:
    wide = load("us_macro").pivot(index="ds", columns="unique_id", values="y").reset_index()
    names = [c for c in wide if c != "ds"]
    for target in names:
        frame = wide.rename(columns={target: "y"}).assign(unique_id=target)
        others = [c for c in names if c != target]
        assert leaks(Panel.from_frame(frame, freq="QS", future=others), 8) == []


def test_the_warning_names_the_column_and_the_cure_once() -> None:
    draw = np.random.default_rng(0)
    y = draw.normal(size=60).cumsum()
    panel = panel_of([(y, np.round(100 * y))])
    with pytest.warns(UserWarning, match=r"x \(that of its row\).*'s0'.*Leave out this") as caught:
        say_leaks(panel, HORIZON)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_leaks(panel_of([(y, draw.normal(size=60))]), HORIZON)


@pytest.mark.parametrize("period", [0, 7, 12])
@pytest.mark.parametrize("role", ["past", "future"])
def test_of_what_goes_on_by_itself_nothing_is_a_copy(period: int, role: str) -> None:
    """A season without noise, or a steady trend: every calendar is a function of it."""
    t = np.arange(120)
    y = np.sin(2 * np.pi * t / period) * 3 + 10 if period else 2.0 * t + 5
    lagged = np.roll(y, period) if period else t.astype(float)
    frame = pd.DataFrame({"unique_id": "a", "ds": t, "y": y, "same": y, "lag": lagged})
    panel = Panel.from_frame(frame, **{role: ("same", "lag")})
    assert leaks(panel, 7) == []
