"""Rolling origins against plain loops, and planted leaks that must be noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.evaluation.backtest import Backtest, Model, Refitted, backtest
from forecasting.evaluation.baselines import seasonal_naive
from forecasting.forecaster import Forecaster
from tests.forecasting.samples import LEVELS, MIXES, make_panel, settings, untrained, with_y

H, SEASON = 3, 4


def _made(panel: Panel, values: np.ndarray) -> Forecast:
    """A forecast of given medians, one unit wide."""
    spread = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    return Forecast(
        ids=panel.ids,
        start=panel.freq.shift(panel.start, panel.lengths),
        freq=panel.freq,
        tz=panel.tz,
        mean=values,
        quantiles=values[..., None] + spread,
        levels=LEVELS,
    )


def _naive(panel: Panel) -> Forecast:
    return _made(panel, np.repeat(panel.y[panel.offsets[1:] - 1][:, None], H, axis=1))


def _run(panel: Panel, model: object, **options: object) -> Backtest:
    return backtest(panel, {"m": model}, horizon=H, season=SEASON, levels=LEVELS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("windows", "step"), [(1, None), (3, None), (4, 1), (2, 5)])
def test_cutoffs_actuals_and_scores_equal_a_plain_loop(windows: int, step: int | None) -> None:
    panel = make_panel([9, 30, 4, 3, 16])
    result = _run(panel, _naive, windows=windows, step=step)
    rows = []
    for w in range(windows):
        back = H + w * (step or H)
        for i, n in enumerate(panel.lengths):
            if n > back:
                y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
                for h in range(H):
                    stamps = pd.date_range("2024-01-01", periods=n, freq="D")
                    rows.append(
                        {
                            "unique_id": f"s{i}",
                            "cutoff": stamps[n - back - 1],
                            "ds": stamps[n - back + h],
                            "step": h + 1,
                            "y": y[n - back + h],
                            "q0.5": y[n - back - 1],
                        }
                    )
    key = ["unique_id", "cutoff", "step"]
    expected = pd.DataFrame(rows).sort_values(key, ignore_index=True)
    found = result.table.sort_values(key, ignore_index=True)[list(expected.columns)]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    error = (found["y"] - found["q0.5"]).abs()
    size = found["y"].abs() + found["q0.5"].abs()
    score = result.scores().loc["m"]
    assert score["mae"] == pytest.approx(error.mean())
    assert score["smape"] == pytest.approx((200 * error / size).mean())
    assert score["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    inside = (found["y"] - found["q0.5"]).abs() <= 2
    assert score["coverage_80"] == pytest.approx(inside.mean())


def test_mase_is_scaled_by_the_history_before_each_cutoff() -> None:
    panel = make_panel([30])
    result = _run(panel, _naive, windows=2)
    expected = []
    for back in (6, 3):
        past = panel.y[: 30 - back]
        scale = np.abs(past[SEASON:] - past[:-SEASON]).mean()
        expected.append(np.abs(panel.y[30 - back :][:H] - past[-1]).mean() / scale)
    assert result.scores().loc["m", "mase"] == pytest.approx(np.mean(expected))


def test_a_model_gets_nothing_after_the_cutoff_but_known_covariates() -> None:
    panel = make_panel([20, 12], schema=MIXES["all"])
    seen: list[Panel] = []

    def spy(known: Panel) -> Forecast:
        seen.append(known)
        return _naive(known)

    _run(panel, spy, windows=2)
    for known, back in zip(seen, (6, 3), strict=True):
        np.testing.assert_array_equal(known.lengths, panel.lengths - back)
        assert known.y.base is None or len(known.y.base) == len(known.y)
        for i in range(2):
            stop = panel.offsets[i + 1] - back
            mine = slice(known.offsets[i], known.offsets[i + 1])
            np.testing.assert_array_equal(known.y[mine], panel.y[panel.offsets[i] : stop])
            assert known.horizon is not None
            np.testing.assert_array_equal(known.horizon[i], panel.future[stop : stop + H])


def test_a_planted_leak_scores_perfectly_and_so_is_noticed() -> None:
    """A past covariate that holds tomorrow's y helps nobody: it is cut off with the history."""
    panel = make_panel([40] * 3, schema=MIXES["past"])
    y = panel.y.reshape(3, 40)
    panel.past[:, 0] = np.concatenate([np.roll(row, -1) for row in y])

    def cheat_by_past(known: Panel) -> Forecast:
        # All it can find is the value after the row before last: the last value itself.
        found = known.past[known.offsets[1:] - 1, 0]
        return _made(known, np.repeat(found[:, None], H, axis=1))

    def cheat_by_closure(known: Panel) -> Forecast:
        start = known.lengths
        return _made(known, np.stack([y[i, n : n + H] for i, n in enumerate(start)]))

    honest = _run(panel, cheat_by_past).scores().loc["m", "mae"]
    assert _run(panel, cheat_by_closure).scores().loc["m", "mae"] == 0.0
    assert honest > 0.0


