"""What the engine costs around its network: both on the same series, in turn.

python benchmarks/around.py                    # one thread; 1 to 48,000 series from the library
python benchmarks/around.py --threads 2        # chunks beside each other, as the service does
python benchmarks/around.py --brief            # small panels, a few rounds: does it run?

*Network alone* is ONNX Runtime on the very batches that the engine makes, ready beforehand, with
the same threads. Each round asks both once, in turn, and its ratio is one draw: shown is the median
of them with its bootstrap interval. The processor's own seconds are beside those of the clock,
since neighbours on the machine take from both, but not evenly.

A second table has the classical forecasts of a pool for one series: by weights over its history, as
they are made, and by the recursions row by row, which many series take.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers import HORIZON, POINTS, histories, train  # noqa: E402

# Series of a panel, and rounds of it.
SIZES = {1: 400, 1_000: 30, 10_000: 9, 48_000: 5}
BRIEF = {1: 5, 30: 3}


def panel_of(predictor: Any, count: int) -> Any:
    """So many monthly series as the service is measured with."""
    from forecasting.data.panel import Panel

    return Panel.from_arrays(
        np.arange(count),
        histories(count).ravel(),
        np.full(count, POINTS),
        np.ones(count, np.int64),
        predictor.freq,
        schema=predictor.schema,
    )


def engine_on(predictor: Any, panel: Any) -> Callable[[], Any]:
    """The engine's forecast of a panel that is there already."""
    return lambda: predictor.predict_panel(panel, horizon=HORIZON)


def network_on(predictor: Any, panel: Any) -> Callable[[], Any]:
    """The network on the batches that the engine makes of a panel, with the engine's threads."""
    batches: list[Any] = []
    watched = copy(predictor)

    def seen(batch: Any) -> Any:
        batches.append(batch)
        return predictor.runner(batch)

    watched.runner, watched.single_threaded = seen, None
    watched.predict_panel(panel, horizon=HORIZON)
    if predictor.single_threaded is None or len(batches) == 1:
        return lambda: [predictor.runner(batch) for batch in batches]

    def beside() -> list[Any]:
        with ThreadPoolExecutor(predictor.threads) as pool:
            return list(pool.map(predictor.single_threaded, batches))

    return beside


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """[rounds, 2] seconds on the clock and of the processor, by name, after a round unseen."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            clock, work = time.perf_counter(), time.process_time()
            call()
            if turn:
                taken = time.perf_counter() - clock, time.process_time() - work
                found[name].append(taken)
    return {name: np.array(rows) for name, rows in found.items()}


def table(bundle: Path, threads: int, sizes: dict[int, int]) -> str:
    """In Markdown, a row for each number of series."""
    from benchmarks.serving import interval, machine
    from forecasting.prediction.predictor import Predictor

    predictor = Predictor.load(bundle, threads=threads)
    lines = [
        "| series × steps | network alone, ms | engine, ms | around the network, µs a series "
        "| network over engine | by the processor's seconds |",
        "|---|---|---|---|---|---|",
    ]
    for count, rounds in sizes.items():
        panel = panel_of(predictor, count)
        calls = {"network": network_on(predictor, panel), "engine": engine_on(predictor, panel)}
        found = in_turn(calls, rounds)
        clock, low, high = interval(found["network"][:, 0] / found["engine"][:, 0])
        work = found["network"][:, 1].sum() / found["engine"][:, 1].sum()
        network, engine = (1e3 * statistics.median(found[n][:, 0]) for n in ("network", "engine"))
        around = 1e6 * float((found["engine"][:, 1] - found["network"][:, 1]).mean()) / count
        lines.append(
            f"| {count:,} × {HORIZON} | {network:.3g} | {engine:.3g} | {around:.1f} "
            f"| {clock:.2f} ({low:.2f} to {high:.2f}) | {work:.2f} |"
        )
    return "\n".join([*lines, "", f"{machine()}, {threads} thread(s)."])


def pool_table(rounds: int) -> str:
    """The pool of one series by weights and by rows, in Markdown."""
    from forecasting.classical import pool, smoothing, theta

    lines = [
        "| pool of one series: rows, season | by rows, ms | by weights, ms | ratio |",
        "|---|---|---|---|",
    ]
    for rows, season in ((60, 1), (60, 4), (120, 12), (240, 12)):
        y, offsets = np.resize(histories(1)[0], rows), np.array([0, rows])

        def weights(y: Any = y, offsets: Any = offsets, season: int = season) -> Any:
            return pool.classical(y, offsets, season, HORIZON, tuple(pool.MEMBERS))

        def by_rows(weights: Callable[[], Any] = weights) -> Any:
            with ExitStack() as stack:
                for module in (smoothing, theta):
                    stack.enter_context(patch.object(module, "is_few", lambda block: False))
                return weights()

        found = in_turn({"rows": by_rows, "weights": weights}, rounds)
        slow, fast = (1e3 * statistics.median(found[n][:, 1]) for n in ("rows", "weights"))
        lines.append(f"| {rows}, {season} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f} |")
    return "\n".join([*lines, "", "Seconds of the processor, medians."])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the engine beside its network.")
    parser.add_argument("--bundle", type=Path, help="a saved forecaster instead of the demo's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--brief", action="store_true", help="small panels, a few rounds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = given.bundle or train(Path(scratch) / "bundle", brief=given.brief)
        print(table(bundle, given.threads, BRIEF if given.brief else SIZES))
        print(f"\n{pool_table(2 if given.brief else 20)}")


if __name__ == "__main__":
    main()
