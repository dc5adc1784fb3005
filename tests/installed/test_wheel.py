"""What is installed is what the tree holds: code, and every file that lies beside it."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.house import PACKAGES
from tests.installed.places import build_wheel

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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the tree."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the wheel, is not installed")
    file = build_wheel(tmp_path_factory.mktemp("wheel"))
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
