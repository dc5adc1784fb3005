"""Scenarios are forecasts of their own, and their differences those of paths of the same luck."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.arrays import Array
from forecasting.classical.pool import classical
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.paths.sampling import Draws, sample
from forecasting.paths.scenarios import MOST_SCENARIOS, ahead_of, compare
from forecasting.paths.totals import quantiles_of_paths
from forecasting.prediction.predictor import Predictor
from tests.forecasting.paths.test_sampling import LEARNED
from tests.forecasting.samples import MIXES, make_panel, settings, untrained

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def forecaster(mix: str = "all", **options: object) -> Forecaster:
    made = untrained(settings(**options), MIXES[mix])
    made.dependence = LEARNED
    return made


def moved(panel: Panel, steps: int = 3, **values: float) -> Array:
    """What is known ahead, with other values of some columns."""
    block = ahead_of(panel, steps)
    names = [c.name for c in panel.schema.future]
    for name, value in values.items():
        block[:, :, names.index(name)] = value
    return block


@examples(max_examples=8, deadline=None, derandomize=True)
@given(
    promo=st.floats(-2.0, 2.0),
    paths=st.integers(2, 60),
    steps=st.integers(1, 3),
    head=st.sampled_from(["quantiles", "student_t"]),
)
def test_a_scenario_is_the_forecast_of_its_own_future(
    promo: float, paths: int, steps: int, head: str
) -> None:
    engine = forecaster(model={"head": head})
    panel = make_panel([30, 21, 9], schema=engine.schema)
    other = moved(panel, steps, promo=promo)
    found = compare(engine, panel, {"other": other}, draws=Draws(paths), horizon=steps)
    told = {one.name: one for one in found.outcomes}
    assert list(told) == ["base", "other"]
    for name, block in (("base", ahead_of(panel, steps)), ("other", other)):
        alone = engine.predict_panel(replace(panel, horizon=block), horizon=steps)
        np.testing.assert_allclose(told[name].forecast.mean, alone.mean, **CLOSE)
        np.testing.assert_allclose(told[name].forecast.quantiles, alone.quantiles, **CLOSE)
        assert told[name].forecast.levels == alone.levels


def test_a_difference_is_that_of_paths_drawn_apart_with_one_seed() -> None:
    engine = forecaster()
    panel, draws = make_panel([30, 21, 9], schema=MIXES["all"]), Draws(50, 7)
    other, levels = moved(panel, promo=3.0, holiday=2.0), (0.1, 0.6)
    found = compare(engine, panel, {"other": other}, draws=draws, quantiles=levels)
    change = found.outcomes[1].difference
    assert change is not None
    there, here = (
        sample(engine, one, draws, quantiles=(0.5,))
        for one in (panel, replace(panel, horizon=other))
    )
    apart = here.values - there.values
    np.testing.assert_allclose(change.quantiles, quantiles_of_paths(apart, levels), **CLOSE)
    sums = quantiles_of_paths(apart.sum(axis=1), levels)
    np.testing.assert_allclose(change.total_quantiles, sums, **CLOSE)
    mean = here.forecast.mean - there.forecast.mean
    np.testing.assert_allclose(change.mean, mean, **CLOSE)
    np.testing.assert_allclose(change.total_mean, mean.sum(axis=1), **CLOSE)
    medians = here.forecast.quantiles[..., 0] - there.forecast.quantiles[..., 0]
    np.testing.assert_allclose(change.median, medians, **CLOSE)
    assert np.abs(change.median).max() > 0.01


def test_what_a_scenario_leaves_as_it_is_differs_by_nothing_at_all() -> None:
    engine = forecaster()
    panel = make_panel([30, 21, 9], schema=MIXES["all"])
    of_one = moved(panel)
    of_one[1, :, 0] = 4.0
    found = compare(engine, panel, {"same": moved(panel), "one": of_one})
    same, one = (outcome.difference for outcome in found.outcomes[1:])
    assert same is not None
    assert one is not None
    for values in (same.mean, same.median, same.quantiles, same.total_mean, same.total_quantiles):
        assert (values == 0.0).all()
    assert (one.quantiles[[0, 2]] == 0.0).all()
    assert (one.quantiles[1] != 0.0).any()


def test_any_scenario_can_be_the_base() -> None:
    engine = forecaster()
    panel = make_panel([30, 21], schema=MIXES["all"])
    plans = {"low": moved(panel, promo=0.0), "high": moved(panel, promo=1.0)}
    up, down = (compare(engine, panel, plans, base=base) for base in plans)
    assert [one.name for one in up.outcomes] == ["low", "high"]
    assert [one.name for one in down.outcomes] == ["high", "low"]
    assert (up.base, down.base) == ("low", "high")
    rise, fall = (found.outcomes[1].difference for found in (up, down))
    assert rise is not None
    assert fall is not None
    np.testing.assert_allclose(rise.mean, -fall.mean, **CLOSE)
    # The table itself need say nothing then.
    blank = replace(panel, horizon=None)
    alone = compare(engine, blank, plans, base="low")
    np.testing.assert_allclose(alone.outcomes[1].forecast.mean, up.outcomes[1].forecast.mean)


def test_a_saved_forecaster_says_the_same_without_torch(tmp_path: Path) -> None:
    engine = forecaster()
    panel = make_panel([30, 21], schema=MIXES["all"])
    engine.save(tmp_path / "b")
    told = [
        compare(one, panel, {"other": moved(panel, promo=2.0)}).outcomes[1].difference
        for one in (engine, Predictor.load(tmp_path / "b"))
    ]
    assert told[0] is not None
    assert told[1] is not None
    np.testing.assert_allclose(told[1].quantiles, told[0].quantiles, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        told[1].total_quantiles, told[0].total_quantiles, rtol=1e-5, atol=1e-4
    )


def test_classical_forecasts_are_made_once_of_each_history() -> None:
    asked = []

    def counted(y: Array, offsets: Array, *rest: object) -> Array:
        asked.append(len(offsets) - 1)
        return classical(y, offsets, *rest)  # type: ignore[arg-type]

    model = {"blend": 0.5, "pool": {"drift": 0.5, "theta": 0.5}}
    engine = forecaster("future", model=model)
    panel = make_panel([30, 21], schema=MIXES["future"])
    plans = {str(k): moved(panel, promo=k / 10) for k in range(1, 6)}
    alone = [engine.predict_panel(replace(panel, horizon=b)).mean for b in plans.values()]
    engine.pool = counted
    found = compare(engine, panel, plans)
    assert sum(asked) == len(panel)
    for one, mean in zip(found.outcomes[1:], alone, strict=True):
        np.testing.assert_allclose(one.forecast.mean, mean, **CLOSE)


def test_what_cannot_be_forecast_is_named_with_its_scenario() -> None:
    engine = forecaster()
    panel = make_panel([30, 21, 9], schema=MIXES["all"])
    y = panel.y.copy()
    y[30:51] = np.nan
    panel = replace(panel, y=y)
    broken = moved(panel)
    broken[2, 1, 0] = np.nan
    found = compare(engine, panel, {"broken": broken, "fine": moved(panel, promo=1.0)})
    assert [(s, p.id, p.code) for s, p in found.problems] == [
        (None, "s1", "no_observations"),
        ("broken", "s2", "missing_future_covariate"),
    ]
    assert [one.position.tolist() for one in found.outcomes] == [[0, 2], [0], [0, 2]]


@pytest.mark.parametrize(
    ("names", "base", "said"),
    [
        ([], None, "0 scenarios"),
        ([str(k) for k in range(MOST_SCENARIOS + 1)], None, "51 scenarios"),
        (["base"], None, "is what the table itself says"),
        (["a", ""], None, "must be text"),
        (["a"], "b", "none of the scenarios"),
    ],
)
def test_a_wrong_plan_is_refused(names: list[str], base: str | None, said: str) -> None:
    panel = make_panel([30], schema=MIXES["all"])
    with pytest.raises(DataError, match=said):
        compare(forecaster(), panel, {name: moved(panel) for name in names}, base=base)


def test_a_model_that_knows_nothing_ahead_has_no_scenarios() -> None:
    panel = make_panel([30], schema=MIXES["past"])
    with pytest.raises(DataError, match="no covariates known ahead"):
        compare(forecaster("past"), panel, {"a": np.zeros((1, 3, 0))})


def test_more_numbers_than_fit_are_refused_before_work() -> None:
    engine = forecaster()
    panel = make_panel([20] * 40, schema=MIXES["all"])
    wide = panel.select(np.tile(np.arange(40), 40))
    plans = {str(k): np.zeros((1600, 3, 2)) for k in range(45)}
    with pytest.raises(DataError, match="at most 200,000,000"):
        compare(engine, wide, plans, draws=Draws(1000))
