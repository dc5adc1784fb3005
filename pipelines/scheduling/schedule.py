"""When pipelines run: deployments of the flows on a Prefect server.

By default the server and its worker are this machine's own (see `prefect_local`). With
``PREFECT_API_URL`` set, and a work pool named, the same flows run wherever that pool runs them.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from forecasting.errors import ConfigError, GatecastError
from forecasting.masking import masked
from pipelines.config import load_config
from pipelines.jobs.notify import check_addresses
from pipelines.machine.state import HOME_VARIABLE, home
from pipelines.scheduling.catch_up import SKIPPED, TAG
from pipelines.scheduling.server import POOL, client_of, connected
from pipelines.scheduling.times import machine_zone, schedule_of, upcoming, words

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

JOB_NAMES = ("train", "forecast", "monitor")
SECRET_KEYS = ("schedule.webhook", "schedule.smtp")
RUNNING, ENDED = ("RUNNING",), ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Scheduled:
    """One job of one model, and when it runs."""

    id: str
    model: str
    job: str
    config: str
    when: str
    timezone: str
    paused: bool
    pool: str
    upcoming: tuple[datetime.datetime, ...] = ()
    last_state: str | None = None
    last_line: str | None = None
    last_at: datetime.datetime | None = None
    running_since: datetime.datetime | None = None


def add(
    path: str | Path,
    *,
    cron: str | None = None,
    every: str | None = None,
    timezone: str | None = None,
    job: str = "train",
    overrides: Iterable[str] = (),
    pool: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Scheduled:
    """Put a job of a config on the clock; what was scheduled for it before is replaced.

    Parameters
    ----------
    cron
        Five fields, read in `timezone`, daylight saving included.
    every
        ``30m``, ``6h``, ``1d``: instead of `cron`.
    timezone
        A name such as Europe/Paris; default: this machine's.
    pool
        A work pool of the server; default: the one of this machine.
    variables
        The pool's job variables, such as ``image``.

    Raises
    ------
    ConfigError
        A config, cron line, interval or zone that cannot be used.
    """
    if job not in JOB_NAMES:
        raise ConfigError(f"--job {job!r}: there are {', '.join(JOB_NAMES)}")
    overrides = list(overrides)
    for text in overrides:
        key, _, value = text.partition("=")
        if key.strip() in SECRET_KEYS or masked(value) != value:
            raise ConfigError(
                f"--set {key}: a scheduler shows its parameters to everyone who "
                "sees its pages; write it into the file or use GATECAST_WEBHOOK, GATECAST_SMTP"
            )
    config = load_config(path, overrides)
    check_addresses(config.schedule)
    zone = timezone or machine_zone()
    schedule = schedule_of(cron, every, zone)
    local = pool is None
    with connected(), client_of() as client:
        from prefect.client.schemas.actions import DeploymentScheduleCreate
        from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions

        pool = pool or POOL
        _need_pool(client, pool, make=local)
        flow_id = client.create_flow_from_name(job)
        clock = DeploymentScheduleCreate(schedule=schedule, active=True)
        where = str(Path(path).resolve()) if local else str(path)
        common: dict[str, Any] = {
            "parameters": {"config": where, "overrides": overrides},
            "description": config.description or None,
            "tags": [TAG, config.name, job],
            "job_variables": {**(_local_variables() if local else {}), **(variables or {})},
            "work_pool_name": pool,
            "concurrency_limit": 1,
            "concurrency_options": ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
            ),
            "schedules": [clock],
            "paused": False,
            "entrypoint": f"pipelines.scheduling.flows.{job}",
        }
        client.create_deployment(flow_id=flow_id, name=config.name, **common)
        deployment = _find(client, config.name, job)
        assert deployment is not None
        return _scheduled(client, deployment)


def listing() -> list[Scheduled]:
    """Everything Gatecast has on this server's clock."""
    from prefect.client.schemas.filters import DeploymentFilter

    with connected(), client_of() as client:
        tagged = DeploymentFilter.model_validate({"tags": {"all_": [TAG]}})
        deployments = client.read_deployments(deployment_filter=tagged)
        return sorted(
            (_scheduled(client, one) for one in deployments), key=lambda one: (one.model, one.job)
        )


def pause(target: str, job: str = "train") -> Scheduled:
    """Let no run begin until `resume`; a run under way goes on."""
    return _set_paused(target, job, True)


def resume(target: str, job: str = "train") -> Scheduled:
    """Undo `pause`."""
    return _set_paused(target, job, False)


