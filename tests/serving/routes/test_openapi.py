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
