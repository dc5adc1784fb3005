"""What is installed is what the tree holds: code, and every file that lies beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.house import PACKAGES

BESIDE = {
    "forecasting/datasets/air_passengers.csv",
    "forecasting/pretrained/card.json",
    "forecasting/pretrained/monthly.safetensors",
    "forecasting/pretrained/zero.json",
    "forecasting/pretrained/zero.safetensors",
    "pipelines/data/public_sets.yaml",
    "pipelines/demo/m3_monthly.yaml",
    "serving/py.typed",
    "serving/web/docs.html",
    "serving/web/explorer/index.html",
    "serving/web/explorer/uplot.min.js",
    "serving/web/uplot.LICENSE.txt",
}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the tree."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the wheel, is not installed")
    copy = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    command = [sys.executable, "-c", "from setuptools import build_meta as b; b.build_wheel('out')"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (copy / "out").glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_installed(root: Path, wheel: set[str]) -> None:
    files = {
        file.relative_to(root).as_posix()
        for package in PACKAGES
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files >= BESIDE
    assert files - wheel == set()


def test_nothing_else_is_installed(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
