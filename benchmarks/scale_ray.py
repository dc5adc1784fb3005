"""What tasks cost and give: in this process, in processes of this machine, and on a local Ray.

python benchmarks/scale_ray.py                        # on every core that there is
python benchmarks/scale_ray.py --series 10000 100000  # other sizes of a batch forecast
python benchmarks/scale_ray.py --brief                # tiny: does it run?

Each place is started once, and its start is a row of its own. Every round asks all places for the
same, in turn; a ratio is the median over rounds of one process's seconds over the place's, in the
same round. *Trainings* are of one small network each, a task each, with the threads that a place
gives its tasks: one process gives all of them. *Forecasts* read, forecast and write files of
Parquet, a task each.

The model is seconds = start + files x overhead + series x work / workers: the start and the
overhead of a task as measured, the work of a series by least squares through the sizes. What it
says of more series and more workers is extrapolated, and holds where the disks keep up and no file
waits for another.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

HORIZON, ROWS = 12, 48
HERE, PROCESSES, RAY = "one process", "processes", "Ray, local"
MILLIONS = (1, 100)  # of series, that the model is asked for
WORKERS = (2, 16, 64, 256)


@contextmanager
def places(workers: int) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """Every place by its name, and the seconds until each had answered once."""
    from pipelines.config import SpreadConfig
    from pipelines.spread.places import each, open_place
    from pipelines.spread.task import ECHO, Task

    settings = {HERE: {}, PROCESSES: {"workers": workers}, RAY: {"ray": "local"}}
    opened, seconds = {}, {}
    with ExitStack() as stack:
        for name, own in settings.items():
            began = time.perf_counter()
            place = stack.enter_context(open_place(SpreadConfig.parse(own)))
            calls = [partial(place.do, Task("first", ECHO, {}))] * place.workers
            assert list(each(place, calls)) == [{}] * place.workers
            opened[name], seconds[name] = place, time.perf_counter() - began
        yield opened, seconds


def rounds_of(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call by name, asked in turn; after a round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                found[name].append(time.perf_counter() - began)
    return found


def all_of(place: Any, tasks: Sequence[Any]) -> list[Any]:
    """Answers of tasks, as many at once as the place has workers."""
    from pipelines.spread.places import each

    return list(each(place, [partial(place.do, task) for task in tasks]))


def overhead(opened: Mapping[str, Any], tasks: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of so many tasks that do nothing, a worker at a time."""
    from pipelines.spread.task import ECHO, Task

    parcel = {"values": list(range(100))}

    def one_by_one(place: Any) -> None:
        for k in range(tasks):
            place.do(Task(f"nothing {k}", ECHO, parcel))

    return rounds_of({name: partial(one_by_one, p) for name, p in opened.items()}, rounds)


def trainings(
    opened: Mapping[str, Any], count: int, steps: int, rounds: int, scratch: Path
) -> dict[str, list[float]]:
    """Seconds of so many trainings."""
    from forecasting.data.panel import Panel
    from pipelines.spread import fits
    from pipelines.spread.task import Task

    y = waves(64)
    start = np.full(len(y), np.datetime64("2015-01-01", "us"))
    ids = [f"s{i}" for i in range(len(y))]
    panel = Panel.from_arrays(ids, y.ravel(), np.full(len(y), ROWS), start, "MS")
    own = {"max_steps": steps, "validation": "none", "start": "none"}
    settings = {"horizon": HORIZON, "freq": "MS", "season": 12, "training": own}
    shared = {name: place.share(panel) for name, place in opened.items()}

    def train(name: str) -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            tasks = []
            for k in range(count):
                out = Path(folder) / str(k)
                out.mkdir()
                parcel = {"settings": {**settings, "training": {**own, "seed": k}}}
                tasks.append(Task(f"seed {k}", fits.ANEW, parcel, (shared[name],), out=out))
            all_of(opened[name], tasks)

    return rounds_of({name: partial(train, name) for name in opened}, rounds)


def forecasts(
    opened: Mapping[str, Any], bundle: Path, sizes: Sequence[int], part: int, scratch: Path
) -> dict[int, dict[str, list[float]]]:
    """Seconds of a batch forecast of so many series, in files of ``part``."""

    found = {}
    for size in sizes:
        source = written(scratch / f"parts-{size}", size, part)
        calls = {
            name: partial(forecast, place, place.share(bundle), source, size)
            for name, place in opened.items()
        }
        found[size] = rounds_of(calls, 1)
    return found


def forecast(place: Any, bundle: Any, source: Path, size: int) -> None:
    """Forecasts every file of a folder into another, which goes at the end."""
    from pipelines.forecasts import partitions
    from pipelines.spread.task import Task

    asked = {
        "model": "scale",
        "version": 1,
        "run_id": "",
        "digest": "",
        "horizon": HORIZON,
        "levels": [0.1, 0.5, 0.9],
        "created": datetime.datetime.now(datetime.UTC).isoformat(),
    }
    with tempfile.TemporaryDirectory(dir=source.parent) as target:
        tasks = []
        for file in sorted(source.iterdir()):
            data = {"source": str(file)}
            config = {"name": "scale", "data": data, "horizon": HORIZON, "freq": "MS"}
            parcel = {**asked, "config": config, "target": str(Path(target) / file.name)}
            tasks.append(Task(file.name, partitions.WORK, parcel, (bundle,)))
        answers = all_of(place, tasks)
    assert sum(answer["series"] for answer in answers) == size


