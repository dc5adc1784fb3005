"""``gatecast schedule``: when pipelines run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.commands.common import SetOption, tell

if TYPE_CHECKING:
    from pipelines.scheduling.schedule import Scheduled


def register(app: typer.Typer) -> None:
    """Add ``schedule``."""
    app.command("schedule")(schedule_command)


def schedule_command(
    target: str | None = typer.Argument(
        None, metavar="[CONFIG|NAME]", help="A YAML config; with --pause and the like also a model."
    ),
    cron: str | None = typer.Option(None, "--cron", help="minute hour day month weekday"),
    every: str | None = typer.Option(None, "--every", help="Instead of --cron: 30m, 6h, 1d."),
    timezone: str | None = typer.Option(
        None, "--tz", help="Europe/Paris; default: this machine's."
    ),
    job: str = typer.Option("train", "--job", help="What to run: train, forecast, monitor."),
    sets: list[str] | None = SetOption,
    pool: str | None = typer.Option(None, "--pool", help="A work pool of a shared server."),
    variables: list[str] | None = typer.Option(
        None, "--job-variable", metavar="KEY=VALUE", help="For the pool, such as image=...; repeat."
    ),
    listing: bool = typer.Option(False, "--list", help="Show what is scheduled and how it went."),
    pause: bool = typer.Option(False, "--pause", help="Let no further run begin."),
    resume: bool = typer.Option(False, "--resume", help="Undo --pause."),
    run_now: bool = typer.Option(False, "--run-now", help="Start a run beside the schedule."),
    remove: bool = typer.Option(False, "--remove", help="Take it off the clock."),
    logs: bool = typer.Option(False, "--logs", help="Print the log of the latest run."),
    stop: bool = typer.Option(False, "--stop", help="End the background server and worker."),
    serve: bool = typer.Option(
        False, "--serve", help="Run server and worker here, for systemd or a container."
    ),
    limit: int = typer.Option(1, "--limit", min=1, help="With --serve: runs at a time."),
) -> None:
    """Run a pipeline on a clock: Prefect, its server on SQLite started in the background.

    Examples: `gatecast schedule configs/x.yaml --cron "0 3 * * *" --tz Europe/Paris`,
    `gatecast schedule --list`, `gatecast schedule x --run-now`, `gatecast schedule x --logs`
    """
    actions = {
        "--list": listing, "--pause": pause, "--resume": resume, "--run-now": run_now,
        "--remove": remove, "--logs": logs, "--stop": stop, "--serve": serve,
        "--cron or --every": cron is not None or every is not None,
    }  # fmt: skip
    asked = [name for name, given in actions.items() if given]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} exclude each other")
    if not asked:
        raise ConfigError("say when: --cron '0 3 * * *' or --every 6h; or --list, --pause, ...")
    from pipelines.scheduling import schedule as plan
    from pipelines.scheduling import server as prefect_local

    if serve:
        from pipelines.scheduling.supervisor import supervise

        raise typer.Exit(supervise(limit=limit))
    if stop:
        print("the scheduler is stopped" if prefect_local.stop() else "no scheduler was running")
        return
    if listing:
        _list()
        return
    if target is None:
        raise ConfigError(f"{asked[0]} needs a config or the name of a model")
    if pause or resume:
        _show((plan.pause if pause else plan.resume)(target, job))
    elif run_now:
        print(
            f"run {plan.run_now(target, job)} is queued; its log: gatecast schedule {target} --logs"
        )
    elif remove:
        plan.remove(target, job)
        print(f"{target} is no longer scheduled")
    elif logs:
        title, lines = plan.logs(target, job)
        print("\n".join([title, *lines]))
    else:
        made = plan.add(
            target, cron=cron, every=every, timezone=timezone, job=job, overrides=sets or (),
            pool=pool, variables=_pairs(variables or []),
        )  # fmt: skip
        _show(made)
        _tell_ui()


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise ConfigError(f"--job-variable {text!r}: write it as KEY=VALUE")
    return {key.strip(): value for key, _, value in (text.partition("=") for text in texts)}


def _list() -> None:
    from pipelines.scheduling import schedule as plan

    found = plan.listing()
    for one in found:
        _show(one)
    if not found:
        print("nothing is scheduled; gatecast schedule CONFIG --cron '0 3 * * *' does it")
    _tell_ui()


def _show(one: Scheduled) -> None:
    state = (
        "paused"
        if one.paused
        else "next " + ", ".join(f"{when:%a %Y-%m-%d %H:%M %Z}" for when in one.upcoming)
    )
    print(f"{one.model}  {one.job}  {one.when} ({one.timezone})  {state}")
    print(f"    {one.config}, work pool {one.pool}")
    if one.running_since is not None:
        print(f"    running since {one.running_since:%Y-%m-%d %H:%M:%S %Z}")
    if one.last_at is not None:
        line = f": {one.last_line}" if one.last_line else ""
        print(f"    last run {one.last_at:%Y-%m-%d %H:%M %Z}  {one.last_state}{line}")


def _tell_ui() -> None:
    from pipelines.scheduling.server import folder, running, shared_server

    address = shared_server() or running()
    if address is None:
        return
    password = "" if shared_server() else f" (sign in with the line in {folder() / 'auth'})"
    tell(f"Prefect's pages: {address.ui}{password}")
