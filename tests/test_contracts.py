"""The rules between the packages, and what no file of the project may contain."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("forecasting", "pipelines", "serving")
LIGHT_MODULES = (
    "bundle",
    "config",
    "data.calendar",
    "data.panel",
    "errors",
    "evaluation.metrics",
    "prediction.engine",
    "prediction.predictor",
    "windows.prediction",
)
HEAVY = {"torch", "pytorch_lightning", "mlflow", "bentoml", "prefect"}
# Folders of a particular machine: a home, a mount, a build agent.
MACHINE_PATH = re.compile(rb"(?<![\w.-])/(?:home/\w|root/|Users/\w|work/|tmp/\w+/\w|mnt/\w)")
# Containers have one layout wherever they run, so these files may name it.
CONTAINER_FILES = {
    "Dockerfile",
    "docker-compose.yml",
    "deploy/README.md",
    "deploy/cronjob.yaml",
    "deploy/helm/gatecast/templates/jobs.yaml",
}


@pytest.mark.parametrize("module", ["forecasting", *(f"forecasting.{m}" for m in LIGHT_MODULES)])
def test_light_modules_load_no_torch_and_no_tracking(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_who_only_forecasts_does_not_wait_for_lightning() -> None:
    code = (
        "import sys; from forecasting import Forecaster; print('pytorch_lightning' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["False"], run.stderr


@pytest.mark.parametrize("module", ["forecasting", "pipelines.cli"])
def test_what_is_slow_to_load_waits_until_it_is_used(module: str) -> None:
    """Neither ``import forecasting`` nor ``gatecast --help`` reads tables, draws or trains."""
    slow = HEAVY | {"matplotlib", "pandas", "polars", "pyarrow", "onnxruntime", "tqdm"}
    code = f"import atexit, sys; atexit.register(lambda: print(*{slow!r} & sys.modules.keys()))\n"
    code += "import forecasting" if module == "forecasting" else f"import {module} as m; m.main()"
    command = [sys.executable, "-c", code, "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "", run.stdout
    assert ("ingest" in run.stdout) == (module != "forecasting")


def test_import_rules_hold(root: Path) -> None:
    run = _lint_imports(root)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("serving/__init__.py", "import pipelines.machine.state"),
        ("pipelines/__init__.py", "import serving"),
        ("forecasting/__init__.py", "import serving"),
        ("forecasting/training/fit.py", "import mlflow"),
        ("forecasting/errors.py", "import torch"),
        ("forecasting/prediction/engine.py", "import forecasting.training.fit"),
    ],
)
def test_a_forbidden_import_is_noticed(root: Path, tmp_path: Path, file: str, line: str) -> None:
    for package in PACKAGES:
        shutil.copytree(root / package, tmp_path / package)
    shutil.copy(root / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    run = _lint_imports(tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "BROKEN" in run.stdout


def test_no_source_reads_pickles(root: Path) -> None:
    found = [
        f"{file.relative_to(root)}:{number}: {what}"
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
        for number, what in _unpickling(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "frame.to_pickle('x')",
    ],
)
def test_every_way_to_a_pickle_is_noticed(code: str) -> None:
    assert list(_unpickling(ast.parse(code)))


def test_no_file_names_a_folder_of_one_machine(root: Path) -> None:
    found = [
        f"{name}:{number}"
        for name in _tracked(root)
        if name not in CONTAINER_FILES and (root / name).is_file()
        for number, line in enumerate((root / name).read_bytes().splitlines(), 1)
        if b"\0" not in line and MACHINE_PATH.search(line)
    ]
    assert found == []


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # Through the interpreter: `folder` itself, not an installed copy, has to be looked at.
    code = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports; "
    code += "sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _unpickling(tree: ast.AST) -> Iterator[tuple[int, str]]:
    pickling = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.split(".")[0] in pickling:
                yield node.lineno, f"import of {name}"
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner, node.attr) == ("torch", "load") or node.attr in {"read_pickle", "to_pickle"}:
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            allowed = node.value.value if isinstance(node.value, ast.Constant) else True
            if allowed:
                yield node.lineno, "allow_pickle"


def _tracked(root: Path) -> list[str]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if run.returncode != 0:
        pytest.skip("not a git checkout: the list of tracked files is not known")
    # This file spells the patterns out.
    own = Path(__file__).resolve().relative_to(root).as_posix()
    return [name for name in run.stdout.decode().split("\0") if name and name != own]
