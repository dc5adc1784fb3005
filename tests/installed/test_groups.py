"""What is not installed is told with the group that brings it; the groups are what they say."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forecasting import plotting
from forecasting.errors import GROUPS, GatecastError, MissingGroupError, lacking

homes = cache(metadata.packages_distributions)


def brought(root: Path, group: str) -> set[str]:
    """Distributions that a group names, itself or by others."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    names: set[str] = set()
    for one in map(Requirement, project["optional-dependencies"][group]):
        names.add(canonicalize_name(one.name))
        for inner in one.extras if one.name == "gatecast" else ():
            names |= brought(root, inner)
    return names


def without(package: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python where a package cannot be imported."""
    text = f"import sys; sys.modules[{package!r}] = None\n{code}"
    command = [sys.executable, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("package", GROUPS)
def test_each_group_brings_the_packages_that_lead_to_it(root: Path, package: str) -> None:
    # MLflow brings alembic; its client alone, which is a distribution of its own, does not.
    names = {"mlflow"} if package in ("alembic", "mlflow") else set(homes()[package])
    assert {canonicalize_name(one) for one in names} & brought(root, GROUPS[package])


def test_an_error_of_an_import_becomes_one_with_the_cure() -> None:
    error = lacking("a picture", ModuleNotFoundError("none", name="matplotlib.figure"), "or none")
    assert isinstance(error, MissingGroupError)
    assert isinstance(error, GatecastError)
    assert isinstance(error, ImportError)  # so that `try: ... except ImportError` holds
    assert error.group == "plots"
    assert str(error) == (
        "a picture needs matplotlib, which is not installed: pip install 'gatecast[plots]'; or none"
    )


@pytest.mark.parametrize("name", ["forecasting.nothing", "json.none", None])
def test_what_no_group_brings_stays_what_it_was(name: str | None) -> None:
    error = ModuleNotFoundError("none", name=name)
    assert lacking("it", error) is error


def test_an_error_with_a_cure_keeps_it() -> None:
    error = MissingGroupError("train", "text")
    assert lacking("it", error) is error


def test_the_library_without_torch_says_what_to_install_and_still_predicts() -> None:
    code = """
from forecasting import Panel, Predictor, ForecasterConfig, datasets
from forecasting.errors import MissingGroupError
print(len(datasets.load("air_passengers")))
try:
    from forecasting import Forecaster
except ImportError as error:
    print(type(error).__name__, error.group, error)
"""
    run = without("torch", code)
    count, said = run.stdout.splitlines()
    assert count == "144"
    assert said.startswith("MissingGroupError train Forecaster needs torch")
    assert "pip install 'gatecast[train]'" in said
    assert "Predictor" in said


def test_a_picture_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingGroupError, match=r"pip install 'gatecast\[plots\]'"):
        plotting.error_by_step({"one": np.array([0.1])}, metric="MASE")


@pytest.mark.parametrize(
    ("package", "command", "group", "what"),
    [
        ("fsspec", ["ingest", "air.csv"], "pipelines", "`gatecast ingest`"),
        ("torch", ["train", "air.yaml"], "train", "training"),
        ("alembic", ["history", "air"], "pipelines", "`gatecast history`"),
    ],
)
def test_a_command_says_what_to_install(
    package: str, command: list[str], group: str, what: str, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "air.csv").write_bytes(
        (root / "forecasting" / "datasets" / "air_passengers.csv").read_bytes()
    )
    (tmp_path / "air.yaml").write_text("name: air\ndata: {source: air.csv}\nhorizon: 3\n")
    code = f"""
import os
os.chdir({str(tmp_path)!r})
os.environ["GATECAST_HOME"] = {str(tmp_path / "state")!r}
sys.path.insert(0, {str(root)!r})
sys.argv = ["gatecast", *{command!r}]
from pipelines.cli import main
main()
"""
    run = without(package, code)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == (
        f"gatecast: {what} needs {package}, which is not installed: pip install 'gatecast[{group}]'"
    )


@pytest.mark.parametrize("package", ["uvicorn", "bentoml"])
def test_the_service_says_what_to_install(package: str) -> None:
    run = without(package, "from serving.__main__ import main; sys.exit(main(['--model', 'x']))")
    assert run.returncode == 2
    assert run.stderr == (
        f"gatecast: the service needs {package}, which is not installed: "
        "pip install 'gatecast[serve]'\n"
    )


def test_the_client_says_what_to_install() -> None:
    run = without("httpx", "import serving.client")
    assert run.stderr.splitlines()[-1].endswith(
        "the client of the service needs httpx, which is not installed: "
        "pip install 'gatecast[serve]'"
    )
