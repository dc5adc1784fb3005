from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.scale import mase_scale
from forecasting.errors import DataError
from forecasting.evaluation import metrics
from tests.datasets import DATA, M4, needs_data


def ragged(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids, first = np.unique(frame["unique_id"].to_numpy(object), return_index=True)
    order = np.argsort(first)
    offsets = np.concatenate([np.sort(first), [len(frame)]])
    return ids[order], frame["y"].to_numpy(), offsets


# The slow, obvious twins: a loop over series, steps and levels, in plain Python.


def loop_mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def loop_smape(y: list[float], f: list[float]) -> float:
    return loop_mean(
        [
            200 * abs(a - b) / (abs(a) + abs(b)) if abs(a) + abs(b) > 0 else 0.0
            for a, b in zip(y, f, strict=True)
            if a == a
        ]
    )


def loop_scale(y: list[float], season: int) -> float:
    gaps = [abs(y[t] - y[t - season]) for t in range(season, len(y))]
    return loop_mean([g for g in gaps if g == g])


def loop_pinball(y: list[float], q: list[list[float]], levels: list[float]) -> float:
    out = []
    for a, row in zip(y, q, strict=True):
        if a == a:
            for level, b in zip(levels, row, strict=True):
                out.append(level * (a - b) if a >= b else (1 - level) * (b - a))
    return loop_mean(out)


def loop_msis(
    y: list[float], low: list[float], high: list[float], scale: float, level: float
) -> float:
    out = []
    for a, lo, hi in zip(y, low, high, strict=True):
        if a == a:
            score = hi - lo
            if a < lo:
                score += 2 / (1 - level) * (lo - a)
            if a > hi:
                score += 2 / (1 - level) * (a - hi)
            out.append(score)
    return loop_mean(out) / scale if scale > 0 else float("nan")


@st.composite
def panels(draw: st.DrawFn) -> tuple[list[list[float]], np.random.Generator]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    series = []
    for n in lengths:
        y = np.round(rng.normal(scale=3, size=n))
        y[rng.random(n) < 0.2] = np.nan
        series.append(y.tolist())
    return series, rng


@settings(max_examples=60, deadline=None)
@given(panels(), st.integers(1, 4))
def test_ragged_scores_equal_a_plain_loop(
    panel: tuple[list[list[float]], np.random.Generator], season: int
) -> None:
    series, rng = panel
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in series])])
    y = np.concatenate([np.asarray(s, float) for s in series])
    f = np.round(rng.normal(scale=3, size=len(y)))
    levels = [0.1, 0.5, 0.9]
    q = np.sort(rng.normal(scale=3, size=(len(y), 3)), axis=1)
    parts = [slice(a, b) for a, b in pairwise(offsets)]

    def same(fast: np.ndarray, slow: list[float]) -> None:
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-12)

    scale = mase_scale(y, offsets, season)
    same(scale, [loop_scale(s, season) for s in series])
    same(
        metrics.smape(y, f, offsets),
        [loop_smape(s, f[p].tolist()) for s, p in zip(series, parts, strict=True)],
    )
    for name, error in {
        "mae": lambda a, b: abs(a - b),
        "mse": lambda a, b: (a - b) ** 2,
        "bias": lambda a, b: b - a,
    }.items():
        slow = [
            loop_mean([error(a, b) for a, b in zip(s, f[p], strict=True) if a == a])
            for s, p in zip(series, parts, strict=True)
        ]
        same(getattr(metrics, name)(y, f, offsets), slow)
    same(
        metrics.mase(y, f, scale, offsets),
        [
            loop_mean([abs(a - b) for a, b in zip(s, f[p], strict=True) if a == a]) / c
            if c > 0
            else np.nan
            for s, p, c in zip(series, parts, scale, strict=True)
        ],
    )
    same(
        metrics.pinball(y, q, levels, offsets),
        [loop_pinball(s, q[p].tolist(), levels) for s, p in zip(series, parts, strict=True)],
    )
    same(
        metrics.msis(y, q[:, 0], q[:, 2], scale, level=0.8, offsets=offsets),
        [
            loop_msis(s, q[p, 0].tolist(), q[p, 2].tolist(), c, 0.8)
            for s, p, c in zip(series, parts, scale, strict=True)
        ],
    )
    same(
        metrics.coverage(y, q[:, 0], q[:, 2], offsets),
        [
            loop_mean(
                [float(lo <= a <= hi) for a, (lo, _, hi) in zip(s, q[p], strict=True) if a == a]
            )
            for s, p in zip(series, parts, strict=True)
        ],
    )


def test_a_rectangle_and_the_same_numbers_flat_score_alike() -> None:
    rng = np.random.default_rng(1)
    y, f = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    y[2, 1] = np.nan
    y[4] = np.nan
    q = np.sort(rng.normal(size=(7, 5, 4)), axis=2)
    offsets = np.arange(0, 36, 5)
    levels = [0.1, 0.3, 0.7, 0.9]
    for name in ("smape", "mae", "mse", "rmse", "bias"):
        score = getattr(metrics, name)
        np.testing.assert_allclose(score(y, f), score(y.ravel(), f.ravel(), offsets))
    np.testing.assert_allclose(
        metrics.pinball(y, q, levels), metrics.pinball(y.ravel(), q.reshape(-1, 4), levels, offsets)
    )
    assert np.isnan(metrics.mae(y, f)[4])
    assert metrics.average(metrics.mae(y, f)) == pytest.approx(np.nanmean(metrics.mae(y, f)))


