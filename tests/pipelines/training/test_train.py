"""The training pipeline: what it registers, what it never shows a candidate, how it dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import pipelines.data.prepare
from forecasting.bundle import verify
from forecasting.data.mapped import folder_of
from forecasting.data.panel import Panel
from forecasting.errors import DataError, GatecastError
from forecasting.evaluation.catalogue import BASELINES, METRICS, Metric
from forecasting.forecaster import Forecaster
from forecasting.training import pace
from forecasting.training.pace import EXPECTED
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.machine.files import write_table
from pipelines.monitoring.monitor import monitor
from pipelines.registry.files import HASH_TAG, JUDGED_TAG
from pipelines.registry.registered import season_of
from pipelines.registry.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from pipelines.tracking.tracker import open_tracker
from pipelines.training.backtest import backtest_only
from pipelines.training.candidates import Making, origins, split
from pipelines.training.evaluate import evaluate, load_predictor
from pipelines.training.session import Outcome
from pipelines.training.train import train
from pipelines.training.trained import bundle_weights
from tests.pipelines.small import monthly_panel, past_forecasts
from tests.pipelines.spread.tasks import wide

pytestmark = pytest.mark.timeout(600)

Make = Callable[..., ExperimentConfig]
ONE = {"gru": {"model": {"cell": "gru"}}}


def registry(config: ExperimentConfig) -> Registry:
    return Registry(open_tracker(config).client)


def test_the_winner_is_registered_with_its_lineage_and_becomes_champion(
    outcome: Outcome, experiment: Make
) -> None:
    found = registry(experiment())
    version = found.version(outcome.name, None)
    assert outcome.promoted
    assert int(version.version) == outcome.version == 1
    assert version.run_id == outcome.candidate_run_ids[outcome.winner]
    for tag in ("data_hash", "config_hash", "git_commit", "scores", "horizon", "freq", HASH_TAG):
        assert version.tags.get(tag), tag
    assert version.tags["data_hash"] == outcome.data_hash
    assert "The gate" in (version.description or "")
    chosen = (version.description or "").partition("How it was chosen:")[2]
    assert "training.validation = none" in chosen
    assert "choice.md" in {file.path for file in found.client.list_artifacts(version.run_id)}


def test_the_winner_has_the_best_score_of_the_candidates(outcome: Outcome) -> None:
    scores = outcome.evaluation.scores.loc[["gru", "lstm"], "mase"]
    assert outcome.winner == scores.idxmin()


def test_what_is_served_knows_every_row_and_what_was_judged_does_not(
    outcome: Outcome, experiment: Make, state: Path
) -> None:
    found = registry(experiment())
    version = found.version(outcome.name, None)
    served = found.download(version, state / "a")
    judged = found.download_judged(version, state / "b")
    verify(served)
    verify(judged)
    assert version.tags[JUDGED_TAG] != version.tags[HASH_TAG]
    assert bundle_weights(served) != bundle_weights(judged)
    assert served.name == version.tags[HASH_TAG]


def test_candidates_trained_beside_each_other_are_those_trained_one_by_one(
    outcome: Outcome, experiment: Make, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.training.train.open_place", wide)
    beside = train(experiment("beside"), promote=False)
    assert beside.winner == outcome.winner
    assert bundle_weights(beside.bundle) == bundle_weights(outcome.bundle)
    assert beside.evaluation.scores.equals(outcome.evaluation.scores)
    client = registry(experiment()).client
    for name, run in beside.candidate_run_ids.items():
        one, other = client.get_run(run), client.get_run(outcome.candidate_run_ids[name])
        assert one.info.status == "FINISHED"
        assert one.data.metrics["mase"] == other.data.metrics["mase"]


def test_rows_of_the_backtest_change_no_candidate(experiment: Make, state: Path) -> None:
    config = experiment()
    data = prepare(config)
    panel, held = data.panel, origins(config)[0]
    poisoned = panel.y.copy()
    for end in panel.offsets[1:]:
        poisoned[end - held : end] = 1e6 + np.arange(held)
    settings = config.forecaster("gru", freq=panel.freq.alias)
    weights = []
    for y in (panel.y, poisoned):
        known = split(replace(data, panel=replace(panel, y=y)), config)
        weights.append(bundle_weights(Making(config).candidate("gru", settings, known).bundle))
    assert weights[0] == weights[1]


def test_the_backtest_scores_what_the_judged_bundle_forecasts(
    outcome: Outcome, experiment: Make, state: Path
) -> None:
    config = experiment()
    panel = prepare(config).panel
    found = registry(config)
    bundle = found.download_judged(found.version(outcome.name, None), state / "b")
    result = outcome.evaluation.backtest
    back = int(result.steps_back.min())
    forecast = Forecaster.load(bundle).predict_panel(
        panel.truncate(back, config.horizon), horizon=config.horizon, quantiles=result.levels
    )
    rows = np.flatnonzero(result.steps_back == back)
    order = [list(forecast.ids).index(name) for name in result.ids[rows]]
    np.testing.assert_allclose(
        result.quantiles[outcome.winner][rows], forecast.quantiles[order], rtol=1e-5, atol=1e-4
    )


@pytest.mark.slow
def test_a_champion_that_another_machine_promoted_meanwhile_stays(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment("overtaken", candidates=ONE)
    promote, others = Registry.promote, []

    def overtaken(self: Registry, name: str, version: int, **options: Any) -> Any:
        if not others:
            others.append(version)
            mine = {"reason": "by another machine", "action": "forced"}
            promote(self, name, version, **mine)
        return promote(self, name, version, **options)

    monkeypatch.setattr(Registry, "promote", overtaken)
    outcome = train(config)
    assert not outcome.promoted
    assert outcome.decision is not None
    assert outcome.decision.failed == {"overtaken"}
    assert not outcome.decision.doubts_the_data
    last = registry(config).history("overtaken")[-1]
    assert last.action == "refused"
    assert "by another machine" in last.reason


@pytest.mark.usefixtures("undrawn")
def test_unchanged_inputs_register_nothing_and_force_does(experiment: Make, state: Path) -> None:
    config = experiment("again", candidates=ONE)
    first = train(config)
    second = train(config)
    assert first.version == second.version == 1
    assert second.decision is None
    assert second.promoted
    third = train(config, force=True)
    assert third.version == 2
    weights = [bundle_weights(run.bundle) for run in (first, third)]
    assert weights[0] == weights[1], "the same data, settings and seed give the same weights"
    aliases = registry(config).aliases("again")
    assert aliases == {CHAMPION: 2, PREVIOUS: 1}


@pytest.mark.usefixtures("undrawn")
def test_a_refused_challenger_leaves_the_champion(experiment: Make, state: Path) -> None:
    champion = train(experiment("strict", candidates=ONE))
    refused = train(experiment("strict", candidates=ONE, gate={"max_latency_ms": 1e-6}))
    assert champion.promoted
    assert not refused.promoted
    assert refused.decision is not None
    assert "latency" in refused.decision.reason
    found = registry(experiment("strict"))
    assert found.aliases("strict") == {CHAMPION: 1, CHALLENGER: 2}
    assert [event.action for event in found.history("strict")] == [
        "registered",
        "promoted",
        "registered",
        "refused",
    ]
    tags = found.version("strict", 2).tags
    assert tags["gate"] == "refused"


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_dies_registers_nothing_and_harms_no_later_run(
    experiment: Make, state: Path
) -> None:
    config = experiment("dies")

    def die(what: str, share: float) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(config, progress=die)
    tracker = open_tracker(config)
    assert tracker.client.search_registered_models("name = 'dies'") == []
    runs = tracker.client.search_runs([tracker.experiment_id])
    assert runs
    assert {run.info.status for run in runs} == {"FAILED"}
    assert train(config).version == 1


def test_a_store_that_goes_away_during_training_costs_no_training(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment("away", candidates=ONE, backtest={"windows": 1})
    asked: list[str] = []

    def away(self: Any, *_: Any, **__: Any) -> Any:
        asked.append("")
        raise MlflowException("API request to http://mlflow:5000 failed: Connection refused")

    def leave(what: str, share: float) -> None:
        for name in ("log_batch", "create_run", "set_terminated", "log_artifact", "set_tag"):
            monkeypatch.setattr(MlflowClient, name, away)

    monkeypatch.setattr("pipelines.tracking.run.FLUSH_SECONDS", 0.0)
    with pytest.raises(GatecastError, match=r"failed during the run: .*refused; finished stages"):
        train(config, progress=leave)
    # A store that is away takes seconds to fail: it is not asked at every step.
    assert len(asked) < 20
    monkeypatch.undo()
    said: list[str] = []
    assert train(config, say=said.append).version == 1
    assert "  gru: nothing changed, kept from an earlier run (--force redoes it)" in said


def test_a_damaged_stage_is_built_again(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment("damaged")
    data = split(prepare(config), config)
    settings = config.forecaster("gru", freq=data.panel.freq.alias)
    for name in ("LEAST_SECONDS", "WORTH_TELLING"):
        monkeypatch.setattr(pace, name, 0.0)
    said: list[str] = []
    first = Making(config, say=said.append).candidate("gru", settings, data)
    # Before it is trained one hears how long that takes, and of no training that is not done.
    assert [line.partition(" about ")[0] for line in said] == ["  gru: training takes"]
    assert len(first.history) > 0
    assert not any(EXPECTED in row for row in first.history)
    weights = first.bundle / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    again = Making(config).candidate("gru", settings, data)
    assert not again.skipped
    verify(again.bundle)
    said.clear()
    assert Making(config, say=said.append).candidate("gru", settings, data).skipped
    assert not said


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_data_are_hashed_once_and_the_winners_last_training_is_shown(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    digest = pipelines.data.prepare.panel_digest

    def counted(panel: Panel) -> str:
        hashed.append(panel.rows)
        return digest(panel)

    monkeypatch.setattr(pipelines.data.prepare, "panel_digest", counted)
    shown: list[str] = []
    train(experiment("hashed"), progress=lambda what, _: shown.append(what))
    assert len(hashed) == len(set(hashed)) == 2
    assert any(what.startswith("on every row: ") for what in shown)


def test_series_too_short_are_named_with_what_to_do(experiment: Make, state: Path) -> None:
    with pytest.raises(DataError, match=r"the longest series, '\w+', has \d+ rows.*lower horizon"):
        train(experiment("short", horizon=60))


def test_every_model_has_the_same_metrics_in_mlflow(outcome: Outcome, experiment: Make) -> None:
    tracker = open_tracker(experiment())
    runs = tracker.client.search_runs([tracker.experiment_id])
    by_model = {
        run.data.tags["candidate"]: set(run.data.metrics)
        for run in runs
        if run.data.tags.get("kind") in ("candidate", "baseline")
    }
    assert set(by_model) == {"gru", "lstm", "seasonal_naive"}
    shared = {"smape", "mase", "mae", "rmse", "wql", "bias", "coverage_80", "horizon/smape"}
    for model, names in by_model.items():
        assert shared <= names, model
    for name in ("train_loss", "learning_rate", "grad_norm", "windows_per_s"):
        assert name in by_model["gru"]


def test_the_run_tells_the_story(outcome: Outcome, experiment: Make) -> None:
    client = open_tracker(experiment()).client
    winner = client.get_run(outcome.run_id)
    parent = client.get_run(winner.data.tags["mlflow.parentRunId"])
    there = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"config.yaml", "scores.json", "error_by_horizon.png", "calibration.png"} <= there
    assert {"gate.json", "gate.md"} <= there
    for name, run_id in outcome.candidate_run_ids.items():
        own = {file.path for file in client.list_artifacts(run_id)}
        assert {"gate.json", "gate.md", "fans.png", "errors_by_series.json"} <= own, name
    gates = {n: client.get_run(i).data.tags["gate"] for n, i in outcome.candidate_run_ids.items()}
    assert [n for n, gate in gates.items() if gate != "not asked"] == [outcome.winner]
    page = registry(experiment()).version(outcome.name, None).description or ""
    assert f"(#/experiments/{winner.info.experiment_id}/runs?" in page
    assert parent.inputs.dataset_inputs[0].dataset.digest == outcome.data_hash[:36]
    steps = client.get_metric_history(outcome.run_id, "horizon/smape")
    assert [point.step for point in steps] == [1, 2, 3, 4, 5, 6]


def test_each_candidate_is_a_logged_model_with_its_scores_on_the_data(
    outcome: Outcome, experiment: Make
) -> None:
    client = open_tracker(experiment()).client
    run = client.get_run(outcome.run_id)
    models = client.search_logged_models([run.info.experiment_id])
    by_run = {model.source_run_id: model for model in models}
    for name, run_id in outcome.candidate_run_ids.items():
        model = by_run[run_id]
        assert str(model.status) in ("READY", "LoggedModelStatus.READY")
        assert model.params["model.cell"] == client.get_run(run_id).data.params["model.cell"]
        scores = outcome.evaluation.scores_of(name)
        kept = {m.key: m.value for m in model.metrics}
        assert kept["mase"] == pytest.approx(scores["mase"])
        assert {m.dataset_digest for m in model.metrics} == {outcome.data_hash[:36]}


def test_a_backtest_alone_registers_nothing_and_finds_the_same_scores(
    outcome: Outcome, experiment: Make
) -> None:
    config = experiment()
    before = len(registry(config).versions(config.name))
    found = backtest_only(config)
    champion = backtest_only(config, model=config.name)
    assert len(registry(config).versions(config.name)) == before
    assert found.scores_of(outcome.winner)["mase"] == pytest.approx(
        outcome.evaluation.scores_of(outcome.winner)["mase"], rel=1e-6
    )
    assert champion.scores_of("monthly@1")["mase"] == pytest.approx(
        outcome.evaluation.scores_of(outcome.winner)["mase"], rel=1e-6
    )


def test_a_calendar_of_the_config_is_in_the_bundle_that_is_judged(
    experiment: Make, state: Path, tmp_path: Path
) -> None:
    days = np.arange(220)
    y = 50.0 + 5.0 * np.sin(days * 2 * np.pi / 7) + np.arange(4)[:, None]
    monthly_panel(y, "2024-01-01", "D").to_frame().to_parquet(tmp_path / "days.parquet")
    calendar = {"country": "DE", "events": {"sale": {"days": ["2024-05-10"], "before": 2}}}
    config = experiment(
        "days", data={"source": str(tmp_path / "days.parquet")}, candidates=ONE, season=7,
        calendar=calendar, training={"max_steps": 3},
    )  # fmt: skip
    data = prepare(config)
    settings = config.forecaster("gru", freq=data.panel.freq.alias)
    made = Making(config).candidate("gru", settings, split(data, config))
    predictor = load_predictor(made.bundle)
    assert predictor.config.occasions is not None
    assert [g.name for g in predictor.config.occasions.groups] == ["DE", "sale"]
    found = evaluate(data.panel, {"gru": predictor}, config)
    assert np.isfinite(found.scores_of("gru")["mase"])
    with pytest.raises(GatecastError, match=r"calendar\.county: unknown key"):
        experiment("days", calendar={"county": "DE"})


def test_a_backtest_with_refits_stands_beside_the_one_without(experiment: Make) -> None:
    config = experiment(candidates=ONE, backtest={"refit": 1}, training={"max_steps": 5})
    found = backtest_only(config)
    assert {"gru", "gru, refitted"} <= set(found.scores.index)
    first = found.backtest.steps_back == found.backtest.steps_back.max()
    once, again = (found.backtest.quantiles[m][first] for m in ("gru", "gru, refitted"))
    np.testing.assert_allclose(once, again, rtol=1e-6)
    with pytest.raises(GatecastError, match=r"backtest\.refit trains candidates anew"):
        backtest_only(config, model=config.name)


@pytest.mark.usefixtures("undrawn")
def test_a_new_measure_is_one_entry_and_opens_the_gate_and_stands_in_mlflow(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quartic = Metric("fourth power", "{:.3g}", lambda o: np.abs(o.actual - o.point) ** 4)
    monkeypatch.setitem(METRICS, "quartic", quartic)
    config = experiment(
        "measured", candidates=ONE, gate={"metric": "quartic"}, backtest={"metric": "quartic"}
    )
    outcome = train(config)
    assert outcome.decision is not None
    assert "quartic against seasonal naive" in [c.name for c in outcome.decision.checks]
    value = outcome.evaluation.scores.loc["gru", "quartic"]
    run = open_tracker(config).client.get_run(outcome.run_id)
    assert run.data.metrics["quartic"] == pytest.approx(value)
    assert "horizon/quartic" in run.data.metrics
    version = registry(config).version("measured", None)
    assert "| fourth power |" in version.description


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_one_season_per_model_in_every_command_where_histories_are_short(
    experiment: Make, state: Path, tmp_path: Path
) -> None:
    """Fewer than two years of months: the network settles on a season of one step."""
    rng = np.random.default_rng(0)
    panel = monthly_panel(50.0 + np.cumsum(rng.normal(size=(12, 22)), axis=1))
    source = tmp_path / "short.parquet"
    panel.to_frame()[["unique_id", "ds", "y"]].to_parquet(source, index=False)
    config = experiment(
        "short",
        candidates=ONE,
        data={"source": str(source)},
        horizon=2,
        season=None,
        model={"segment": 1},
        backtest={"windows": 2, "step": 2},
        gate={"margin": 1.0, "max_segment_loss": 9.0},
    )
    said: list[str] = []
    outcome = train(config, promote=False, say=said.append)
    assert not outcome.promoted
    assert not any("promoted" in line for line in said)
    known = registry(config)
    version = known.version("short", 1)
    assert outcome.evaluation.season == 1
    judged = outcome.evaluation.scores_of("gru")
    assert np.isfinite(judged["mase"])
    alone = backtest_only(config, model="short@1").scores_of("short@1")
    assert {k: alone[k] for k in ("mase", "bias")} == pytest.approx(
        {k: judged[k] for k in ("mase", "bias")}
    )
    assert season_of(known, version) == 1
    del version.tags["season"]
    assert season_of(known, version) == 1
    known.promote("short", 1, reason="test", action="forced")
    past = past_forecasts(
        panel, np.pad(panel.y.reshape(12, 22), ((0, 0), (0, 2))) + 1.0, 2, every=2
    )
    write_table(past.assign(model="short"), tmp_path / "past" / "one.parquet")
    watch = monitor(config, forecasts=str(tmp_path / "past"), page=tmp_path / "p.html", track=False)
    first = past.groupby("unique_id")["ds"].min()
    errors = []
    for name, y in zip(panel.ids, panel.y.reshape(12, 22), strict=True):
        before = y[: int(panel.freq.steps_between(panel.start[:1], first[[name]].to_numpy())[0])]
        errors.append(1.0 / np.abs(np.diff(before)).mean())
    assert watch.scores["mase"] == pytest.approx(np.mean(errors))


def test_a_baseline_that_is_not_installed_is_told_before_any_work(
    experiment: Make, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(BASELINES["auto_ets"], packages=("no-such-package",))
    monkeypatch.setitem(BASELINES, "auto_ets", absent)
    said: list[str] = []
    config = experiment(backtest={"baselines": ["seasonal_naive", "auto_ets"]})
    for command in (train, backtest_only):
        with pytest.raises(GatecastError, match=r"auto_ets needs no-such-package.*pip install"):
            command(config, say=said.append)
    assert said == []


@pytest.mark.usefixtures("undrawn")
def test_a_panel_in_mapped_files_gives_the_same_model_scores_and_verdict(
    outcome: Outcome, experiment: Make, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecasting.data.mapped.BLOCK_ROWS", 500)
    frame = pd.read_parquet(table)
    halves = np.array_split(frame["unique_id"].unique(), 2)
    for k, names in enumerate(halves):
        part = frame[frame["unique_id"].isin(names)]
        part.to_parquet(tmp_path / f"part-{k}.parquet", index=False)
    data = {"source": str(tmp_path), "store": "mapped"}
    again = train(experiment("mapped", data=data))
    assert folder_of(again.evaluation.backtest.quantiles[again.winner]) is not None
    assert again.data_hash == outcome.data_hash
    assert bundle_weights(again.bundle) == bundle_weights(outcome.bundle)
    assert again.winner == outcome.winner
    assert again.evaluation.scores.equals(outcome.evaluation.scores)
    assert (again.decision is None) == (outcome.decision is None)
    assert again.promoted == outcome.promoted
