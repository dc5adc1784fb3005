"""The servers that `benchmarks/serving.py` compares, their model and the requests they get."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.load import Plan

ROOT = Path(__file__).resolve().parent.parent
MODEL = "m3-monthly"
POINTS, HORIZON = 200, 18
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"


def train(folder: Path, *, brief: bool = False) -> Path:
    """A bundle with the demo's settings, trained for a moment; ``brief`` : on a few series."""
    import torch

    from forecasting.forecaster import Forecaster
    from pipelines.config import load_config
    from pipelines.data.datasets import load

    torch.set_num_threads(1)
    config = load_config(ROOT / "configs" / "m3_monthly.yaml", [])
    (task,) = load("m3_monthly")
    settings = config.forecaster(next(iter(config.candidates)))
    steps = 2 if brief else 30
    training = {"max_steps": steps, "validation_windows": 1, "threads": 1}
    panel = task.train.select(slice(0, 20)) if brief else task.train
    return Forecaster.train(panel, settings.replace(training=training)).save(folder)


def register(bundle: Path, home: Path) -> Path:
    """Make the bundle the champion of a new registry; its folder there."""
    from pipelines.registry.registry import Registry
    from pipelines.tracking.tracker import Tracker

    tracker = Tracker.open("serving", uri=f"sqlite:///{home / 'mlflow.db'}",
                           artifacts=(home / "artifacts").as_uri())  # fmt: skip
    registry = Registry(tracker.client)
    with tracker.run("benchmark") as run:
        version = registry.register(MODEL, run, bundle, tags={}, description="of a benchmark")
        source = run.artifact_uri
    registry.promote(MODEL, version, reason="benchmark", action="promoted")
    return Path(source.removeprefix("file://")) / "model"


def histories(count: int) -> np.ndarray:
    """[count, POINTS] monthly series with trend, season and noise."""
    rng = np.random.default_rng(0)
    t = np.arange(POINTS)
    wave = np.sin(2 * np.pi * (t[None] + rng.integers(0, 12, count)[:, None]) / 12)
    level = rng.uniform(500, 5000, count)[:, None]
    return np.round(level * (1 + 0.002 * t + 0.1 * wave) + rng.normal(0, 20, (count, POINTS)), 2)


def readable(count: int) -> bytes:
    series = [{"id": f"s{i}", "start": 1, "y": y} for i, y in enumerate(histories(count).tolist())]
    return orjson.dumps({"series": series, "horizon": HORIZON, "model": MODEL})


def arrow(count: int) -> bytes:
    import pyarrow as pa

    flat = pa.array(histories(count).ravel())
    lists = pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * POINTS, flat)
    table = pa.table(
        {"id": [f"s{i}" for i in range(count)], "start": np.ones(count, np.int64), "y": lists}
    ).replace_schema_metadata({"gatecast": json.dumps({"horizon": HORIZON, "model": MODEL})})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def invocation() -> bytes:
    """The same single series for MLflow's scoring protocol."""
    rows = [["s0", t + 1, y] for t, y in enumerate(histories(1)[0].tolist())]
    return orjson.dumps({"dataframe_split": {"columns": ["unique_id", "ds", "y"], "data": rows}})


@dataclass
class Server:
    """A server under test."""

    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    ready: str
    process: subprocess.Popen[bytes] | None = None
    seconds: float = 0.0

    def start(self) -> None:
        # MLflow starts `uvicorn` by its name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT), "PATH": path}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, env=environment, cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait(self) -> None:
        """Until it answers; `seconds` is what that took from its start."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            if self.process is None or self.process.poll() is not None:
                raise SystemExit(f"{self.name} stopped; run {' '.join(self.command)} to see why")
            with contextlib.suppress(urllib.error.URLError, OSError):
                opener.open(f"http://127.0.0.1:{self.port}{self.ready}", timeout=5).close()
                self.seconds = time.perf_counter() - self.began
                return
            if time.perf_counter() - self.began > 120:
                raise SystemExit(f"{self.name} was not ready within two minutes")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def megabytes(self) -> float:
        """Resident memory of the process that answers."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def servers(home: Path, registered: Path, answer: Path) -> dict[str, Server]:
    python = sys.executable
    ours = [python, "-m", "serving", "--model", MODEL, "--port"]
    bento = [python, "-m", "bentoml", "serve"]
    place = {"GATECAST_HOME": str(home), "GATECAST_LOG_LEVEL": "warning"}
    empty = {"EMPTY_ANSWER": str(answer), "BENTOML_DO_NOT_TRACK": "True"}
    plain = {**empty, "OTEL_SDK_DISABLED": "false"}
    tuned = {**empty, "OTEL_SDK_DISABLED": "true"}
    found: dict[str, Server] = {}

    def add(name: str, environment: dict[str, str], ready: str, *command: str) -> None:
        port = free_port()
        words = [str(port) if word == "PORT" else word for word in command]
        found[name] = Server(name, words, environment, port, ready)

    at = ("--host", "127.0.0.1", "--port", "PORT")
    add("gatecast", place, "/readyz", *ours, "PORT")
    add("gatecast, batching off", {**place, "GATECAST_BATCHING": "false"}, "/readyz", *ours, "PORT")
    add("empty BentoML as it comes", {**plain, "EMPTY_PLAIN": "1"}, "/readyz",
        *bento, "benchmarks.empty:AsItComes", *at)  # fmt: skip
    add("empty BentoML with uvloop, httptools", plain, "/readyz",
        *bento, "benchmarks.empty:AsItComes", *at)  # fmt: skip
    add("empty BentoML tuned", tuned, "/readyz", *bento, "benchmarks.empty:Tuned", *at)
    add("mlflow models serve", {}, "/ping", python, "-m", "mlflow", "models", "serve",
        "--model-uri", str(registered), "--env-manager", "local", *at)  # fmt: skip
    return found


def post(server: Server, body: bytes) -> bytes:
    """One forecast request."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/forecast", data=body, headers={"Content-Type": JSON}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return bytes(answer.read())


def load(server: Server, body: Path, **options: Any) -> dict[str, Any]:
    plan = Plan(port=server.port, body=str(body), **options)
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "load.py")],
        input=orjson.dumps(asdict(plan)), capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{server.name}: {done.stderr.decode()[-500:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    if measured["failed"]:
        raise SystemExit(f"{server.name}: {measured['failed']} failed: {measured['statuses']}")
    return measured
