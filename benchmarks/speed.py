"""Speed on the CPU: Gatecast, its peers and a bare loop side by side, one worker after the other.

python benchmarks/speed.py --peers-python PATH             everything
python benchmarks/speed.py --part train --only lstm        one part; merged into the same file

Peers (neuralforecast, darts, GluonTS) run in interpreters of their own: ``--peers-python``, given
again for one that has those the first lacks; without it in this one. Those that no interpreter has
are reported as absent. Each worker is a new process with its threads set; those of training take
turns, round after round, and the median of the rounds counts, as the speed of a machine that is
shared drifts. Both clocks are kept: seconds on the wall, and seconds of CPU, which other work on
the machine changes least. Waiting threads spin, as torch leaves them, in all but the measurements
that say otherwise: under Gatecast's command line they sleep.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speed_clock import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
NETWORK = {"hidden": 128, "batch": 256, "context": 96, "horizon": 24}
CELLS = ("lstm", "gru")
PEERS = ("neuralforecast", "darts")
ROWS = 10_000_000
LIMIT_S = 5400
# Parts whose rates are set against each other, and how often each measurement is taken in turn.
IN_TURNS, ROUNDS = ("train", "sizes", "batches"), 5

Task = dict[str, Any]
# The name of a measurement, whether a peer runs it, and what to measure.
Job = tuple[str, bool, Task]


def train_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """Windows per second on M4 hourly, by cell: ours, the bare loop, the peers."""
    common = NETWORK | {"threads": threads, "steps": 2, "data": files["m4_hourly"]}
    for cell in CELLS:
        task = common | {"cell": cell}
        yield f"{cell}/bare", False, task | {"what": "bare"}
        yield f"{cell}/bare, memory kept", False, task | {"what": "bare", "kept": True}
        yield f"{cell}/gatecast", False, task | {"what": "train"}
        yield f"{cell}/gatecast, threads that sleep", False, task | {
            "what": "train", "threads_sleep": True}  # fmt: skip
        yield f"{cell}/gatecast, every origin", False, task | {"what": "train", "origins": "all"}
        if threads > 1:
            members = {"what": "at_once", "members": threads}
            yield f"{cell}/gatecast, members at once", False, task | members
        yield f"{cell}/matrix products alone", False, task | {"what": "products"}
        for peer in PEERS:
            yield f"{cell}/{peer}", True, task | {"what": "train", "peer": peer}
    # GluonTS has but an LSTM. It learns at every step of context and horizon.
    deepar = common | {"cell": "lstm", "what": "train", "peer": "gluonts"}
    yield "lstm/gluonts", True, deepar


def sizes_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """The same by hidden size, for the picture; the LSTM against torch's own alone."""
    common = NETWORK | {"threads": threads, "steps": 2, "data": files["m4_hourly"], "cell": "gru"}
    for hidden in (32, 64, 128, 256):
        task = common | {"hidden": hidden, "batch": 128}
        yield f"{hidden}/lstm, bare", False, task | {"what": "bare", "cell": "lstm"}
        yield f"{hidden}/lstm, gatecast", False, task | {"what": "train", "cell": "lstm"}
        yield f"{hidden}/bare", False, task | {"what": "bare"}
        yield f"{hidden}/gatecast", False, task | {"what": "train"}
        for peer in PEERS:
            yield f"{hidden}/{peer}", True, task | {"what": "train", "peer": peer}


def batches_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """The network that the rules choose, by windows per step."""
    common = {"what": "default", "steps": 10, "horizon": 24, "data": files["m4_hourly"]}
    for cell in CELLS:
        for batch in (32, 64, 128, 256):
            for cores in sorted({1, threads}):
                task = common | {"cell": cell, "batch": batch, "threads": cores}
                yield f"{cell}/{batch}/{cores} threads", False, task


