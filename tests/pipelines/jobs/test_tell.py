"""Commands that another clock than ours starts tell how they ended, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import pipelines.training.train
from forecasting.errors import DataError
from forecasting.evaluation.catalogue import METRICS
from pipelines.cli import build
from pipelines.config import ExperimentConfig
from pipelines.forecasts.forecast import BatchForecast
from pipelines.jobs.notify import WEBHOOK_VARIABLE
from pipelines.jobs.run import JOBS, Ended, JobResult, forecasted
from pipelines.training.gate import EXIT_REFUSED, Check, Decision
from tests.pipelines.sinks import TOKEN, Hook, Mailbox, smtp

ALL = ["failed", "refused", "promoted", "drift"]


@pytest.fixture
def config(
    tmp_path: Path, experiment: Callable[..., ExperimentConfig], hook: Hook, mailbox: Mailbox
) -> Path:
    """A config file that names a webhook and a mailbox."""
    schedule = {"webhook": hook.url, "smtp": smtp(mailbox), "notify": ALL}
    return write(tmp_path, experiment("told", schedule=schedule))


def write(folder: Path, config: ExperimentConfig) -> Path:
    path = folder / f"{config.name}.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    return path


def outcome(*failed: str, promoted: bool = False) -> Any:
    """What `train` returns, as far as the command looks at it."""
    names = {"naive": "mase against seasonal naive", "shift": "shift of the data"}
    checks = tuple(Check(k, name, "1", "0", k not in failed) for k, name in names.items())
    scores = pd.DataFrame({name: [0.9] for name in METRICS}, index=["gru"])
    return SimpleNamespace(
        decision=Decision("gru", None, "mase", checks),
        name="told",
        winner="gru",
        promoted=promoted,
        version=7,
        seconds=1.0,
        run_id="r",
        data_hash="d",
        evaluation=SimpleNamespace(scores=scores, has_champion=False, champion_problem=None),
    )


def trains(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    def train(*_: Any, **__: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(pipelines.training.train, "train", train)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(build(), list(arguments))


def test_a_refusal_is_told_to_both_and_keeps_its_exit_code(
    config: Path, hook: Hook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains(monkeypatch, outcome("shift"))
    assert run("train", str(config)).exit_code == EXIT_REFUSED
    (body,) = hook.bodies
    assert (body["events"], body["model"], body["version"]) == (["refused", "drift"], "told", 7)
    (letter,) = mailbox.letters
    assert "Subject: [gatecast] told: refused, drift" in letter


def test_a_failure_is_told_and_comes_out_as_before(
    config: Path, hook: Hook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains(monkeypatch, DataError("monthly.parquet has no rows"))
    found = run("train", str(config))
    assert isinstance(found.exception, DataError)
    (body,) = hook.bodies
    assert body["event"] == "failed"
    assert body["message"] == "the run failed: monthly.parquet has no rows"
    assert len(mailbox.letters) == 1


def test_a_promotion_is_told_where_it_is_asked_for(
    config: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains(monkeypatch, outcome(promoted=True))
    found = run("train", str(config))
    assert found.exit_code == 0, found.output
    assert [body["event"] for body in hook.bodies] == ["promoted"]


def test_nothing_is_told_where_nothing_is_wanted(
    config: Path, hook: Hook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains(monkeypatch, outcome("shift"))
    assert run("train", str(config), "--no-notify").exit_code == EXIT_REFUSED
    assert run("train", str(config), "--set", "schedule.notify=[failed]").exit_code == EXIT_REFUSED
    assert hook.bodies == []
    assert mailbox.letters == []


def test_a_config_that_cannot_be_read_is_told_by_the_addresses_of_the_environment(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK_VARIABLE, hook.url)
    assert run("train", str(tmp_path / "gone.yaml")).exit_code != 0
    (body,) = hook.bodies
    assert body["model"] == str(tmp_path / "gone.yaml")
    assert "gone.yaml" in body["message"]


def test_a_notice_that_cannot_be_sent_is_a_line_and_changes_no_exit_code(
    tmp_path: Path, experiment: Callable[..., ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.notify.ATTEMPTS", 1)
    path = write(tmp_path, experiment("told", schedule={"webhook": f"http://127.0.0.1:1/{TOKEN}"}))
    trains(monkeypatch, outcome("shift"))
    found = run("train", str(path))
    assert found.exit_code == EXIT_REFUSED
    assert "webhook to 127.0.0.1 not sent after 1 attempts" in found.stderr
    assert TOKEN not in found.output


def test_what_follows_training_tells_for_itself(
    config: Path, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forecast(*_: Any, **__: Any) -> JobResult:
        raise DataError("the table is locked")

    trains(monkeypatch, outcome(promoted=True))
    monkeypatch.setitem(JOBS, "forecast", forecast)
    place = f"forecast.output={tmp_path / 'f.csv'}"
    assert isinstance(run("train", str(config), "--set", place).exception, DataError)
    assert [body["event"] for body in hook.bodies] == ["promoted", "failed"]


def test_a_batch_that_leaves_too_many_series_out_is_told_as_a_failure(
    experiment: Callable[..., ExperimentConfig],
) -> None:
    written = BatchForecast("told", 1, "r", "f.csv", "d", series=1, rows=6, kept=0, asked=4)
    assert forecasted(written, experiment("told")).events == ()
    bad = replace(written, problems=[None, None, None])
    result = forecasted(bad, experiment("told"))
    assert (result.state, result.events) == ("Incomplete", ("failed",))
    assert "3 of 4 could not be forecast; gate.max_refused" in result.line


def test_a_flow_tells_once_though_it_runs_the_same_functions(
    config: Path, hook: Hook, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.scheduling.flows as flows

    def refuse(*_: Any, **__: Any) -> JobResult:
        return JobResult(Ended.REFUSED, "version 7 refused", ("refused",))

    monkeypatch.setitem(JOBS, "train", refuse)
    monkeypatch.setattr(flows, "_task", lambda job, _: JOBS[job])
    monkeypatch.setattr(flows, "get_run_logger", lambda: SimpleNamespace(info=str, warning=str))
    state = flows._run("train", str(config), [])
    assert state.name == "Refused"
    assert len(hook.bodies) == len(mailbox.letters) == 1


def test_the_command_as_cron_calls_it_tells_of_data_that_are_not_there(
    tmp_path: Path,
    experiment: Callable[..., ExperimentConfig],
    hook: Hook,
    mailbox: Mailbox,
    state: Path,
) -> None:
    told = {"webhook": hook.url, "smtp": smtp(mailbox)}
    source = {"source": str(tmp_path / "late.parquet")}
    path = write(tmp_path, experiment("late", schedule=told, data=source))
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "train", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("gatecast: ")
    (body,) = hook.bodies
    assert "late.parquet" in body["message"]
    assert json.dumps(body).count(TOKEN) == 0
    assert "late.parquet" in mailbox.letters[0]
