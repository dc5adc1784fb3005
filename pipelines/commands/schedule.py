"""``gatecast schedule``: when pipelines run."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from forecasting.errors import ConfigError
from pipelines.commands.common import SetOption
from pipelines.terminal.outcome import done, tell

if TYPE_CHECKING:
    from pipelines.scheduling.schedule import Scheduled

BY_FLAGS = "by-flags"  # the hidden command that takes `schedule CONFIG --cron ...` and the like

TargetArgument = typer.Argument(..., metavar="CONFIG|NAME", help="A YAML config, or a model.")
JobOption = typer.Option("train", "--job", help="What to run: train, forecast, monitor.")
CronOption = typer.Option(None, "--cron", help="minute hour day month weekday")
EveryOption = typer.Option(None, "--every", help="Instead of --cron: 30m, 6h, 1d.")
ZoneOption = typer.Option(None, "--tz", help="Europe/Paris; default: this machine's.")
PoolOption = typer.Option(None, "--pool", help="A work pool of a shared server.")
VariableOption = typer.Option(
    None, "--job-variable", metavar="KEY=VALUE", help="For the pool, such as image=...; repeat."
)
LimitOption = typer.Option(1, "--limit", min=1, help="Runs at a time.")


class _Group(TyperGroup):
    """Sub-commands; what does not begin with one is read by its flags, as it always was."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = [BY_FLAGS, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add ``schedule`` and what can be done with it."""
    group = typer.Typer(
        cls=_Group,
        no_args_is_help=True,
        help="Run pipelines on a clock: Prefect, its server on SQLite started in the background."
        '\n\nExamples: `gatecast schedule add configs/x.yaml --cron "0 3 * * *" --tz Europe/Paris`'
        ", `gatecast schedule list`, `gatecast schedule run x`, `gatecast schedule logs x`",
    )
    for name, command in COMMANDS.items():
        group.command(name)(command)
    group.command(BY_FLAGS, hidden=True)(by_flags_command)
    app.add_typer(group, name="schedule")


def add_command(
    config: str = typer.Argument(..., metavar="CONFIG", help="A YAML config."),
    cron: str | None = CronOption,
    every: str | None = EveryOption,
    timezone: str | None = ZoneOption,
    job: str = JobOption,
    sets: list[str] | None = SetOption,
    pool: str | None = PoolOption,
    variables: list[str] | None = VariableOption,
) -> None:
    """Put a job of a config on the clock; what was scheduled for it before is replaced."""
    from pipelines.scheduling import schedule as plan

    if cron is None and every is None:
        raise ConfigError("say when: --cron '0 3 * * *' or --every 6h")
    scheduled = plan.add(
        config,
        cron=cron,
        every=every,
        timezone=timezone,
        job=job,
        overrides=sets or (),
        pool=pool,
        variables=_pairs(variables or []),
    )
    _show(scheduled)
    _tell_ui()
    done(_facts(scheduled), following=_following(scheduled))


def list_command() -> None:
    """Show what is scheduled and how it went."""
    from pipelines.scheduling import schedule as plan

    deployments = plan.listing()
    for scheduled in deployments:
        _show(scheduled)
    if not deployments:
        print("nothing is scheduled; gatecast schedule add CONFIG --cron '0 3 * * *' does it")
    done({"scheduled": [_facts(one) for one in deployments]})
    _tell_ui()


def pause_command(target: str = TargetArgument, job: str = JobOption) -> None:
    """Let no further run begin; a run under way goes on."""
    from pipelines.scheduling import schedule as plan

    scheduled = plan.pause(target, job)
    _show(scheduled)
    done(_facts(scheduled), following=_following(scheduled))


def resume_command(target: str = TargetArgument, job: str = JobOption) -> None:
    """Undo pause."""
    from pipelines.scheduling import schedule as plan

    scheduled = plan.resume(target, job)
    _show(scheduled)
    done(_facts(scheduled), following=_following(scheduled))


def run_command(target: str = TargetArgument, job: str = JobOption) -> None:
    """Start a run beside the schedule."""
    from pipelines.scheduling import schedule as plan

    run = plan.run_now(target, job)
    print(f"run {run} is queued")
    done({"run": str(run)}, following=f"gatecast schedule logs {shlex.quote(target)}")


def remove_command(target: str = TargetArgument, job: str = JobOption) -> None:
    """Take a job off the clock; its past runs stay to be read."""
    from pipelines.scheduling import schedule as plan

    plan.remove(target, job)
    print(f"{target} is no longer scheduled")
    done({"removed": target, "job": job}, following="gatecast schedule list")


def logs_command(target: str = TargetArgument, job: str = JobOption) -> None:
    """Print the log of the latest run."""
    from pipelines.scheduling import schedule as plan

    title, lines = plan.logs(target, job)
    print("\n".join([title, *lines]))
    done({"title": title, "log": lines})


