"""A training that is killed, again and again, ends as if nobody had touched it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.config import ExperimentConfig
from pipelines.machine.state import HOME_VARIABLE
from tests.faults.rows import Measure

# Imports come first and once; a process of its own trains, from a file of what to do.
TRAINS = """
import json, os, sys
import mlflow.models, mlflow.pyfunc, mlflow.tracking, torch, pytorch_lightning
from pipelines.config import load_config
from pipelines.tracking.run import Run
from pipelines.training import pages, train
from pipelines.training.trained import bundle_weights

Run.figure = lambda *_: None
pages.log_diagnosis = lambda *_: None
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        config, home, told = json.loads(line)
        os.environ["GATECAST_HOME"] = home
        said = []
        outcome = train.train(load_config(config), say=said.append)
        kept = sum("nothing changed" in text for text in said)
        with open(told, "w") as file:
            found = [bundle_weights(outcome.bundle), outcome.version, outcome.promoted, kept]
            json.dump(found, file)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.fault("training")
@pytest.mark.timeout(7200)
def test_killed_at_random_moments_it_ends_with_the_same_weights(
    experiment: Callable[..., ExperimentConfig],
    empty_store: Path,
    tmp_path: Path,
    measure: Measure,
) -> None:
    kills, draw = measure.count(1, 20), random.Random(0)
    steps, count = (20, 1) if measure.quick else (150, 2)
    cells = {cell: {"model": {"cell": cell}} for cell in ("gru", "lstm")[:count]}
    training = {"max_steps": steps, "epoch_steps": 10}
    config = experiment("killed", training=training, candidates=cells)
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    homes = {}
    for name in ("whole", "killed"):
        homes[name] = tmp_path / name
        homes[name].mkdir()
        shutil.copy(empty_store, homes[name] / "mlflow.db")
    environment = {**os.environ, HOME_VARIABLE: str(tmp_path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", TRAINS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def train(home: str, after: float | None = None) -> int:
            """Start one, kill it after a while; how it ended."""
            assert process.stdin is not None
            assert process.stdout is not None
            order = [str(path), str(homes[home]), str(tmp_path / f"{home}.json")]
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            if after is not None:
                time.sleep(after)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            return int(process.stdout.readline())

        began = time.monotonic()
        assert train("whole") == 0
        seconds = time.monotonic() - began
        cut = sum(train("killed", draw.uniform(0.05, 0.7) * seconds) != 0 for _ in range(kills))
        assert train("killed") == 0
        process.stdin.close()
    whole = json.loads((tmp_path / "whole.json").read_text())
    killed = json.loads((tmp_path / "killed.json").read_text())
    assert killed[0] == whole[0], "the same weights, bit for bit"
    assert killed[2] == whole[2]
    assert cut > 0
    scratch = [p.name for p in (homes["killed"] / "stages" / "killed").glob(".*")]
    measure.says(
        f"killed {cut} times within {seconds:.0f} s of work, then ended bit-identical; {killed[3]} "
        "fits were taken from runs that had been killed. A fit that was cut off begins anew: "
        "**there are no checkpoints within a fit yet**",
        kills=cut,
        kept=killed[3],
        scratch=len(scratch),
    )
    measure.goal("resumes within a fit", False)
