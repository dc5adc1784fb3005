from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.config import ForecasterConfig
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.errors import DataError, GatecastError, SeriesProblem
from forecasting.evaluation import metrics
from forecasting.evaluation.baselines import naive, naive_arrays, seasonal_naive
from forecasting.evaluation.catalogue import BASELINES, Baseline
from forecasting.selection.held_back import rows_to_validate
from forecasting.training.defaults import resolve
from pipelines.benchmark import benchmark, peers
from pipelines.benchmark.benchmark import Report, Row, averaged, configuration, known_to, run
from pipelines.benchmark.jobs import run_apart
from pipelines.benchmark.report import markdown, terminal_tables, write_markdown
from pipelines.benchmark.scores import LEVELS, difference, score_task, summary
from pipelines.data.datasets import PublicSet, Task


def make_task(
    *, metric: str = "owa", origins: int = 1, future: bool = False, count: int = 6
) -> Task:
    """Monthly series with a season and noise, and one hole."""
    rng = np.random.default_rng(0)
    rows = 60
    season = 1 + 0.3 * np.sin(2 * np.pi * np.arange(rows) / 12)
    y = 50 * season * np.exp(0.1 * rng.normal(size=(count, rows)))
    y[0, 40] = np.nan
    promotion = (rng.random((count, rows)) < 0.2).astype(float)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(count)], rows),
            "ds": np.tile(pd.date_range("2020-01-01", periods=rows, freq="MS"), count),
            "y": (y * (1 + promotion) if future else y).ravel(),
            "promotion": promotion.ravel(),
        }
    )
    panel = Panel.from_frame(frame, freq="MS", future=["promotion"] if future else [])
    about = PublicSet(
        name="made",
        title="made for a test",
        layout="",
        files={},
        source="",
        licence="",
        frequency="MS",
        season=12,
        measure_season=12,
        horizons=(6,),
        metric=metric,
        protocol="",
        published=({"method": "someone", "owa": 0.5},),
    )
    back = 6 * np.arange(origins, 0, -1)
    return Task("made", about, panel, 6, int(back[0]), back)


def test_window_scores_equal_the_measures_on_the_whole() -> None:
    task = make_task(origins=3)
    scores = score_task(task, lambda p: seasonal_naive(p, 6, season=12, levels=LEVELS))
    assert scores["series"].tolist() == [f"s{i}" for i in range(6)] * 3
    y, mean, quantiles = [], [], []
    for panel, actual, _ in task.rounds():
        forecast = seasonal_naive(panel, 6, season=12, levels=LEVELS)
        y.append(actual)
        mean.append(forecast.mean)
        quantiles.append(forecast.quantiles)
    y, mean, quantiles = (np.concatenate(v) for v in (y, mean, quantiles))
    history = task.history
    scale = np.tile(mase_scale(history.y, history.offsets, 12), 3)
    found = summary(scores)
    assert found["smape"] == pytest.approx(metrics.average(metrics.smape(y, mean)))
    assert found["mase"] == pytest.approx(metrics.average(metrics.mase(y, mean, scale)))
    assert found["wql"] == pytest.approx(metrics.wql(y, quantiles[..., 1:10], LEVELS[1:10]))
    low, high = quantiles[..., 0], quantiles[..., -1]
    assert found["msis"] == pytest.approx(metrics.average(metrics.msis(y, low, high, scale)))
    inside = metrics.coverage(y.ravel(), low.ravel(), high.ravel())
    assert found["coverage95"] == pytest.approx(float(inside))
    assert summary(scores, scores)["owa"] == pytest.approx(1.0)


def test_a_refused_series_is_scored_as_seasonal_naive_and_counted() -> None:
    task = make_task()

    def predict(panel: Panel) -> Forecast:
        whole = seasonal_naive(panel.select(np.arange(1, len(panel))), 6, season=12, levels=LEVELS)
        return replace(whole, problems=[SeriesProblem("s0", "refused", "for a reason")])

    scores = score_task(task, predict)
    naive_scores = score_task(task, lambda p: seasonal_naive(p, 6, season=12, levels=LEVELS))
    assert scores["refused"].tolist() == [1, 0, 0, 0, 0, 0]
    pd.testing.assert_frame_equal(
        scores.drop(columns="refused"), naive_scores.drop(columns="refused")
    )


def test_the_interval_of_a_difference_is_about_the_tasks_own_metric() -> None:
    task = make_task(origins=2)
    a = score_task(task, lambda p: seasonal_naive(p, 6, season=12, levels=LEVELS))
    b = score_task(task, lambda p: naive(p, 6, levels=LEVELS))
    found = difference(task, a, b, b)
    assert found is not None
    assert found[0] == pytest.approx(summary(a, b)["owa"] - 1.0)
    assert found[1] <= found[0] <= found[2] < 0
    assert difference(task, a.iloc[:6], b, b) is None
    by_error = difference(make_task(metric="mae"), a, b, b)
    assert by_error is not None
    assert by_error[0] == pytest.approx(summary(a)["mae"] - summary(b)["mae"])
    single = make_task(metric="mae", origins=8, count=1)
    a = score_task(single, lambda p: seasonal_naive(p, 6, season=12, levels=LEVELS))
    b = score_task(single, lambda p: naive(p, 6, levels=LEVELS))
    by_window = difference(single, a, b, b)
    assert by_window is not None
    assert by_window[1] < by_window[0] < by_window[2]


