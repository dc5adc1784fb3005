"""The site of docs/: what is made holds all there is, what is written runs, links lead on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import forecasting
from docs.building import dependencies, notebooks, pages, summaries
from pipelines import cli
from pipelines.config import ExperimentConfig
from pipelines.config.keys import paths
from pipelines.terminal.codes import codes
from serving.routes.table import ROUTES
from tests.browser import chromium, executable

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))
# Pages whose Python runs as it stands, each from an empty folder; others have tests of their own.
RUN = ("index.md", "calendars.md", "choice.md", "coming-from.md", "looking-back.md",
       "tasks/holes.md", "tasks/holidays.md", "tasks/explain.md",
       "tasks/short-series.md")  # fmt: skip
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@cache
def made() -> dict[str, str]:
    return pages.made()


def leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}", command


def build(folder: Path) -> None:
    """Build the site as `make docs` does, into a folder."""
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_every_key_of_a_config_is_told() -> None:
    page = made()["reference/config.md"]
    for path in paths(ExperimentConfig):
        section, _, key = path.rpartition(".")
        title = f"## `{section}`" if section else "## At the top"
        below = page.partition(f"{title}\n")[2].partition("\n## ")[0]
        assert f"| `{key}` |" in below, path


def test_every_config_of_the_repository_keeps_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(made()[pages.SCHEMA])
    check = jsonschema.Draft202012Validator(schema)
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        assert [e.message for e in check.iter_errors(yaml.safe_load(file.read_text()))] == []
    wrong = {"name": "x", "horizont": 3, "model": {"hidden_size": "large"}}
    said = " ".join(error.message for error in check.iter_errors(wrong))
    assert "horizont" in said
    assert "'large'" in said
    assert "'horizon' is a required property" in said


def test_every_command_and_option_is_told() -> None:
    page = made()["reference/commands.md"]
    for name, command in leaves(typer.main.get_command(cli.build())):
        below = page.partition(f"## gatecast {name}\n")[2].partition("\n## ")[0]
        assert below, name
        wanted = {o for p in command.params for o in p.opts if o.startswith("--")}
        shared = {"--json", "--quiet", "--help"}
        assert [o for o in sorted(wanted - shared) if f"`{o}`" not in below] == [], name


def test_every_route_is_told() -> None:
    page = made()["reference/http.md"]
    told = [r for r in ROUTES if r.document is not None]
    assert len(told) > 5
    assert [r.path for r in told if f"## {r.method} {r.path}\n" not in page] == []


def test_every_public_name_is_told_with_its_docstring() -> None:
    page = made()["reference/python.md"]
    for name in forecasting.__all__:
        below = page.partition(f"## `forecasting.{name}`\n")[2].partition("\n## ")[0]
        assert len(below.split()) > 8, name
    assert "### `Forecaster.predict`" in page


def test_every_code_has_an_entry_of_its_own() -> None:
    page = made()["faq.md"]
    marks = re.findall(r"^### `(\w+)` \{ #([\w-]+) \}$", page, re.M)
    assert sorted(code for code, _ in marks) == sorted(one.code for one in codes())
    assert len({mark for _, mark in marks}) == len(marks)


@pytest.mark.parametrize("name", RUN)
def test_the_python_of_a_page_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = {"max_steps": 3, "threads": 1, "start": "none"}
    config = {"model": {"hidden_size": 8, "layers": 1}, "training": short}
    fit = forecasting.Forecaster.fit
    monkeypatch.setattr(forecasting.Forecaster, "fit", partial(fit, config=config, members=1))
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.M | re.S)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    forecast = names.get("forecast", names.get("at_once"))
    if name == "index.md":
        assert len(blocks[0].strip().splitlines()) <= 8
        assert (tmp_path / "forecast.png").is_file()
    elif name == "looking-back.md":
        assert names["past"].groupby("unique_id")["cutoff"].nunique().eq(10).all()
    elif name == "choice.md":
        assert names["forecaster"].choice.table["kept"].any()
    elif name == "tasks/explain.md":
        assert sorted(set(names["by_step"]["step"])) == [1, 2, 3, 4, 5, 6]
    else:
        assert forecast["q0.5"].notna().all()
        assert len(forecast) in (8, 12, 14)
    if "scores" in names:
        assert set(names["scores"].index) == {"forecaster", "seasonal_naive"}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    known = dict(leaves(typer.main.get_command(cli.build())))
    lost = []
    lines = re.findall(r"gatecast ([a-z][^`\n|]*)", page.read_text())
    for line in lines:
        words = [w for w in line.split() if not w.startswith("-")]
        name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
        if name is None:
            continue
        options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)}
        asked = re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", line.partition("#")[0])
        lost += [f"{name} {option}" for option in asked if option not in {*options, "--help"}]
    assert lost == []


def test_the_navigation_has_every_page_that_is_written() -> None:
    nav = (ROOT / "mkdocs.yml").read_text()
    missing = [p for p in WRITTEN if p.relative_to(DOCS).as_posix() not in nav]
    assert missing == []


def test_the_summary_of_accuracy_is_what_the_tables_say() -> None:
    text = summaries.PAGE.read_text()
    written = text.partition(summaries.BEGIN)[2].partition(summaries.END)[0]
    assert written.strip() == summaries.summary(text).strip(), "run docs.building.summaries"


def test_the_figures_of_speeds_summary_stand_below_it() -> None:
    text = (DOCS / "speed.md").read_text()
    short, _, rest = text.partition("## In short")[2].partition("\nHow fast")
    figures = re.findall(r"\d[\d.,]*\d|\d", short)
    assert len(figures) > 8
    assert [one for one in figures if one not in rest] == []


def test_every_dependency_has_its_reason_and_its_row() -> None:
    wanted = {
        dependencies.name_of(one) for ones in dependencies.required().values() for one in ones
    }
    assert wanted == set(dependencies.WHY)
    page = dependencies.PAGE.read_text()
    assert [name for name in sorted(wanted) if f"| {name} |" not in page] == []
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(dependencies.GROUPS) <= set(groups["optional-dependencies"])


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_short_keeps_no_output_and_becomes_a_page(file: Path) -> None:
    notebook = json.loads(file.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert file.stat().st_size < 12_000
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
    for cell in code:
        # What Jupyter itself is told begins with a sign of its own.
        own = [line for line in cell["source"] if not line.startswith("%")]
        compile("".join(own), file.name, "exec")
    page = notebooks.page(notebook, file.name)
    assert page.startswith("# ")
    assert page.count("```python") == len(code)


def test_what_a_notebook_drew_and_printed_is_shown() -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["\x1b[1mtwo\x1b[0m\n", "lines\n"]},
        {"output_type": "stream", "name": "stderr", "text": ["a warning"]},
        {
            "output_type": "display_data",
            "data": {"image/png": "aGk=\n", "text/plain": ["<F>"]},
        },
    ]
    cell = {"cell_type": "code", "source": ["x"], "outputs": outputs}
    page = notebooks.page({"cells": [cell]}, "x.ipynb")
    assert "```text\ntwo\nlines\n```" in page
    assert "(data:image/png;base64,aGk=)" in page
    assert "warning" not in page


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    hooks = pytest.importorskip("docs.building.hooks", reason="needs mkdocs")
    turned = {
        "[a](../configs/counts.yaml)": "[a](source/configs/counts.yaml.md)",
        "[a](../README.md#two-commands)": "[a](index.md#two-commands)",
        "[a](copy_task.py)": "[a](source/docs/copy_task.py.md)",
        "[a](models.md#saved)": "[a](models.md#saved)",
        "[a](https://example.org)": "[a](https://example.org)",
        "[a](nowhere.yaml)": "[a](nowhere.yaml)",
        "```\n[a](../configs/counts.yaml)\n```": "```\n[a](../configs/counts.yaml)\n```",
    }
    assert {text: hooks.rewritten("gates.md", text) for text in turned} == turned
    deep = hooks.rewritten("tasks/deploy.md", "[a](../../deploy/README.md)")
    assert deep == "[a](../source/deploy/README.md)"
    assert hooks.outside("gates.md", "[a](../configs/counts.yaml) [b](models.md)") == {
        "configs/counts.yaml"
    }


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the group docs")
    build(tmp_path)
    for page in tmp_path.rglob("*.html"):
        found = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
        assert found == [], page
    index = (tmp_path / "search" / "search_index.js").read_text()
    assert "first forecast" in index.lower()
    assert '"location":"source/' not in index


@pytest.mark.slow
@pytest.mark.browser
def test_a_reader_searches_the_pages_from_the_disk_and_on_a_phone(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the group docs")
    if executable() is None:
        pytest.skip("needs Chromium")
    build(tmp_path)
    with chromium(1200, 900) as page:
        page.watch()
        page.open((tmp_path / "index.html").as_uri())
        page.wait("A first forecast")
        page.run("document.querySelector('.md-search__input').focus()")
        page.press(*"holidays")
        page.wait("matching document")
        page.wait("Holidays, prices, promotions")
        assert page.complaints == []
    with chromium(390, 800) as page:
        for name in ("index", "tasks/holidays", "reference/config", "faq", "accuracy"):
            page.open((tmp_path / f"{name}.html").as_uri())
            page.wait("\n")
            width = page.run("document.documentElement.scrollWidth")
            assert width <= 390, name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_from_top_to_bottom(file: Path, tmp_path: Path) -> None:
    execute = pytest.importorskip("docs.building.execute", reason="needs the group notebooks")
    execute.execute(file, tmp_path / file.name)
    cells = json.loads((tmp_path / file.name).read_text())["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
