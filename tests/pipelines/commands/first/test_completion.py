"""A shell gets a script it can read, and the words that may follow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.commands.common import SetOption

# What a shell hands over for the words typed so far, the last of them unfinished.
ASKED = {
    "bash": lambda words: {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": " ".join(words)},
    "fish": lambda words: {
        "_TYPER_COMPLETE_ARGS": " ".join(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}
PROGRAM = "import sys; sys.argv[0] = 'gatecast'; from pipelines.cli import main; main()"


def proposed(shell: str, *words: str) -> str:
    """What the program answers a shell that completes."""
    extra = {"_GATECAST_COMPLETE": f"complete_{shell}", **ASKED[shell](("gatecast", *words))}
    root = str(Path(cli.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **extra, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return run.stdout


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_is_told_how_a_command_goes_on(shell: str) -> None:
    assert "--accept-revision" in proposed(shell, "train", "--acc")


@pytest.mark.parametrize("shell", ASKED)
def test_the_script_names_the_program_and_how_to_keep_it(shell: str) -> None:
    result = CliRunner().invoke(cli.build(), ["completion", shell])
    assert result.exit_code == 0
    assert f"complete_{shell}" in result.stdout
    assert f"gatecast completion {shell}" in result.stderr


def test_bash_reads_the_script(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    script = CliRunner().invoke(cli.build(), ["completion", "bash"]).stdout
    program = tmp_path / "gatecast"
    program.write_text("#!/bin/sh\necho train\n")
    program.chmod(0o755)
    lines = f"{script}\nCOMP_WORDS=(gatecast tr); COMP_CWORD=1\n_gatecast_completion gatecast\n"
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = subprocess.run(
        [bash, "-euc", f"{lines}echo ${{COMPREPLY[0]}}"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "train\n"


def test_keys_of_a_config_are_proposed() -> None:
    keys: Any = SetOption.autocompletion  # type: ignore[attr-defined]
    assert keys("model.hid") == ["model.hidden_size="]
    assert "data.stamps.zone=" in keys("data.stamps.")
    assert keys("nothing") == []
