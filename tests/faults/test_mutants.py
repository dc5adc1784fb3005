"""Changed code is noticed: lines of what decides and calibrates are altered, and tests must fail.

The changes are mutmut's: another operator, constant, argument or branch at a time. Some change
nothing that could be seen (a bound that is never reached), so the goal is no hundred.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.rows import Measure

GOAL = 0.85
PACKAGES = ("forecasting", "pipelines", "serving")
BESIDE = ("tests", "benchmarks", "configs", "docs", "pyproject.toml", "README.md")
# What is changed, and the tests that are to notice.
SUBJECTS = {
    "gate": (["pipelines/training/gate.py"], ["tests/pipelines/training/test_gate.py"]),
    "calibration": (
        ["forecasting/selection/calibration.py"],
        ["tests/forecasting/selection/test_calibration.py"],
    ),
    "windows": (["forecasting/windows/*.py"], ["tests/forecasting/windows"]),
    "reading": (
        [f"serving/reading/{name}.py" for name in ("columns", "pairs", "twice")],
        [f"tests/serving/reading/test_{name}.py" for name in ("columns", "pairs", "twice")],
    ),
    "scheduler": (
        ["pipelines/scheduling/times.py", "pipelines/scheduling/catch_up.py"],
        [f"tests/pipelines/scheduling/test_{name}.py" for name in ("times", "catch_up")],
    ),
    "manifest": (["forecasting/bundle.py"], ["tests/forecasting/test_bundle.py"]),
}


@pytest.mark.slow
@pytest.mark.fault("mutants")
@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_changed_code_is_noticed(
    subject: str, root: Path, tmp_path: Path, measure: Measure
) -> None:
    if measure.quick:
        pytest.skip("alters every line of a module: make faults ROWS=mutants")
    if find_spec("mutmut") is None:
        pytest.skip("mutmut is not installed: make faults")
    for name in (*PACKAGES, *BESIDE):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    changed, tests = SUBJECTS[subject]
    lists = {
        "source_paths": PACKAGES,
        "only_mutate": changed,
        "also_copy": BESIDE,
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"],
        "pytest_add_cli_args_test_selection": tests,
    }
    lines = [f"{key}=\n    " + "\n    ".join(values) for key, values in lists.items()]
    (tmp_path / "setup.cfg").write_text("\n".join(["[mutmut]", *lines, ""]))
    mutmut(tmp_path, "run", "--max-children", str(os.cpu_count() or 1))
    mutmut(tmp_path, "export-cicd-stats")
    counts = json.loads((tmp_path / "mutants" / "mutmut-cicd-stats.json").read_text())
    total = counts["total"] - counts["skipped"]
    noticed = (counts["killed"] + counts["timeout"]) / total
    measure.says(f"{subject}: {noticed:.0%} of {total} changes noticed", **counts)
    assert noticed >= GOAL, measure.said


def mutmut(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
