"""``python -m tests.pipelines.spread.two_nodes FOLDER``: two nodes, one killed in the middle.

A process of its own: a cluster that loses a node must not meet what is left of another's.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.machine.state import keep_apart, quiet
from tests.pipelines.spread.tasks import fit_task, weights

STEPS = {"max_steps": 400, "epoch_steps": 10}


def main(folder: Path) -> None:
    """Two trainings on two nodes, and what became of them beside two in one process."""
    quiet()
    keep_apart()
    import ray
    from ray.cluster_utils import Cluster

    from pipelines.spread.on_ray import OnRay
    from pipelines.spread.places import each
    from pipelines.spread.task import Here

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    # Before there is another node, so that this process belongs to the first.
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    said: list[str] = []
    place = OnRay(cluster.address, say=said.append)
    assert place.workers == 2
    begun: set[int] = set()
    guard, there = threading.Lock(), [second]

    def told(seed: int, _row: dict[str, Any]) -> None:
        with guard:
            begun.add(seed)
            if len(begun) == 2 and there:
                cluster.remove_node(there.pop(), allow_graceful=False)

    tasks = [
        fit_task(place, folder / f"there{k}", partial(told, k), seed=k, **STEPS) for k in range(2)
    ]
    list(each(place, [partial(place.do, task) for task in tasks]))
    place.close()
    ray.shutdown()
    cluster.shutdown()
    assert any("its worker was lost" in line for line in said), said
    for k, task in enumerate(tasks):
        alone = fit_task(Here(), folder / f"here{k}", seed=k, **STEPS)
        Here().do(alone)
        assert alone.out is not None
        assert task.out is not None
        expected, found = weights(alone.out), weights(task.out)
        assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())
    print("one node was lost, and the weights are the same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
