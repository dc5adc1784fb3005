"""What the image installs for each role."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.requirements import wanted

ROOT = Path(__file__).resolve().parents[2]
PROJECT = {
    "name": "gatecast",
    "dependencies": ["numpy>=2"],
    "optional-dependencies": {
        "serve": ["uvicorn>=0.40", "torch>=2"],
        "all": ["gatecast[serve,more]", "numpy>=2"],
        "more": ["gatecast[all]", "rich>=14; python_version > '3'"],
    },
}


def test_groups_that_name_groups_are_followed_once() -> None:
    more = ["rich>=14; python_version > '3'"]
    assert wanted(PROJECT, []) == ["numpy>=2"]
    assert wanted(PROJECT, ["serve"]) == ["numpy>=2", "uvicorn>=0.40", "torch>=2"]
    assert sorted(wanted(PROJECT, ["all"])) == sorted(
        ["numpy>=2", "uvicorn>=0.40", "torch>=2", *more]
    )


def test_a_group_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"no group 'server'; it has: serve, all, more"):
        wanted(PROJECT, ["server"])


def test_the_command_leaves_out_what_comes_from_another_index() -> None:
    command = [sys.executable, "deploy/requirements.py", "postgres,schedule", "--without", "torch"]
    lines = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(groups["optional-dependencies"]["postgres"]) <= set(lines)
    assert [line for line in lines if line.startswith("torch")] == []
    assert len(lines) == len(set(lines))
