"""Promotions take turns, by a file on one machine and by a database on many."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import pytest
import typer.testing
from hypothesis import given

from forecasting.errors import ConfigError, GatecastError
from pipelines import cli
from pipelines.registry import turns
from pipelines.registry.registry import (
    CHAMPION,
    NOBODY,
    PREVIOUS,
    WATCH_TAG,
    MeanwhileError,
    Registry,
)
from pipelines.registry.turns import VARIABLE, key, turn
from pipelines.tracking.store import connect
from tests.faults.serving.proxy import free_port
from tests.stack.postgres import Postgres

# Holds a turn until its input ends.
HOLDER = """
import sys
from pipelines.registry.turns import turn
with turn(sys.argv[1], sys.argv[2], wait=5):
    print("held", flush=True)
    sys.stdin.read()
"""
# Promotes a version as fast as it is let.
PROMOTER = """
import sys
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect
registry = Registry(connect(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for version in sys.argv[3].split(","):
    registry.promote(sys.argv[2], int(version), reason="race", action="promoted")
"""


@contextmanager
def another_process(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def take(name: str, store: str, wait: float) -> None:
    with turn(name, store, wait=wait):
        pass


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_turn_that_another_process_has_is_waited_for_and_told(state: Path) -> None:
    with another_process(HOLDER, "sales", "sqlite:///x.db") as process:
        assert said(process) == "held"
        with (
            pytest.raises(GatecastError, match="another gatecast process"),
            turn("sales", "sqlite:///x.db", wait=0.2),
        ):
            pass
        take("other", "sqlite:///x.db", 0.2)
    take("sales", "sqlite:///x.db", 5)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_lock_has_a_number_that_a_database_takes_and_no_other_model_has(a: str, b: str) -> None:
    assert -(2**63) <= key(a) < 2**63
    assert (key(a) == key(b)) == (a == b)


def test_locks_that_are_no_database_are_refused_without_their_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "mysql://me:hunter22@db/locks")
    with pytest.raises(ConfigError, match="GATECAST_LOCKS") as refused:
        turn("sales", "http://mlflow:5000")
    assert "hunter22" not in str(refused.value)


def test_a_database_that_is_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, f"postgresql://me:hunter22@127.0.0.1:{free_port()}/locks")
    with pytest.raises(GatecastError, match="cannot take the turn to promote 'sales'") as told:
        take("sales", "http://mlflow:5000", 5)
    assert "hunter22" not in str(told.value)


def test_who_decided_beside_another_champion_is_told_who_came_first(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    first, second, third = add(), add(), add()
    registry.promote(name, first, reason="", action="promoted", instead_of=NOBODY)
    registry.promote(name, second, reason="less wrong", action="forced", instead_of=first)
    before = registry.aliases(name)
    with pytest.raises(MeanwhileError) as told:
        registry.promote(name, third, reason="", action="promoted", instead_of=first)
    assert f"version {second} is champion now (forced by " in str(told.value)
    assert "less wrong" in str(told.value)
    assert f"version {third} was not promoted" in str(told.value)
    with pytest.raises(MeanwhileError, match="nothing was rolled back"):
        registry.rollback(name, instead_of=first)
    assert registry.aliases(name) == before
    with pytest.raises(MeanwhileError, match="beside there was none"):
        registry.promote(name, third, reason="", action="promoted", instead_of=NOBODY)


def test_of_two_operators_at_once_one_promotes_and_the_other_learns_of_it(
    registry: Registry, name: str, add: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [add(), add()]
    both = threading.Barrier(2, timeout=60)

    def together(model: str, store: str) -> object:
        # Both have read who is champion when the first takes its turn.
        both.wait()
        return turn(model, store)

    monkeypatch.setattr("pipelines.registry.registry.turn", together)

    def operator(version: int) -> object:
        try:
            return registry.promote(name, version, reason="mine", action="forced", instead_of=0)
        except GatecastError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(operator, versions))
    champion = registry.aliases(name)[CHAMPION]
    told = answers[1 - versions.index(champion)]
    assert f"version {champion} is champion now" in str(told)
    assert PREVIOUS not in registry.aliases(name)


def test_the_command_promotes_only_beside_the_champion_it_saw(
    registry: Registry, name: str, add: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = add(), add(), add()
    registry.promote(name, first, reason="", action="promoted")
    promote = Registry.promote

    def overtaken(self: Registry, *args: object, **options: object) -> object:
        promote(registry, name, second, reason="by another", action="promoted")
        return promote(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Registry, "promote", overtaken)
    run = typer.testing.CliRunner().invoke(
        cli.build(), ["promote", name, "--version", str(third)], catch_exceptions=True
    )
    assert isinstance(run.exception, MeanwhileError)
    assert registry.aliases(name)[CHAMPION] == second


def test_what_a_watch_said_stands_on_its_version(
    registry: Registry, name: str, add: Callable[..., int]
) -> None:
    version = add()
    registry.watched(name, version, "retrain")
    assert '"verdict": "retrain"' in registry.version(name, version).tags[WATCH_TAG]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="pip install 'gatecast[postgres]'")
    with Postgres() as server:
        yield server


@pytest.mark.slow
def test_a_turn_in_a_database_is_told_by_who_holds_it_and_ends_with_its_process(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = postgres.url()
    with another_process(HOLDER, "sales", store) as process:
        assert said(process) == "held"
        with pytest.raises(GatecastError, match=r"being promoted by .+@.+ \(since .*\)"):
            take("sales", store, 0.3)
        take("other", store, 1)
        process.kill()
        take("sales", store, 10)
    # A tracking server shows no database: the variable names one.
    monkeypatch.setenv(VARIABLE, store)
    with another_process(HOLDER, "sales", "http://mlflow:5000") as process:
        assert said(process) == "held"
        with pytest.raises(GatecastError, match="being promoted by"):
            take("sales", "http://mlflow:5000", 0.3)


@pytest.mark.slow
def test_a_database_that_restarts_in_the_middle_is_told(postgres: Postgres) -> None:
    def restarted() -> None:
        with turn("sales", postgres.url()):
            postgres.stop()
            postgres.start()

    with pytest.raises(GatecastError, match="went away while 'sales' was promoted"):
        restarted()
    take("sales", postgres.url(), 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_promoters_of_many_machines_leave_one_chain_of_champions(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process has a state folder of its own, as machines have: no file lock is shared."""
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / "mine"))
    store = postgres.url()
    client = connect(store)
    registry = Registry(client)
    client.create_registered_model("shared")
    tags = {"bundle_sha256": "0" * 64}
    machines, each = 4, 5
    made = [
        int(client.create_model_version("shared", "file:///nowhere", tags=tags).version)
        for _ in range(machines * each)
    ]
    processes, stack = [], []
    for machine in range(machines):
        own = ",".join(map(str, made[machine::machines]))
        stack.append(
            another_process(
                PROMOTER, store, "shared", own, GATECAST_HOME=str(tmp_path / str(machine))
            )
        )
        processes.append(stack[-1].__enter__())
    for process in processes:
        assert said(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.wait(300) == 0
    for manager in stack:
        manager.__exit__(None, None, None)
    events = [e for e in registry.history("shared") if e.action == "promoted"]
    assert len(events) == len(made)
    followed = {event.replaced: event.version for event in events}
    chain = [followed[None]]
    while chain[-1] in followed:
        chain.append(followed[chain[-1]])
    assert sorted(chain) == made
    aliases = registry.aliases("shared")
    assert (aliases[PREVIOUS], aliases[CHAMPION]) == (chain[-2], chain[-1])


def test_where_the_store_is_postgresql_its_database_holds_the_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(turns, "_in_database", lambda name, url, wait: asked.append((name, url)))
    monkeypatch.setattr(turns, "locked", lambda name, wait: asked.append((name, "file")))
    turn("a", "postgresql://u:p@h/d")
    turn("b", "postgresql+psycopg://u:p@h/d")
    turn("c", "http://mlflow:5000")
    turn("d", "sqlite:///x.db")
    monkeypatch.setenv(VARIABLE, "postgres://u:p@h/locks")
    turn("e", "http://mlflow:5000")
    psycopg = "postgresql+psycopg://u:p@h"
    assert asked == [
        ("a", f"{psycopg}/d"),
        ("b", f"{psycopg}/d"),
        ("promote-c", "file"),
        ("promote-d", "file"),
        ("e", f"{psycopg}/locks"),
    ]
