"""``gatecast demo``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import typer

from pipelines.commands.common import SetOption
from pipelines.terminal.outcome import done, tell
from pipelines.terminal.waiting import progress_bar

DEFAULT_PORT, UI_PORT = 3000, 5000


def register(app: typer.Typer) -> None:
    """Add ``demo``."""
    app.command("demo")(demo_command)


def demo_command(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Folder of picture and summary."),
    port: int | None = typer.Option(
        None, "--port", min=1, max=65535, help="Of the service; default: 3000 or a free one."
    ),
    leave: bool = typer.Option(False, "--exit", help="Stop at the end, also on a terminal."),
    sets: list[str] | None = SetOption,
) -> None:
    """Train on the M3 competition, serve the winner, and compare forecasts with what happened.

    Example: `gatecast demo --exit --port 3100`
    """
    from pipelines.demo.demo import demo, mlflow_pages, print_result
    from pipelines.demo.processes import running

    stays = sys.stdout.isatty() and sys.stdin.isatty() and not leave
    with demo(
        out,
        port=port or DEFAULT_PORT,
        port_given=port is not None,
        sets=sets or (),
        say=tell,
        bar=progress_bar,
    ) as (result, url):
        arguments, ui, runs = mlflow_pages(UI_PORT)
        model = result.summary["model"]["name"]
        serve, look = f"gatecast serve --model {model}", f"gatecast ui {model}"
        files = [result.summary["picture"], result.summary_path]
        done(result.summary, made=files, following=[serve, look])
        if not stays:
            stopped = f"stopped again (start it with: {serve})"
            print_result(result, stopped, f"stopped (start it with: {look})")
            return
        print_result(result, f"{url} (docs: {url}/docs)", f"{runs} (starting)")
        with running(arguments, f"{ui}/health", name="mlflow"):
            tell(f"Both are up: {url}/docs and {runs} . Ctrl-C stops them.")
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                tell("stopping")
