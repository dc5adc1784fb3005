"""``gatecast completion``: the shell proposes commands, options and keys of a config."""

from __future__ import annotations

import enum

import typer

from pipelines.terminal.outcome import done, tell

HOW = {
    "bash": 'eval "$(gatecast completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(gatecast completion zsh)"  # in ~/.zshrc, below compinit',
    "fish": "gatecast completion fish | source  # in ~/.config/fish/config.fish",
}


class Shell(enum.StrEnum):
    """Shells that are known."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def register(app: typer.Typer) -> None:
    """Add ``completion``."""
    app.command("completion")(completion_command)


def completion_command(
    shell: Shell = typer.Argument(..., metavar="bash|zsh|fish", help="The shell you use."),
) -> None:
    """Print what makes a shell complete commands, options and keys of `--set` with the tab key.

    Example: `eval "$(gatecast completion bash)"`
    """
    from typer.completion import get_completion_script

    script = get_completion_script(
        prog_name="gatecast", complete_var="_GATECAST_COMPLETE", shell=shell.value
    )
    print(script)
    tell(f"to have it always: {HOW[shell.value]}")
    done({"shell": shell.value, "script": script})
