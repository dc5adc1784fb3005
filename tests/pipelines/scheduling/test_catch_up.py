"""What is done after an outage, with a server that only remembers what it was told."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.scheduling import catch_up
from pipelines.scheduling.catch_up import SKIPPED, TAG, take_up

NOW = datetime.datetime.now(datetime.UTC)
RUNNING, DUE = {"RUNNING", "PENDING", "CANCELLING"}, {"SCHEDULED"}


def run(number: int, **more: Any) -> Any:
    """A flow run as the client lends it."""
    values = {
        "id": number, "name": f"run {number}", "infrastructure_pid": "0", "run_count": 1,
        "state_name": "Running", "auto_scheduled": True, "deployment_id": "a",
        "expected_start_time": NOW - datetime.timedelta(hours=number),
    }  # fmt: skip
    return SimpleNamespace(**{**values, **more})


@dataclass
class Server:
    """Runs that are under way and that are due; what each was set to."""

    running: list[Any] = field(default_factory=list)
    due: list[Any] = field(default_factory=list)
    states: dict[int, Any] = field(default_factory=dict)
    forced: dict[int, bool] = field(default_factory=dict)
    closed: bool = False

    def read_flow_runs(self, *, flow_run_filter: Any, limit: int, offset: int) -> list[Any]:
        assert flow_run_filter.tags.all_ == [TAG]
        kinds = {str(getattr(kind, "value", kind)) for kind in flow_run_filter.state.type.any_}
        before = flow_run_filter.expected_start_time
        if kinds == RUNNING:
            assert before is None
            return self.running[offset : offset + limit]
        assert kinds == DUE
        # Only what is due by now is missed.
        now = datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta() <= now - before.before_ < datetime.timedelta(minutes=1)
        return self.due[offset : offset + limit]

    def set_flow_run_state(self, number: int, state: Any, force: bool = False) -> None:
        assert not self.closed
        self.states[number], self.forced[number] = state, force


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    @contextmanager
    def client() -> Iterator[Server]:
        yield made
        made.closed = True

    monkeypatch.setattr(catch_up, "client_of", client)
    monkeypatch.setattr(catch_up, "alive", lambda pid, what: pid == 77 and what == "prefect")
    return made


def test_runs_whose_process_is_gone_are_queued_once_more_and_no_more(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.running = [
        run(1),
        run(2, infrastructure_pid="77"),
        run(3, run_count=2),
        run(4, state_name="Cancelling"),
        run(5, infrastructure_pid=None),
        run(6, infrastructure_pid="host:9", run_count=0),
    ]
    take_up()
    assert server.closed
    kinds = {number: state.type.value for number, state in server.states.items()}
    assert kinds == {
        1: "SCHEDULED", 3: "CRASHED", 4: "CRASHED", 5: "SCHEDULED", 6: "SCHEDULED"
    }  # fmt: skip
    assert all(server.forced.values())
    gone = "its process was gone after an outage"
    assert {state.message for state in server.states.values()} == {gone}
    assert capsys.readouterr().out.splitlines() == [
        f"run run 1: {gone}; queued again",
        f"run run 3: {gone}; left as crashed",
        f"run run 4: {gone}; left as crashed",
        f"run run 5: {gone}; queued again",
        f"run run 6: {gone}; queued again",
    ]


def test_the_last_of_the_runs_that_a_job_missed_catches_up(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.due = [
        run(3), run(1), run(2),
        run(4, deployment_id="b"),
        run(5, auto_scheduled=False),
        run(6, expected_start_time=None),
    ]  # fmt: skip
    take_up()
    assert server.states.keys() == {2, 3}
    newest = f"{NOW - datetime.timedelta(hours=1):%Y-%m-%d %H:%M %Z}"
    for state in server.states.values():
        assert (state.type.value, state.name) == ("CANCELLED", SKIPPED)
        assert state.message == f"the run due at {newest} does the work of this one"
    assert capsys.readouterr().out == "3 runs were missed; the last of them catches up\n"


@pytest.mark.parametrize("count", [199, 200, 201, 450])
def test_all_runs_are_looked_at_however_many_pages_they_are(server: Server, count: int) -> None:
    server.running = [run(number) for number in range(count)]
    take_up()
    assert sorted(server.states) == list(range(count))
