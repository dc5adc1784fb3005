"""Tasks on a real local Ray are those of one process, and outlive a node."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import ConfigError, GatecastError
from pipelines.machine.state import keep_apart, quiet
from pipelines.spread import fits
from pipelines.spread.on_ray import OnRay
from pipelines.spread.places import each
from pipelines.spread.task import Here, Task
from tests.pipelines.spread.tasks import fit_task, fitted, same, waves, weights

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
    environment: None, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    steps = {"max_steps": 400, "epoch_steps": 10}
    here = [fit_task(Here(), tmp_path / f"here{k}", seed=k, **steps) for k in range(2)]
    for task in here:
        Here().do(task)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    # Before there is another node, so that this process belongs to the first.
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    said: list[str] = []
    place = OnRay(cluster.address, say=said.append)
    try:
        assert place.workers == 2
        begun: set[int] = set()
        guard, there = threading.Lock(), [second]

        def told(seed: int, _row: dict[str, Any]) -> None:
            with guard:
                begun.add(seed)
                if len(begun) == 2 and there:
                    cluster.remove_node(there.pop(), allow_graceful=False)

        tasks = [
            fit_task(place, tmp_path / f"there{k}", partial(told, k), seed=k, **steps)
            for k in range(2)
        ]
        list(each(place, [partial(place.do, task) for task in tasks]))
    finally:
        place.close()
        ray.shutdown()
        cluster.shutdown()
    assert any("its worker was lost" in line for line in said), said
    for one, other in zip(here, tasks, strict=True):
        assert one.out is not None
        assert other.out is not None
        expected, found = weights(one.out), weights(other.out)
        assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())
