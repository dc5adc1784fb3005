"""The engine's one pass over many series against its slow twin, over settings and data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.prediction.engine import CHUNK
from forecasting.prediction.reading import FEW_MEMBERS, median_of
from tests.forecasting.prediction.slow import slow_forecast
from tests.forecasting.samples import MIXES, make_panel, settings, untrained

POOL = {"theta": 0.4, "damped": 0.3, "drift": 0.3}
WANTED = (0.03, 0.1, 0.4, 0.5, 0.9, 0.97)
MODELS: tuple[dict[str, Any], ...] = (
    {},
    {"transform": "log"},
    {"transform": "log", "blend": 0.4, "pool": {}, "nonnegative": True},
    {"transform": "asinh", "blend": 0.3, "pool": {}, "segment": 2, "window": 3},
    {"transform": "log", "blend": 0.5, "pool": POOL},
    {"blend": 0.5, "pool": POOL, "calendar": True},
    {"head": "negative_binomial"},
    {"head": "student_t", "blend": 0.2, "pool": {}, "nonnegative": True},
    {"calendar": True, "cycle": 4, "lags": (6, 11)},
)


def shown(kind: str, panel: Panel, seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    y = panel.y if kind == "negative" else np.abs(panel.y) + 0.5
    if kind == "zeros":
        y = np.where(rng.random(len(y)) < 0.4, 0.0, y)
    return replace(panel, y=y)


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    model=st.sampled_from(MODELS),
    mix=st.sampled_from(["none", "all"]),
    freq=st.sampled_from(["D", "MS", "h"]),
    members=st.integers(1, 4),
    corrected=st.booleans(),
    lengths=st.sampled_from([[40], [40] * 4, [1, 2, 9, 30], [50, 7, 20]]),
    kind=st.sampled_from(["plain", "holes", "zeros", "negative"]),
    steps=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_one_pass_over_many_gives_what_one_after_the_other_gives(
    model: dict[str, Any],
    mix: str,
    freq: str,
    members: int,
    corrected: bool,
    lengths: list[int],
    kind: str,
    steps: int,
    seed: int,
) -> None:
    engine = untrained(settings(model=model, freq=freq), MIXES[mix], members=members, seed=seed)
    if corrected:
        # Not rising everywhere, so that some quantiles would cross.
        engine.correction = 0.3 * np.random.default_rng(seed).normal(size=(3, 5))
    panel = make_panel(
        lengths, schema=engine.schema, seed=seed, freq=freq, missing=0.2 * (kind == "holes")
    )
    panel = shown(kind, panel, seed)
    if model.get("head") == "negative_binomial":
        panel = replace(panel, y=np.round(np.abs(panel.y)))
    found = engine.predict_panel(panel, horizon=steps, quantiles=WANTED)
    kept = [list(panel.ids).index(i) for i in found.ids]
    if not kept:
        assert len(found.problems) == len(panel)
        return
    quantiles, mean = slow_forecast(engine, panel.select(np.array(kept)), steps, WANTED)
    size = np.abs(quantiles).max()
    np.testing.assert_allclose(found.quantiles, quantiles, rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5, atol=1e-6 * size)


@pytest.mark.parametrize("lengths", [[30], [30, 9]], ids=["one length", "two lengths"])
def test_more_series_than_a_chunk_are_forecast_as_few(lengths: list[int]) -> None:
    engine = untrained(settings(model={"transform": "log"}))
    panel = make_panel(lengths * (CHUNK + 5), positive=True)
    found = engine.predict_panel(panel, horizon=2, quantiles=WANTED)
    some = np.array([0, 1, CHUNK - 1, CHUNK, len(panel) - 1])
    few = engine.predict_panel(panel.select(some), horizon=2, quantiles=WANTED)
    np.testing.assert_allclose(found.quantiles[some], few.quantiles, rtol=1e-5)
    np.testing.assert_allclose(found.mean[some], few.mean, rtol=1e-5)


def test_nothing_to_forecast_has_the_shape_that_was_asked() -> None:
    engine = untrained(settings())
    panel = make_panel([5])
    found = engine.predict_panel(
        replace(panel, y=np.full(5, np.nan)), horizon=7, quantiles=WANTED, extend=True
    )
    assert found.quantiles.shape == (0, 7, 6)
    assert found.mean.shape == (0, 7)
    assert [p.code for p in found.problems] == ["no_observations"]


@pytest.mark.parametrize("members", range(1, FEW_MEMBERS + 3))
def test_the_median_of_members_is_numpys(members: int) -> None:
    values = np.random.default_rng(members).integers(0, 5, (6, members, 2, 3)).astype(float)
    values[0, members // 2, 0, 0] = np.nan
    values[1, 0, 1, 1] = np.inf
    np.testing.assert_array_equal(median_of(values), np.median(values, axis=1))