def run_now(target: str, job: str = "train") -> str:
    """Start a run beside the schedule; its name."""
    with connected(), client_of() as client:
        deployment = _need(client, target, job)
        return client.create_flow_run_from_deployment(deployment.id, tags=[TAG, "by hand"]).name


def remove(target: str, job: str = "train") -> None:
    """Take a job off the clock; its past runs stay to be read."""
    with connected(), client_of() as client:
        client.delete_deployment(_need(client, target, job).id)


def logs(target: str, job: str = "train") -> tuple[str, list[str]]:
    """Name and state of the latest run that began, and its log.

    Of an error's trace its first and last line; Prefect's own pages show the rest.
    """
    from prefect.client.schemas.filters import LogFilter
    from prefect.client.schemas.sorting import LogSort

    with connected(), client_of() as client:
        deployment = _need(client, target, job)
        run = _latest(client, deployment.id, *RUNNING, *ENDED)
        if run is None:
            return "no run has begun yet", []
        lines: list[str] = []
        of_run = LogFilter.model_validate({"flow_run_id": {"any_": [str(run.id)]}})
        while True:
            page = client.read_logs(
                log_filter=of_run, sort=LogSort.TIMESTAMP_ASC, limit=200, offset=len(lines)
            )
            lines += [
                f"{entry.timestamp:%Y-%m-%d %H:%M:%S} {_short(entry.message)}" for entry in page
            ]
            if len(page) < 200:
                return f"{run.name}: {run.state_name}", lines


def _short(message: str) -> str:
    lines = message.strip().splitlines() or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"


def _local_variables() -> dict[str, Any]:
    """How a run starts on this machine: this Python, this folder, this state folder."""
    return {
        "command": f"{sys.executable} -m prefect.engine",
        "working_dir": str(Path.cwd()),
        "env": {HOME_VARIABLE: str(home())},
    }


def _need_pool(client: SyncPrefectClient, name: str, *, make: bool) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        if not make:
            pools = ", ".join(pool.name for pool in client.read_work_pools()) or "none"
            raise ConfigError(
                f"--pool {name!r}: the server has no such pool; it has {pools}"
            ) from None
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _find(client: SyncPrefectClient, model: str, job: str) -> DeploymentResponse | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{job}/{model}")
    except ObjectNotFound:
        return None


def _need(client: SyncPrefectClient, target: str, job: str) -> DeploymentResponse:
    """The deployment of a model, named by itself or by its config file."""
    name = target
    if target.endswith((".yaml", ".yml")) or Path(target).is_file():
        name = load_config(target).name
    deployment = _find(client, name, job)
    if deployment is None:
        raise GatecastError(
            f"nothing is scheduled for {name!r} as {job}; see `gatecast schedule --list`"
        )
    return deployment


def _set_paused(target: str, job: str, paused: bool) -> Scheduled:
    with connected(), client_of() as client:
        deployment = _need(client, target, job)
        change = client.pause_deployment if paused else client.resume_deployment
        change(deployment.id)
        return _scheduled(client, _need(client, target, job))


def _latest(client: SyncPrefectClient, deployment: UUID, *types: str) -> FlowRun | None:
    """The run that began last, of those in the given types of state; no skipped one."""
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    begun = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [str(deployment)]},
            "start_time": {"is_null_": False},
            "state": {"type": {"any_": list(types)}, "name": {"not_any_": [SKIPPED]}},
        }
    )
    runs = client.read_flow_runs(flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=1)
    return runs[0] if runs else None


def _scheduled(client: SyncPrefectClient, deployment: DeploymentResponse) -> Scheduled:
    job = str(deployment.entrypoint).rpartition(".")[2]
    clock = deployment.schedules[0].schedule if deployment.schedules else None
    zone = getattr(clock, "timezone", None) or "UTC"
    last, now = _latest(client, deployment.id, *ENDED), _latest(client, deployment.id, *RUNNING)
    return Scheduled(
        id=str(deployment.id),
        model=deployment.name,
        job=job,
        config=str((deployment.parameters or {}).get("config", "")),
        when=words(clock),
        timezone=zone,
        paused=bool(deployment.paused),
        pool=deployment.work_pool_name or "",
        upcoming=()
        if deployment.paused or clock is None
        else tuple(t.astimezone(ZoneInfo(zone)) for t in upcoming(clock)),
        last_state=last.state_name if last else None,
        last_line=last.state.message if last and last.state else None,
        last_at=last.start_time if last else None,
        running_since=now.start_time if now else None,
    )
