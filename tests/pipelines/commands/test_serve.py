"""`gatecast ui` says, and opens, where the runs of a model stand side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import build
from pipelines.commands import serve
from pipelines.demo.processes import pick_port
from pipelines.tracking.links import runs_page
from pipelines.tracking.tracker import Tracker


class Ended:
    """A server that the user has stopped."""

    def wait(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages a browser was asked for; MLflow itself is not started."""
    pages: list[str] = []

    @contextmanager
    def started(arguments: list[str], ready: str, *, name: str) -> Iterator[Ended]:
        assert "mlflow" in arguments
        assert ready.endswith("/health")
        yield Ended()

    monkeypatch.setattr("pipelines.demo.processes.running", started)
    monkeypatch.setattr(serve.webbrowser, "open", pages.append)
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    return pages


def ui(*arguments: str) -> Any:
    return CliRunner().invoke(build(), ["ui", *arguments])


def test_the_page_is_printed_and_opened_where_that_is_wanted(
    state: Path, opened: list[str]
) -> None:
    port = str(pick_port("127.0.0.1", 0))
    empty = ui("--port", port)
    assert f"no run yet: {runs_page(f'http://127.0.0.1:{port}')}" in empty.output
    tracker = Tracker.open("demand", system_metrics=False)
    with tracker.run("a run"):
        pass
    page = runs_page(f"http://127.0.0.1:{port}", tracker.experiment_id)
    for arguments in ((), ("demand", "--host", "0.0.0.0")):
        done = ui(*arguments, "--port", port)
        assert done.exit_code == 0, done.output
        assert f"the runs of demand, side by side: {page}" in done.output
    assert opened == []  # a pipe is no screen
    ui("demand", "--port", port, "--open")
    assert opened == [page]
    assert "no experiment 'demnad'" in str(ui("demnad", "--port", port).exception)


def test_of_a_server_that_runs_already_the_page_is_said(
    state: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker.open("demand", system_metrics=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setattr("pipelines.tracking.store.connect", lambda uri: tracker.client)
    page = runs_page("http://mlflow:5000", tracker.experiment_id)
    assert f"already runs as a server: open {page} in" in str(ui("demand").exception)
    assert opened == []
