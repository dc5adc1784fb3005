"""Gatecast as others install it: a wheel built from the tree, in a new environment elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.house import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
BUILD = "from setuptools import build_meta as b; print(b.build_wheel('out'))"


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of the tree."""
    tree = folder / "tree"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tree / "out").glob("*.whl")
    return file


@dataclass(frozen=True)
class Place:
    """An environment, and a folder that holds nothing of the sources.

    Attributes
    ----------
    bin : of the environment. work : where commands are run.
    """

    bin: Path
    work: Path

    def run(
        self, *words: str, code: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """A command of the environment; its exit code is as told, or any."""
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.work,
            env=self.variables(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process that knows of no other installation."""
        left_out = ("PYTHONPATH", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")
        kept = {
            k: v
            for k, v in os.environ.items()
            if k not in left_out and not k.startswith("GATECAST_") and not k.endswith("_proxy")
        }
        return {**kept, "PATH": f"{self.bin}{os.pathsep}{kept.get('PATH', '')}", **more}

    def installed(self) -> set[str]:
        """Names of the distributions that are there."""
        listed = self.run("python", "-m", "pip", "list", "--format=freeze").stdout
        return {line.partition("==")[0].lower() for line in listed.splitlines()}


def install(folder: Path, wheel: Path, groups: Sequence[str]) -> Place:
    """A new environment with the wheel and some of its groups, in the versions of the tree."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    work = folder / "work"
    work.mkdir()
    place = Place(folder / "env" / "bin", work)
    pip = ("python", "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS))
    if {"train", "tune", "demo", "all"} & set(groups):
        # torch first and alone, as in the Makefile: so comes the build meant for the machine.
        lines = CONSTRAINTS.read_text().splitlines()
        place.run(*pip, next(line for line in lines if line.startswith("torch==")))
    place.run(*pip, f"{wheel}[{','.join(groups)}]" if groups else str(wheel))
    return place