def overhead_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    common = NETWORK | {"threads": threads, "data": files["m4_hourly"], "what": "overhead"}
    for cell in CELLS:
        yield f"plain {cell}", False, common | {"cell": cell, "steps": 1, "pairs": 25}
    yield "default network", False, common | {
        "cell": "gru", "steps": 5, "pairs": 40, "network": "default"}  # fmt: skip


def accuracy_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """CPU seconds to an OWA on M4 hourly: the peer in its own settings, ours in ours."""
    common: Task = {"threads": threads, "data": files["m4_hourly"]}
    for cell in CELLS:
        save = str(Path(files["folder"]) / f"neuralforecast_{cell}.npy")
        task = common | {"what": "accuracy", "cell": cell, "context": 144, "horizon": 48}
        yield (
            f"neuralforecast/{cell}",
            True,
            task | {"peer": "neuralforecast", "steps": 300, "save": save},
        )
        yield f"neuralforecast/{cell}/score", False, task | {"forecast": save}
    yield "gatecast", False, common | {"what": "accuracy", "seeds": 5, "lengths": [5, 10, 20, 40]}


def predict_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """48,000 series of 200 rows, horizon 18, two layers of 64, one member."""
    task = {"what": "predict", "threads": threads, "hidden": 64, "horizon": 18, "batch": 64,
            "context": 96, "cell": "gru", "data": files["many"], "repeats": 5}  # fmt: skip
    default = task | {"network": "default"}
    yield "gatecast, default segments", False, default | {"engines": ["onnxruntime"]}
    yield "gatecast on torch, default segments", False, default | {"engines": ["torch"]}
    yield (
        "gatecast, one value per step",
        False,
        task | {"network": "plain", "engines": ["onnxruntime"], "repeats": 1},
    )
    for peer in (*PEERS, "gluonts"):
        few = {} if peer == "neuralforecast" else {"data": files["fewer"]}
        yield peer, True, task | few | {"peer": peer, "repeats": 1}


def memory_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """Ten million rows with training running, against the same training on ten thousand."""
    task = NETWORK | {"what": "memory", "threads": threads, "cell": "gru", "length": 1000,
                      "batch": 64}  # fmt: skip
    for name, kept in (("float32", "float32"), ("float64", "float64"), ("mapped", "mapped")):
        yield f"{name}/ten thousand rows", False, task | {"y": files[f"tiny_{name}"],
                                                          "kept_as": kept}  # fmt: skip
        yield f"{name}/ten million rows", False, task | {"y": files[f"rows_{name}"],
                                                         "kept_as": kept}  # fmt: skip


def scale_jobs(files: dict[str, str], threads: int) -> Iterator[Job]:
    """Ten million rows in ever more series."""
    task = NETWORK | {"what": "scale", "threads": threads, "cell": "gru", "repeats": 5,
                      "y": files["rows_float64"]}  # fmt: skip
    for series in (1_000, 10_000, 100_000, 1_000_000):
        yield f"{series}", False, task | {"series": series}


PARTS: dict[str, Callable[[dict[str, str], int], Iterator[Job]]] = {
    "train": train_jobs,
    "sizes": sizes_jobs,
    "batches": batches_jobs,
    "overhead": overhead_jobs,
    "predict": predict_jobs,
    "memory": memory_jobs,
    "scale": scale_jobs,
    "accuracy": accuracy_jobs,
}


