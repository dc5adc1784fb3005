"""How long `gatecast forecast` takes for 50,000 series: the whole command, from file to file.

    python -m benchmarks.score [--series 50000] [--postgres postgresql://user@host/db]

The series are the M3 competition's monthly ones (66 to 144 months), each repeated with noise of
its own. The network is the one `configs/m3_monthly.yaml` trains (its `gru`), here trained for a
few steps only: what it has learned changes no time. Median of the runs; the machine is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
NAME = "benchmark-score"


def make_table(path: Path, series: int) -> int:
    """A long Parquet table of `series` monthly series; returns its rows."""
    from pipelines.data.datasets import load

    (task,) = load("m3_monthly")
    panel = task.train.select(np.arange(series) % len(task.train))
    rng = np.random.default_rng(0)
    y = panel.y * rng.normal(1.0, 0.02, panel.rows)
    frame = panel.to_frame().assign(
        unique_id=np.char.add("s", np.arange(series).astype(str)).astype(object)[panel.series], y=y
    )
    frame[["unique_id", "ds", "y"]].to_parquet(path, index=False)
    return len(frame)


def make_champion(config_path: Path) -> str:
    """Register a network of the demo's size as champion; returns it in a few words."""
    from forecasting.forecaster import Forecaster
    from pipelines.config import load_config
    from pipelines.data.datasets import load
    from pipelines.registry.registry import Registry
    from pipelines.tracking.tracker import Tracker
    from pipelines.training.trained import describe

    config = load_config(config_path, ["training.max_steps=20"])
    (task,) = load("m3_monthly")
    settings = config.forecaster("gru", freq=task.train.freq.alias)
    forecaster = Forecaster.train(task.train, settings)
    tracker = Tracker.open(NAME, system_metrics=False)
    with tempfile.TemporaryDirectory() as folder, tracker.run("benchmark") as run:
        forecaster.save(Path(folder) / "bundle")
        registry = Registry(tracker.client)
        number = registry.register(NAME, run, Path(folder) / "bundle", tags={}, description="")
        registry.promote(NAME, number, reason="benchmark", action="forced")
    return f"{describe(forecaster.config)}, context {forecaster.context} rows"


def timed(config: Path, out: str) -> tuple[float, float]:
    """Seconds on the clock, and of the processor: the second holds on a busy machine too."""
    command = [sys.executable, "-m", "pipelines.cli", "forecast", str(config), "--out", out]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=config.parent, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--postgres", help="also into this database")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["GATECAST_HOME"] = str(place / ".gatecast")
        rows = make_table(place / "series.parquet", given.series)
        values = yaml.safe_load((ROOT / "configs" / "m3_monthly.yaml").read_text())
        values |= {"name": NAME, "data": {"source": str(place / "series.parquet")}}
        config = place / "config.yaml"
        config.write_text(yaml.safe_dump(values, sort_keys=False))
        network = make_champion(config)
        outs = {"Parquet": "out.parquet", "CSV": "out.csv", "SQLite": "sqlite:///out.db"}
        if given.postgres:
            outs["PostgreSQL"] = given.postgres
        seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in outs}
        for turn in range(given.runs):
            for kind, out in outs.items():
                seconds[kind].append(timed(config, out.replace("out.", f"out{turn}.")))
    print(f"{len(os.sched_getaffinity(0))} cores, Python {sys.version.split()[0]}, "
          f"onnxruntime {version('onnxruntime')}, pyarrow {version('pyarrow')}")  # fmt: skip
    print(
        f"{given.series:,} series, {rows:,} rows of history, horizon {values['horizon']}; {network}"
    )
    found = {}
    for kind, runs in seconds.items():
        wall, work = (statistics.median(part) for part in zip(*runs, strict=True))
        found[kind] = {"seconds": round(wall, 1), "processor_seconds": round(work, 1)}
        each = ", ".join(f"{r[0]:.1f}" for r in runs)
        print(f"{kind:<10} {wall:6.1f} s ({given.series / wall:,.0f} series/s; runs: {each}), "
              f"processor {work:.1f} s")  # fmt: skip
    if given.json:
        facts = {"series": given.series, "rows": rows, "network": network, "found": found}
        given.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
