"""Schedules from one Prefect server to another, as they stand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError
from pipelines.machine.state import HOME_VARIABLE
from pipelines.scheduling.catch_up import TAG
from pipelines.scheduling.server import (
    POOL,
    Address,
    client_of,
    connected,
    ensure,
    healthy,
    running,
    stop,
    supervised,
)

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

PREFECT = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")


def held_by(state: Path) -> list[DeploymentResponse] | None:
    """What Gatecast has on the clock of a state folder's own server.

    None: there is a clock and it stands. It is not started only to be asked, as it would catch up
    with what was due meanwhile.
    """
    if not (state / "prefect").is_dir():
        return []
    with _own(state):
        address = running() if supervised() else None
        if address is None:
            return None
        with connected(address), client_of() as client:
            from prefect.client.schemas.filters import DeploymentFilter

            tagged = DeploymentFilter.model_validate({"tags": {"all_": [TAG]}})
            deployments = client.read_deployments(deployment_filter=tagged)
    return sorted(deployments, key=lambda one: (one.name, str(one.entrypoint)))


@dataclass(frozen=True)
class Clock:
    """Where schedules go.

    Attributes
    ----------
    url
        Prefect's API; None: the own server of the state folder.
    pool
        A work pool of that server; needed with a URL.
    configs
        Folder of the configs where the pool runs them; None: as it is here.
    """

    url: str | None = None
    state: Path | None = None
    pool: str | None = None
    configs: str | None = None


def carry(schedules: list[DeploymentResponse], clock: Clock) -> list[str]:
    """Put schedules on another clock, paused: nothing may run on both.

    What is there by the same name and job stays as it is.

    Returns
    -------
    list of str
        Those that were put there now, as ``job/model``.

    Raises
    ------
    ConfigError
        No such server or pool.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    names = []
    with _there(clock), client_of() as client:
        try:
            client.read_work_pool(clock.pool or POOL)
        except ObjectNotFound:
            if clock.url is not None:
                raise ConfigError(
                    f"--pool {clock.pool or POOL!r}: the server has no such pool"
                ) from None
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        there = {_named(one) for one in client.read_deployments()}
        for one in schedules:
            if _named(one) in there:
                continue
            variables: dict[str, Any] = dict(one.job_variables or {})
            if clock.url is not None:
                # They name this machine's Python and folders.
                variables = {}
            elif clock.state is not None:
                variables["env"] = {**variables.get("env", {}), HOME_VARIABLE: str(clock.state)}
            client.create_deployment(
                flow_id=client.create_flow_from_name(_job(one)),
                name=one.name,
                parameters=_parameters(one, clock),
                description=one.description,
                tags=one.tags,
                job_variables=variables,
                work_pool_name=clock.pool or POOL,
                concurrency_limit=1,
                concurrency_options=one.concurrency_options,
                schedules=[
                    DeploymentScheduleCreate(schedule=s.schedule, active=s.active)
                    for s in one.schedules
                ],
                paused=True,
                entrypoint=one.entrypoint,
            )
            names.append(_named(one))
    return names


def unlike_schedules(schedules: list[DeploymentResponse], clock: Clock) -> Iterator[str]:
    """Schedules that the other clock does not have as they are here."""
    with _there(clock), client_of() as client:
        there = {_named(one): one for one in client.read_deployments()}
    for one in schedules:
        other = there.get(_named(one))
        if other is None:
            yield f"schedule {_named(one)} is not there"
        elif _clocks(one) != _clocks(other) or _parameters(one, clock) != other.parameters:
            yield f"schedule {_named(one)} has another time, config or settings there"


@contextlib.contextmanager
def _there(clock: Clock) -> Iterator[None]:
    url = clock.url
    if url is None:
        assert clock.state is not None
        with _own(clock.state):
            stood = not supervised()
            try:
                with connected(ensure()):
                    yield
            finally:
                if stood:
                    stop()
        return
    address = Address(url.rstrip("/"), os.environ.get("PREFECT_API_AUTH_STRING"))
    if not healthy(address):
        raise ConfigError(
            f"--prefect {url}: no Prefect server answers there; its address ends in /api, and "
            "PREFECT_API_AUTH_STRING is its password"
        )
    with connected(address):
        yield


@contextlib.contextmanager
def _own(state: Path) -> Iterator[None]:
    """The environment of a state folder with a server of its own."""
    before = {name: os.environ.get(name) for name in (HOME_VARIABLE, *PREFECT)}
    for name in PREFECT:
        os.environ.pop(name, None)
    os.environ[HOME_VARIABLE] = str(state)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _parameters(one: DeploymentResponse, clock: Clock) -> dict[str, Any]:
    parameters = dict(one.parameters or {})
    if clock.configs is not None and "config" in parameters:
        parameters["config"] = f"{clock.configs.rstrip('/')}/{Path(parameters['config']).name}"
    return parameters


def _job(one: DeploymentResponse) -> str:
    return str(one.entrypoint).rpartition(".")[2]


def _named(one: DeploymentResponse) -> str:
    return f"{_job(one)}/{one.name}"


def _clocks(one: DeploymentResponse) -> list[dict[str, Any]]:
    return [s.schedule.model_dump(mode="json") for s in one.schedules]
