"""The commands of docs/serving.md do what stands below them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from serving.errors import TITLES
from serving.settings import PREFIX, ServingSettings
from tests.browser import chromium, executable
from tests.serving.process import ROOT, Server, environment

PAGE = (ROOT / "docs" / "serving.md").read_text()
BLOCK = re.compile(r"```sh\n(curl .*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)
EXAMPLES = BLOCK.findall(PAGE)


def assert_alike(found: Any, shown: Any, place: str = "answer") -> None:
    """The same keys, kinds and lengths, and the same texts where nothing was left out."""
    assert isinstance(found, int | float) == isinstance(shown, int | float), place
    if isinstance(shown, dict):
        assert list(found) == list(shown), place
        for key, value in shown.items():
            assert_alike(found[key], value, f"{place}.{key}")
    elif isinstance(shown, list):
        assert len(found) >= len(shown), place
        for k, value in enumerate(shown):
            assert_alike(found[k], value, f"{place}[{k}]")
    elif isinstance(shown, str):
        for part in shown.split("…"):
            assert part in found, place
    elif isinstance(shown, bool) or shown is None:
        assert found == shown, place


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_answers_what_is_shown(server: Server, command: str, answer: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    command = command.replace("http://127.0.0.1:3000", server.address)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment(server.store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if answer:
        assert_alike(found, json.loads(answer))
    else:
        assert found["errors"] == []


def test_every_setting_is_documented() -> None:
    for name in ServingSettings.model_fields:
        assert f"`{PREFIX}{name.upper()}`" in PAGE


def test_every_status_is_documented() -> None:
    table = PAGE[PAGE.index("| status | `code`") :]
    for status in TITLES:
        assert status == 500 or str(status) in table


def test_the_example_has_numbers_that_people_read(server: Server) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    example = paths["/v1/forecast"]["post"]["requestBody"]["content"]["application/json"]["example"]
    texts = re.findall(
        r"\d+\.\d+", json.dumps([example, server.http.get("/v1/models/retail").json()["example"]])
    )
    assert texts
    assert max(map(len, texts)) <= 9


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")
@pytest.mark.timeout(300)
def test_the_page_shows_request_and_answer_indented(server: Server) -> None:
    with chromium() as page:
        page.open(f"{server.address}/docs")
        page.wait("Forecast one to thousands of series")
        asked = str(page.run("document.getElementById('body').value"))
        assert json.loads(asked)["series"][0]["id"] == "example-1"
        page.click("Send", "button")
        page.wait("200, ")
        answer = str(page.run("document.getElementById('answer').textContent"))
        assert json.loads(answer)["forecasts"][0]["id"] == "example-1"
        for text in (asked, answer):
            assert len(text.splitlines()) > 8
            assert all(len(n) <= 9 for n in re.findall(r"\d+\.\d+", text))
