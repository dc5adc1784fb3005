"""``gatecast docs``: the built pages, or what a code means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from forecasting.errors import ConfigError
from pipelines.cli import build
from pipelines.commands.first import docs


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages a browser was asked for."""
    pages: list[str] = []
    monkeypatch.setattr(docs.webbrowser, "open", pages.append)
    return pages


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(build(), ["docs", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_code_is_explained_wherever_it_stands(opened: list[str]) -> None:
    said = run("unknown_key").stdout
    assert "a value in a request" in said
    assert "a model that is not trusted" in said
    answer = json.loads(run("gap", "--json").stdout)
    assert [one["kind"] for one in answer["entries"]] == ["request", "finding"]
    assert opened == []


def test_an_unknown_code_is_answered_by_the_one_that_is_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean missing_future_covariate"):
        run("missing_future_covariat")


def test_the_built_pages_are_opened_where_that_is_wanted(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<h1>Gatecast</h1>")
    address = (tmp_path / "index.html").as_uri()
    assert run("--folder", str(tmp_path)).stdout == f"{address}\n"
    assert opened == []  # a pipe is no screen
    monkeypatch.setenv(docs.FOLDER_VARIABLE, str(tmp_path))
    run("--open")
    assert opened == [address]


def test_without_built_pages_it_says_how_to_build_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make docs"):
        run("--folder", str(tmp_path))
