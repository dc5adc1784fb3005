"""``gatecast promote``, ``rollback`` and ``history``: who is champion, and why."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from forecasting.errors import ConfigError
from pipelines.commands.common import CONFIG_SUFFIXES
from pipelines.terminal.outcome import complain, done, listed

if TYPE_CHECKING:
    from pipelines.registry.registry import Registry

ModelArgument = typer.Argument(
    ..., metavar="NAME", help="A registered model; or the config that trains it."
)


def register(app: typer.Typer) -> None:
    """Add ``promote``, ``rollback`` and ``history``."""
    app.command("promote")(promote_command)
    app.command("rollback")(rollback_command)
    app.command("history")(history_command)


def _open(target: str) -> tuple[Registry, str]:
    """The registry a model is in, and the model's name."""
    from pipelines.registry.registry import Registry
    from pipelines.tracking.store import connect

    if target.endswith(CONFIG_SUFFIXES):
        from pipelines.config import load_config

        config = load_config(target)
        return Registry(connect(config.tracking.uri)), config.name
    return Registry(connect()), target


def promote_command(
    name: str = ModelArgument,
    version: str | None = typer.Option(
        None, "--version", help="Number or alias; default: the challenger."
    ),
    force: bool = typer.Option(
        False, "--force", help="Although the gate refused it, or never saw."
    ),
    reason: str | None = typer.Option(None, "--reason", help="Kept in the history."),
) -> None:
    """Make a version champion; what the gate refused only with --force and a reason (else exit 3).

    Examples: `gatecast promote m3-monthly`,
    `gatecast promote m3-monthly --version 7 --force --reason "the champion's data was wrong"`
    """
    from pipelines.registry.registry import CHALLENGER, CHAMPION, NOBODY
    from pipelines.training.gate import EXIT_REFUSED

    reason = (reason or "").strip()
    if force and not reason:
        raise ConfigError("--force needs a reason, which is kept: --reason 'why'")
    target = shlex.quote(name)
    registry, name = _open(name)
    now = registry.alias(name, CHAMPION)
    candidate = registry.version(name, version if version is not None else CHALLENGER)
    gate = candidate.tags.get("gate", "never asked")
    if gate != "passed" and not force:
        refusal = candidate.tags.get("decision_reason", "")
        complain(
            f"gatecast: the gate has not passed version {candidate.version} of {name!r} "
            f"({refusal or gate}); to promote it all the same: --force --reason 'why'"
        )
        done({"model": name, "version": int(candidate.version), "gate": gate, "reason": refusal})
        raise typer.Exit(EXIT_REFUSED)
    event = registry.promote(
        name,
        int(candidate.version),
        reason=reason or "promoted by hand; the gate had passed it",
        action="forced" if force else "promoted",
        instead_of=int(now.version) if now is not None else NOBODY,
    )
    replaced = f"; version {event.replaced} is now previous" if event.replaced else ""
    print(f"{name} version {event.version} is champion{replaced}")
    done({"model": name, **asdict(event)}, following=f"gatecast history {target}")


def rollback_command(
    name: str = ModelArgument,
    reason: str = typer.Option("rolled back by hand", "--reason", help="Kept in the history."),
) -> None:
    """Make the previous champion champion again; running services follow within seconds.

    Example: `gatecast rollback m3-monthly --reason "too low since Monday"`
    """
    from pipelines.registry.registry import CHAMPION

    target = shlex.quote(name)
    registry, name = _open(name)
    now = registry.version(name, CHAMPION)
    event = registry.rollback(name, reason=reason, instead_of=int(now.version))
    print(f"{name} version {event.version} is champion again; {event.replaced} is now previous")
    done({"model": name, **asdict(event)}, following=f"gatecast history {target}")


def history_command(
    name: str = ModelArgument,
) -> None:
    """List every registration, promotion, refusal and rollback with its reason, oldest first.

    With --json, one JSON object a line.

    Example: `gatecast history m3-monthly`
    """
    registry, name = _open(name)
    events = registry.history(name)
    listed([asdict(event) for event in events])
    aliases = ", ".join(f"{a} {v}" for a, v in sorted(registry.aliases(name).items()))
    print(f"{name}: {aliases or 'no champion, no challenger'}")
    for event in events:
        replaced = f" for {event.replaced}" if event.replaced else ""
        print(f"{event.at}  {event.action} {event.version}{replaced}  ({event.by})")
        if event.reason:
            print(f"    {event.reason}")
