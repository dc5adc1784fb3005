"""A load generator for HTTP on one core: keep-alive connections, as fast as Python goes.

``python benchmarks/load.py`` reads a plan as JSON from standard input and writes what it measured
as JSON, so that it runs in a process of its own beside the server.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

WARM_ROUNDS = 20


@dataclass(frozen=True)
class Plan:
    """What to send.

    Attributes
    ----------
    path : of the resource. body : file that holds the request's body. clients : connections.
    rate : requests per second that arrive at random times; 0 sends the next one when an answer
        has come. seconds : of measuring, after ``warm`` seconds that do not count.
    """

    port: int
    path: str
    body: str
    kind: str = "application/json"
    clients: int = 1
    rate: float = 0.0
    seconds: float = 3.0
    warm: float = 0.5


@dataclass
class Measured:
    """Latencies in milliseconds, from the moment a request was due."""

    p50: float
    p99: float
    per_second: float
    count: int
    failed: int
    answer_bytes: int
    statuses: dict[str, int] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """One request at a time over one connection."""

    def __init__(self) -> None:
        self.buffer = b""
        self.expected = -1
        self.done: asyncio.Future[tuple[int, int]] | None = None
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        if self.done and not self.done.done():
            self.done.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if self.expected < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            self.status = int(head[9:12])
            at = head.find(b"content-length:")
            if at < 0:
                raise RuntimeError("an answer without Content-Length")
            length = int(head[at + 15 : (head + b"\r").find(b"\r", at)])
            self.expected = end + 4 + length
        if len(self.buffer) >= self.expected and self.done and not self.done.done():
            size, self.buffer, self.expected = self.expected, b"", -1
            self.done.set_result((self.status, size))

    async def ask(self, request: bytes) -> tuple[int, int]:
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.done


def request_of(plan: Plan) -> bytes:
    body = Path(plan.body).read_bytes()
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\n"
        f"Content-Type: {plan.kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def in_turn(
    plans: Mapping[str, Plan], calls: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each rival in each round; in a round each is asked once, one after another.

    So whatever else the machine does meets them all. Who is first moves on from round to round.

    Parameters
    ----------
    plans : servers, each asked over a connection that stays. calls : functions of this process.
    """
    loop = asyncio.get_running_loop()
    connections = {
        name: (await loop.create_connection(Connection, "127.0.0.1", plan.port))[1]
        for name, plan in plans.items()
    }
    requests = {name: request_of(plan) for name, plan in plans.items()}
    names = [*plans, *calls]
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-WARM_ROUNDS, rounds):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            began = time.perf_counter()
            if name in plans:
                status, _ = await connections[name].ask(requests[name])
                if status != 200:
                    raise RuntimeError(f"{name} answered {status}")
            else:
                calls[name]()
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - began))
    for connection in connections.values():
        connection.transport.close()
    return times


class Load:
    """Runs one plan."""

    def __init__(self, plan: Plan) -> None:
        self.request = request_of(plan)
        self.plan = plan
        self.times: list[float] = []
        self.statuses: dict[str, int] = {}
        self.size = 0

    async def run(self) -> Measured:
        loop, plan = asyncio.get_running_loop(), self.plan
        connections = [
            (await loop.create_connection(Connection, "127.0.0.1", plan.port))[1]
            for _ in range(plan.clients)
        ]
        self.begin = time.perf_counter() + plan.warm
        self.end = self.begin + plan.seconds
        if plan.rate:
            await self._at_rate(connections)
        else:
            await asyncio.gather(*(self._one_by_one(c) for c in connections))
        took = time.perf_counter() - self.begin
        for connection in connections:
            connection.transport.close()
        ordered = sorted(self.times)
        failed = sum(n for status, n in self.statuses.items() if not status.startswith("2"))
        if not ordered:
            raise RuntimeError("nothing was answered while measuring")
        return Measured(
            p50=1e3 * ordered[len(ordered) // 2],
            p99=1e3 * ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
            per_second=len(ordered) / took,
            count=len(ordered),
            failed=failed,
            answer_bytes=self.size,
            statuses=self.statuses,
        )

    async def _one_by_one(self, connection: Connection) -> None:
        # On a busy machine one answer may take longer than the time to measure in.
        while (began := time.perf_counter()) < self.end or not self.times:
            await self._measured(connection, began)

    async def _at_rate(self, connections: list[Connection]) -> None:
        """Requests are due at the times of a Poisson process, however long answers take."""
        idle: asyncio.Queue[Connection] = asyncio.Queue()
        for connection in connections:
            idle.put_nowait(connection)
        pending: set[asyncio.Task[None]] = set()
        draw = random.Random(0)
        due = time.perf_counter()

        async def one(due: float) -> None:
            connection = await idle.get()
            await self._measured(connection, due)
            idle.put_nowait(connection)

        while due < self.end:
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            task = asyncio.ensure_future(one(due))
            pending.add(task)
            task.add_done_callback(pending.discard)
            due += draw.expovariate(self.plan.rate)
        await asyncio.gather(*pending)

    async def _measured(self, connection: Connection, since: float) -> None:
        status, self.size = await connection.ask(self.request)
        self.statuses[str(status)] = self.statuses.get(str(status), 0) + 1
        if since >= self.begin:
            self.times.append(time.perf_counter() - since)


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    print(json.dumps(asdict(uvloop.run(Load(plan).run()))))


if __name__ == "__main__":
    main()
