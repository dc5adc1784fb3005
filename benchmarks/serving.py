"""What the service costs on top of its engine, beside empty endpoints and ``mlflow models serve``.

python benchmarks/serving.py                        # the tables, in about three minutes
python benchmarks/serving.py --brief                # small requests for a moment: does it run?
python benchmarks/serving.py --report docs/serving.md --picture docs/images/serving_time.svg

The model is the default one of the demo (two layers of 64, trained for a moment: what it learnt
does not change what it costs), or any bundle with ``--bundle FOLDER``. All servers run at once and
are measured in turns; what is shown is the median of the turns. A lone request is compared pair by
pair: each rival is asked once in a round, and the ratio of a round is one draw; its median has a
bootstrap interval. Crowds come from a load generator, a process of its own on the same cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.around import engine_on, network_on, panel_of  # noqa: E402
from benchmarks.load import Plan, in_turn  # noqa: E402
from benchmarks.servers import (  # noqa: E402
    ARROW,
    HORIZON,
    POINTS,
    Server,
    arrow,
    invocation,
    load,
    post,
    readable,
    register,
    servers,
    train,
)
from benchmarks.stages import SERVER, STAGES, draw, stages  # noqa: E402
from serving.settings import ServingSettings, quiet  # noqa: E402

CLIENTS = 32
MANY_JSON, MANY_ARROW = 1_000, 10_000  # series
ROUNDS = 200  # lone requests of each rival in a turn
RESAMPLES = 2_000
MANY = ("in JSON", "in Arrow")
OURS, EMPTY, ENGINE, NETWORK = "gatecast", "empty BentoML tuned", "engine alone", "network alone"
LOAD_SHARE = 0.7
BEGIN, END = "<!-- benchmarks/serving.py: begin -->", "<!-- benchmarks/serving.py: end -->"
HIGHER_IS_BETTER = ("requests/s", "series/s")


@dataclass
class Found:
    """Values by name, one of each turn; `value` is their median."""

    turns: dict[str, list[float]] = field(default_factory=dict)
    lone: list[float] = field(default_factory=list)  # ratio of each round of lone requests
    beside_network: list[float] = field(default_factory=list)  # the same over the network alone

    def add(self, name: str, value: float) -> None:
        self.turns.setdefault(name, []).append(value)

    def value(self, name: str) -> float:
        return statistics.median(self.turns[name])


@dataclass(frozen=True)
class Size:
    """How much is asked, and for how long."""

    json: int = MANY_JSON
    arrow: int = MANY_ARROW
    rounds: int = ROUNDS
    pace: float = 1.0  # factor on every time of measuring

    @classmethod
    def brief(cls) -> Size:
        return cls(json=20, arrow=50, rounds=10, pace=0.1)


def interval(draws: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Median, and the ends of its 95 % bootstrap interval."""
    values = np.asarray(draws)
    rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(values[rows], axis=1), (0.025, 0.975))
    return float(np.median(values)), float(low), float(high)


