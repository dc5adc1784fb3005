"""After an outage: queue what it cut off, and let one run do the work of all that were missed."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from pipelines.scheduling.server import alive, client_of

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TAG, SKIPPED = "gatecast", "Skipped"


def take_up() -> None:
    """After an outage: queue what it cut off, and leave one run to catch up for each job.

    Called before the worker starts. A run that dies a second time stays crashed, so that one that
    brings the machine down does not do so for ever.
    """
    with client_of() as client:
        _queue_again(client)
        _one_catch_up(client)


def _queue_again(client: SyncPrefectClient) -> None:
    from prefect.states import Crashed, Scheduled, State

    message = "its process was gone after an outage"
    for run in _runs(client, {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}):
        pid = run.infrastructure_pid or ""
        if pid.isdigit() and alive(int(pid), "prefect"):
            continue
        again = run.run_count <= 1 and run.state_name != "Cancelling"
        state: State[Any] = Scheduled(message=message) if again else Crashed(message=message)
        client.set_flow_run_state(run.id, state, force=True)
        print(f"run {run.name}: {message}; {'queued again' if again else 'left as crashed'}")


def _one_catch_up(client: SyncPrefectClient) -> None:
    """Of the runs of a job that are due, keep the last."""
    from prefect.states import Cancelled

    now = datetime.datetime.now(datetime.UTC)
    late: dict[UUID | None, list[tuple[datetime.datetime, FlowRun]]] = {}
    for run in _runs(client, {"type": {"any_": ["SCHEDULED"]}}, before=now):
        if run.auto_scheduled and run.expected_start_time is not None:
            late.setdefault(run.deployment_id, []).append((run.expected_start_time, run))
    for runs in late.values():
        newest = max(when for when, _ in runs)
        for when, run in runs:
            if when < newest:
                line = f"the run due at {newest:%Y-%m-%d %H:%M %Z} does the work of this one"
                client.set_flow_run_state(run.id, Cancelled(name=SKIPPED, message=line))
        if len(runs) > 1:
            print(f"{len(runs)} runs were missed; the last of them catches up")


def _runs(
    client: SyncPrefectClient, state: dict[str, Any], before: datetime.datetime | None = None
) -> list[FlowRun]:
    """Every run of Gatecast's in one of some states, and due before a time."""
    from prefect.client.schemas.filters import FlowRunFilter

    conditions: dict[str, Any] = {"state": state, "tags": {"all_": [TAG]}}
    if before is not None:
        conditions["expected_start_time"] = {"before_": before.isoformat()}
    runs: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(conditions), limit=200, offset=len(runs)
        )
        runs += page
        if len(page) < 200:
            return runs
