"""Tuning: a search that resumes, prunes, survives bad settings, and ends in a usable config."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from forecasting.errors import ConfigError, DataError, GatecastError
from pipelines.cli import build
from pipelines.config import ExperimentConfig, Range, build_config, load_config
from pipelines.data.prepare import prepare
from pipelines.machine.files import check_writable
from pipelines.spread.carrying import AllLostError
from pipelines.tracking.store import connect
from pipelines.training.candidates import origins
from pipelines.tuning import tune as tuning
from pipelines.tuning.space import decoded, suggest, with_settings
from pipelines.tuning.tune import Tuned, fold_origins, tune
from tests.pipelines.small import monthly_panel
from tests.pipelines.spread.tasks import wide

optuna = pytest.importorskip("optuna")

Make = Callable[..., ExperimentConfig]
SPACE = {
    "model.hidden_size": {"choices": [8, 16, 24]},
    "training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "model.lags": {"choices": [[1], [1, 12]]},
}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[ExperimentConfig]:
    """Trials judged by a formula instead of training; what was asked for, in order."""
    asked: list[ExperimentConfig] = []

    def judge(self: Any, config: ExperimentConfig, name: str, run: Any, trial: Any) -> float:
        settings = config.forecaster(name, freq="MS")
        if name != tuning.WINNER:
            return 2.0
        asked.append(config)
        value = 1.0 + abs(settings.training.learning_rate - 0.004) + settings.model.hidden_size
        for step in (1, 2):
            trial.report(value, step)
            if step == 1 and trial.should_prune():
                raise optuna.TrialPruned("behind")
        return float(value / 24.0)

    monkeypatch.setattr(tuning._Search, "_judge", judge)
    return asked


def search(experiment: Make, tmp_path: Path, name: str, trials: int, **changes: Any) -> Tuned:
    config = experiment(name, tune={"space": SPACE}, **changes)
    values = yaml.safe_load(config.to_yaml())
    return tune(config, values, out=tmp_path / "won.yaml", trials=trials)


def test_a_search_by_training_ends_in_a_config_that_trains(
    state: Path, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "ORIGINS", 1)
    config = experiment("real", training={"max_steps": 5}, tune={"space": SPACE})
    path = tmp_path / "c.yaml"
    path.write_text(config.to_yaml())
    run = CliRunner().invoke(build(), ["tune", str(path), "--trials", "2", "--candidate", "lstm"])
    assert run.exit_code == 0, run.output
    won = load_config(tmp_path / "c.tuned.yaml")
    assert list(won.candidates) == ["tuned"]
    assert won.forecaster("tuned", freq="MS").model.cell == "lstm"
    assert won.tune.space.keys() == SPACE.keys()
    client = connect()
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("real").experiment_id], "tags.kind = 'tuning'"
    )
    trials = client.search_runs([parent.info.experiment_id], "tags.kind = 'trial'")
    assert len(trials) == 3  # two, and the settings as configured
    assert all(np.isfinite(t.data.metrics["mase"]) for t in trials)
    assert {t.data.tags["mlflow.parentRunId"] for t in trials} == {parent.info.run_id}


def test_no_trial_sees_the_rows_of_the_gate(experiment: Make, state: Path) -> None:
    config = experiment()
    data = prepare(config)
    panel, known = data.panel, tuning.split(data, config).panel
    assert (known.lengths == panel.lengths - origins(config)[0]).all()
    assert fold_origins(known, 6) == [18, 12, 6]


def test_short_histories_get_fewer_origins_and_then_a_clear_line() -> None:
    assert fold_origins(monthly_panel(np.zeros((3, 19))), 6) == [6]
    with pytest.raises(DataError, match="too short to tune on"):
        fold_origins(monthly_panel(np.zeros((3, 17))), 6)


def test_a_search_goes_on_where_it_was(
    state: Path, experiment: Make, tmp_path: Path, judged: list[ExperimentConfig]
) -> None:
    first = search(experiment, tmp_path, "resumed", 4)
    assert len(judged) == 4
    again = search(experiment, tmp_path, "resumed", 4)
    assert len(judged) == 4
    assert again.value == first.value
    longer = search(experiment, tmp_path, "resumed", 6)
    assert len(judged) == 6
    assert longer.value <= first.value
    rates = {c.candidates["tuned"].training["learning_rate"] for c in judged}
    assert len(rates) == 6  # nothing was drawn twice
    search(experiment, tmp_path, "resumed", 4, history=60)
    assert len(judged) == 10  # other data: another study


def test_trials_beside_each_other_are_as_many_as_wanted_and_no_two_the_same(
    state: Path,
    experiment: Make,
    tmp_path: Path,
    judged: list[ExperimentConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tuning, "open_place", wide)
    found = search(experiment, tmp_path, "beside", 9)
    assert len(judged) == 9
    assert sorted(found.trials["trial"]) == list(range(9))
    assert not set(found.trials["state"]) & {"running", "fail", "waiting"}
    rates = {c.candidates["tuned"].training["learning_rate"] for c in judged}
    assert len(rates) == 9
    complete = found.trials[found.trials["state"] == "complete"]
    assert found.value == complete["value"].min()
    search(experiment, tmp_path, "beside", 9)
    assert len(judged) == 9


def test_an_error_beside_others_ends_the_search_and_is_told(
    state: Path, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, config: ExperimentConfig, name: str, run: Any, trial: Any) -> float:
        if trial is not None and trial.number == 1:
            raise RuntimeError("a bug")
        return 1.0

    monkeypatch.setattr(tuning._Search, "_judge", broken)
    monkeypatch.setattr(tuning, "open_place", wide)
    with pytest.raises(RuntimeError, match="a bug"):
        search(experiment, tmp_path, "broken", 500)


def test_workers_that_are_lost_end_a_search_and_count_as_no_trial(
    state: Path, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: Any, config: ExperimentConfig, name: str, run: Any, trial: Any) -> float:
        if trial is not None:
            raise AllLostError("4 workers that did it were lost")
        return 1.0

    monkeypatch.setattr(tuning._Search, "_judge", lost)
    with pytest.raises(GatecastError, match="4 workers"):
        search(experiment, tmp_path, "lost", 3)
    storage = f"sqlite:///{state / 'tune.db'}"
    (name,) = (n for n in optuna.get_all_study_names(storage) if n.startswith("lost-"))
    states = [
        trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).trials
    ]
    assert states == ["RUNNING"]  # until the next session finds its process gone


def test_a_trial_whose_process_died_is_tried_again(
    state: Path,
    experiment: Make,
    tmp_path: Path,
    judged: list[ExperimentConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = tuning._Search._judge
    count = iter(range(100))

    def dying(*arguments: Any) -> float:
        value = whole(*arguments)
        if next(count) == 2:
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(tuning._Search, "_judge", dying)
    monkeypatch.setattr(tuning, "process_tag", lambda: f"{platform.node()}:999999999")
    with pytest.raises(KeyboardInterrupt):
        search(experiment, tmp_path, "killed", 4)
    found = search(experiment, tmp_path, "killed", 4)
    states = list(found.trials["state"])
    assert states.count("fail") == 1
    assert len(states) == 5
    lost, healed = judged[1], judged[2]
    assert lost.candidates["tuned"] == healed.candidates["tuned"]


def test_settings_that_do_not_go_together_end_their_trial_only(
    state: Path, experiment: Make, tmp_path: Path, judged: list[ExperimentConfig]
) -> None:
    config = experiment("mixed", tune={"space": {"model.hidden_size": {"choices": [8, -1]}}})
    found = tune(config, yaml.safe_load(config.to_yaml()), out=tmp_path / "w.yaml", trials=8)
    assert set(found.trials["state"]) == {"complete", "pruned"}
    assert found.params == {"model.hidden_size": 8}
    only_bad = experiment("bad", tune={"space": {"model.hidden_size": {"choices": [-1, -2]}}})
    with pytest.raises(GatecastError, match="no trial of 'bad' came to an end"):
        tune(only_bad, {}, out=tmp_path / "w.yaml", trials=2)


def test_trials_that_are_behind_are_pruned(
    state: Path,
    experiment: Make,
    tmp_path: Path,
    judged: list[ExperimentConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Anywhere(optuna.samplers.RandomSampler):
        """The real sampler soon asks for nothing that is behind."""

        def __init__(self, seed: int | None = None, n_startup_trials: int = 0) -> None:
            del n_startup_trials
            super().__init__(seed=seed)

    monkeypatch.setattr(optuna.samplers, "TPESampler", Anywhere)
    found = search(experiment, tmp_path, "pruned", 9)
    assert "pruned" in set(found.trials["state"])
    assert found.params["model.hidden_size"] == 8


def test_when_nothing_is_better_the_settings_stay(
    state: Path, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tuning._Search, "_judge", lambda self, c, name, r, t: 1.0 if name == "gru" else 2.0
    )
    found = search(experiment, tmp_path, "worse", 3)
    assert (found.value, found.params) == (1.0, {})
    assert "nothing was better" in found.line
    won = load_config(tmp_path / "won.yaml").forecaster("tuned", freq="MS")
    assert won == experiment("worse").forecaster("gru", freq="MS")


def test_the_winners_file_keeps_what_the_file_said(
    state: Path, experiment: Make, tmp_path: Path, judged: list[ExperimentConfig]
) -> None:
    config = experiment("kept", tune={"space": SPACE})
    values = yaml.safe_load(config.to_yaml()) | {"schedule": {"webhook": "https://h/secret"}}
    tune(config, values, out=tmp_path / "deep" / "w.yaml", trials=2)
    kept = yaml.safe_load((tmp_path / "deep" / "w.yaml").read_text())
    assert kept["schedule"] == values["schedule"]
    assert {k: v for k, v in kept.items() if k != "candidates"} == {
        k: v for k, v in values.items() if k != "candidates"
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"choices": ["gru", "lstm", None]},
        {"choices": [[1], [1, 12]]},
        {"choices": [True, False]},
        {"choices": [1, 2.5]},
        {"low": 1, "high": 9, "integer": True},
        {"low": 0.1, "high": 0.9},
        {"low": 1, "high": 64, "integer": True, "log": True},
    ],
)
def test_a_range_gives_what_the_config_takes_and_the_study_remembers(spec: Any) -> None:
    space = Range.model_validate(spec)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        value = suggest(trial, "model.x", space)
        stored = study.trials[trial.number].params["model.x"]
        again = decoded(space, stored)
        assert (again, type(again)) == (value, type(value))
        if space.choices is not None:
            assert json.dumps(value) in [json.dumps(c) for c in spec["choices"]]
        else:
            assert spec["low"] <= value <= spec["high"]
            assert isinstance(value, int if space.integer else float)


def test_settings_are_laid_upon_the_candidate(experiment: Make) -> None:
    config = with_settings(experiment(), "lstm", {"model.hidden_size": 4, "training.seed": 3})
    settings = config.forecaster("tuned", freq="MS")
    assert (settings.model.cell, settings.model.hidden_size, settings.training.seed) == (
        "lstm",
        4,
        3,
    )


def test_what_cannot_be_searched_is_one_clear_line(
    state: Path, experiment: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"tune\.space: empty"):
        tune(experiment(), {}, out=tmp_path / "w.yaml")
    config = experiment(tune={"space": SPACE})
    with pytest.raises(ConfigError, match="no candidate 'x'; there are: gru, lstm"):
        tune(config, {}, out=tmp_path / "w.yaml", candidate="x")
    with pytest.raises(ConfigError, match="is no setting of"):
        build_config({**experiment().public(), "tune": {"space": {"model.nope": {"choices": [1]}}}})
    (tmp_path / "file").write_text("")
    with pytest.raises(GatecastError, match="cannot write"):
        check_writable(tmp_path / "file" / "w.yaml")
