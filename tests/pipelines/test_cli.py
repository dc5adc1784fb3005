"""Every command answers a program by JSON alone, and every refusal, too."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from forecasting.data.panel import Panel
from pipelines import cli
from pipelines.config import build_config
from pipelines.machine.state import HOME_VARIABLE
from tests.pipelines.small import crown, small_bundle

Run = Callable[[str], tuple[int, str, str]]
# Commands that the tests here do not carry through, and who does or why not.
ELSEWHERE = {
    "schedule": "tests/pipelines/commands/test_schedule.py, with a scheduler that only listens",
    "serve": "becomes the service; tests/serving/test_process.py starts it",
    "ui": "tests/pipelines/commands/test_serve.py, with an MLflow that only listens",
    "demo": "takes minutes; tests/test_demo.py",
    "train": "test_train_says_what_it_made below, with a pipeline that is played",
    "reproduce": "needs a whole run; the answer is built of what train's is",
    "tune": "takes minutes; the answer is built of what train's is",
    "covariates": "trains several times; tests/forecasting/training/test_worth.py",
    "scenarios": "needs covariates ahead; tests/pipelines/commands/asked/test_scenarios.py",
    "benchmark": "takes minutes; the answer names the files it wrote",
}
# A command line for each command: what it needs is made by the fixtures, in this order.
LINES = {
    "docs": "docs missing_future_covariate",
    "doctor": "doctor",
    "completion": "completion fish",
    "init": "init good.csv --name made",
    "ingest": "ingest good.csv --out clean",
    "history": "history small",
    "forecast": "forecast small --data good.csv --out forecasts.csv",
    "monitor": "monitor small --data good.csv --forecasts forecasts.csv --page page.html",
    "backtest": "backtest good.csv --horizon 3 --model small",
    "explain": "explain small --data good.csv --out parts.csv",
    "anomalies": "anomalies small --data good.csv --out judged.csv --picture odd.png",
    "diagnose": "diagnose small --out picture.png",
    "promote": "promote small --version 1 --force --reason test",
    "rollback": "rollback small",
    "keys new": "keys new mine --key mine.key --ring ring",
    "keys list": "keys list --ring ring",
    "keys sign": "keys sign small --key mine.key",
    "keys revoke": "keys revoke mine --reason lost --ring ring",
    # That it moves what it says: tests/pipelines/moving.
    "migrate": "migrate sqlite:///there/mlflow.db --dry-run --unsigned",
    "keys api new": "keys api new shop --scope forecast --file api.json",
    "keys api list": "keys api list --file api.json",
    "keys api revoke": "keys api revoke shop --file api.json",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A folder with a table and a model that was champion twice."""
    folder = tmp_path_factory.mktemp("json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(HOME_VARIABLE, str(folder / ".gatecast"))
        (folder / ".gatecast").mkdir()
        shutil.copy(empty_store, folder / ".gatecast" / "mlflow.db")
        stamps = pd.date_range("2015-01-01", periods=60, freq="MS")
        frame = pd.DataFrame(
            {"unique_id": "a", "ds": stamps, "y": [100 + k % 12 for k in range(60)]}
        )
        frame.to_csv("good.csv", index=False)
        model = {"hidden_size": 8, "layers": 1}
        config = build_config(
            {
                "name": "small",
                "horizon": 3,
                "data": {"source": "good.csv"},
                "candidates": {"gru": {"model": model}},
                "training": {"start": "none", "threads": 1, "members": 1},
            }
        )
        bundle = small_bundle(config, Panel.from_frame(frame), folder / "bundle")
        crown(config, bundle)
        crown(config, bundle)
        yield folder


@pytest.fixture
def gatecast(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The command in this process: exit code, stdout, stderr."""

    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gatecast", *shlex.split(line)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), *capfd.readouterr()

    return run


def leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what is typed for it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(leaves(typer.main.get_command(cli.build())))


def test_every_command_is_looked_at() -> None:
    covered = {name for name in COMMANDS if name.split()[0] in ELSEWHERE}
    assert set(COMMANDS) - covered == set(LINES)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_both_options(name: str) -> None:
    options = {option for one in COMMANDS[name].params for option in one.opts}
    assert {"--json", "--quiet"} <= options


@pytest.mark.parametrize("name", LINES)
def test_what_came_of_a_command_is_json(name: str, gatecast: Run) -> None:
    code, out, err = gatecast(f"{LINES[name]} --json --quiet")
    assert code == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    if name == "history":
        assert [one["action"] for one in answers][-1] == "forced"
        return
    (answer,) = answers
    assert answer["command"] == f"gatecast {name}"
    assert answer["exit_code"] == 0
    assert all(Path(one).exists() for one in answer["made"])
    assert all(line.startswith("gatecast ") for line in answer["next"])
    assert "gatecast:" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_misspelt_option_is_json_too(name: str, gatecast: Run) -> None:
    code, out, err = gatecast(f"{name} --jsn --json")
    answer = json.loads(out)
    assert (answer["exit_code"], answer["code"]) == (code, "usage_error")
    assert answer["error"]
    assert err == f"gatecast: {answer['error']}\n"
    assert code == 2


@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        ("train nowhere.csv --horizon 3 --no-notify", 2, "data_error"),
        ("train good.csv --horizon 0 --no-notify", 2, "config_error"),
        ("history nobody", 2, "gatecast_error"),
        ("keys sign bundle --key nowhere.key", 2, "config_error"),
    ],
)
def test_a_refusal_is_json_with_a_code_that_docs_explains(
    line: str, code: int, kind: str, gatecast: Run
) -> None:
    found, out, _ = gatecast(f"{line} --json")
    answer = json.loads(out.splitlines()[-1])
    assert (found, answer["exit_code"], answer["code"]) == (code, code, kind)
    assert gatecast(f"docs {answer['code']} --quiet")[0] == 0


def test_quiet_leaves_nothing_but_results(gatecast: Run) -> None:
    code, out, err = gatecast("history small --quiet")
    assert code == 0
    assert out.startswith("small: ")
    assert err == ""


def test_train_says_what_it_made(gatecast: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.training.gate import Check, Decision
    from pipelines.training.session import Outcome

    class Played:
        scores = pd.DataFrame(
            {"smape": [8.5], "mase": [0.5]}, index=pd.Index(["gru"], name="model")
        )

    passed = Check(key="k", name="size", value="1 MB", limit="200 MB", passed=True)
    decision = Decision("gru", None, "mase", (passed,))
    outcome = Outcome(
        name="small",
        evaluation=Played(),  # type: ignore[arg-type]
        winner="gru",
        run_id="r",
        candidate_run_ids={},
        bundle=Path("bundle"),
        version=3,
        decision=decision,
        promoted=True,
        data_hash="h",
    )
    monkeypatch.setattr("pipelines.training.train.train", lambda *_, **__: outcome)
    monkeypatch.setattr("pipelines.commands.train._print_scores", lambda *_: None)
    code, out, _ = gatecast("train good.csv --horizon 3 --no-notify --json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["model"], answer["version"], answer["state"]) == ("small", 3, "champion")
    assert answer["scores"] == [{"model": "gru", "smape": 8.5, "mase": 0.5}]
    assert (answer["gate"][0]["check"], answer["gate"][0]["passed"]) == ("size", "yes")
    assert answer["next"] == ["gatecast serve --model small", "gatecast ui good"]