def test_weighted_quantile_loss_is_twice_the_loss_over_the_size() -> None:
    y = np.array([[10.0, np.nan], [20.0, -10.0]])
    q = np.array([[[8.0, 12.0], [0.0, 0.0]], [[20.0, 30.0], [-12.0, -10.0]]])
    # 0.2 * 2 + 0.2 * 2; nothing counted; 0 + 0.2 * 10; 0.2 * 2 + 0
    assert metrics.wql(y, q, [0.2, 0.8]) == pytest.approx(2 * (0.8 + 2.0 + 0.4) / 2 / 40)
    assert np.isnan(metrics.wql(np.zeros((1, 1)), np.zeros((1, 1, 2)), [0.2, 0.8]))


def test_two_zeros_have_no_percentage_error() -> None:
    assert metrics.smape(np.array([[0.0, 1.0]]), np.array([[0.0, 0.0]])).tolist() == [100.0]


def test_coverage_is_of_the_closed_interval() -> None:
    y = np.array([[1.0, 2.0, 3.0, np.nan, 9.0]])
    low, high = np.ones((1, 5)), np.full((1, 5), 3.0)
    assert metrics.coverage(y, low, high).tolist() == [0.75]


def test_a_constant_or_short_history_has_no_scaled_error() -> None:
    scale = mase_scale(np.array([5.0, 5, 5, 1, 2]), np.array([0, 3, 5]), 2)
    assert scale[0] == 0
    assert np.isnan(scale[1])
    assert np.isnan(metrics.mase(np.ones((2, 1)), np.ones((2, 1)), scale)).all()


def test_when_a_forecast_is_missing_then_scoring_says_where() -> None:
    with pytest.raises(DataError, match=r"1 forecasts are missing .* index \(1, 0\)"):
        metrics.mae(np.ones((2, 1)), np.array([[1.0], [np.nan]]))


def test_when_shapes_differ_then_scoring_refuses() -> None:
    with pytest.raises(DataError, match="shape"):
        metrics.smape(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(DataError, match="2 levels"):
        metrics.pinball(np.ones((2, 3)), np.ones((2, 3, 3)), [0.1, 0.9])
    with pytest.raises(DataError, match="season = 0"):
        mase_scale(np.ones(3), np.array([0, 3]), 0)


@needs_data
@pytest.mark.parametrize("folder", M4)
def test_m4_scores_equal_those_published_per_series_and_per_set(folder: str) -> None:
    horizon, season = M4[folder]
    train = pd.read_parquet(DATA / folder / "train.parquet")
    test = pd.read_parquet(DATA / folder / "test.parquet")
    points = pd.read_parquet(DATA / "m4_reference" / "point_forecasts.parquet")
    points = points[points["dataset"] == folder]
    reference = pd.read_parquet(DATA / "m4_reference" / "per_series_scores.parquet")
    subset = pd.read_csv(DATA / "m4_reference" / "subset_scores.csv")
    ids, history, offsets = ragged(train)
    reference = reference[reference["dataset"] == folder].set_index("unique_id").loc[ids]
    points = points.set_index("unique_id").loc[ids]
    assert (test["unique_id"].to_numpy(object).reshape(-1, horizon)[:, 0] == ids).all()
    y = test["y"].to_numpy().reshape(-1, horizon)
    scale = mase_scale(history, offsets, season)
    np.testing.assert_allclose(scale, reference["mase_scale"], rtol=1e-9)
    scores = {}
    for method in ("Naive2", "Naive", "sNaive", "SES", "autobox_024", "clark_249"):
        forecast = points[method].to_numpy().reshape(-1, horizon)
        scores[method] = metrics.smape(y, forecast), metrics.mase(y, forecast, scale)
        np.testing.assert_allclose(scores[method][0], reference[f"smape_{method}"], rtol=1e-9)
        np.testing.assert_allclose(scores[method][1], reference[f"mase_{method}"], rtol=1e-9)
        published = subset[(subset["dataset"] == folder) & (subset["method"] == method)].iloc[0]
        assert round(metrics.average(scores[method][0]), 4) == published["smape"]
        assert round(metrics.average(scores[method][1]), 4) == published["mase"]
        relative = metrics.owa(*scores[method], *scores["Naive2"])
        assert round(relative, 4) == published["owa"]


@needs_data
def test_worked_values_of_h1_h2_and_w1() -> None:
    # From METRICS.md: scale, and sMAPE / MASE of sNaive and Naive.
    worked = {
        ("m4_hourly", "H1"): (42.371302, (5.262881, 0.827014), (20.166312, 3.103516)),
        ("m4_hourly", "H2"): (165.107988, (12.495602, 1.956422), (24.810432, 3.926597)),
        ("m4_weekly", "W1"): (63.683039, (2.056843, 11.459614), (2.056843, 11.459614)),
    }
    for (folder, name), (scale, seasonal, last) in worked.items():
        horizon, season = M4[folder]
        train, test = (
            pd.read_parquet(DATA / folder / f"{part}.parquet").set_index("unique_id")["y"][name]
            for part in ("train", "test")
        )
        history, y = train.to_numpy(), test.to_numpy()[None]
        unit = mase_scale(history, np.array([0, len(history)]), season)
        assert unit[0] == pytest.approx(scale, abs=5e-7)
        for forecast, (percent, scaled) in (
            (history[-season:][np.arange(horizon) % season], seasonal),
            (np.repeat(history[-1], horizon), last),
        ):
            assert metrics.smape(y, forecast[None])[0] == pytest.approx(percent, abs=5e-7)
            assert metrics.mase(y, forecast[None], unit)[0] == pytest.approx(scaled, abs=5e-7)
