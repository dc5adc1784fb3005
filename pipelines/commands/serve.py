"""``gatecast serve`` and ``gatecast ui``."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser

import typer

from forecasting.errors import ConfigError, GatecastError
from pipelines.terminal.outcome import answered, done, wants_json
from pipelines.terminal.screen import has_screen


def register(app: typer.Typer) -> None:
    """Add ``serve`` and ``ui``."""
    app.command("serve")(serve_command)
    app.command("ui")(ui_command)


def serve_command(
    model: list[str] = typer.Option(..., "--model", help="Registered model, or zero; repeatable."),
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
    shadow: str | None = typer.Option(
        None, "--shadow", help="Alias computed beside the answers, and kept with them."
    ),
    canary: float | None = typer.Option(
        None, "--canary", min=0.0, max=1.0, help="Share of series that the challenger answers."
    ),
) -> None:
    """Answer forecasts over HTTP from a registered model, following its champion.

    The model `zero` is the pretrained network: nothing has to be trained or registered for it.
    What is left out is read from GATECAST_HOST, GATECAST_PORT and their like.

    Examples: `gatecast serve --model m3-monthly --port 3000`,
    `gatecast serve --model m3-monthly --shadow challenger --canary 0.05`
    """
    from pipelines.demo.processes import command
    from pipelines.tracking.moved import follow_home

    follow_home()
    arguments = command(
        model,
        host=host,
        port=port,
        workers=workers,
        alias=alias,
        shadow=shadow,
        canary=canary,
    )
    # From here on this process is the service.
    done({"models": model, "service": arguments[1:]})
    if wants_json():
        answered()
    sys.stdout.flush()
    os.execv(arguments[0], arguments)


def ui_command(
    name: str | None = typer.Argument(
        None,
        metavar="[NAME]",
        help="Experiment: the model's name, unless tracking.experiment says another.",
    ),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on."),
    port: int = typer.Option(5000, "--port", help="Port to listen on."),
    show: bool | None = typer.Option(
        None, "--open/--no-open", help="Open a browser; default: where there is a screen."
    ),
) -> None:
    """Open MLflow's pages on the local runs and models, where a model's runs stand side by side.

    Examples: `gatecast ui`, `gatecast ui m3-monthly --port 5001`
    """
    from pipelines.demo.processes import free_port, running, ui_command_line
    from pipelines.tracking.links import experiment_of, runs_page
    from pipelines.tracking.store import connect, default_uri, on_a_server

    uri = default_uri()
    remote = on_a_server(uri)
    if not remote and not free_port(host, port):
        raise ConfigError(f"cannot listen on {host}:{port}: it is in use; choose another --port")
    experiment = experiment_of(connect(uri), name)
    named = host if host not in ("0.0.0.0", "::") else "127.0.0.1"
    address = uri if remote else f"http://{f'[{named}]' if ':' in named else named}:{port}"
    page = runs_page(address, experiment.experiment_id if experiment is not None else None)
    if remote:
        raise GatecastError(f"MLflow already runs as a server: open {page} in a browser")
    arguments = ui_command_line(host, port)
    done({"address": address, "page": page})
    answered()
    print(f"MLflow on {address} (Ctrl-C stops it)")
    title = (
        f"the runs of {experiment.name}, side by side" if experiment is not None else "no run yet"
    )
    print(f"{title}: {page}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(arguments, f"{address}/health", name="mlflow") as process:
            if has_screen() if show is None else show:
                webbrowser.open(page)
            process.wait()
    except KeyboardInterrupt:
        return
