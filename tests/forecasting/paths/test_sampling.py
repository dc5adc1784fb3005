"""Paths have the forecast's own quantiles, and go by seed, name and origin alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.copula.dependence import Dependence, path_levels
from forecasting.copula.learning import USUAL
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.paths.sampling import Draws, sample
from forecasting.paths.totals import quantiles_of_paths
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from tests.forecasting.samples import MIXES, make_panel, settings, untrained, with_y

LEARNED = Dependence(4, {"walk": 0.5, "alone": 0.1}, {"level": 0.2}, {"region": {"level": 0.2}})


def forecaster(mix: str = "static", **options: object) -> Forecaster:
    made = untrained(settings(**options), MIXES[mix])
    made.dependence = LEARNED
    return made


@examples(max_examples=10, deadline=None, derandomize=True)
@given(
    paths=st.integers(2, 300),
    seed=st.integers(0, 2**63 - 1),
    head=st.sampled_from(["quantiles", "student_t", "negative_binomial"]),
    transform=st.sampled_from(["identity", "asinh"]),
)
def test_each_steps_paths_are_the_forecasts_own_quantiles(
    paths: int, seed: int, head: str, transform: str
) -> None:
    counts = head == "negative_binomial"
    model = {"head": head, "transform": "identity" if counts else transform}
    engine = forecaster("none", model=model)
    panel = make_panel([30, 21, 9], positive=True)
    found = sample(engine, panel, Draws(paths, seed))
    own = engine.predict_panel(panel, quantiles=path_levels(paths))
    np.testing.assert_array_equal(np.sort(found.values, axis=-1), np.sort(own.quantiles, axis=-1))
    plain = engine.predict_panel(panel)
    np.testing.assert_array_equal(found.forecast.quantiles, plain.quantiles)
    np.testing.assert_array_equal(found.forecast.mean, plain.mean)
    assert found.forecast.levels == plain.levels


def test_quantiles_of_paths_are_those_of_the_forecast() -> None:
    engine, panel = forecaster("none"), make_panel([30, 21])
    levels = (0.0525, 0.1025, 0.4975)
    found = sample(engine, panel, Draws(200), quantiles=levels)
    told = quantiles_of_paths(found.values, levels)
    np.testing.assert_allclose(told, found.forecast.quantiles, rtol=1e-9)


def test_a_series_has_the_same_paths_alone_in_another_order_and_over_fewer_steps() -> None:
    engine, panel = forecaster(), make_panel([30, 25, 28], schema=MIXES["static"])
    whole = sample(engine, panel, Draws(40, 3)).values
    alone = sample(engine, panel.select(np.array([2, 1])), Draws(40, 3)).values
    np.testing.assert_allclose(alone, whole[[2, 1]], rtol=1e-6, atol=1e-6)
    shorter = sample(engine, panel, Draws(40, 3), horizon=2).values
    np.testing.assert_allclose(shorter, whole[:, :2], rtol=1e-6, atol=1e-6)
    assert not np.array_equal(sample(engine, panel, Draws(40, 4)).values, whole)


def test_a_saved_forecaster_draws_the_same_without_torch(tmp_path: Path) -> None:
    engine, panel = forecaster("all"), make_panel([30, 25, 28], schema=MIXES["all"])
    engine.save(tmp_path / "b")
    wanted = sample(engine, panel, Draws(60, 7))
    for opened in (Forecaster.load(tmp_path / "b"), Predictor.load(tmp_path / "b")):
        assert opened.dependence == LEARNED
        found = sample(opened, panel, Draws(60, 7))
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-4)


def test_a_bundle_from_before_there_were_paths_draws_by_the_usual_dependence() -> None:
    engine = Predictor.load(Path(__file__).resolve().parents[2] / "bundles" / "format-1")
    assert engine.dependence == USUAL
    found = sample(engine, example_panel(engine, 3), Draws(20))
    assert found.values.shape == (3, engine.config.horizon, 20)


def test_beyond_the_horizon_and_across_a_change_of_the_clock_paths_go_on() -> None:
    engine = forecaster("none", freq="h")
    panel = make_panel([40, 50], freq="h", tz="Europe/Madrid")
    found = sample(engine, panel, Draws(30), horizon=7, extend=True)
    assert found.values.shape == (2, 7, 30)
    own = engine.predict_panel(panel, quantiles=path_levels(30), horizon=7, extend=True)
    np.testing.assert_allclose(np.sort(found.values, -1), np.sort(own.quantiles, -1))


def test_series_without_a_forecast_are_named_and_the_others_go_on() -> None:
    panel = make_panel([30, 20])
    y = panel.y.copy()
    y[30:] = np.nan
    found = sample(forecaster("none"), with_y(panel, y), Draws(10))
    assert found.names.tolist() == ["s0"]
    assert [p.id for p in found.forecast.problems] == ["s1"]
    assert found.asked.tolist() == ["s0", "s1"]


@pytest.mark.parametrize(
    ("draws", "told"),
    [
        (Draws(1), "paths = 1 is outside 2..1000"),
        (Draws(1_001), "paths = 1001"),
        (Draws(2.5), "paths = 2.5 must be a whole number"),  # type: ignore[arg-type]
        (Draws(True), "paths = True"),
        (Draws(10, -1), "seed = -1"),
    ],
)
def test_paths_that_there_are_none_of_are_refused(draws: Draws, told: str) -> None:
    with pytest.raises(DataError, match=told):
        sample(forecaster("none"), make_panel([30]), draws)


def test_what_would_fill_the_memory_is_refused_before_it_is_begun() -> None:
    engine = forecaster("none")
    with pytest.raises(DataError, match="2,000 steps"):
        sample(engine, make_panel([30]), horizon=2_001, extend=True)
    panel = make_panel([2] * 200)
    with pytest.raises(DataError, match="400,000,000 numbers"):
        sample(engine, panel, Draws(1_000), horizon=2_000, extend=True)


def test_a_table_of_paths_has_a_row_for_each_step_of_each(tmp_path: Path) -> None:
    found = sample(forecaster("none"), make_panel([30, 20]), Draws(5))
    frame = found.to_frame()
    assert list(frame.columns) == ["unique_id", "ds", "path", "y"]
    one = frame[(frame.unique_id == "s1") & (frame.path == 4)]
    np.testing.assert_array_equal(one.y, found.values[1, :, 3])
    assert list(one.ds) == list(pd.DatetimeIndex(found.forecast.stamps()[1]))


def test_a_series_that_is_lost_takes_no_ones_name_or_category() -> None:
    panel = make_panel([30, 25, 28, 30], schema=MIXES["static"])
    panel.static[:, 1] = [1.0, 1.0, 2.0, 1.0]
    y = panel.y.copy()
    y[30:55] = np.nan
    left = sample(forecaster(), with_y(panel, y), Draws(40, 3))
    kept = np.array([0, 2, 3])
    whole = sample(forecaster(), panel, Draws(40, 3))
    assert left.names.tolist() == panel.ids[kept].tolist()
    np.testing.assert_allclose(left.values, whole.values[kept], rtol=1e-6, atol=1e-6)


def test_a_level_asked_for_that_bears_the_name_of_a_paths_is_that_one() -> None:
    asked = (0.166667, 0.5)
    found = sample(forecaster("none"), make_panel([30]), Draws(3), quantiles=asked)
    assert found.forecast.levels == asked
    np.testing.assert_array_equal(np.sort(found.values)[..., :2], found.forecast.quantiles)
