"""``gatecast serve`` and ``gatecast ui``."""

from __future__ import annotations

import os
import sys

import typer

from forecasting.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add ``serve`` and ``ui``."""
    app.command("serve")(serve_command)
    app.command("ui")(ui_command)


def serve_command(
    model: list[str] = typer.Option(..., "--model", help="Registered model; repeatable."),
    host: str | None = typer.Option(
        None, "--host", help="Address to listen on; default: 127.0.0.1."
    ),
    port: int | None = typer.Option(
        None, "--port", help="Port to listen on, 0 takes a free one; default: 3000."
    ),
    workers: int | None = typer.Option(None, "--workers", min=1, help="Processes; default: 1."),
    alias: str | None = typer.Option(
        None, "--alias", help="Alias that is followed; default: champion."
    ),
) -> None:
    """Answer forecasts over HTTP from a registered model, following its champion.

    What is left out is read from GATECAST_HOST, GATECAST_PORT and their like.

    Example: `gatecast serve --model m3-monthly --port 3000`
    """
    from pipelines.demo.processes import command
    from pipelines.tracking.moved import follow_home

    follow_home()
    sys.stdout.flush()
    arguments = command(model, host=host, port=port, workers=workers, alias=alias)
    os.execv(arguments[0], arguments)


def ui_command(
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on."),
    port: int = typer.Option(5000, "--port", help="Port to listen on."),
) -> None:
    """Open MLflow's pages on the local runs and models.

    Example: `gatecast ui --port 5001`
    """
    from pipelines.demo.processes import free_port, ui_command_line
    from pipelines.tracking.moved import follow_home

    if not free_port(host, port):
        raise ConfigError(f"cannot listen on {host}:{port}: it is in use; choose another --port")
    follow_home()
    arguments = ui_command_line(host, port)
    print(f"MLflow on http://{host}:{port} (Ctrl-C stops it)", flush=True)
    os.execv(arguments[0], arguments)
