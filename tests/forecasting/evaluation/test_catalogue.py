"""The table of measures: each against a plain loop, and a new one is an entry and no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.evaluation import metrics
from forecasting.evaluation.backtest import backtest
from forecasting.evaluation.baselines import naive
from forecasting.evaluation.catalogue import METRICS, Metric, Outcomes, metric_named
from tests.forecasting.samples import LEVELS, make_panel

MIDDLE = LEVELS.index(0.5)


def outcomes(seed: int, origins: int, horizon: int, missing: float) -> Outcomes:
    rng = np.random.default_rng(seed)
    actual = rng.normal(2.0, 3.0, (origins, horizon))
    actual[rng.random(actual.shape) < missing] = np.nan
    quantiles = np.sort(rng.normal(2.0, 3.0, (origins, horizon, len(LEVELS))), axis=-1)
    scale = rng.choice([0.0, 1.5, 2.0], origins)
    return Outcomes(actual, quantiles[..., MIDDLE], quantiles, LEVELS, scale)


def slow_steps(name: str, o: Outcomes, m: int, h: int) -> float:
    """One measure at one step of one origin, from its definition."""
    y, f, scale = o.actual[m, h], o.point[m, h], o.scale[m]
    error = abs(y - f)
    if name == "smape":
        return float(200.0 * error / (abs(y) + abs(f)))
    if name == "mae":
        return float(error)
    if name == "rmse":
        return float(error**2)
    if name in ("mase", "bias", "wql") and scale == 0:
        return float("nan")
    if name == "mase":
        return float(error / scale)
    if name == "bias":
        return float((f - y) / scale)
    if name == "wql":
        loss = [
            max(t * (y - q), (t - 1) * (y - q))
            for t, q in zip(LEVELS, o.quantiles[m, h], strict=True)
        ]
        return float(2.0 * np.mean(loss) / scale)
    low, high = o.ends(int(name.removeprefix("coverage_")))
    return float(low[m, h] <= y <= high[m, h])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    origins=st.integers(1, 5),
    horizon=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_every_measure_is_its_definition_step_by_step(
    seed: int, origins: int, horizon: int, missing: float
) -> None:
    o = outcomes(seed, origins, horizon, missing)
    for name, metric in METRICS.items():
        expected = np.array(
            [
                [
                    np.nan if np.isnan(o.actual[m, h]) else slow_steps(name, o, m, h)
                    for h in range(horizon)
                ]
                for m in range(origins)
            ]
        )
        np.testing.assert_allclose(metric.steps(o), expected, err_msg=name, atol=1e-12)
        per_origin = [
            np.mean(r[np.isfinite(r)]) if np.isfinite(r).any() else np.nan for r in expected
        ]
        np.testing.assert_allclose(metric.by_origin(o), per_origin, err_msg=name, atol=1e-12)
        if metric.overall is None:
            whole = metrics.average(np.array(per_origin))
            np.testing.assert_allclose(metric.score(o), whole, err_msg=name, atol=1e-12)


def test_a_new_measure_is_one_entry_and_stands_in_every_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = Metric("largest", "{:.1f}", lambda o: np.abs(o.actual - o.point) ** 9)
    monkeypatch.setitem(METRICS, "ninth", largest)
    panel = make_panel([30, 25])
    result = backtest(
        panel, {"naive": lambda p: naive(p, 3, levels=LEVELS)}, horizon=3, season=4, levels=LEVELS
    )
    error = np.abs(result.actual - result.median("naive")) ** 9
    assert result.scores().loc["naive", "ninth"] == pytest.approx(error.mean(axis=1).mean())
    np.testing.assert_allclose(result.by_step()["ninth"], error.mean(axis=0))
    assert set(result.by_series().columns) >= {"ninth"}
    assert metric_named("ninth") == "ninth"


def test_only_measures_that_decide_may_choose() -> None:
    assert metric_named("rmse") == "rmse"
    with pytest.raises(ValueError, match="smape, mase, mae, rmse, wql"):
        metric_named("coverage_80")