def test_a_peer_is_scored_once_per_data_and_read_back_alike(tmp_path: Path) -> None:
    task = make_task()
    first = peers.peer_scores(task, peers.NAIVE2, cache=tmp_path)
    again = peers.peer_scores(task, peers.NAIVE2, cache=tmp_path)
    assert (first.cached, again.cached) == (False, True)
    pd.testing.assert_frame_equal(first.scores, again.scores)
    other = replace(task, full=replace(task.full, y=task.full.y + 1.0))
    assert not peers.peer_scores(other, peers.NAIVE2, cache=tmp_path).cached
    assert not peers.peer_scores(task, peers.NAIVE2, cache=None).cached


def test_where_logs_are_scored_statistical_peers_forecast_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Seasonal naive stands in for AutoETS, whose library takes seconds to load.
    monkeypatch.setitem(
        BASELINES, "auto_ets", replace(BASELINES["auto_ets"], forecast=seasonal_naive)
    )
    task = make_task(metric="mae_log")
    logs = peers.peer_scores(task, peers.AUTO_ETS, cache=None).scores
    units = peers.peer_scores(task, peers.SEASONAL_NAIVE, cache=None).scores
    np.testing.assert_allclose(logs["mae"], units["mae"])
    ((panel, y, _),) = task.rounds()
    forecast = naive_arrays(np.log(panel.y), panel.offsets, 6, 12, LEVELS)
    expected = metrics.average(metrics.mae(np.log(y), forecast.mean))
    assert summary(logs)["mae_log"] == pytest.approx(expected)
    assert (logs["loss"] != units["loss"]).all()


def test_a_run_scores_ours_beside_peers_and_published_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(benchmark, "load", lambda *_, **__: [make_task()])
    settings = {
        "model": {"hidden_size": 8, "layers": 1},
        "training": {"max_steps": 3, "validation": "none", "threads": 1},
        "calibrate": False,
    }
    report = run(
        ["made"],
        models=["chosen", "GRU", "LSTM"],
        peer_names=[],
        settings=settings,
        cache=tmp_path / "cache",
    )
    assert [row.model for row in report.rows] == [
        "Naive2",
        "seasonal naive",
        "chosen",
        "GRU",
        "LSTM",
        "someone",
    ]
    rows = {r.model: r for r in report.rows}
    assert rows["Naive2"].scores["owa"] == 1.0
    assert all(math.isfinite(v) for v in rows["LSTM"].scores.values())
    assert rows["LSTM"].config["model"]["cell"] == "lstm"
    assert set(rows["LSTM"].versus) == {"Naive2", "seasonal naive"}
    assert Report.read(report.save(tmp_path)) == report
    (table,) = terminal_tables(report)
    assert table.row_count == len(report.rows)
    page = tmp_path / "accuracy.md"
    page.write_text("# Accuracy\n\nBefore.\n")
    for _ in range(2):
        write_markdown(page, markdown([report]))
    text = page.read_text()
    assert text.startswith("# Accuracy\n\nBefore.")
    assert text.count("| someone (published) | 0.500 |") == 1


def test_in_tables_of_several_runs_the_later_figures_count() -> None:
    def report(created: str, score: float, other: str) -> Report:
        row = Row("made", "made", "owa", "chosen", "ours", {"owa": score})
        figure = Row("made", "made", "owa", other, "published", {"owa": 0.5})
        return Report(created, "a machine", {}, [row, figure])

    text = markdown([report("2026-02-01", 0.7, "new"), report("2026-01-01", 0.9, "old")])
    assert "0.700" in text
    assert "new (published)" in text
    assert "0.900" not in text
    assert "old" not in text


def test_equal_settings_are_trained_once() -> None:
    task = make_task()
    chosen = configuration(task, "chosen", {})
    assert chosen.model.cell in ("gru", "lstm")
    assert configuration(task, "LSTM", {}).model.cell == "lstm"
    assert configuration(task, "other seed", {}).training.seed != chosen.training.seed
    assert configuration(task, "GRU", {"model": {"hidden_size": 8}}).model.hidden_size == 8


