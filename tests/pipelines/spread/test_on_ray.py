"""Tasks on a real local Ray are those of one process, and outlive a node."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecasting.errors import ConfigError, GatecastError
from pipelines.machine.state import keep_apart, quiet
from pipelines.spread import fits
from pipelines.spread.on_ray import OnRay
from pipelines.spread.task import Here, Task
from tests.pipelines.spread.tasks import fitted, same, waves

ray = pytest.importorskip("ray", reason="the group ray is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def environment() -> Iterator[None]:
    """What the command line sets, for a test alone."""
    before = dict(os.environ)
    quiet()
    keep_apart()
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def local(environment: None) -> Iterator[OnRay]:
    place = OnRay("local", workers=2, cpus=0.5)
    yield place
    place.close()


def test_a_local_ray_does_what_one_process_does_bit_for_bit(local: OnRay, tmp_path: Path) -> None:
    here = fitted(Here(), tmp_path / "here", range(2))
    there = fitted(local, tmp_path / "there", range(2))
    for one, other in zip(here, there, strict=True):
        same(one, other)
    panel = local.share(waves())
    with pytest.raises(ConfigError, match="horizon = 0"):
        local.do(Task("bad", fits.ANEW, {"settings": {"horizon": 0}}, (panel,), out=tmp_path))
    with pytest.raises(RuntimeError, match=r"KeyError: 'settings'\nin a worker:\nTraceback"):
        local.do(Task("worse", fits.ANEW, {}, (panel,), out=tmp_path))


def test_a_cluster_that_is_not_there_is_said(environment: None) -> None:
    with pytest.raises(GatecastError, match="no cluster answers there"):
        OnRay("127.0.0.1:1")
    with pytest.raises(ConfigError, match="give the command on a node of the cluster"):
        OnRay("ray://127.0.0.1:10001")


def test_more_than_the_cluster_has_is_refused(environment: None) -> None:
    place = OnRay("local", gpus=64)
    try:
        with pytest.raises(GatecastError, match=r"lower spread.cpus or spread.gpus"):
            print(place.workers)
    finally:
        place.close()


def test_of_two_nodes_one_is_killed_in_the_middle_and_the_trainings_end_the_same(
    root: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.spread.two_nodes", str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "one node was lost, and the weights are the same" in done.stdout
