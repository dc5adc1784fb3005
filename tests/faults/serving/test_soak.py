"""Hours of the same: nothing grows, nothing slows down."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.rows import Measure
from tests.faults.serving.traffic import Traffic, question
from tests.serving.process import Server
from tests.serving.store import Store

RATE = 60  # requests per second, one of each caller


@pytest.mark.slow
@pytest.mark.fault("soak")
@pytest.mark.timeout(9000)
def test_nothing_grows_under_a_steady_load(plain: Path, tmp_path: Path, measure: Measure) -> None:
    seconds = measure.count(2, 7200)
    store = Store(tmp_path)
    store.register("m", plain)

    async def scenario(server: Server) -> tuple[list[Traffic], list[float]]:
        process, sizes = psutil.Process(server.process.pid), []
        crowd = [
            Traffic(server.port, question(count, rows), RATE // 3, 1.0)
            for count, rows in ((1, 40), (5, 200), (20, 60))
        ]
        async with crowd[0], crowd[1], crowd[2]:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await asyncio.sleep(min(seconds / 20, 10))
                sizes.append(process.memory_info().rss / (1 << 20))
        return crowd, sizes

    with Server(store, "m") as server:
        crowd, sizes = asyncio.run(scenario(server))
    asked = sum(t.statuses.total() for t in crowd)
    assert [t.failed for t in crowd] == [0, 0, 0], [t.lost[:2] for t in crowd]
    # What a worker holds settles in the first minute.
    growth = sizes[-1] - sizes[min(len(sizes) // 4, 6)]
    slow = max(t.at(0.99) for t in crowd)
    measure.goal("growth of at most 20 MB", growth <= 20)
    measure.goal("p99 within 250 ms", slow <= 250)
    measure.says(
        f"{seconds} s, {asked / seconds:.0f} requests/s, {asked:,} in all: none failed; "
        f"{growth:+.1f} MB; p99 {slow:.0f} ms",
        requests=asked,
        growth_megabytes=round(growth, 1),
        p99_ms=round(slow, 1),
    )