@pytest.mark.parametrize(
    ("chosen", "trained"),
    [
        ({"start": "none", "cell_mix": ()}, ["chosen", "LSTM"]),
        ({"start": "none", "cell_mix": ("lstm",)}, ["chosen", "GRU"]),
        ({"start": "tuned", "cell_mix": ("gru", "lstm")}, ["chosen", "LSTM", "GRU"]),
    ],
)
def test_a_cell_that_the_rules_chose_alone_is_not_trained_again(
    chosen: dict[str, Any], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def train(task: Task, model: str, config: ForecasterConfig, *_: Any) -> Row:
        made.append(model)
        config = config.replace(training=chosen) if model == "chosen" else config
        return Row("made", "made", "owa", model, "ours", {}, config=config.model_dump(mode="json"))

    monkeypatch.setattr(benchmark, "_train_and_score", train)
    monkeypatch.setattr(benchmark, "load", lambda name, root=None: [make_task()])
    cells = ["chosen", "LSTM", "GRU"]
    rows = run(["made"], models=cells, peer_names=[], cache=None).rows
    assert made == trained
    assert [r.model for r in rows if r.kind == "ours"] == cells


def test_a_set_of_several_tasks_gets_the_mean_of_those_who_ran_on_all() -> None:
    about = make_task().about
    rows = [
        Row("made_1", "made", "mse", "a", "ours", {"mse": 1.0, "mae": 2.0}, 3.0),
        Row("made_2", "made", "mse", "a", "ours", {"mse": 2.0}, 4.0),
        Row("made_2", "made", "mse", "b", "peer", {"mse": 2.0}, 1.0),
    ]
    (mean,) = averaged(about, rows)
    assert (mean.task, mean.model, mean.scores, mean.seconds) == ("made", "a", {"mse": 1.5}, 7.0)


def test_unknown_models_and_missing_results_are_refused() -> None:
    with pytest.raises(DataError, match="'transformer'; known: chosen, LSTM, GRU"):
        run(["nn5_daily"], models=["transformer"])
    with pytest.raises(DataError, match=r"'AutoThata'; known: Naive2, .*AutoTheta"):
        run(["nn5_daily"], models=["chosen"], peer_names=["AutoThata"])
    with pytest.raises(DataError, match="gatecast benchmark"):
        markdown([])


def test_lightgbm_learns_what_a_covariate_says_of_the_future(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("mlforecast")
    pytest.importorskip("lightgbm")
    from pipelines.benchmark import lightgbm as lightgbm_peer

    monkeypatch.setitem(lightgbm_peer.SETTINGS, "n_estimators", 60)
    task = make_task(future=True, count=20)
    assert peers.LIGHTGBM in peers.peers_of(task)
    tree = summary(peers.peer_scores(task, peers.LIGHTGBM, cache=None).scores)
    flat = summary(peers.peer_scores(task, peers.SEASONAL_NAIVE, cache=None).scores)
    assert tree["mae"] < 0.7 * flat["mae"]
    assert "wql" not in tree


def test_when_a_package_is_absent_then_the_peer_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        BASELINES, "auto_ets", replace(BASELINES["auto_ets"], packages=("no-such-package",))
    )
    assert not peers.available(peers.AUTO_ETS)
    assert peers.available(peers.NAIVE2)
    monkeypatch.setitem(__import__("sys").modules, "mlforecast", None)
    from pipelines.benchmark.lightgbm import fit_lightgbm

    with pytest.raises(GatecastError, match=r"gatecast\[benchmark\]"):
        fit_lightgbm(make_task(future=True).train, 6, 12)


@pytest.mark.slow
def test_sets_apart_are_each_scored_and_a_failed_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: dict[str, str] = {}
    quick = ["training.max_steps=2", "training.validation=none", "model.hidden_size=4"]
    options = ["--models", "GRU", "--peers", "Naive2", "--inside"]
    options += [part for setting in quick for part in ("--set", setting)]
    with pytest.raises(GatecastError, match=r"1 of 2 sets failed; no_such_set: .*no data set"):
        run_apart(["m3_monthly", "no_such_set"], options, 2, said.__setitem__)
    assert set(said) == {"m3_monthly", "no_such_set"}
    (path,) = (tmp_path / benchmark.RESULTS).glob("*.json")
    (ours,) = (row for row in Report.read(path).rows if row.kind == "ours")
    assert ours.task == "m3_monthly, inside the history"
    assert ours.config["training"]["max_steps"] == 2


def test_weights_learn_from_the_training_part_alone_and_validation_is_held_back() -> None:
    task = make_task()
    assert known_to(task, configuration(task, "GRU", {}))[0].rows == task.train.rows
    apart = replace(task, train_back=6 + 15)
    panel, config = known_to(apart, configuration(task, "GRU", {}))
    assert config.training.validation == "holdout"
    held = (config.training.validation_windows or 0) * task.horizon
    np.testing.assert_array_equal(panel.lengths, task.full.lengths - 6)
    assert held >= apart.validation == 15
    assert rows_to_validate(panel, resolve(config, panel)) >= 15


def test_a_new_baseline_is_one_entry_and_is_a_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BASELINES, "yesterday", Baseline("yesterday's", naive))
    task = make_task()
    assert "yesterday's" in peers.peers_of(task)
    peers.check_names(["yesterday's"])
    scores = peers.peer_scores(task, "yesterday's", cache=None).scores
    assert np.isfinite(scores["mase"]).all()
