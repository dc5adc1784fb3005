"""The unit of a series that cannot say how far it moves: its panel's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.transforms import TRANSFORMS
from forecasting.windows.conditioning import (
    UNKNOWN_SHARE,
    condition,
    condition_rows,
    usual_spread,
)


def units(y: np.ndarray, usual: tuple[float, float]) -> np.ndarray:
    """[N] of the rows of y [N, R]."""
    series = np.repeat(np.arange(len(y)), y.shape[1])
    flat = y.ravel()
    return condition(flat, ~np.isnan(flat), series, len(y), centred=True, scaled=True, usual=usual)[
        1
    ]


@given(st.floats(-1e12, 1e12, allow_subnormal=False), st.integers(1, 60), st.floats(0.01, 1.0))
def test_equal_values_take_the_usual_share_of_their_level(
    value: float, rows: int, share: float
) -> None:
    """Also where the mean of equal values is off by rounding."""
    (unit,) = units(np.full((1, rows), value), (share, 7.0))
    assert unit == pytest.approx(share * abs(value) if value else 7.0, rel=1e-9)


@hypothesis_settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-9, 1e3))
def test_values_that_differ_speak_for_themselves(level: float, share: float) -> None:
    y = np.array([[level, level * (1.0 + share)]])
    np.testing.assert_allclose(units(y, (0.5, 0.5)), [level * share / 2.0], rtol=1e-3)


@pytest.mark.parametrize("transform", ["log", "identity"])
def test_the_usual_spread_is_that_of_the_typical_series(transform: str) -> None:
    rng = np.random.default_rng(0)
    level = np.array([10.0, 1e3, 1e5, 5.0])[:, None]
    y = level * np.exp(0.2 * rng.standard_normal((4, 500)))
    y[3] = 5.0  # says nothing
    share, amount = usual_spread(y.ravel(), 500 * np.arange(5), transform)
    expected = 0.2 * np.sqrt(2.0 / np.pi)
    if transform == "log":
        assert (share, amount) == (0.0, pytest.approx(expected, rel=0.1))
    else:
        assert share == pytest.approx(expected, rel=0.1)
        assert amount < 100.0


@pytest.mark.parametrize("transform", ["log", "identity"])
def test_a_panel_of_constants_has_a_tenth_of_the_level(transform: str) -> None:
    y = np.repeat([3.0, 8.0], 5)
    share, amount = usual_spread(y, np.array([0, 5, 10]), transform)
    assert UNKNOWN_SHARE in (share, amount)


def test_nothing_observed_is_finite() -> None:
    y = np.full(6, np.nan)
    for transform in ("log", "identity"):
        assert np.isfinite(usual_spread(y, np.array([0, 3, 6]), transform)).all()
    assert np.isfinite(units(TRANSFORMS["log"].forward(y).reshape(2, 3), (0.1, 1.0))).all()


@hypothesis_settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_series_side_by_side_are_conditioned_as_one_after_the_other(
    seed: int, rows: int, missing: float, centred: bool, scaled: bool
) -> None:
    rng = np.random.default_rng(seed)
    t = rng.normal(100.0, 3.0, (4, rows))
    t[0] = 7.1
    known = rng.random(t.shape) >= missing
    t[~known] = np.nan
    options = {"centred": centred, "scaled": scaled, "usual": (0.1, 2.0)}
    centre, unit = condition(t.ravel(), known.ravel(), np.repeat(np.arange(4), rows), 4, **options)
    found = condition_rows(t, None if known.all() else known, **options)
    expected = np.where(known, (t - centre[:, None]) / unit[:, None], 0.0)
    for name, a, b in zip(("z", "centre", "unit"), found, (expected, centre, unit), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)
