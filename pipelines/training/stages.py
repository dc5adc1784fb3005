"""Stages that need not run twice: a folder per stage and per hash of its inputs.

A stage builds into a scratch folder that is renamed when it is whole, so that a stage that died
leaves nothing half-built behind. What it wants to go on from when it is run again lies in another
folder beside it, which goes once the stage is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.machine.state import home

KEPT_PER_STAGE = 6  # newest results kept of each stage of an experiment
ABANDONED_SECONDS = 2 * 86_400  # a scratch folder this old is of a process that was killed


@dataclass(frozen=True)
class StageResult:
    """Where a stage's result lies, and whether it was there already."""

    folder: Path
    skipped: bool


def fingerprint(values: Mapping[str, Any]) -> str:
    """SHA-256 (16 digits) of a stage's inputs, given as plain values."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stage(
    experiment: str,
    name: str,
    inputs: Mapping[str, Any],
    build: Callable[[Path, Path], None],
    *,
    force: bool = False,
) -> StageResult:
    """Run `build` into a folder, unless the same inputs have already been built.

    Parameters
    ----------
    experiment, name
        Whose stage it is, and which.
    inputs
        Everything the result depends on, as plain values.
    build
        Writes the result into the first folder it is given. In the second, which need not exist,
        it finds what it kept there when the same inputs were last being built and it was killed.
    force
        Build again, from the beginning, and replace.
    """
    root = home() / "stages" / experiment
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"{name}-{fingerprint(inputs)}"
    if target.is_dir() and not force:
        target.touch()
        return StageResult(target, True)
    unfinished = root / f".{target.name}.unfinished"
    if force:
        shutil.rmtree(unfinished, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        build(scratch, unfinished)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    _prune(root, name)
    return StageResult(target, False)


def _prune(root: Path, name: str) -> None:
    folders = sorted(root.glob(f"{name}-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in folders[KEPT_PER_STAGE:]:
        shutil.rmtree(old, ignore_errors=True)
    for scratch in root.glob(f".{name}-*"):
        with contextlib.suppress(OSError):
            if time.time() - scratch.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(scratch)
