"""A training that is killed, again and again, ends as if nobody had touched it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.config import ExperimentConfig
from pipelines.machine.state import HOME_VARIABLE
from tests.faults.rows import Measure, share

EPOCH_STEPS = 10

# Imports come first and once; a process of its own trains, from a file of what to do.
TRAINS = """
import json, os, signal, sys, threading, time
import mlflow.models, mlflow.pyfunc, mlflow.tracking, torch, pytorch_lightning
from forecasting.training import checkpoints
from forecasting.training.module import ForecastModule
from pipelines.config import load_config
from pipelines.tracking.run import Run
from pipelines.training import pages, train
from pipelines.training.trained import bundle_weights

checkpoints.EVERY = 0.0
plain_step = ForecastModule.training_step

def counted_step(module, *batch):
    with open(os.environ["STEPS"], "ab") as file:
        file.write(b".")
    return plain_step(module, *batch)

ForecastModule.training_step = counted_step
Run.figure = lambda *_: None
pages.log_diagnosis = lambda *_: None
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        config, home, told, at, delay = json.loads(line)
        os.environ["GATECAST_HOME"] = home
        os.environ["STEPS"] = told + ".steps"
        passed = [0]

        def die():
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)

        def progress(what, share):
            passed[0] += 1
            if passed[0] == at:
                threading.Thread(target=die, daemon=True).start()

        outcome = train.train(load_config(config), say=lambda _: None, progress=progress)
        with open(told, "w") as file:
            found = [bundle_weights(outcome.bundle), passed[0], outcome.promoted]
            json.dump(found, file)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.fault("training")
@pytest.mark.timeout(7200)
@pytest.mark.skipif(
    share() is None,
    reason="trains many times: make faults; tests/pipelines/training holds stages and their ends",
)
def test_killed_at_random_moments_it_ends_with_the_same_weights(
    experiment: Callable[..., ExperimentConfig],
    empty_store: Path,
    tmp_path: Path,
    measure: Measure,
) -> None:
    kills, draw = measure.count(1, 20), random.Random(0)
    config = experiment("killed", training={"max_steps": 150, "epoch_steps": EPOCH_STEPS})
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

        def train(home: str, at: int = 0, delay: float = 0.0) -> int:
            """Run one, killed so many seconds after its ``at``-th epoch; how it ended."""
            assert process.stdin is not None
            assert process.stdout is not None
            order = [str(path), str(homes[home]), str(tmp_path / f"{home}.json"), at, delay]
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        began = time.monotonic()
        assert train("whole") == 0
        seconds = time.monotonic() - began
        epochs = json.loads((tmp_path / "whole.json").read_text())[1]
        cut = 0
        for _ in range(kills):
            # What was finished is taken as it is: there are fewer epochs left than at first.
            at = draw.randint(1, max(epochs // 2, 1))
            cut += train("killed", at, draw.uniform(0.0, seconds / epochs)) != 0
        assert train("killed") == 0
        process.stdin.close()
    whole = json.loads((tmp_path / "whole.json").read_text())
    killed = json.loads((tmp_path / "killed.json").read_text())
    assert killed[0] == whole[0], "the same weights, bit for bit"
    assert killed[2] == whole[2]
    assert cut > 0
    steps = {name: (tmp_path / f"{name}.json.steps").stat().st_size for name in ("whole", "killed")}
    again = steps["killed"] - steps["whole"]
    # A kill costs the epoch that was under way, of two members at once.
    assert again <= cut * 2 * EPOCH_STEPS
    left = [p.name for p in (homes["killed"] / "stages" / "killed").glob(".*.unfinished")]
    assert left == []
    measure.says(
        f"killed {cut} times in {kills} of {epochs} epochs' work, then ended bit-identical; of "
        f"{steps['whole']} steps {again} were done again, at most {EPOCH_STEPS} a member and kill",
        kills=cut,
        again=again,
    )
    measure.goal("resumes within a fit", again <= cut * 2 * EPOCH_STEPS)
