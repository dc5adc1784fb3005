"""More data than memory: a partitioned table to a champion and its forecasts, and what each takes.

python benchmarks/scale.py --rows 1_000_000 4_000_000 --report docs/scale.md
python benchmarks/scale.py --rows 100_000_000          # 1 M series; some hours, 12 GB of disk

Made-up monthly series of 100 rows lie in Parquet, half a million rows a file. Three commands run
on them, each in a process of its own: `gatecast ingest`, `gatecast train` (small settings, its
stages told apart by what it says) and `gatecast forecast`. Looked at every 20 ms is what the
process holds of its own (anonymous memory) and of files that are mapped, which the system takes
back when others need it.

The smallest table is run twice, its values mapped and in memory: model, scores and forecasts must
be equal to the bit, and the ratios of time and memory are shown. Through the peaks of all sizes a
line is laid, which says what 100 million rows take.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipelines.benchmark.report import write_markdown  # noqa: E402

BEGIN, END = "<!-- scale:begin -->", "<!-- scale:end -->"
ROWS_OF_A_SERIES, ROWS_OF_A_FILE = 100, 500_000
TARGET = 100_000_000
EVERY = 0.02  # seconds between two looks
MB = 1e6
# What `gatecast train` says when a stage begins.
SAID = {
    "train: ingest": r"reading the data",
    "train: candidate": r"training model",
    "train: backtest": r"backtest:",
    "train: winner": r"training the winner",
    "train: gate": r"(passed|refused): ",
}
CONFIG = """
name: scale
horizon: 6
data: {{source: {source}, store: {store}}}
model: {{hidden_size: 8, layers: 1}}
training: {{max_steps: {steps}, validation: none, batch_size: 64, threads: 1}}
backtest: {{windows: 1}}
gate: {{max_bias: 5.0, coverage: [0.0, 1.0]}}
tracking: {{system_metrics: false}}
"""


@dataclass
class Stage:
    """What one stage took: seconds, and the most bytes of its own and of mapped files."""

    name: str
    seconds: float = 0.0
    own: int = 0
    mapped: int = 0


@dataclass
class Run:
    """A table of so many rows through all stages."""

    rows: int
    store: str
    stages: list[Stage] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)

    def most(self, what: str) -> int:
        """The peak of all stages, in bytes."""
        return max(getattr(stage, what) for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--steps", type=int, default=50, help="of the optimiser")
    parser.add_argument("--report", type=Path, help="write the tables into this page")
    parser.add_argument("--folder", type=Path, help="where tables and state lie; default: TMPDIR")
    given = parser.parse_args(arguments)
    sizes = sorted(set(given.rows))
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        runs = []
        for rows in sizes:
            table = write_table(rows, Path(scratch) / f"table-{rows}")
            for store in ("mapped", "memory") if rows == sizes[0] else ("mapped",):
                print(f"{rows:,} rows, {store}", file=sys.stderr, flush=True)
                runs.append(carry_out(rows, table, store, given.steps, Path(scratch)))
    text = report(runs)
    print(text)
    if given.report:
        write_markdown(given.report, text, begin=BEGIN, end=END)
    mapped, memory = runs[:2]
    if mapped.told != memory.told:
        print(f"not equal: {mapped.told} and {memory.told}", file=sys.stderr)
        return 1
    return 0


def write_table(rows: int, folder: Path) -> Path:
    """Monthly series with level, trend and season, in files of whole series."""
    folder.mkdir()
    months = (np.datetime64("2016-01", "M") + np.arange(ROWS_OF_A_SERIES)).astype("datetime64[us]")
    step = np.arange(ROWS_OF_A_SERIES)
    series = max(rows // ROWS_OF_A_SERIES, 2)
    of_a_file = ROWS_OF_A_FILE // ROWS_OF_A_SERIES
    for number, first in enumerate(range(0, series, of_a_file)):
        rng = np.random.default_rng(number)
        count = min(of_a_file, series - first)
        level, begin = 50.0 * (1.0 + rng.random((count, 1))), 6.0 * rng.random((count, 1))
        season = 0.2 * np.sin(step * np.pi / 6.0 + begin)
        noise = 1.0 + 0.05 * rng.standard_normal((count, ROWS_OF_A_SERIES))
        ids = [f"s{first + k:07d}" for k in range(count)]
        table = pa.table(
            {
                "unique_id": pa.array(ids).take(pa.array(np.repeat(np.arange(count), len(step)))),
                "ds": np.tile(months, count),
                "y": (level * (1.0 + step / 300.0 + season) * noise).ravel(),
            }
        )
        pq.write_table(table, folder / f"part-{number:05d}.parquet")
    return folder


def carry_out(rows: int, table: Path, store: str, steps: int, scratch: Path) -> Run:
    """Ingest, train and forecast a table in a state folder of its own."""
    place = scratch / f"{rows}-{store}"
    place.mkdir()
    (place / "scale.yaml").write_text(CONFIG.format(source=table, store=store, steps=steps))
    run, out = Run(rows, store), place / "forecasts.parquet"
    for name, command in (
        ("ingest", ["ingest", str(table), "--set", f"data.store={store}", "--out", "clean"]),
        ("train: start", ["train", "scale.yaml"]),
        ("forecast", ["forecast", "scale.yaml", "--out", str(out)]),
    ):
        run.stages += watched(name, command, place)
    forecasts = pq.read_table(out)
    run.told["series"] = f"{len(pc.unique(forecasts['unique_id'])):,}"
    answers = [n for n in forecasts.column_names if n not in ("run_id", "created", "job")]
    data = forecasts.select(answers).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    run.told["forecasts"] = hashlib.sha256(sink.getvalue()).hexdigest()
    run.told["weights"] = weights(place / "home")
    return run


def weights(home: Path) -> str:
    """Hashes of the weights that were trained."""
    from forecasting.bundle import sha256

    files = sorted((home / "stages").rglob("model.safetensors"))
    return " ".join(sorted(sha256(file) for file in files))


def watched(name: str, command: list[str], place: Path) -> list[Stage]:
    """A command's stages, by what it says."""
    environment = {
        **os.environ,
        "GATECAST_HOME": str(place / "home"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *command],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stages, said = [Stage(name)], []
    began = time.monotonic()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            own, mapped = held(child.pid)
            stage = stages[-1]
            stage.own, stage.mapped = max(stage.own, own), max(stage.mapped, mapped)
            ended.wait(EVERY)

    looking = threading.Thread(target=look)
    looking.start()
    assert child.stdout is not None
    for line in child.stdout:
        said.append(line)
        begun = [stage for stage, sign in SAID.items() if re.match(sign, line)]
        if begun and command[0] == "train":
            stages[-1].seconds = time.monotonic() - began
            began = time.monotonic()
            stages.append(Stage(begun[0]))
    code = child.wait()
    stages[-1].seconds = time.monotonic() - began
    ended.set()
    looking.join()
    if code:
        raise SystemExit(f"gatecast {' '.join(command)} ended with {code}:\n{''.join(said)}")
    return stages


def held(process: int) -> tuple[int, int]:
    """Bytes of memory that a process holds of its own, and of files."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0, 0
    found = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB$", text, re.M))
    return int(found.get("RssAnon", 0)) * 1024, int(found.get("RssFile", 0)) * 1024


def report(runs: Sequence[Run]) -> str:
    """The tables, and the line through the peaks."""
    mapped = [run for run in runs if run.store == "mapped"]
    beside, memory = runs[0], runs[1]
    lines = [
        f"On {os.cpu_count()} cores ({platform.machine()}), each table run alone; load of the "
        f"machine at the end {os.getloadavg()[0]:.1f}. MB of the process' own, + of mapped files "
        "(libraries among them):",
        "",
        "| stage | " + " | ".join(f"{run.rows:,} rows" for run in mapped) + " |",
        "|---|" + "---:|" * len(mapped),
    ]
    for place, stage in enumerate(mapped[0].stages):
        cells = [
            f"{run.stages[place].own / MB:,.0f} + {run.stages[place].mapped / MB:,.0f}"
            for run in mapped
        ]
        lines.append(f"| {stage.name} | " + " | ".join(cells) + " |")
    equal = "equal to the bit" if beside.told == memory.told else "**not equal**"
    lines += [
        "",
        f"The {beside.rows:,} rows in memory instead: weights and {beside.told['series']} series' "
        f"forecasts {equal}; mapped took {beside.seconds / memory.seconds:.2f} times as long and "
        f"held {beside.most('own') / memory.most('own'):.2f} times as much of its own.",
    ]
    if len(mapped) > 1:
        lines += ["", _line(mapped)]
    return "\n".join(lines) + "\n"


def _line(runs: Sequence[Run]) -> str:
    """What the target takes, by straight lines through what the sizes took."""
    rows = [float(run.rows) for run in runs]
    parts, total = [], 0.0
    for what, said in (("own", "of its own"), ("mapped", "of mapped files")):
        slope, base = np.polyfit(rows, [run.most(what) for run in runs], 1)
        at = base + slope * TARGET
        total += at
        parts.append(f"{base / MB:,.0f} MB + {slope:.1f} bytes a row {said}: {at / MB:,.0f} MB")
    return (
        f"By straight lines through these peaks {TARGET:,} rows take {'; '.join(parts)}; "
        f"{total / MB:,.0f} MB together. What is bounded only beyond these sizes counts as if it "
        "grew on."
    )


if __name__ == "__main__":
    sys.exit(main())
