"""Connections that ask too much end, and those beside them are answered."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.running.connections import MAX_HEAD
from tests.serving.process import Server, environment
from tests.serving.store import Store
from tests.serving.test_process import steps_series

BODY = json.dumps({"series": [steps_series()]}).encode()


def exchange(port: int, *parts: bytes, timeout: float = 20) -> bytes:
    """What comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return ended(connection, *parts, timeout=timeout)


def ended(connection: socket.socket, *parts: bytes, timeout: float = 20) -> bytes:
    """What comes back on a connection that is open until the other side closes it."""
    connection.settimeout(timeout)
    received = b""
    try:
        for part in parts:
            connection.sendall(part)
        while piece := connection.recv(1 << 16):
            received += piece
    except (BrokenPipeError, ConnectionResetError):
        pass
    return received


def whole_answer(connection: socket.socket) -> bytes:
    """One answer on a connection that stays open; its head and body may come in pieces."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    begin, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", begin)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(1 << 16)
    return begin + b"\r\n\r\n" + body


def head(*lines: str, length: int = len(BODY)) -> bytes:
    first = ["POST /v1/forecast HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*first, f"Content-Length: {length}", *lines, "", ""]).encode()


def memory(process: Any) -> int:
    return int(psutil.Process(process.pid).memory_info().rss)


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * (8 << 20),
        b"GET /" + b"a" * (8 << 20),
        b"GET /livez HTTP/1.1\r\n" + b"X: a\r\n" * (1 << 20),
        b"POST /v1/forecast HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: a\r\n" * (1 << 20),
        b"POST /v1/forecast HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * (8 << 20),
    ],
    ids=["header", "path", "headers", "trailers", "chunk extension"],
)
def test_a_head_without_end_is_cut_off(server: Server, flood: bytes) -> None:
    before = memory(server.process)
    answer = exchange(server.port, flood)
    assert answer == b"" or answer[9:12] in (b"431", b"400", b"415")
    assert memory(server.process) - before < 64 * MAX_HEAD + (16 << 20)
    assert server.http.get("/livez").status_code == 200


@pytest.mark.parametrize("offer", ["Upgrade: h2c", "upgrade: foo/2", "UPGRADE: websocket"])
def test_an_offer_to_upgrade_leaves_the_body_alone(server: Server, offer: str) -> None:
    lines = (offer, "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ")
    request = head(*lines, "X-Request-Id: upgraded")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(20)
        connection.sendall(request + BODY[:50])
        connection.sendall(BODY[50:])
        answer = b""
        while b'"errors"' not in answer:
            piece = connection.recv(1 << 16)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"forecasts"' in answer


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, steps: Path) -> Iterator[Server]:
    """A service with small limits."""
    store = Store(tmp_path_factory.mktemp("strict"))
    store.register("m", steps)
    limits = {"GATECAST_HEAD_SECONDS": "0.5", "GATECAST_MAX_CONNECTIONS": "20",
              "GATECAST_BODY_SECONDS": "0.5"}  # fmt: skip
    with Server(store, "m", **limits) as started:
        yield started


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"POST"])
def test_a_head_that_does_not_come_ends_the_connection(strict: Server, sent: bytes) -> None:
    answer = exchange(strict.port, *([sent] if sent else []))
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"headers_too_slow" in answer


def test_a_body_that_does_not_come_ends_the_connection(strict: Server) -> None:
    answer = exchange(strict.port, head() + BODY[:5])
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer


def test_one_connection_too_many_is_refused_and_room_comes_back(strict: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(40)]
    try:
        answers = [ended(connection) for connection in idle]
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
        # Those that are held wait for a head, in vain.
        assert len(refused) + sum(a.startswith(b"HTTP/1.1 408") for a in answers) == len(idle)
        assert 0 < len(refused) < len(idle)
        for answer in refused:
            headers, body = answer.split(b"\r\n\r\n", 1)
            problem = json.loads(body)
            assert problem["code"] == "too_busy"
            assert b"\r\nretry-after: 1" in headers
            assert f"\r\nx-request-id: {problem['request_id']}".encode() in headers
    finally:
        for connection in idle:
            connection.close()
    end = time.monotonic() + 60
    while True:
        try:
            if strict.http.get("/livez").status_code == 200:
                break
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_request_finds_room_where_slow_ones_hold_every_connection(strict: Server) -> None:
    """And a connection at rest between two requests is not ended for it."""
    whole = head() + BODY
    with socket.create_connection(("127.0.0.1", strict.port)) as kept:
        kept.settimeout(20)
        kept.sendall(whole)
        assert whole_answer(kept).startswith(b"HTTP/1.1 200")
        slow = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(30)]
        try:
            for connection in slow:
                connection.sendall(head() + BODY[:5])
            answer = exchange(strict.port, head("Connection: close") + BODY)
            assert answer.startswith(b"HTTP/1.1 200")
            kept.sendall(whole)
            assert whole_answer(kept).startswith(b"HTTP/1.1 200")
            answers = [ended(connection) for connection in slow]
        finally:
            for connection in slow:
                connection.close()
    # Which of the two ends a slow one goes by how busy the machine is; nobody is left without end.
    # What one had still to read may be lost with its connection.
    codes = (b"too_busy", b"body_too_slow")
    assert any(code in answer for code in codes for answer in answers)
    assert all(not answer or any(code in answer for code in codes) for answer in answers)


def family(process: Any) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def listening(process: Any) -> set[int]:
    """TCP ports on which any process of the tree listens."""
    ports = set()
    for one in family(process):
        for connection in one.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                ports.add(connection.laddr.port)
    return ports


@pytest.mark.slow
def test_several_workers_have_no_port_but_the_services(server: Server, tmp_path: Path) -> None:
    words = ["--model", "m3-monthly", "--workers", "2", "--port", "0"]
    command = [sys.executable, "-m", "serving", *words]
    with Server(server.store, command=command) as several:
        assert listening(several.process) == {several.port}
        assert several.forecast({"series": [steps_series()]})["model"]["name"] == "m3-monthly"
        workers = [p for p in family(several.process)[1:] if "spawn_main" in " ".join(p.cmdline())]
        assert len(workers) == 2
        victim = workers[0].pid
        os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + 90
        while True:
            alive = [
                p.pid
                for p in family(several.process)[1:]
                if p.pid != victim and "spawn_main" in " ".join(p.cmdline())
            ]
            if len(alive) == 2:
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        assert listening(several.process) == {several.port}
        folder = Path(psutil.Process(alive[0]).environ()["PROMETHEUS_MULTIPROC_DIR"])
        assert folder.stat().st_mode & 0o077 == 0
        assert not list(folder.glob(f"gauge_live*_{victim}.db"))
        assert several.stop() == 0
        assert not folder.exists()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="g-") as name:
        yield Path(name)


@pytest.mark.slow
def test_bentoml_itself_has_no_port_but_the_services(server: Server, short: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:ForecastService",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    variables = {"GATECAST_MODELS": "m3-monthly", "TMPDIR": str(short)}
    with Server(server.store, command=command, port=port, **variables) as other:
        assert listening(other.process) == {port}
        (control,) = short.glob("gatecast-control-*")
        assert control.stat().st_mode & 0o077 == 0
        assert other.stop() == 0
    assert not control.exists()


def test_a_reader_of_the_log_that_stalls_does_not_stop_the_service(server: Server) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "serving", "--model", "m3-monthly", "--port", "0"]
    variables = {"GATECAST_LOG_LEVEL": "debug", "GATECAST_ACCESS_LOG": "true"}
    process = subprocess.Popen(
        command,
        env=environment(server.store, **variables),
        stdout=subprocess.PIPE,
        stderr=writing,
    )
    os.close(writing)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(b"127.0.0.1:")[1].split()[0])
        request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        end = time.monotonic() + 90
        while True:
            try:
                if exchange(port, request).startswith(b"HTTP/1.1 404"):
                    break
            except ConnectionRefusedError:
                pass
            assert time.monotonic() < end
            time.sleep(0.05)
        # 64 KiB of a pipe are a few hundred lines.
        for _ in range(500):
            assert exchange(port, request).startswith(b"HTTP/1.1 404")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


@pytest.mark.parametrize("piece", [1 << 10, 40_000, 1 << 16, 1 << 22])
@pytest.mark.parametrize("apart", [True, False])
def test_a_large_body_is_answered_in_whatever_pieces_it_comes(
    server: Server, piece: int, apart: bool
) -> None:
    """Its head alone first, or with the beginning of the body; and a second one on its heels."""
    body = json.dumps({"series": [{**steps_series(), "id": f"s{i}"} for i in range(1500)]}).encode()
    assert len(body) > 2 * MAX_HEAD
    again = head(length=len(body)) + body
    last = head("Connection: close", length=len(body)) + body
    whole = again + last
    cut = len(head(length=len(body))) if apart else 10
    parts = [whole[:cut], *(whole[i : i + piece] for i in range(cut, len(whole), piece))]
    answer = exchange(server.port, *parts)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"431" not in answer.split(b"\r\n")[0]