def stop_command() -> None:
    """End the background server and worker."""
    from pipelines.scheduling import server

    was_running = server.stop()
    print("the scheduler is stopped" if was_running else "no scheduler was running")
    done({"was_running": was_running})


def serve_command(limit: int = LimitOption) -> None:
    """Run server and worker here, for systemd or a container."""
    from pipelines.scheduling.supervisor import supervise

    raise typer.Exit(supervise(limit=limit))


COMMANDS = {
    "add": add_command,
    "list": list_command,
    "pause": pause_command,
    "resume": resume_command,
    "run": run_command,
    "remove": remove_command,
    "logs": logs_command,
    "stop": stop_command,
    "serve": serve_command,
}


def by_flags_command(
    target: str | None = typer.Argument(None, metavar="[CONFIG|NAME]"),
    cron: str | None = CronOption,
    every: str | None = EveryOption,
    timezone: str | None = ZoneOption,
    job: str = JobOption,
    sets: list[str] | None = SetOption,
    pool: str | None = PoolOption,
    variables: list[str] | None = VariableOption,
    listing: bool = typer.Option(False, "--list"),
    pause: bool = typer.Option(False, "--pause"),
    resume: bool = typer.Option(False, "--resume"),
    run_now: bool = typer.Option(False, "--run-now"),
    remove: bool = typer.Option(False, "--remove"),
    logs: bool = typer.Option(False, "--logs"),
    stop: bool = typer.Option(False, "--stop"),
    serve: bool = typer.Option(False, "--serve"),
    limit: int = LimitOption,
) -> None:
    """The same by flags: `schedule CONFIG --cron ...`, `schedule NAME --pause` and the like."""
    timed = "--cron or --every"
    flags = {
        "--list": listing,
        "--pause": pause,
        "--resume": resume,
        "--run-now": run_now,
        "--remove": remove,
        "--logs": logs,
        "--stop": stop,
        "--serve": serve,
        timed: cron is not None or every is not None,
    }
    chosen = [name for name, value in flags.items() if value]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other")
    if not chosen:
        close = difflib.get_close_matches(target or "", COMMANDS, n=1)
        if close and not Path(target or "").exists():
            raise ConfigError(f"no command {target!r}; did you mean: gatecast schedule {close[0]}")
        raise ConfigError("say when: --cron '0 3 * * *' or --every 6h; or --list, --pause, ...")
    alone = {
        "--list": list_command,
        "--stop": stop_command,
        "--serve": lambda: serve_command(limit),
    }
    if chosen[0] in alone:
        alone[chosen[0]]()
        return
    if target is None:
        raise ConfigError(f"{chosen[0]} needs a config or the name of a model")
    if chosen[0] == timed:
        add_command(target, cron, every, timezone, job, sets, pool, variables)
        return
    of_target = {
        "--pause": pause_command,
        "--resume": resume_command,
        "--run-now": run_command,
        "--remove": remove_command,
        "--logs": logs_command,
    }
    of_target[chosen[0]](target, job)


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise ConfigError(f"--job-variable {text!r}: write it as KEY=VALUE")
    return {key.strip(): value for key, _, value in (text.partition("=") for text in texts)}


def _show(scheduled: Scheduled) -> None:
    state = "paused"
    if not scheduled.paused:
        times = [f"{when:%a %Y-%m-%d %H:%M %Z}" for when in scheduled.upcoming]
        state = "next " + ", ".join(times)
    when = f"{scheduled.when} ({scheduled.timezone})"
    print(f"{scheduled.model}  {scheduled.job}  {when}  {state}")
    print(f"    {scheduled.config}, work pool {scheduled.pool}")
    if scheduled.running_since is not None:
        print(f"    running since {scheduled.running_since:%Y-%m-%d %H:%M:%S %Z}")
    if scheduled.last_at is not None:
        line = f": {scheduled.last_line}" if scheduled.last_line else ""
        print(f"    last run {scheduled.last_at:%Y-%m-%d %H:%M %Z}  {scheduled.last_state}{line}")


def _facts(scheduled: Scheduled) -> dict[str, Any]:
    return asdict(scheduled)


def _following(scheduled: Scheduled) -> list[str]:
    if scheduled.paused:
        return [f"gatecast schedule resume {scheduled.model} --job {scheduled.job}"]
    return [f"gatecast schedule run {scheduled.model} --job {scheduled.job}"]


def _tell_ui() -> None:
    from pipelines.scheduling.server import folder, running, shared_server

    address = shared_server() or running()
    if address is None:
        return
    password = "" if shared_server() else f" (sign in with the line in {folder() / 'auth'})"
    tell(f"Prefect's pages: {address.ui}{password}")
