from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.errors import DataError, GatecastError
from forecasting.evaluation import metrics
from forecasting.evaluation.backtest import backtest
from forecasting.evaluation.baselines import (
    fill_missing,
    forward_fill,
    naive,
    naive2,
    naive2_arrays,
    naive_arrays,
    seasonal_naive,
    seasonality_test,
)
from forecasting.evaluation.statistical import auto_ets_arrays, auto_theta_arrays
from forecasting.quantiles import JUDGED
from tests.datasets import DATA, M4, needs_data

LOW, MIDDLE, HIGH = 0, 2, 4  # columns of JUDGED


def load(folder: str, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    train = pd.read_parquet(DATA / folder / "train.parquet")
    test = pd.read_parquet(DATA / folder / "test.parquet")
    names = train["unique_id"].to_numpy(object)
    opens = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    offsets = np.append(opens, len(train))
    return names[opens], train["y"].to_numpy(), offsets, test["y"].to_numpy().reshape(-1, horizon)


@needs_data
@pytest.mark.parametrize("folder", M4)
def test_m4_point_forecasts_equal_the_organisers_own(folder: str) -> None:
    horizon, season = M4[folder]
    ids, y, offsets, _ = load(folder, horizon)
    points = pd.read_parquet(DATA / "m4_reference" / "point_forecasts.parquet")
    points = points[points["dataset"] == folder].set_index("unique_id").loc[ids]
    for method, ours in {
        "Naive": naive_arrays(y, offsets, horizon, 1),
        "sNaive": naive_arrays(y, offsets, horizon, season),
        "Naive2": naive2_arrays(y, offsets, horizon, season),
    }.items():
        published = points[method].to_numpy().reshape(-1, horizon)
        np.testing.assert_allclose(ours.mean, published, rtol=1e-9)
        np.testing.assert_allclose(ours.quantiles[..., MIDDLE], ours.mean)
    scores = pd.read_parquet(DATA / "m4_reference" / "per_series_scores.parquet")
    expected = scores[scores["dataset"] == folder].set_index("unique_id").loc[ids]
    found = seasonality_test(y, offsets, season)
    assert (found == expected["seasonal_by_naive2_test"].to_numpy()).all()


@needs_data
@pytest.mark.parametrize("folder", ["m4_hourly", "m4_weekly"])
def test_naive_intervals_score_as_published(folder: str) -> None:
    horizon, season = M4[folder]
    _, y, offsets, actual = load(folder, horizon)
    quantiles = naive_arrays(y, offsets, horizon, 1).quantiles
    low, high = quantiles[..., LOW], quantiles[..., HIGH]
    score = metrics.average(metrics.msis(actual, low, high, mase_scale(y, offsets, season)))
    inside = metrics.coverage(actual.ravel(), low.ravel(), high.ravel())
    difference = abs(float(inside) - 0.95)
    board = pd.read_csv(DATA / "m4_reference" / "leaderboard_intervals.csv").set_index("method_id")
    kind = folder.removeprefix("m4_")
    assert round(score, 3) == board.loc["Naive", f"msis_{kind}"]
    assert round(difference, 3) == board.loc["Naive", f"acd_{kind}"]


@needs_data
def test_simple_baselines_score_as_recorded_on_the_other_sets() -> None:
    recorded = pd.read_csv(DATA / "baseline_scores.csv").set_index(["dataset", "metric"])["value"]

    def check(
        name: str, y: np.ndarray, offsets: np.ndarray, actual: np.ndarray, season: int
    ) -> None:
        # The records fill holes by the last value; the scale of MASE skips them.
        forecast = naive_arrays(forward_fill(y, offsets), offsets, actual.shape[1], season).mean
        scale = mase_scale(y, offsets, season)
        found = {
            "smape": metrics.smape(actual, forecast),
            "mase": metrics.mase(actual, forecast, scale),
            "mae": metrics.mae(actual, forecast),
        }
        for metric, scores in found.items():
            assert round(metrics.average(scores), 4) == recorded[name, metric]

    _, y, offsets, actual = load("nn5_daily", 56)
    check("nn5_daily", y, offsets, actual, 7)
    y = pd.read_parquet(DATA / "vic_elec" / "data.parquet")["y"].to_numpy()
    size = 28 * 48
    check("vic_elec", y[:-size], np.array([0, len(y) - size]), y[-size:][None], 336)
    retail = pd.read_parquet(DATA / "aus_retail" / "data.parquet")
    back = retail.groupby("unique_id").cumcount(ascending=False).to_numpy()
    length = retail.groupby("unique_id")["y"].transform("size").to_numpy()
    retail, back = retail[length >= 48], back[length >= 48]
    history = retail[back >= 24]
    sizes = history.groupby("unique_id", sort=False).size().to_numpy()
    check(
        "aus_retail",
        history["y"].to_numpy(),
        np.concatenate([[0], np.cumsum(sizes)]),
        retail["y"].to_numpy()[back < 24].reshape(-1, 24),
        12,
    )


def loop_naive(y: list[float], horizon: int, season: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each step, the slow way, for one series."""
    observed = [v for v in y if v == v]
    if not observed:
        return [float("nan")] * horizon, [0.0] * horizon

    def spread(lag: int) -> float:
        gaps = [(y[t] - y[t - lag]) ** 2 for t in range(lag, len(y))]
        gaps = [g for g in gaps if g == g]
        return float(np.mean(gaps)) if gaps else float("nan")

    mean, sigma = [], []
    for step in range(horizon):
        same = y[(len(y) + step) % season :: season] if len(y) >= season else []
        same = [v for v in same if v == v]
        mean.append(same[-1] if same else observed[-1])
        if len(y) >= season and spread(season) == spread(season):
            sigma.append((spread(season) * (1 + step // season)) ** 0.5)
        else:
            one = spread(1)
            sigma.append((one * (1 + step)) ** 0.5 if one == one else 0.0)
    return mean, sigma


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 13), min_size=1, max_size=5),
    st.integers(1, 5),
    st.floats(0, 0.9),
    st.integers(0, 2**32),
)
def test_seasonal_naive_equals_a_plain_loop_whatever_is_missing(
    lengths: list[int], season: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    y = rng.normal(size=offsets[-1])
    y[rng.random(len(y)) < share] = np.nan
    fast = naive_arrays(y, offsets, 7, season, (0.5, 0.8413447460685429))
    for i, (a, b) in enumerate(pairwise(offsets)):
        mean, sigma = loop_naive(y[a:b].tolist(), 7, season)
        np.testing.assert_allclose(fast.mean[i], mean, rtol=1e-12)
        if not np.isnan(mean[0]):
            np.testing.assert_allclose(
                fast.quantiles[i, :, 1] - fast.mean[i], sigma, rtol=1e-9, atol=1e-12
            )


def test_a_hole_at_the_end_takes_the_last_observation_of_its_season_position() -> None:
    y = np.array([1.0, 2, 3, 4, np.nan, 6, np.nan, np.nan])
    # Positions 0 and 2 (of 4): last seen at rows 0 and 2.
    forecast = naive_arrays(y, np.array([0, 8]), 5, 4)
    assert forecast.mean.tolist() == [[1.0, 6.0, 3.0, 4.0, 1.0]]


def test_a_series_shorter_than_a_season_repeats_its_last_value() -> None:
    forecast = naive_arrays(np.array([3.0, 5.0]), np.array([0, 2]), 3, 12)
    assert forecast.mean.tolist() == [[5.0, 5.0, 5.0]]
    assert (np.diff(forecast.quantiles[0, :, HIGH]) > 0).all()


def test_filled_histories_have_no_hole_and_never_reach_into_another_series() -> None:
    nan = np.nan
    y = np.array([nan, 1, 2, nan, nan, nan, 5, 6, nan, nan, nan])
    offsets = np.array([0, 5, 9, 9, 11])
    np.testing.assert_equal(fill_missing(y, offsets, 2), [1, 1, 2, 1, 2, 5, 5, 6, 5, nan, nan])
    np.testing.assert_equal(forward_fill(y, offsets), [nan, 1, 2, 2, 2, nan, 5, 6, 6, nan, nan])


@pytest.mark.parametrize("kind", ["constant", "zero", "intermittent", "negative", "step", "one"])
def test_awkward_series_get_finite_forecasts_that_do_not_cross(kind: str) -> None:
    y = {
        "constant": np.full(60, 7.0),
        "zero": np.zeros(60),
        "intermittent": np.where(np.arange(60) % 7 == 0, 3.0, 0.0),
        "negative": np.sin(np.arange(60) * np.pi / 6) - 0.1,
        "step": np.where(np.arange(60) < 30, 1.0, 1e6),
        "one": np.array([4.0]),
    }[kind]
    offsets = np.array([0, len(y)])
    for season in (1, 12):
        for forecast in (naive_arrays, naive2_arrays):
            out = forecast(y, offsets, 14, season)
            assert np.isfinite(out.mean).all()
            assert (np.diff(out.quantiles, axis=2) >= 0).all()


def test_neighbours_in_a_panel_change_nothing() -> None:
    rng = np.random.default_rng(0)
    base = np.tile([8.0, 10, 12, 14], 12)
    parts = [base[: 20 + 7 * i] * rng.uniform(0.9, 1.1, 20 + 7 * i) for i in range(4)]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    for forecast in (naive_arrays, naive2_arrays):
        together = forecast(np.concatenate(parts), offsets, 6, 4)
        for i, part in enumerate(parts):
            alone = forecast(part, np.array([0, len(part)]), 6, 4)
            np.testing.assert_allclose(together.quantiles[i], alone.quantiles[0], rtol=1e-12)


def test_when_statsforecast_is_absent_then_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(GatecastError, match=r"gatecast\[baselines\]"):
        auto_ets_arrays(np.ones(5), np.array([0, 5]), 2, 1)


@pytest.mark.slow
def test_statistical_forecasts_equal_the_library_called_by_hand_and_stand_holes() -> None:
    models = pytest.importorskip("statsforecast.models")
    rng = np.random.default_rng(0)
    long = 100 + 10 * np.tile([1.0, 3, 2, 5], 12) + rng.normal(size=48)
    holed = long.copy()
    holed[[5, 17, 47]] = np.nan
    y = np.concatenate([long, holed, [3.0], np.full(4, np.nan)])
    offsets = np.array([0, 48, 96, 97, 101])
    for ours, library in (
        (auto_ets_arrays, models.AutoETS),
        (auto_theta_arrays, models.AutoTheta),
    ):
        out = ours(y, offsets, 6, 4)
        alone = library(season_length=4).forecast(y=long, h=6, level=[80, 95])
        np.testing.assert_allclose(out.mean[0], alone["mean"], rtol=1e-9)
        sides = ["lo-95", "lo-80", "mean", "hi-80", "hi-95"]
        for column, side in enumerate(sides):
            np.testing.assert_allclose(out.quantiles[0, :, column], alone[side], rtol=1e-9)
        assert len(JUDGED) == len(sides)
        assert np.abs(out.mean[1] - out.mean[0]).max() < 10
        assert (out.mean[2] == 3).all()
        assert np.isnan(out.mean[3]).all()
        shared = ours(y, offsets, 6, 4, jobs=2)
        np.testing.assert_array_equal(shared.quantiles, out.quantiles)


@pytest.mark.slow
def test_a_long_season_is_taken_out_before_exponential_smoothing() -> None:
    pytest.importorskip("statsforecast")
    t = np.arange(48 * 12)
    y = 50 + 10 * np.sin(2 * np.pi * t / 48) + 0.1 * np.random.default_rng(0).normal(size=len(t))
    out = auto_ets_arrays(y, np.array([0, len(y)]), 48, 48)
    expected = 50 + 10 * np.sin(2 * np.pi * np.arange(len(y), len(y) + 48) / 48)
    assert np.abs(out.mean[0] - expected).max() < 1


def test_a_panel_gets_a_forecast_and_names_the_series_it_cannot_forecast() -> None:
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b", "c"], 30),
            "ds": np.tile(pd.date_range("2026-01-01", periods=30, freq="D"), 3),
            "y": np.tile(np.arange(30.0) % 7, 3),
        }
    )
    frame.loc[frame["unique_id"] == "b", "y"] = np.nan
    panel = Panel.from_frame(frame, freq="D")
    for baseline in (naive, seasonal_naive, naive2):
        forecast = baseline(panel, 9, levels=(0.1, 0.5, 0.9))
        assert forecast.ids.tolist() == ["a", "c"]
        assert [p.id for p in forecast.problems] == ["b"]
        assert forecast.stamps()[0, 0] == np.datetime64("2026-01-31")
        assert list(forecast.to_frame().columns) == [
            "unique_id",
            "ds",
            "mean",
            "q0.1",
            "q0.5",
            "q0.9",
        ]
    weekly = seasonal_naive(panel, 9).mean[0]
    assert weekly.tolist() == [(30 + k) % 7 for k in range(9)]
    assert naive(panel, 2).mean[0].tolist() == [1.0, 1.0]
    with pytest.raises(DataError, match="season = 0"):
        seasonal_naive(panel, 2, season=0)


def test_a_backtest_scores_a_baseline_only_where_it_has_a_forecast() -> None:
    days = pd.date_range("2026-01-01", periods=40, freq="D")
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "late"], 40),
            "ds": np.tile(days, 2),
            "y": np.tile(np.arange(40.0) % 7 + 1, 2),
        }
    )
    frame.loc[(frame["unique_id"] == "late") & (frame["ds"] < "2026-01-30"), "y"] = np.nan
    panel = Panel.from_frame(frame, freq="D")
    levels = (0.1, 0.5, 0.9)
    result = backtest(
        panel,
        {"naive": lambda p: seasonal_naive(p, 5, levels=levels)},
        horizon=5,
        season=7,
        levels=levels,
        windows=3,
    )
    # The first cutoff comes before anything of "late" was seen; what is forecast is exact for "a".
    assert np.isnan(result.mean["naive"]).any()
    scores = result.scores().loc["naive"]
    assert np.isfinite(scores["wql"])
    by_series = result.by_series().set_index("unique_id")
    assert by_series.loc["a", "smape"] == 0
