"""What a command says: words for a person, or one JSON object for a program.

Every command has ``--quiet`` (no progress, no advice; errors and results stay) and ``--json``
(stdout holds JSON only, whatever a command prints else goes to stderr). What came of a command it
hands to `done`; how that is shown is decided here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TextIO

import typer

from forecasting.masking import hide, masked

QUIET = "--quiet"
JSON = "--json"


@dataclass
class _Answer:
    """One run of a command: how it is to be told, and what came of it."""

    command: str = ""
    as_json: bool = False
    quiet: bool = False
    out: TextIO | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    following: list[str] = field(default_factory=list)
    lines: list[Any] | None = None
    given: bool = False


_answer = _Answer()


def is_quiet() -> bool:
    """Whether nobody wants to see how the work goes on."""
    return _answer.quiet


def wants_json() -> bool:
    """Whether a program reads the answer."""
    return _answer.as_json


def tell(text: str) -> None:
    """A line on how the work goes on, for a person; on stderr, and silent when quiet."""
    if not _answer.quiet:
        complain(text)


def complain(text: str) -> None:
    """A line on what went wrong; on stderr, and never silent."""
    print(masked(text), file=sys.stderr, flush=True)


def done(
    facts: Mapping[str, Any] | None = None,
    *,
    made: Sequence[object] = (),
    following: Sequence[str] | str = (),
) -> None:
    """Say what came of a command; called again, it adds to what was said.

    Parameters
    ----------
    facts : what a program wants to know, as values that JSON knows or that have such a form.
    made : files and folders that were written, or what else was made, by name.
    following : commands that come next, the likeliest first.
    """
    _answer.facts |= dict(facts or {})
    _answer.made += [str(one) for one in made]
    _answer.following += [following] if isinstance(following, str) else list(following)


def listed(lines: Sequence[Any]) -> None:
    """The answer is a list: as JSON, an object a line and nothing else."""
    _answer.lines = list(lines)


def failed(text: str, code: int, kind: str, argv: Sequence[str]) -> None:
    """Tell of an error: a line for a person, and an object where JSON was asked for.

    Parameters
    ----------
    code : the process's exit code.
    kind : the entry of `pipelines.terminal.codes` that tells more.
    """
    error = " ".join(text.split())
    complain(f"gatecast: {error}")
    # A mistake in the options is found before the options are read.
    if _answer.as_json or JSON in argv:
        command = _answer.command or "gatecast"
        _print({"command": command, "exit_code": code, "code": kind, "error": error})


@contextlib.contextmanager
def answering(command: str, *, quiet: bool, as_json: bool) -> Iterator[None]:
    """The time in which a command runs; at its end the answer is given."""
    global _answer
    _answer = _Answer(command, as_json, quiet, sys.stdout)
    aside: Any = contextlib.nullcontext()
    if as_json:
        aside = contextlib.redirect_stdout(io.StringIO() if quiet else sys.stderr)
    code = 0
    try:
        with aside:
            yield
    except typer.Exit as leaving:
        code = leaving.exit_code
        _end(code)
        raise
    else:
        _end(code)


def answered() -> None:
    """Give the answer now, as what follows ends only when the user ends it."""
    _end(0)
    _answer.given = True


def forget() -> None:
    """Before a command is known, nothing is asked for."""
    global _answer
    _answer = _Answer()


def mannered(callback: Callable[..., Any]) -> Callable[..., None]:
    """A command with the two options, and with an end that is told."""
    signature = inspect.signature(callback, eval_str=True)
    added = {
        "context": (typer.Context, inspect.Parameter.empty),
        "quiet": (bool, typer.Option(False, QUIET, "-q", help="No progress, no advice.")),
        "as_json": (bool, typer.Option(False, JSON, help="Print JSON, for programs.")),
    }

    @functools.wraps(callback)
    def run(context: typer.Context, quiet: bool, as_json: bool, **given: Any) -> None:
        with answering(context.command_path, quiet=quiet, as_json=as_json):
            callback(**given)

    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in added.items()
    ]
    of_command = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()
    ]
    whole = signature.replace(parameters=[parameters[0], *of_command, *parameters[1:]])
    run.__signature__ = whole  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in whole.parameters.items()}
    # Whoever looks at the function must see the options added here.
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def mannerly(app: typer.Typer) -> typer.Typer:
    """An app all of whose commands, those of its groups too, are `mannered`."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = mannered(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            mannerly(group.typer_instance)
    return app


def plain(value: Any) -> Any:
    """A value as JSON knows it: numbers that are none become null, what is left becomes text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if hasattr(value, "to_dict") and hasattr(value, "index"):  # a frame
        named = value.index.name is not None
        return plain((value.reset_index() if named else value).to_dict(orient="records"))
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _end(code: int) -> None:
    if _answer.given:
        return
    if not _answer.as_json:
        for one in _answer.made:
            tell(f"made: {one}")
        for number, command in enumerate(_answer.following):
            tell(f"{'  or' if number else 'next'}: {command}")
        return
    if _answer.lines is not None:
        for line in _answer.lines:
            _print(line)
        return
    _print(
        {
            "command": _answer.command,
            "exit_code": code,
            **_answer.facts,
            "made": _answer.made,
            "next": _answer.following,
        }
    )


def _print(value: Any) -> None:
    text = json.dumps(hide(plain(value)), ensure_ascii=False)
    print(text, file=_answer.out or sys.stdout, flush=True)
