"""The jobs as Prefect flows: retries, time limits, states and logs around plain functions.

A deployment names one of these by its module path, so any worker that has Gatecast installed can
run it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from prefect import Flow, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Completed, Failed, State

from forecasting.errors import ConfigError
from pipelines.config import ExperimentConfig, load_config
from pipelines.jobs.notify import Notice
from pipelines.jobs.run import JOBS, JobResult, config_of, following
from pipelines.jobs.tell import Teller
from pipelines.scheduling.catch_up import SKIPPED


def _run(job: str, path: str, overrides: list[str]) -> State[Any]:
    """One run of a job: load its config, do it with retries, tell who wants to know."""
    log = get_run_logger()
    missed = _take_over()
    if missed:
        log.info(f"catching up: {missed} more were due, and this run does their work")
    teller = Teller(path, log.warning, flow_run=_run_name())
    done: list[JobResult] = []
    try:
        config = teller.by(load_config(path, overrides))
        step: str | None = job
        while step is not None:
            trigger = f"schedule, run {_run_name()}"
            own = config_of(step, config, done[-1] if done else None)
            result = _task(step, own)(own, trigger=trigger, say=log.info)
            log.info(f"{result.state}: {result.line}")
            teller.ended(result)
            done.append(result)
            step = following(step, config, result)
    except Exception as error:
        # Returned, not raised: a raised error would be pickled into Prefect's storage.
        return Failed(message=_lines(done, teller.failed(error).line))
    return Completed(name=done[0].state.value, message=_lines(done))


def _lines(done: list[JobResult], *more: str) -> str:
    return "; ".join([result.line for result in done] + list(more))


def _task(job: str, config: ExperimentConfig) -> Callable[..., JobResult]:
    """The job's function with the retries and the time limit of its config."""
    settings = config.schedule
    return task(
        name=job,
        retries=settings.retries,
        retry_delay_seconds=list(settings.retry_delay),
        retry_condition_fn=_worth_another_try,
        timeout_seconds=settings.timeout,
        # The pipeline keeps its own finished stages; Prefect need not store or compare anything.
        cache_policy=NO_CACHE,
        persist_result=False,
    )(JOBS[job])


def _worth_another_try(_task: Any, _run: Any, state: State[Any]) -> bool:
    """A wrong config stays wrong and what was too slow stays slow (and was cut off anywhere, so
    this process is not to be trusted further); late data, a locked database, a dead server mend."""
    try:
        state.result(raise_on_failure=True)
    except (ConfigError, TimeoutError):
        return False
    except Exception:
        return True
    return True


def _take_over() -> int:
    """Cancel what else of this deployment is due by now, since this run does its work too: after
    an outage, or a run longer than the schedule's period, one run catches up and not all."""
    this = _this_run()
    if this is None or this.deployment_id is None or not this.auto_scheduled:
        return 0
    now = datetime.datetime.now(datetime.UTC)
    due = {
        "deployment_id": {"any_": [str(this.deployment_id)]},
        "expected_start_time": {"before_": now.isoformat()},
        "state": {"type": {"any_": [StateType.SCHEDULED.value]}},
    }
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(due), limit=200)
        others = [run for run in runs if run.auto_scheduled and run.id != this.id]
        for run in others:
            message = f"run {this.name}, which began at {now:%Y-%m-%d %H:%M %Z}, does its work"
            client.set_flow_run_state(run.id, Cancelled(name=SKIPPED, message=message))
    return len(others)


def _this_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context is not None else None


def _run_name() -> str:
    this = _this_run()
    return this.name if this is not None else "without a server"


def _on_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Called by the worker when the process of a run died and could not speak for itself."""
    path = str(flow_run.parameters.get("config", "unknown"))
    teller = Teller(path, print)
    try:
        teller.by(load_config(path, flow_run.parameters.get("overrides") or []))
    except Exception as error:
        print(f"the config of the crashed run {flow_run.name} cannot be read: {error}")
    line = f"the run's process died: {state.message or 'no message'}"
    teller.tell(Notice(("failed",), teller.name, line, {"flow_run": str(flow_run.id)}))


@flow(name="train", on_crashed=[_on_crash], persist_result=False)
def train(config: str, overrides: list[str] | None = None) -> State[Any]:
    """Train, judge, register and perhaps promote, from a config file."""
    return _run("train", config, overrides or [])


@flow(name="forecast", on_crashed=[_on_crash], persist_result=False)
def forecast(config: str, overrides: list[str] | None = None) -> State[Any]:
    """Forecast every series with the champion."""
    return _run("forecast", config, overrides or [])


@flow(name="monitor", on_crashed=[_on_crash], persist_result=False)
def monitor(config: str, overrides: list[str] | None = None) -> State[Any]:
    """Hold past forecasts against what happened; train again where that is asked for."""
    return _run("monitor", config, overrides or [])
