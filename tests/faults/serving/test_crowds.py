"""More callers than the service can hold, larger and slower ones than it likes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from tests.faults.rows import Measure, share
from tests.faults.serving.proxy import Nginx
from tests.faults.serving.traffic import (
    READY,
    Caller,
    LostError,
    Traffic,
    question,
    request,
)
from tests.serving.process import Server
from tests.serving.store import Store

POLITE = {200, 429, 503}
HEAD = b"POST /v1/forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, plain: Path) -> Iterator[Server]:
    """One worker with a single model and the limits it has by itself."""
    store = Store(tmp_path_factory.mktemp("crowds"))
    store.register("m", plain)
    with Server(store, "m") as started:
        yield started


class Watch:
    """Asks `/readyz` and looks at the memory, again and again."""

    def __init__(self, server: Server) -> None:
        self.port, self.process = server.port, psutil.Process(server.process.pid)
        self.before = self.most = self.megabytes()
        self.slowest, self.asked = 0.0, 0

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss) / (1 << 20)

    async def __aenter__(self) -> Watch:
        self.task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def _look(self) -> None:
        caller = Caller(self.port)
        while True:
            began = time.monotonic()
            assert (await caller.ask(READY)).status == 200
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.asked += 1
            self.most = max(self.most, self.megabytes())
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.fault("crowd")
@pytest.mark.timeout(1200)
def test_a_crowd_is_answered_or_told_to_come_again(server: Server, measure: Measure) -> None:
    callers, rounds = measure.count(150, 1000), measure.count(1, 5)

    async def crowd() -> tuple[Counter[int], Watch]:
        statuses: Counter[int] = Counter()
        async with Watch(server) as watch:
            for _ in range(rounds):
                everyone = [Caller(server.port) for _ in range(callers)]
                for answer in await asyncio.gather(*(c.ask(question()) for c in everyone)):
                    statuses[answer.status] += 1
                for caller in everyone:
                    caller.close()
        return statuses, watch

    statuses, watch = asyncio.run(crowd())
    assert set(statuses) <= POLITE
    assert statuses[200] > 0
    measure.goal("/readyz within 1 s", watch.slowest <= 1.0)
    shown = ", ".join(f"{n:,} × {s}" for s, n in sorted(statuses.items()))
    measure.says(
        f"{rounds} × {callers:,} connections: {shown}; `/readyz` at most {watch.slowest:.2f} s "
        f"({watch.asked} asked); {watch.before:.0f} MB before, at most {watch.most:.0f} MB",
        statuses={str(k): v for k, v in statuses.items()},
        readyz_seconds=round(watch.slowest, 3),
        megabytes=[round(watch.before), round(watch.most)],
    )


def thirty_megabytes() -> bytes:
    """A flat body of 1,000 series of 5,000 values."""
    y = [100.5 + k % 89 for k in range(5_000)] * 1000
    body = {"y": y, "sizes": [5_000] * 1000, "start": "2020-01-01", "horizon": 1}
    content = orjson.dumps(body)
    assert 29e6 < len(content) < 32 << 20, len(content)
    return request(content)


@pytest.mark.slow
@pytest.mark.fault("crowd")
@pytest.mark.timeout(1200)
def test_large_bodies_at_once_are_held_within_bounds(server: Server, measure: Measure) -> None:
    count = measure.count(3, 20)
    raw = thirty_megabytes()

    async def together() -> tuple[Counter[int], Watch]:
        statuses: Counter[int] = Counter()

        async def one() -> None:
            try:
                statuses[(await Caller(server.port).ask(raw, patience=300)).status] += 1
            except LostError as error:
                # Refused before it was sent to its end, and hung up.
                if "no answer within" in str(error):
                    raise
                statuses[0] += 1

        async with Watch(server) as watch:
            await asyncio.gather(*(one() for _ in range(count)))
        return statuses, watch

    statuses, watch = asyncio.run(together())
    assert set(statuses) <= {*POLITE, 0}
    assert statuses[200] > 0
    measure.goal("/readyz within 1 s", watch.slowest <= 1.0)
    measure.goal("at most 2 GB more", watch.most - watch.before <= 2048)
    shown = ", ".join(f"{n} × {s or 'hung up on'}" for s, n in sorted(statuses.items()))
    measure.says(
        f"{count} bodies of {len(raw) / 1e6:.0f} MB: {shown}; `/readyz` at most "
        f"{watch.slowest:.2f} s; {watch.before:.0f} MB before, at most {watch.most:.0f} MB",
        statuses={str(k): v for k, v in statuses.items()},
        readyz_seconds=round(watch.slowest, 3),
        megabytes=[round(watch.before), round(watch.most)],
    )


async def drip(port: int, content: bytes, stop: asyncio.Event) -> None:
    """Send a byte a second, and begin again when it is hung up on."""
    while not stop.is_set():
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(content)
                while not stop.is_set() and not writer.is_closing() and not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 1.0)
            finally:
                writer.transport.abort()


@pytest.fixture(scope="module")
def narrow(server: Server) -> Iterator[Server]:
    """A service that holds fewer connections than there are slow callers, in every size."""
    limits = {"GATECAST_MAX_CONNECTIONS": "40", "GATECAST_MAX_WAITING": "20"}
    with Server(server.store, "m", **(limits if share() is None else {})) as started:
        yield started


@pytest.mark.slow
@pytest.mark.fault("slow")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_slow_callers_keep_nobody_out(
    narrow: Server, tmp_path: Path, measure: Measure, way: str
) -> None:
    # A few more than are held: each that ends comes again at once.
    count, seconds = measure.count(44, 2000), measure.count(1, 45)
    heads = HEAD + b"X-Slow: "
    bodies = HEAD + b"Content-Length: 100000\r\n\r\n"

    async def scenario(port: int) -> Traffic:
        stop = asyncio.Event()
        slow = [drip(port, (heads, bodies)[k % 2], stop) for k in range(count)]
        tasks = [asyncio.create_task(one) for one in slow]
        await asyncio.sleep(0.5 if measure.quick else 5.0)
        raw = question().replace(
            b"Host: localhost\r\n", b"Host: localhost\r\nConnection: close\r\n"
        )
        async with Traffic(port, raw, callers=8, pause=0.02) as good:
            await asyncio.sleep(seconds)
        stop.set()
        await asyncio.gather(*tasks)
        return good

    with contextlib.ExitStack() as stack:
        port = narrow.port
        if way == "nginx":
            port = stack.enter_context(Nginx(tmp_path / "nginx", port)).port
        good = asyncio.run(scenario(port))
    assert good.statuses[200] > 0
    assert good.failed == 0, (good.statuses, good.lost[:3])
    measure.says(
        f"{way}: {good.statuses.total():,} good requests on new connections beside {count:,} slow "
        f"ones for {seconds} s, none failed; p99 {good.at(0.99):.0f} ms",
        good=good.statuses.total(),
        p99_ms=round(good.at(0.99), 1),
    )
