"""What a command says: JSON on stdout and nothing else, silence where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.terminal import outcome

Said = tuple[str, str]


def run(body: Callable[[], None], *options: str) -> tuple[int, Said]:
    """A command of that body in an app of its own."""
    app = typer.Typer()

    def command(count: int = typer.Option(1, "--count")) -> None:
        assert count == 1
        body()

    app.command("do")(command)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(outcome.mannerly(app), ["do", *options])
    return result.exit_code, (result.stdout, result.stderr)


def work() -> None:
    print("a table for people")
    outcome.tell("half of it is done")
    outcome.done({"score": 1.5}, made=[Path("x.png")], following=["gatecast ui", "gatecast serve"])


def test_a_person_is_told_what_was_made_and_what_comes_next() -> None:
    code, (out, err) = run(work)
    assert (code, out) == (0, "a table for people\n")
    assert err.splitlines() == [
        "half of it is done",
        "made: x.png",
        "next: gatecast ui",
        "  or: gatecast serve",
    ]


def test_quiet_leaves_the_result() -> None:
    assert run(work, "--quiet") == (0, ("a table for people\n", ""))
    assert run(work, "-q") == (0, ("a table for people\n", ""))


def test_with_json_stdout_holds_one_object() -> None:
    code, (out, err) = run(work, "--json")
    assert code == 0
    assert json.loads(out) == {
        "command": "root do",
        "exit_code": 0,
        "score": 1.5,
        "made": ["x.png"],
        "next": ["gatecast ui", "gatecast serve"],
    }
    assert err == "a table for people\nhalf of it is done\n"
    assert run(work, "--json", "--quiet") == (0, (out, ""))


def test_the_code_of_a_command_that_ends_early_is_in_the_answer() -> None:
    def refused() -> None:
        outcome.done({"gate": "refused"})
        raise typer.Exit(3)

    code, (out, _) = run(refused, "--json")
    assert code == 3
    assert json.loads(out)["exit_code"] == 3
    assert json.loads(out)["gate"] == "refused"


def test_what_goes_wrong_is_told_although_quiet() -> None:
    assert run(lambda: outcome.complain("no"), "--quiet") == (0, ("", "no\n"))


def test_a_list_is_an_object_a_line() -> None:
    code, (out, _) = run(lambda: outcome.listed([{"a": 1}, {"a": 2}]), "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"a": 1}, {"a": 2}]


def test_what_is_answered_early_is_answered_once() -> None:
    def serve() -> None:
        outcome.done({"address": "http://127.0.0.1:1"})
        outcome.answered()

    _, (out, _) = run(serve, "--json")
    assert json.loads(out)["address"] == "http://127.0.0.1:1"


def test_an_error_says_no_more_than_its_line_where_no_json_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome.forget()
    outcome.failed("two\n lines", 2, "config_error", ["train"])
    assert capsys.readouterr() == ("", "gatecast: two lines\n")
    outcome.failed("no", 2, "config_error", ["train", "--json"])
    answer = {"command": "gatecast", "exit_code": 2, "code": "config_error", "error": "no"}
    assert json.loads(capsys.readouterr().out) == answer


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=8,
    )
)
def test_whatever_is_handed_over_becomes_json(value: Any) -> None:
    assert json.loads(json.dumps(outcome.plain(value), allow_nan=False)) == outcome.plain(value)


def test_numbers_frames_and_times_become_what_they_are() -> None:
    frame = pd.DataFrame({"mase": [0.5, np.nan]}, index=pd.Index(["a", "b"], name="model"))
    given = {"n": np.int64(3), "at": datetime(2024, 1, 1, tzinfo=UTC), "table": frame}
    assert outcome.plain(given) == {
        "n": 3,
        "at": "2024-01-01 00:00:00+00:00",
        "table": [{"model": "a", "mase": 0.5}, {"model": "b", "mase": None}],
    }


def test_no_password_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def leak() -> None:
        outcome.done({"source": "postgresql://me:hunter2@host/db"})

    _, (out, _) = run(leak, "--json")
    assert "hunter2" not in out
    assert json.loads(out)["source"].startswith("postgresql://")
