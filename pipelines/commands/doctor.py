"""``gatecast doctor``."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add ``doctor``."""
    app.command("doctor")(doctor_command)


def doctor_command(
    port: int = typer.Option(3000, "--port", help="Port the service is to listen on."),
    thorough: bool = typer.Option(
        False, "--thorough", help="Load torch, ONNX Runtime, MLflow and BentoML, too: seconds."
    ),
) -> None:
    """Look at versions, device and stores, and say what is missing and how to mend it.

    Example: `gatecast doctor --port 8080`
    """
    from pipelines.doctor import main

    raise typer.Exit(main(port=port, thorough=thorough))