def make_files(folder: Path, parts: list[str]) -> dict[str, str]:
    """The data as files that every worker reads, and only those that are needed."""
    files = {"folder": str(folder)}

    def keep(name: str, **arrays: np.ndarray) -> None:
        files[name] = str(folder / f"{name}.npz")
        np.savez(files[name], **arrays)

    if {"train", "sizes", "batches", "overhead", "accuracy"} & set(parts):
        from pipelines.data.datasets import load

        task = load("m4_hourly")[0]
        test = task.full.y.reshape(-1)
        ends = task.full.offsets[1:]
        actual = np.stack([test[e - task.horizon : e] for e in ends])
        keep("m4_hourly", y=task.train.y, sizes=task.train.lengths, test=actual)
    rng = np.random.default_rng(0)
    if "predict" in parts:
        for name, count in (("many", 48_000), ("fewer", 480)):
            walk = 100.0 + rng.normal(size=(count, 200)).cumsum(1)
            wave = 10.0 * np.sin(np.arange(200) * np.pi / 6)
            keep(name, y=(walk + wave).ravel(), sizes=np.full(count, 200))
    if {"memory", "scale"} & set(parts):
        for name, rows in (("rows", ROWS), ("tiny", 10_000)):
            values = 100.0 + rng.normal(size=rows)
            for kind in ("float32", "float64"):
                files[f"{name}_{kind}"] = str(folder / f"{name}_{kind}.npy")
                np.save(files[f"{name}_{kind}"], values.astype(kind))
            files[f"{name}_mapped"] = files[f"{name}_float32"]
    return files


def work(peer: bool, task: Task, pythons: Sequence[str]) -> dict[str, Any]:
    """One worker's result, or what it said instead; a peer's from the first that has it."""
    result: dict[str, Any] = {}
    for python in pythons if peer else [sys.executable]:
        result = _worked(peer, task, python)
        if "absent" not in result:
            break
    return result


def _worked(peer: bool, task: Task, python: str) -> dict[str, Any]:
    script = HERE / ("speed_peers.py" if peer else "speed_ours.py")
    threads = str(task["threads"])
    waits = {"OMP_WAIT_POLICY": "PASSIVE"} if task.get("threads_sleep") else {}
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    done = subprocess.run(
        [python, str(script), json.dumps(task)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=os.environ
        | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": paths}
        | waits,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        return {"failed": (done.stderr or done.stdout).strip().splitlines()[-1:]}
    result: dict[str, Any] = json.loads(found[-1].removeprefix("RESULT "))
    return result


def combined(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of several: medians of the figures, the blocks of all; what failed as it is."""
    whole = [r for r in rounds if "failed" not in r]
    if len(whole) < 2:
        return (whole or rounds)[-1]
    result = dict(whole[-1])
    for key, value in result.items():
        if isinstance(value, float):
            result[key] = statistics.median(r[key] for r in whole)
        elif key.startswith("blocks_"):
            result[key] = [block for r in whole for block in r[key]]
    return result | {"rounds": len(whole)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=[*PARTS], help="default: every part")
    parser.add_argument("--only", default="", help="a pattern: only measurements it is found in")
    parser.add_argument("--peers-python", action="append", help="default: this interpreter")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the parts in turns")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<cpu>-<date>.json")
    options = parser.parse_args()
    pythons = options.peers_python or [sys.executable]
    about = machine()
    parts = options.part or [*PARTS]
    kind = re.sub(r"[^a-z0-9]+", "-", about["cpu"].lower()).strip("-")
    out = options.out or RESULTS / f"{kind}-{datetime.date.today().isoformat()}.json"
    found: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), parts)
        for part in parts:
            jobs = [j for j in PARTS[part](files, options.threads) if re.search(options.only, j[0])]
            rounds: dict[str, list[dict[str, Any]]] = {}
            turns = options.rounds if part in IN_TURNS else 1
            for name, peer, task in jobs * turns:
                rounds.setdefault(name, []).append(work(peer, task, pythons))
                result = combined(rounds[name])
                versions = result.pop("versions", {})
                what = {k: v for k, v in task.items() if k not in ("data", "y", "save", "forecast")}
                entry = {"task": what, "machine": about | {"load_after": machine()["load_before"]}}
                found.setdefault(part, {})[name] = result | entry
                found.setdefault("versions", {}).update(versions)
                found["machine"] = {k: v for k, v in about.items() if k != "load_before"}
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
                brief = {k: round(v, 3) for k, v in result.items() if isinstance(v, float)}
                print(f"{part}: {name}: {brief or list(result)}", flush=True)
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
