"""The command line's manners: every command shows an example; every mistake costs one line."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from pipelines import cli
from pipelines.machine.state import HOME_VARIABLE
from pipelines.tracking.store import connect
from pipelines.training.gate import EXIT_REFUSED, RefusedError

BAD_INPUT = 2
Run = Callable[..., "Result"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of bad files, with an empty store of its own."""
    folder = tmp_path_factory.mktemp("cli")
    months = [f"{2015 + month // 12}-{month % 12 + 1:02}-01" for month in range(60)]
    rows = [f"a,{stamp},{100 + k % 12}" for k, stamp in enumerate(months)]
    files = {
        "empty.csv": "",
        "header.csv": "unique_id,ds,y\n",
        "no-y.csv": "unique_id,ds,sold\na,2020-01-01,3\na,2020-02-01,4\n",
        "short.csv": "\n".join(["unique_id,ds,y", *rows[:5]]) + "\n",
        "good.csv": "\n".join(["unique_id,ds,y", *rows]) + "\n",
        "words.csv": "unique_id,ds,y\na,2020-01-01,many\na,2020-02-01,few\n",
        "not.parquet": "this is text",
        "unknown-key.yaml": "name: x\ndata: {source: good.csv}\nhorizont: 12\nhorizon: 6\n",
        "wrong-type.yaml": "name: x\ndata: {source: good.csv}\nhorizon: twelve\n",
        "no-name.yaml": "data: {source: good.csv}\nhorizon: 6\n",
        "broken.yaml": "name: [x\nhorizon: 6\n",
        "list.yaml": "- one\n- two\n",
        "good.yaml": "name: x\ndata: {source: good.csv}\nhorizon: 6\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(HOME_VARIABLE, str(folder / ".gatecast"))
        connect()
        yield folder


@pytest.fixture
def gatecast(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The command in this process, through the same door as the installed script."""

    def run(line: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["gatecast", *shlex.split(line)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return Result(int(exit_.value.code or 0), out, err)

    return run


def commands() -> list[str]:
    app = cli.build()
    return sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(command: str, gatecast: Run) -> None:
    result = gatecast(f"{command} --help")
    assert result.code == 0, result.err
    assert re.search(rf"Examples?:[\s\S]*gatecast {command}\b", result.out), result.out


def test_help_lists_every_command_of_the_design(gatecast: Run) -> None:
    text = gatecast("--help").out
    wanted = "demo ingest train backtest forecast promote rollback serve schedule ui doctor"
    missing = [name for name in wanted.split() if not re.search(rf"^│ {name}\b", text, re.M)]
    assert not missing


def test_without_a_command_the_help_is_shown(gatecast: Run) -> None:
    result = gatecast("")
    assert result.code == BAD_INPUT
    assert "Commands" in result.out + result.err


def test_a_refused_demo_ends_as_every_refusal_does(
    gatecast: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def refused(*_: object, **__: object) -> Iterator[None]:
        raise RefusedError("the gate did not let the demo's model into production")
        yield

    monkeypatch.setattr("pipelines.demo.demo.demo", refused)
    result = gatecast("demo --exit")
    assert result.code == EXIT_REFUSED
    assert result.err.startswith("gatecast: the gate did not let")


def test_in_a_folder_without_models_the_empty_store_is_named(gatecast: Run, folder: Path) -> None:
    result = gatecast("history x")
    assert result.code == BAD_INPUT
    assert str(folder / ".gatecast" / "mlflow.db") in result.err


def test_the_version_is_told(gatecast: Run) -> None:
    assert re.fullmatch(r"gatecast \d+\.\d+\.\d+\S*\n", gatecast("--version").out)


# What is typed, and what the one line must say: where the mistake is and what to do.
MISTAKES = {
    "a misspelt command": ("trian good.yaml", ["trian", "train"]),
    "a misspelt option": ("train good.csv --horizn 3", ["--horizn", "--horizon"]),
    "an option that is no number": ("train good.csv --horizon far", ["--horizon", "integer"]),
    "no argument": ("train", ["CONFIG|TABLE", "--help"]),
    "no such table": ("train nowhere.csv --horizon 3", ["nowhere.csv"]),
    "no such config": ("train nowhere.yaml", ["no such config file", "nowhere.yaml"]),
    "no such folder": ("train nowhere/*.csv --horizon 3", ["nowhere"]),
    "an empty table": ("train empty.csv --horizon 3", ["empty.csv", "empty"]),
    "a table without rows": ("train header.csv --horizon 3", ["header.csv"]),
    "a column that is not there": (
        "train no-y.csv --horizon 3 --set data.y=demand",
        ["demand", "sold"],
    ),
    "series that are too short": ("train short.csv --horizon 12", ["12", "5"]),
    "a table with words for numbers": ("train words.csv --horizon 1", ["many"]),
    "a table that is not what it says": (
        "train not.parquet --horizon 3",
        ["not.parquet is no Parquet file", "data.format: csv"],
    ),
    "a table without a horizon": ("train good.csv", ["--horizon"]),
    "a horizon of nothing": ("train good.csv --horizon 0", ["horizon", "0"]),
    "an unknown key": ("train unknown-key.yaml", ["horizont", "did you mean 'horizon'"]),
    "a wrong type": ("train wrong-type.yaml", ["horizon", "twelve", "whole number"]),
    "a key that is missing": ("train no-name.yaml", ["name", "required"]),
    "YAML that is none": ("train broken.yaml", ["broken.yaml", "line"]),
    "YAML that is a list": ("train list.yaml", ["list.yaml", "keys and values"]),
    "an unknown key by --set": ("train good.yaml --set model.cel=gru", ["model.cel", "cell"]),
    "an unknown choice": ("train good.yaml --set model.cell=transformer", ["transformer", "lstm"]),
    "a --set without a value": ("train good.yaml --set horizon", ["key.path=value"]),
    "settings that exclude each other": (
        "train good.yaml --set model.head=student_t --set training.loss=pinball",
        ["loss"],
    ),
    "a candidate with an unknown key": (
        "train good.yaml --set candidates.a.model.cels=gru",
        ["candidates.a", "cels"],
    ),
    "an unknown data set": ("train dataset:m33 --horizon 3", ["m33", "m3_monthly"]),
    "backtest of an unknown model": (
        "backtest good.csv --horizon 3 --model nobody",
        ["nobody"],
    ),
    "backtest of no table": ("backtest nowhere.csv --horizon 3", ["nowhere.csv"]),
    "ingest of no table": ("ingest nowhere.csv", ["nowhere.csv"]),
    "forecast with an unknown model": ("forecast nobody --data good.csv", ["nobody"]),
    "promotion of an unknown model": ("promote nobody", ["nobody"]),
    "force without a reason": ("promote nobody --force", ["--reason"]),
    "a revision accepted without a reason": (
        "train good.yaml --accept-revision ' '",
        ["--accept-revision"],
    ),
    "rollback of an unknown model": ("rollback nobody", ["nobody"]),
    "a revoked key that is none": ("keys revoke nobody --reason lost", ["nobody", "none"]),
    "a key that signs nothing": ("keys sign good --key nowhere.key", ["nowhere.key"]),
    "a key's name that is a path": ("keys new ../x", ["../x", "letters"]),
    "history of an unknown model": ("history nobody", ["nobody"]),
    "an unknown run": ("reproduce 0123456789abcdef0123456789abcdef", ["0123456789abcdef"]),
    "a schedule without a time": ("schedule good.yaml", ["--cron"]),
    "two actions at once": ("schedule good.yaml --pause --remove", ["exclude"]),
    "a benchmark of nothing": ("benchmark", ["m3_monthly"]),
    "a port that is no port": ("demo --port 99999", ["--port", "65535"]),
}


@pytest.mark.parametrize(("line", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_answered_by_one_line_that_helps(
    line: str, said: list[str], gatecast: Run
) -> None:
    result = gatecast(line)
    told = [text for text in result.err.splitlines() if text.startswith("gatecast: ")]
    assert len(told) == 1, result.err
    assert "Traceback" not in result.out + result.err
    assert [part for part in said if part not in told[0]] == []
    assert result.code == BAD_INPUT


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("command", ["demo --exit", "ui"])
def test_a_port_in_use_is_told_before_any_work(command: str, gatecast: Run, taken: int) -> None:
    result = gatecast(f"{command} --port {taken}")
    assert result.code == BAD_INPUT
    assert result.err.count("\n") == 1
    assert str(taken) in result.err
    assert "--port" in result.err


@pytest.mark.parametrize("case", ["unknown model", "port in use"])
def test_the_service_starts_with_one_line_or_not_at_all(
    case: str, folder: Path, taken: int
) -> None:
    port = taken if case == "port in use" else 0
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "serve", "--model", "nobody", "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    assert result.returncode == BAD_INPUT
    assert result.stderr.count("\n") == 1, result.stderr
    assert (str(taken) if port else "nobody") in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("kind", ["folders", "packages", "files"])
def test_folders_of_the_users_with_our_names_hide_nothing(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    for name in ("forecasting", "pipelines", "serving"):
        if kind == "files":
            (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')")
            continue
        (tmp_path / name).mkdir()
        if kind == "packages":
            (tmp_path / name / "__init__.py").touch()
    # As the installed script does: the folder it is started in is not searched for modules.
    start = [sys.executable, "-P", "-m", "pipelines.cli", "serve", "--model", "nobody"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    result = subprocess.run(
        [*start, "--port", "0"],
        cwd=tmp_path,
        env={
            **environment,
            "PYTHONPATH": str(Path(cli.__file__).parents[1]),
            HOME_VARIABLE: str(folder / ".gatecast"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == BAD_INPUT, result.stderr
    assert "nobody" in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


def test_an_error_of_our_own_is_one_line_and_a_file(
    gatecast: Run, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the unexpected")

    monkeypatch.setattr("pipelines.doctor.main", broken)
    result = gatecast("doctor")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "the unexpected" in result.err
    assert "Traceback" in (folder / ".gatecast" / "last-error.txt").read_text()


@pytest.mark.parametrize("by_lightning", [False, True])
def test_ctrl_c_says_that_finished_stages_are_kept(
    gatecast: Run, monkeypatch: pytest.MonkeyPatch, by_lightning: bool
) -> None:
    def stopped(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if by_lightning:
                sys.exit(1)
            raise

    monkeypatch.setattr("pipelines.training.train.train", stopped)
    result = gatecast("train good.yaml --no-notify")
    assert result.code == cli.INTERRUPTED
    assert "interrupted; finished stages are kept" in result.err
