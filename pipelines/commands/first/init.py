"""``gatecast init``: look at a table, say what it holds, and write a config that trains."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forecasting.errors import ConfigError
from forecasting.masking import masked
from pipelines.commands.common import CONFIG_SUFFIXES, SetOption, table_name
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    from pipelines.drafting.look import Look

FINDINGS = 8


def register(app: typer.Typer) -> None:
    """Add ``init``."""
    app.command("init")(init_command)


def init_command(
    source: str = typer.Argument(..., metavar="TABLE", help="File, folder, URL or database."),
    horizon: int | None = typer.Option(
        None, "--horizon", min=1, help="Steps to forecast; default: a season, or what fits."
    ),
    name: str | None = typer.Option(None, "--name", help="Of the model; default: the table's."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="The config to write; default: NAME.yaml, here."
    ),
    force: bool = typer.Option(False, "--force", help="Write over a config that is there."),
    sets: list[str] | None = SetOption,
) -> None:
    """Look at a table, say what it holds, draw it, and write a config that trains at once.

    Example: `gatecast init sales.csv`, then `gatecast train sales.yaml`
    """
    from pipelines.config.file import override

    if source.endswith(CONFIG_SUFFIXES):
        raise ConfigError(f"{source} is a config already: gatecast train {source}")
    name = name or table_name(source)
    target = out or Path(f"{name}.yaml")
    if target.suffix not in CONFIG_SUFFIXES:
        raise ConfigError(f"--out {target}: a config's name ends in .yaml")
    picture = target.with_suffix(".png")
    there = next((path for path in (target, picture) if path.exists()), None)
    if there is not None and not force:
        raise ConfigError(
            f"{there} is there already; --force writes {target} and {picture} anew, --out FILE "
            "takes another name"
        )
    more: dict[str, Any] = override({}, sets or ())
    section: Any = more.pop("data", {})
    if not isinstance(section, dict):
        raise ConfigError("--set data=…: name a key of it, as in --set data.y=sold")
    horizon, name = more.pop("horizon", horizon), more.pop("name", name)
    with waiting(f"looking at {source}"):
        from pipelines.drafting.draft import draft
        from pipelines.drafting.look import look_at
        from pipelines.drafting.picture import draw
        from pipelines.machine.files import write_text

        look = look_at(source, section, horizon)
        text, values = draft(look, name=name, file=str(target), more=more)
        _describe(look)
        title = f"{name}: {len(look.result.clean.ids):,} series, freq {look.result.freq}"
        draw(look.result, picture, title=title, horizon=look.horizon)
        # An address may hold a password, which training needs.
        write_text(text, target, private=masked(source) != source)
    train = f"gatecast train {shlex.quote(str(target))}"
    done({**look.facts(), "config": values}, made=[target, picture], following=train)


def _describe(look: Look) -> None:
    from pipelines.drafting.picture import drawn

    for line in look.guessed:
        tell(f"a doubt, settled for now: {line}")
    report = look.result.report
    print(report.summary)
    # Where rows after the last y carry covariates, the config makes them what is known ahead.
    ahead_note = report.values["facts"].get("ahead") if look.ahead else None
    for note in report.notes[: -1 if look.result.clean.aside else None]:
        if note != ahead_note:
            print(f"  {note}")
    whole = int(look.lengths.sum())
    if missing := whole - report.values["values"]["observed"]:
        print(f"  {missing:,} of {whole:,} values are missing; none is filled in")
    print()
    for line in drawn(look.result):
        print(line)
    print()
    findings = report.to_dict()["findings"]
    for finding in findings[:FINDINGS]:
        print(f"  {finding['count']:>8,}  {finding['code']:<20} {finding['detail']}")
    if len(findings) > FINDINGS:
        print(f"  and {len(findings) - FINDINGS} more: gatecast ingest --out FOLDER has them all")
    if findings:
        tell("what such a code means: gatecast docs CODE")
    for column in look.candidates:
        what = f"{column.role}, {column.type}" if column.role else "no covariate"
        print(f"  column {column.name}: {what}: {column.why}")
    print(f"horizon {look.horizon}, judged at {look.origins} past cutoffs")
