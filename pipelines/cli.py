"""``gatecast``: every command, and one way to tell what went wrong.

Exit codes: 0 done, 1 failed, 2 bad input or config, 3 the gate said no.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
import traceback

import typer

from forecasting.errors import GatecastError, MissingGroupError, TrainingError, lacking
from forecasting.masking import masked
from pipelines import commands
from pipelines.machine.exhausted import exhausted
from pipelines.machine.state import home, keep_apart, quiet
from pipelines.terminal import outcome

# Modules of pipelines.commands in the help's order; others come after them, by name.
FIRST = (
    "demo",
    "first.init",
    "ingest",
    "train",
    "forecast",
    "monitor",
    "tune",
    "asked.questions",
    "asked.scenarios",
    "diagnose",
    "serve",
    "registry",
    "keys",
    "operating.migrate",
    "reproduce",
    "schedule",
    "benchmark",
    "doctor",
    "first.docs",
    "first.completion",
)
SHARED = "common"  # what several commands need; no command
COMPLETES = "_GATECAST_COMPLETE"  # set by a shell that asks how a line may go on
FAILED, BAD_INPUT, EXIT_REFUSED, INTERRUPTED = 1, 2, 3, 130
RESUMED = ("train", "backtest", "forecast", "tune", "migrate")  # what is finished is not done again


def build() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        name="gatecast",
        help="Train recurrent forecasters, let the best into production, serve forecasts.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def options(
        version: bool = typer.Option(False, "--version", help="Print the version."),
    ) -> None:
        if version:
            from pipelines.training.candidates import code_version

            print(f"gatecast {code_version()}")
            raise typer.Exit

    for name in command_modules():
        importlib.import_module(f"{commands.__name__}.{name}").register(app)
    return outcome.mannerly(app)


def command_modules() -> list[str]:
    """Modules of pipelines.commands, in the help's order; each has ``register(app)``."""
    prefix = f"{commands.__name__}."
    modules = pkgutil.walk_packages(commands.__path__, prefix)
    names = [module.name.removeprefix(prefix) for module in modules if not module.ispkg]
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    own = [name for name in names if name.rpartition(".")[2] != SHARED]
    return sorted(own, key=lambda name: (ranks.get(name, len(FIRST)), name))


def main() -> None:
    """Run the command line; every error a user can mend is one line on stderr."""
    quiet()
    keep_apart()
    outcome.forget()
    if COMPLETES in os.environ:
        from typer.completion import completion_init

        completion_init()
    try:
        code = build()(prog_name="gatecast", standalone_mode=False) or 0
        # Typer answers Ctrl-C by this code, and says nothing.
        sys.exit(_fail(_interrupted(), code, "interrupted") if code == INTERRUPTED else code)
    except TrainingError as error:
        sys.exit(_fail(str(error), FAILED, "training_error"))
    except GatecastError as error:
        sys.exit(_fail(str(error), getattr(error, "exit_code", BAD_INPUT), _kind(error)))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_fail(_interrupted(), INTERRUPTED, "interrupted"))
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit with code 1 and says nothing.
        if isinstance(error.__context__, KeyboardInterrupt):
            sys.exit(_fail(_interrupted(), INTERRUPTED, "interrupted"))
        raise
    except BrokenPipeError:
        # Whoever read our output has left: `gatecast history NAME | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ModuleNotFoundError as error:
        absent = lacking(f"`gatecast {next(iter(sys.argv[1:]), '')}`", error)
        if isinstance(absent, MissingGroupError):
            sys.exit(_fail(str(absent), BAD_INPUT, _kind(absent)))
        sys.exit(_fail(_unexpected(error), FAILED, "internal_error"))
    except Exception as error:
        misuse = _misuse(error)
        if misuse is not None:
            sys.exit(_fail(misuse, BAD_INPUT, "usage_error") if misuse else BAD_INPUT)
        sys.exit(_fail(_unexpected(error), FAILED, "internal_error"))


def _misuse(error: Exception) -> str | None:
    """One line on a wrong option or argument; empty where the help was shown instead.

    Typer has a click of its own inside, whose classes have no public name.
    """
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    text = str(error.format_message()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return ""
    return f"{text}; see: {context.command_path if context else 'gatecast'} --help"


def _interrupted() -> str:
    """What is said after Ctrl-C; of commands that go on where they were, that too."""
    if sys.argv[1:2] and sys.argv[1] in RESUMED:
        return "interrupted; finished stages are kept: the same command goes on from there"
    return "interrupted"


def _kind(error: GatecastError) -> str:
    """The code of an error by the class that says most of it."""
    if getattr(error, "exit_code", BAD_INPUT) == EXIT_REFUSED:
        return "refused"
    for kind in type(error).__mro__:
        if kind.__module__ == GatecastError.__module__:
            return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return "gatecast_error"


def _fail(text: str, code: int, kind: str) -> int:
    outcome.failed(text, code, kind, sys.argv[1:])
    return code


def _unexpected(error: Exception) -> str:
    """One line, and a file with the rest for whoever looks into it."""
    lacking = exhausted(error)
    if lacking is not None:
        return lacking
    trace, text = home() / "last-error.txt", f"{type(error).__name__}: {error}"
    try:
        trace.write_text(masked(traceback.format_exc()))
    except OSError as unwritten:
        return f"{text} (an error in Gatecast; no details, as {trace}: {unwritten.strerror})"
    return f"{text} (an error in Gatecast; details in {trace})"


if __name__ == "__main__":
    main()
