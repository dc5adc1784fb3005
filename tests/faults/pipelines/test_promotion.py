"""A promotion that dies at any of its steps leaves a champion that can be read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from forecasting.bundle import verify
from pipelines.registry.registry import CHAMPION, PREVIOUS, Registry, bundle_digest
from pipelines.tracking.tracker import Tracker
from serving.models.registry import SqliteRegistry, UnknownModelError
from tests.faults.rows import Measure

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"
MODEL = "killed"

# MLflow is imported once, before the processes part. Each of them is killed before one call of the
# client, the first before the first; the one that lives to its end says how many there are.
DIES = """
import os, signal, sys
from pathlib import Path
import mlflow.models, mlflow.pyfunc, mlflow.tracking
from mlflow.tracking import MlflowClient
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker

bundle, model, first, step, most = sys.argv[1:]
CALLS = [n for n in dir(MlflowClient) if n.startswith(("create", "set", "log", "delete", "update"))]

def dies_before(place):
    done = [0]
    def counted(call):
        def wrapped(*a, **k):
            done[0] += 1
            if done[0] == place:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*a, **k)
        return wrapped
    for name in CALLS:
        setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
    tracker = Tracker.open("promotion", system_metrics=False)
    registry = Registry(tracker.client)
    with tracker.run("killed") as run:
        version = registry.register(model, run, Path(bundle), tags={"gate": "passed"},
                                    description="")
    registry.promote(model, version, reason="it is good", action="promoted")

for place in range(int(first), int(first) + int(step) * int(most), int(step)):
    child = os.fork()
    if child == 0:
        dies_before(place)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    print(place, flush=True)
"""


class Reader(threading.Thread):
    """Reads the champion as the service does, again and again, and looks at all its files."""

    def __init__(self, state: Path) -> None:
        super().__init__(daemon=True)
        self.registry = SqliteRegistry(state / "mlflow.db")
        self.reads, self.wrong, self.seen = 0, [], set[int]()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                version = self.registry.resolve(MODEL, CHAMPION)
                folder = Path(version.source.removeprefix("file://"))
                verify(folder)
                if version.digest != bundle_digest(folder):
                    self.wrong.append(f"version {version.number} has another hash")
                self.seen.add(version.number)
                self.reads += 1
            except (UnknownModelError, Exception) as error:
                self.wrong.append(repr(error))
            time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.fault("promotion")
@pytest.mark.timeout(1800)
def test_a_reader_always_finds_a_champion(state: Path, measure: Measure) -> None:
    tracker = Tracker.open("promotion", system_metrics=False)
    registry = Registry(tracker.client)
    with tracker.run("first") as run:
        first = registry.register(MODEL, run, BUNDLE, tags={}, description="")
    registry.promote(MODEL, first, reason="", action="promoted")
    reader = Reader(state)
    reader.start()
    step = 12 if measure.quick else 1
    words = [sys.executable, "-c", DIES, str(BUNDLE), MODEL, "1", str(step), "200"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
    reader.stop.set()
    reader.join(30)
    places = [int(line) for line in done.stdout.split() if line.isdigit()]
    assert reader.wrong == []
    assert reader.reads > 0
    assert len(places) >= (2 if measure.quick else 15), done.stdout
    # What was cut off is left behind and harms nothing: the next one is registered and promoted.
    tracker.close_abandoned()
    with tracker.run("after") as run:
        later = registry.register(MODEL, run, BUNDLE, tags={}, description="")
    registry.promote(MODEL, later, reason="", action="promoted")
    aliases = registry.aliases(MODEL)
    assert aliases[CHAMPION] == later
    assert aliases[PREVIOUS] in reader.seen
    measure.says(
        f"killed before {len(places)} calls of a registration and promotion (the last was number "
        f"{places[-1]}): {reader.reads:,} reads, every one a whole and verified champion, of "
        f"{len(reader.seen)} versions",
        places=places,
        reads=reader.reads,
    )
