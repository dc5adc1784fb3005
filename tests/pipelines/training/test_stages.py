"""Stages: what is whole is kept, what was cut off is not, and what was abandoned goes away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.machine.state import HOME_VARIABLE
from pipelines.training.stages import ABANDONED_SECONDS, KEPT_PER_STAGE, stage


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    return tmp_path / "stages" / "x"


def built(folder: Path, _unfinished: Path) -> None:
    (folder / "result").write_text("done")


def test_the_same_inputs_are_built_once(root: Path) -> None:
    assert not stage("x", "fit", {"a": 1}, built).skipped
    again = stage("x", "fit", {"a": 1}, built)
    assert again.skipped
    assert (again.folder / "result").read_text() == "done"
    assert not stage("x", "fit", {"a": 2}, built).skipped
    assert not stage("x", "fit", {"a": 1}, built, force=True).skipped


def test_what_fails_leaves_nothing(root: Path) -> None:
    def fails(folder: Path, unfinished: Path) -> None:
        built(folder, unfinished)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        stage("x", "fit", {}, fails)
    assert list(root.iterdir()) == []


def test_what_it_wants_to_go_on_from_stays_until_it_is_whole(root: Path) -> None:
    seen: list[list[str]] = []

    def builder(outcome: Exception | None) -> Callable[[Path, Path], None]:
        def build(folder: Path, unfinished: Path) -> None:
            seen.append(sorted(path.name for path in unfinished.glob("*")))
            unfinished.mkdir(exist_ok=True)
            (unfinished / f"epoch {len(seen)}").write_text("")
            if outcome is not None:
                raise outcome
            built(folder, unfinished)

        return build

    with pytest.raises(RuntimeError):
        stage("x", "fit", {"a": 1}, builder(RuntimeError()))
    with pytest.raises(RuntimeError):
        stage("x", "fit", {"a": 2}, builder(RuntimeError()))
    stage("x", "fit", {"a": 1}, builder(None))
    assert seen == [[], [], ["epoch 1"]]
    # That of other inputs is still there; forced, it is begun anew all the same.
    assert len(list(root.glob(".*.unfinished"))) == 1
    stage("x", "fit", {"a": 2}, builder(None), force=True)
    assert seen[-1] == []
    assert list(root.glob(".*")) == []


def test_what_a_killed_process_left_goes_away_in_time_and_a_living_ones_work_stays(
    root: Path,
) -> None:
    root.mkdir(parents=True)
    old, young = root / ".fit-old", root / ".fit-young"
    for scratch in (old, young):
        scratch.mkdir()
        built(scratch, scratch)
    before = time.time() - ABANDONED_SECONDS - 60
    os.utime(old, (before, before))
    stage("x", "fit", {}, built)
    assert not old.exists()
    assert young.exists()


def test_only_the_newest_results_of_a_stage_are_kept(root: Path) -> None:
    for number in range(KEPT_PER_STAGE + 3):
        stage("x", "fit", {"number": number}, built)
        stage("x", "final", {}, built)
    assert len(list(root.glob("fit-*"))) == KEPT_PER_STAGE
    assert len(list(root.glob("final-*"))) == 1


def test_a_result_that_is_used_again_is_among_the_newest(root: Path) -> None:
    first = stage("x", "fit", {"number": 0}, built).folder
    before = time.time() - 60
    os.utime(first, (before, before))
    assert stage("x", "fit", {"number": 0}, built).skipped
    for number in range(1, KEPT_PER_STAGE + 1):
        folder = stage("x", "fit", {"number": number}, built).folder
        if number < KEPT_PER_STAGE:
            os.utime(folder, (before + number, before + number))
    assert first.exists()