def test_training_for_a_backtest_does_not_see_what_it_is_scored_on() -> None:
    """Schema, calibration, stopping, weights: all the same whatever follows the cutoff."""
    panel = make_panel([60, 50], schema=MIXES["all"])
    back = 9
    config = settings(
        training={"validation": "refit", "patience": 1, "max_steps": 8, "epoch_steps": 2},
        calibrate=True,
    )
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    later = position >= (panel.lengths - back)[panel.series]
    blocks = {n: np.where(later[:, None], 2.0, getattr(panel, n)) for n in ("past", "future")}
    changed = replace(panel, y=np.where(later, -1e5, panel.y), **blocks)
    a, b = (Forecaster.train(p.truncate(back), config, device="cpu") for p in (panel, changed))
    assert a.schema == b.schema
    assert a.swing == b.swing
    assert a.history[-1]["train_loss"] == b.history[-1]["train_loss"]
    np.testing.assert_array_equal(
        a.correction if a.correction is not None else 0,
        b.correction if b.correction is not None else 0,
    )
    known = panel.truncate(back, H)
    np.testing.assert_array_equal(
        a.predict_panel(known).quantiles, b.predict_panel(known).quantiles
    )


def test_a_forecaster_and_a_baseline_stand_side_by_side() -> None:
    panel = make_panel([30, 20])
    forecaster = untrained(settings())
    result = backtest(
        panel,
        {
            "network": lambda p: forecaster.predict_panel(p, quantiles=LEVELS),
            "naive": lambda p: seasonal_naive(p, H, season=SEASON, levels=LEVELS),
        },
        horizon=H,
        season=SEASON,
        levels=LEVELS,
    )
    assert result.models == ["network", "naive"]
    assert list(result.scores().index) == ["network", "naive"]
    for grouped, key, size in (
        (result.by_step(), "step", H),
        (result.by_series(), "unique_id", 2),
        (result.by_cutoff(), "steps_back", 3),
    ):
        assert len(grouped) == 2 * size
        assert grouped[key].nunique() == size
    first = forecaster.predict_panel(panel.truncate(9, H), quantiles=LEVELS)
    at = np.flatnonzero(result.steps_back == 9)
    np.testing.assert_allclose(result.quantiles["network"][at], first.quantiles)


def test_missing_actuals_and_series_left_out_count_nothing() -> None:
    panel = make_panel([30, 30])
    y = panel.y.copy()
    y[27] = np.nan
    y[30:57] = np.nan
    forecaster = untrained(settings())
    result = _run(
        with_y(panel, y), lambda p: forecaster.predict_panel(p, quantiles=LEVELS), windows=1
    )
    assert np.isnan(result.mean["m"][1]).all()
    table = result.table
    known = table[(table["unique_id"] == "s0") & table["y"].notna()]
    assert len(known) == 2
    assert result.scores().loc["m", "mae"] == pytest.approx(
        (known["y"] - known["q0.5"]).abs().mean()
    )


def test_series_too_short_for_any_cutoff_are_said() -> None:
    with pytest.raises(DataError, match="no series has more than 3 rows"):
        _run(make_panel([3, 2]), _naive)


def test_the_median_must_be_among_the_levels() -> None:
    with pytest.raises(DataError, match=r"must contain 0\.5"):
        backtest(make_panel([9]), {"m": _naive}, horizon=H, season=1, levels=(0.1, 0.9))


def test_a_refitted_model_is_trained_at_every_nth_cutoff_on_what_was_known() -> None:
    panel = make_panel([40, 40])
    trained: list[list[int]] = []

    def train(known: Panel) -> Model:
        trained.append(known.lengths.tolist())
        return _naive

    found = _run(panel, Refitted(train, 2), windows=5, step=2)
    assert trained == [[29, 29], [33, 33], [37, 37]]
    same = _run(panel, _naive, windows=5, step=2)
    assert np.array_equal(found.quantiles["m"], same.quantiles["m"])
    with pytest.raises(DataError, match="not at 0"):
        Refitted(train, 0)


def test_a_series_without_a_forecast_at_a_cutoff_is_said_with_the_reason() -> None:
    def model(history: Panel) -> Forecast:
        return _naive(history).without(np.array([1]), "missing_future_covariate", "no promo")

    with pytest.warns(UserWarning, match=r"m has no forecast at 2 of 6 .* 's1': no promo"):
        result = _run(make_panel([30, 30, 30]), model, windows=2)
    assert np.isnan(result.mean["m"]).all(axis=1).sum() == 2
