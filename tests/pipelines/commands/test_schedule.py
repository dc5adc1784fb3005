"""``gatecast schedule``: sub-commands, and the flags that people have always typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import build
from pipelines.commands.schedule import COMMANDS
from pipelines.scheduling import schedule, server, supervisor

CRON = ("--cron", "0 3 * * *", "--tz", "Europe/Paris", "--set", "horizon=3")
SPELLINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "add": (("add", "x.yaml", *CRON), ("x.yaml", *CRON)),
    "list": (("list",), ("--list",)),
    "pause": (("pause", "x", "--job", "monitor"), ("x", "--pause", "--job", "monitor")),
    "resume": (("resume", "x"), ("x", "--resume")),
    "run": (("run", "x"), ("--run-now", "x")),
    "remove": (("remove", "x"), ("x", "--remove")),
    "logs": (("logs", "x"), ("x", "--logs")),
    "stop": (("stop",), ("--stop",)),
    "serve": (("serve", "--limit", "2"), ("--serve", "--limit", "2")),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of the scheduler."""
    made: list[Any] = []
    scheduled = schedule.Scheduled("i", "x", "train", "x.yaml", "daily", "UTC", True, "pool")
    answers = {
        "add": scheduled,
        "listing": [scheduled],
        "pause": scheduled,
        "resume": scheduled,
        "run_now": "swift-hare",
        "remove": None,
        "logs": ("swift-hare: Completed", ["done"]),
    }

    def recorded(name: str, answer: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            made.append((name, given, named))
            return answer

        return call

    for name, answer in answers.items():
        monkeypatch.setattr(schedule, name, recorded(name, answer))
    monkeypatch.setattr(server, "stop", recorded("stop", True))
    monkeypatch.setattr(server, "shared_server", lambda: None)
    monkeypatch.setattr(server, "running", lambda: None)
    monkeypatch.setattr(supervisor, "supervise", recorded("supervise", 0))
    return made


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), ["schedule", *arguments])
    return result.exit_code, result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_sub_command_and_its_flag_do_and_say_the_same(command: str, calls: list[Any]) -> None:
    new, old = SPELLINGS[command]
    first = run(*new)
    asked = list(calls)
    calls.clear()
    assert run(*old) == first
    assert first[0] == 0
    assert calls == asked
    assert len(asked) == 1


def test_flags_that_exclude_each_other_ask_nothing(calls: list[Any]) -> None:
    for arguments in (("x", "--pause", "--resume"), ("x",), ("--pause",), ("add", "x.yaml")):
        assert run(*arguments)[0] != 0
    assert calls == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_is_answered_by_one_object(command: str, calls: list[Any]) -> None:
    code, out = run(*SPELLINGS[command][0], "--json", "--quiet")
    answer = json.loads(out)
    assert code == answer["exit_code"] == 0
    assert answer["command"].endswith(f"schedule {command}")
    assert json.loads(run(*SPELLINGS[command][1], "--json", "--quiet")[1])["exit_code"] == 0


def test_a_misspelt_sub_command_is_answered_by_the_one_that_is_meant(calls: list[Any]) -> None:
    result = CliRunner().invoke(build(), ["schedule", "lst"])
    assert "did you mean: gatecast schedule list" in str(result.exception)
    assert calls == []