def median_seconds(work: Callable[[], Any], seconds: float) -> float:
    """Median time of a call."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


Calls = dict[int, Callable[[], Any]]


def alone(bundle: Path, threads: int, size: Size) -> tuple[Calls, Calls]:
    """Engine and network on panels that are there already, by number of series."""
    from forecasting.prediction.predictor import Predictor

    predictor = Predictor.load(bundle, threads=threads)
    panels = {n: panel_of(predictor, n) for n in (1, CLIENTS, size.json, size.arrow)}
    engine = {n: engine_on(predictor, panel) for n, panel in panels.items()}
    return engine, {n: network_on(predictor, panel) for n, panel in panels.items()}


def measure(home: Path, bundle: Path, registered: Path, turns: int, size: Size) -> Found:
    """Every figure of the tables, once in each turn."""
    found = Found()
    one, thousand, table, rows = (home / n for n in ("one", "thousand", "table", "rows"))
    one.write_bytes(readable(1))
    thousand.write_bytes(readable(size.json))
    table.write_bytes(arrow(size.arrow))
    rows.write_bytes(invocation())
    answer = home / "answer"
    tested = servers(home, registered, answer)
    ours = tested[OURS]

    def asked(server: Server, body: Path, *, seconds: float, **options: Any) -> dict[str, Any]:
        warm = options.pop("warm", 0.5) * size.pace
        return load(server, body, seconds=seconds * size.pace, warm=warm, **options)

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [server.stop() for server in tested.values()])
        # The first start fills the cache; the others are measured.
        for turn in range(turns + 1):
            ours.start()
            ours.wait()
            if turn:
                found.add("start", ours.seconds)
            if turn < turns:
                ours.stop()
        answer.write_bytes(post(ours, one.read_bytes()))
        asked(ours, one, path="/v1/forecast", clients=CLIENTS, seconds=1.0)
        found.add("memory", ours.megabytes())
        others = [server for server in tested.values() if server is not ours]
        for server in others:
            server.start()
        for server in others:
            server.wait()
        engine, network = alone(bundle, ServingSettings().engine_threads, size)
        for _ in range(turns):
            for name, count, seconds in (
                (str(CLIENTS), CLIENTS, 0.7),
                (MANY[0], size.json, 1.5),
                (MANY[1], size.arrow, 3.0),
            ):
                found.add(f"engine {name}", median_seconds(engine[count], seconds * size.pace))
                found.add(f"network {name}", median_seconds(network[count], seconds * size.pace))
            plans = {}
            for name, server in tested.items():
                mlflow = name == "mlflow models serve"
                body, path = (rows, "/invocations") if mlflow else (one, "/v1/forecast")
                plans[name] = Plan(port=server.port, path=path, body=str(body))
                crowd = asked(server, body, path=path, clients=CLIENTS, seconds=2.0)
                found.add(f"{name}: requests/s", crowd["per_second"])
            same = "gatecast, MLflow's /invocations"
            plans[same] = Plan(port=ours.port, path="/invocations", body=str(rows))
            times = uvloop.run(
                in_turn(plans, {ENGINE: engine[1], NETWORK: network[1]}, size.rounds)
            )
            for name, values in times.items():
                found.add(f"{name}: p50", statistics.median(values))
            mine, empty, *own = (np.asarray(times[n]) for n in (OURS, EMPTY, ENGINE, NETWORK))
            found.lone += (mine / (empty + own[0])).tolist()
            found.beside_network += (mine / (empty + own[1])).tolist()
            crowd = asked(ours, rows, path="/invocations", clients=CLIENTS, seconds=1.5)
            found.add(f"{same}: requests/s", crowd["per_second"])
            rate = LOAD_SHARE * found.turns["gatecast: requests/s"][-1]
            busy = asked(ours, one, path="/v1/forecast", clients=512, rate=rate, seconds=4.0)
            found.add("at 70 %: p50", busy["p50"])
            found.add("at 70 %: p99", busy["p99"])
            big = asked(ours, thousand, path="/v1/forecast", seconds=2.0, warm=0.0)
            found.add(f"{MANY[0]}: series/s", size.json * 1e3 / big["p50"])
            big = asked(ours, table, path="/v1/forecast", kind=ARROW, seconds=4.0, warm=0.0)
            found.add(f"{MANY[1]}: series/s", size.arrow * 1e3 / big["p50"])
        # Memory is given back a moment after the last large request.
        time.sleep(3.0 * size.pace)
        found.add("memory after large", ours.megabytes())
    return found


# A row of the main table: request, figure, value, floor, goal, what the value is made of.
Row = tuple[str, str, float, float, float, str]


def rows_of(found: Found, size: Size) -> Iterator[Row]:
    v = found.value
    p50, empty, engine, network = (v(f"{name}: p50") for name in (OURS, EMPTY, ENGINE, NETWORK))
    ratio, low, high = interval(found.lone)
    lone = f"1 series × {POINTS} points, horizon {HORIZON}, one at a time"
    source = f"{low:.2f} to {high:.2f}; {p50:.2f} ms / ({empty:.2f} + {engine:.2f})"
    figure = "p50 over (tuned empty endpoint + engine alone)"
    yield lone, figure, ratio, 1.3, 1.1, source
    ratio, low, high = interval(found.beside_network)
    source = f"{low:.2f} to {high:.2f}; {p50:.2f} ms / ({empty:.2f} + {network:.2f})"
    figure = "p50 over (tuned empty endpoint + network alone)"
    yield "same lone request", figure, ratio, 2.5, 1.3, source
    ours, bare = v("gatecast: requests/s"), v("empty BentoML as it comes: requests/s")
    source = f"{ours:.0f} / {bare:.0f} requests/s"
    figure = "requests/s over the empty endpoint as it comes"
    yield f"same, {CLIENTS} clients, 1 worker", figure, ours / bare, 1.7, 2.5, source
    p50, p99 = v("at 70 %: p50"), v("at 70 %: p99")
    source = f"{p99:.1f} / {p50:.1f} ms"
    yield "same", "p99 at 70 % of capacity over p50", p99 / p50, 5, 3, source
    sizes = (size.json, size.arrow)
    for count, name, floor, goal in zip(sizes, MANY, (0.5, 0.8), (0.8, 0.95), strict=True):
        bare, rate = count / v(f"engine {name}"), v(f"{name}: series/s")
        source = f"{rate:.0f} / {bare:.0f} series/s"
        request = f"{count:,} series {name}"
        yield request, "series/s over engine alone", rate / bare, floor, goal, source
    for count, name, floor, goal in zip(sizes, MANY, (0.4, 0.5), (0.75, 0.85), strict=True):
        bare, rate = count / v(f"network {name}"), v(f"{name}: series/s")
        source = f"{rate:.0f} / {bare:.0f} series/s"
        request = f"same {count:,} {name}"
        yield request, "series/s over network alone", rate / bare, floor, goal, source
    mlflow = v("mlflow models serve: requests/s")
    source = f"{ours:.0f} / {mlflow:.0f} requests/s"
    yield "against `mlflow models serve`", "requests/s", ours / mlflow, 5, 15, source
    yield "start to ready, model in the local cache", "seconds", v("start"), 6, 3, ""
    source = f"{v('memory after large'):.0f} after all of these requests"
    yield "memory", "MB per worker after warm-up", v("memory"), 300, 200, source


def report(found: Found, size: Size, spent: Mapping[str, Mapping[str, float]]) -> str:
    """The tables in Markdown."""
    lines = [
        "| request | figure | measured | floor | goal | reached | from |",
        "|---|---|---|---|---|---|---|",
    ]
    for request, figure, value, floor, goal, source in rows_of(found, size):
        sign = 1 if figure.startswith(HIGHER_IS_BETTER) else -1
        reached = "**neither**"
        if sign * value >= sign * floor:
            reached = "goal" if sign * value >= sign * goal else "floor"
        shown = f"{value:.0f}" if value >= 20 else f"{value:.2f}"
        line = (request, figure, shown, f"{floor:g}", f"{goal:g}", reached, source)
        lines.append(f"| {' | '.join(line)} |")
    lines += ["", f"| server | p50 of a lone request, ms | requests/s at {CLIENTS} clients |"]
    lines.append("|---|---|---|")
    for name in found.turns:
        if name.endswith(": p50") and not name.startswith(("at 70", ENGINE, NETWORK)):
            server = name.removesuffix(": p50")
            rate = found.value(f"{server}: requests/s")
            lines.append(f"| {server} | {found.value(name):.2f} | {rate:.0f} |")
    lone, batched = found.value(f"{ENGINE}: p50") / 1e3, CLIENTS / found.value(f"engine {CLIENTS}")
    rates = f"{1 / lone:.0f} one by one, {batched:.0f} in batches of {CLIENTS}"
    lines.append(f"| engine alone, no HTTP | {1e3 * lone:.2f} | {rates} |")
    lone, batched = (
        found.value(f"{NETWORK}: p50") / 1e3,
        CLIENTS / found.value(f"network {CLIENTS}"),
    )
    rates = f"{1 / lone:.0f} one by one, {batched:.0f} in batches of {CLIENTS}"
    lines.append(f"| network alone | {1e3 * lone:.2f} | {rates} |")
    lines += ["", f"| stage, ms | {' | '.join(spent)} |", "|---|" + "---|" * len(spent)]
    for stage in STAGES:
        lines.append(f"| {stage} | {' | '.join(f'{s[stage]:.3f}' for s in spent.values())} |")
    sums = [f"{sum(s.values()):.3f}" for s in spent.values()]
    lines.append(f"| **together** | {' | '.join(sums)} |")
    packages = ("bentoml", "mlflow", "onnxruntime", "uvicorn", "numpy")
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in packages)
    lines += ["", f"{machine()}; Python {platform.python_version()}, {versions}."]
    return "\n".join(lines)


def machine() -> str:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.+)", info)
    return f"{name[1] if name else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def insert(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put the tables between the page's two marks."""
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service beside its rivals.")
    parser.add_argument("--bundle", type=Path, help="a saved forecaster instead of the demo's")
    parser.add_argument("--turns", type=int, default=3, help="times everything is measured [3]")
    parser.add_argument("--report", type=Path, help="page whose marked part is rewritten")
    parser.add_argument("--picture", type=Path, help="file for the picture of the stages")
    parser.add_argument("--brief", action="store_true", help="small requests for a moment")
    given = parser.parse_args()
    size, turns = (Size.brief(), 1) if given.brief else (Size(), given.turns)
    quiet()
    with tempfile.TemporaryDirectory(prefix="gatecast-") as scratch:
        home = Path(scratch)
        os.environ["GATECAST_HOME"] = scratch
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        bundle = given.bundle or train(home / "bundle", brief=given.brief)
        registered = register(bundle, home)
        found = measure(home, bundle, registered, turns, size)
        names = (
            "1 series",
            *(f"{n:,} series {m}" for n, m in zip((size.json, size.arrow), MANY, strict=True)),
        )
        counts = dict(zip(names, (1, size.json, size.arrow), strict=True))
        spent = stages(home, counts, turns, given.brief)
    waited = (
        found.value("gatecast: p50"),
        1e3 * size.json / found.value(f"{MANY[0]}: series/s"),
        1e3 * size.arrow / found.value(f"{MANY[1]}: series/s"),
    )
    for parts, whole in zip(spent.values(), waited, strict=True):
        parts[SERVER] = max(whole - sum(parts.values()), 0.0)
    text = report(found, size, spent)
    print(text)
    if given.picture:
        draw(spent, given.picture)
    if given.report:
        insert(given.report, text)


if __name__ == "__main__":
    main()
