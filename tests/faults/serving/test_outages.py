"""Processes that end, by order or by force, and a registry that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.faults.rows import Measure, share
from tests.faults.serving.proxy import Nginx, free_port
from tests.faults.serving.traffic import READY, Caller, Traffic, question
from tests.serving.models.test_hostile import ANSWERS
from tests.serving.process import Server
from tests.serving.store import Store

# What refuses and what is cut off is met in a process in tests/serving/models/test_hostile.py.
WAYS = ["hangs"] if share() is None else ["refuses", "hangs", "cut off"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, plain: Path) -> Store:
    store = Store(tmp_path_factory.mktemp("outages"))
    store.register("m", plain)
    return store


@pytest.mark.slow
@pytest.mark.fault("rolling")
@pytest.mark.timeout(1800)
def test_two_services_behind_nginx_are_restarted_in_turn(
    registry: Store, tmp_path: Path, measure: Measure
) -> None:
    rounds = measure.count(1, 5)
    ends: list[float] = []
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(registry, "m", port=free_port())) for _ in range(2)]
        nginx = stack.enter_context(Nginx(tmp_path / "nginx", *(s.port for s in servers)))

        async def scenario() -> Traffic:
            async with Traffic(nginx.port, question(), callers=6, pause=0.01) as traffic:
                for _ in range(rounds):
                    for server in servers:
                        await asyncio.sleep(0.5)
                        began = time.monotonic()
                        code = await asyncio.to_thread(server.stop)
                        ends.append(time.monotonic() - began)
                        assert code == 0
                        server.http.close()
                        await asyncio.to_thread(server.__enter__)
                await asyncio.sleep(0.5)
            return traffic

        traffic = asyncio.run(scenario())
    assert traffic.failed == 0, (traffic.statuses, traffic.lost[:3])
    measure.goal("every exit within 30 s", max(ends) <= 30)
    measure.says(
        f"{rounds} rounds of 2 restarts under {traffic.statuses.total():,} requests: none failed; "
        f"exits after {max(ends):.1f} s at most",
        requests=traffic.statuses.total(),
        exit_seconds=[round(s, 2) for s in ends],
    )


def workers(server: Server) -> set[int]:
    """Processes that answer, without the parent and Python's own helper."""
    found = set()
    for process in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


@pytest.mark.slow
@pytest.mark.fault("worker")
@pytest.mark.timeout(3600)
def test_a_killed_worker_is_back_and_the_proxy_hides_it(
    registry: Store, tmp_path: Path, measure: Measure
) -> None:
    kills = measure.count(1, 20)
    backs: list[float] = []
    port = free_port()
    words = ["--model", "m", "--workers", "2", "--port", str(port)]
    command = [sys.executable, "-m", "serving", *words]
    with ExitStack() as stack:
        server = stack.enter_context(Server(registry, "m", command=command, port=port))
        nginx = stack.enter_context(Nginx(tmp_path / "nginx", port, port, port))

        async def scenario() -> Traffic:
            async with Traffic(nginx.port, question(), callers=4, pause=0.01) as traffic:
                for turn in range(kills):
                    await asyncio.sleep(0.3)
                    before = workers(server)
                    os.kill(sorted(before)[turn % len(before)], signal.SIGKILL)
                    began = time.monotonic()
                    while len(now := workers(server)) < len(before) or now == before:
                        await asyncio.sleep(0.05)
                    (new,) = now - before
                    # It listens once it has asked for connections of its own.
                    while not _answers(new):
                        await asyncio.sleep(0.05)
                    backs.append(time.monotonic() - began)
                await asyncio.sleep(0.3)
            return traffic

        traffic = asyncio.run(scenario())
        assert server.stop() == 0
    assert traffic.failed == 0, (traffic.statuses, traffic.lost[:3])
    measure.goal("back within 10 s", max(backs) <= 10)
    measure.says(
        f"{kills} kills under {traffic.statuses.total():,} requests through nginx: none failed; "
        f"back after {max(backs):.1f} s at most",
        requests=traffic.statuses.total(),
        back_seconds=[round(s, 2) for s in backs],
    )


def _answers(pid: int) -> bool:
    """Whether a worker listens: it polls its sockets, beside the pipe to its parent."""
    try:
        return (
            len(os.listdir(f"/proc/{pid}/task")) > 1
            and "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
        )
    except OSError:
        return False


class Registry:
    """A tracking server that is away in a way of its own."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.held: list[socket.socket] = []
        if way == "refuses":
            self.listener.close()
            return
        self.listener.settimeout(None)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.way == "hangs":
                self.held.append(connection)
                continue
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(ANSWERS[self.way])


@contextlib.contextmanager
def away(way: str) -> Iterator[str]:
    """The address of a registry that is away."""
    if way == "refuses":
        yield f"http://127.0.0.1:{free_port()}"
        return
    server = Registry(way)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.listener.close()
        for connection in server.held:
            connection.close()


@pytest.mark.slow
@pytest.mark.fault("registry")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_a_registry_that_is_away_stops_nobody(registry: Store, measure: Measure, way: str) -> None:
    """A start from the cache while the registry is away, and answers for as long as it is."""
    seconds = measure.count(2, 600)
    with Server(registry, "m"):
        pass  # the cache knows now what was followed
    with away(way) as uri:
        began = time.monotonic()
        with Server(registry, "m", MLFLOW_TRACKING_URI=uri) as server:
            started = time.monotonic() - began

            async def scenario() -> tuple[Traffic, float]:
                slowest, caller = 0.0, Caller(server.port)
                async with Traffic(server.port, question(), callers=2, pause=0.05) as traffic:
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        asked = time.monotonic()
                        assert (await caller.ask(READY)).status == 200
                        slowest = max(slowest, time.monotonic() - asked)
                        await asyncio.sleep(0.2)
                return traffic, slowest

            traffic, slowest = asyncio.run(scenario())
            assert traffic.failed == 0, (traffic.statuses, traffic.lost[:3])
            failures = [x for x in server.lines() if x["event"] == "the version that answers stays"]
            assert failures or "gatecast_load_failures_total" in server.http.get("/metrics").text
            assert server.stop() == 0
    measure.goal("start within 20 s", started <= 20)
    measure.says(
        f"{way}: ready {started:.1f} s after the start, {traffic.statuses.total():,} requests in "
        f"{seconds} s, none failed; `/readyz` at most {slowest:.2f} s",
        start_seconds=round(started, 2),
        requests=traffic.statuses.total(),
    )