def written(folder: Path, series: int, part: int) -> Path:
    """A folder of Parquet files with so many monthly series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    stamps = np.arange("2015-01", "2019-01", dtype="datetime64[M]").astype("datetime64[us]")
    for first in range(0, series, part):
        count = min(part, series - first)
        ids = pa.array([f"s{first + i}" for i in range(count)])
        columns = {
            "unique_id": ids.take(pa.array(np.repeat(np.arange(count), ROWS))),
            "ds": np.tile(stamps, count),
            "y": waves(count, first).ravel(),
        }
        pq.write_table(pa.table(columns), folder / f"{first:09}.parquet")
    return folder


def waves(series: int, seed: int = 0) -> np.ndarray:
    """[series, ROWS] with a season and noise."""
    rng, t = np.random.default_rng(seed), np.arange(ROWS)
    level = rng.uniform(50, 500, (series, 1))
    return np.round(
        level * (1 + 0.2 * np.sin(t * np.pi / 6) + rng.normal(0, 0.05, (series, ROWS))), 2
    )


def trained(folder: Path, brief: bool) -> Path:
    """A network of the usual size, trained for a moment."""
    from forecasting import Forecaster
    from forecasting.config import ForecasterConfig
    from forecasting.data.panel import Panel

    y = waves(64)
    start = np.full(len(y), np.datetime64("2015-01-01", "us"))
    ids = [f"s{i}" for i in range(len(y))]
    panel = Panel.from_arrays(ids, y.ravel(), np.full(len(y), ROWS), start, "MS")
    own = {"max_steps": 5, "validation": "none", "start": "none", "threads": 1}
    small = {"hidden_size": 8, "layers": 1} if brief else {}
    values = {"horizon": HORIZON, "freq": "MS", "season": 12, "training": own, "model": small}
    return Path(Forecaster.train(panel, ForecasterConfig.parse(values)).save(folder))


def ratio(found: Mapping[str, Sequence[float]], name: str) -> float:
    """How many times as fast as one process, the median over rounds."""
    pairs = zip(found[HERE], found[name], strict=True)
    return statistics.median(here / there for here, there in pairs)


def report(found: Mapping[str, Any], opened: Mapping[str, Any]) -> str:
    """All of it in Markdown."""
    starts, idle, fits = found["starts"], found["overhead"], found["trainings"]
    lines = [
        "| place | workers × threads | start, s | a task that does nothing, ms "
        "| trainings, times as fast |",
        "|---|---|---|---|---|",
    ]
    for name, place in opened.items():
        threads = getattr(place, "threads", None) or (1 if name == RAY else os.cpu_count())
        lines.append(
            f"| {name} | {place.workers} × {threads} | {starts[name]:.1f} "
            f"| {1e3 * statistics.median(idle[name]) / found['tasks']:.2f} "
            f"| {ratio(fits, name):.2f} |"
        )
    sizes = found["forecasts"]
    heads = "".join(f" {size:,} series, s (times as fast) |" for size in sizes)
    lines += ["", f"| forecasts |{heads}", "|---" * (len(sizes) + 1) + "|"]
    for name in opened:
        cells = "".join(
            f" {statistics.median(of[name]):.1f} ({ratio(of, name):.2f}) |" for of in sizes.values()
        )
        lines.append(f"| {name} |{cells}")
    work, task = model(found, opened)
    lines += [
        "",
        f"Model: {starts[RAY]:.0f} s + files × {1e3 * task:.1f} ms + series × {1e3 * work:.3f} ms "
        f"/ workers, files of {found['part']:,} series.",
        "",
        "| by the model |" + "".join(f" {count} workers, min |" for count in WORKERS),
        "|---" * (len(WORKERS) + 1) + "|",
    ]
    for millions in MILLIONS:
        series = millions * 1e6
        files = series / found["part"]
        cells = "".join(
            f" {(starts[RAY] + files * task + series * work / count) / 60:.1f} |"
            for count in WORKERS
        )
        lines.append(f"| {millions} million series |{cells}")
    return "\n".join(lines)


def model(found: Mapping[str, Any], opened: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds of a worker for a series, and of a task beside it, on Ray."""
    task = statistics.median(found["overhead"][RAY]) / found["tasks"]
    sizes = np.array(list(found["forecasts"]), float)
    seconds = np.array([statistics.median(of[RAY]) for of in found["forecasts"].values()])
    files = np.ceil(sizes / found["part"])
    # Fewer files than workers leave some of these idle.
    share = sizes / np.minimum(files, opened[RAY].workers)
    work = float(share @ (seconds - files * task) / (share @ share))
    return work, task


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure tasks here, in processes and on Ray.")
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--part", type=int, default=10_000, help="series of a file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--brief", action="store_true", help="tiny")
    given = parser.parse_args()
    from pipelines.machine.state import cores, keep_apart, quiet

    quiet()
    keep_apart()
    brief = given.brief
    sizes, part = ([20, 40], 10) if brief else (given.series, given.part)
    rounds, tasks = (1, 5) if brief else (given.rounds, 200)
    with tempfile.TemporaryDirectory() as folder, places(max(cores(), 2)) as (opened, starts):
        scratch = Path(folder)
        bundle = trained(scratch / "bundle", brief)
        found = {
            "starts": starts,
            "tasks": tasks,
            "part": part,
            "overhead": overhead(opened, tasks, rounds),
            "trainings": trainings(opened, 2 if brief else 4, 5 if brief else 300, rounds, scratch),
            "forecasts": forecasts(opened, bundle, sizes, part, scratch),
        }
        print(report(found, opened))
    load = os.getloadavg()[0]
    print(f"\n{cores()} cores, {rounds} rounds, load {load:.1f} at the end.")


if __name__ == "__main__":
    main()
