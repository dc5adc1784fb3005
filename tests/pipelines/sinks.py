"""A webhook and a mailbox on this machine, which keep what they are told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

TOKEN = "T0K3N-very-secret"


@dataclass
class Hook:
    """A webhook that answers with the statuses it was given, the last one for ever."""

    statuses: list[int]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def hook() -> Iterator[Hook]:
    sink = Hook([204])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            sink.bodies.append(json.loads(self.rfile.read(length)))
            status = sink.statuses.pop(0) if len(sink.statuses) > 1 else sink.statuses[0]
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        sink.url = f"http://127.0.0.1:{server.server_port}/hooks/{TOKEN}"
        yield sink
        server.shutdown()


@dataclass
class Mailbox:
    """An SMTP server that keeps what it is given; with `password` it asks for one."""

    port: int = 0
    letters: list[str] = field(default_factory=list)
    password: bool = False
    accepts: bool = True


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN" if box.password else "250 here")
                elif verb == "AUTH":
                    self.say("235 fine" if box.accepts else "535 wrong password")
                elif verb == "DATA":
                    self.say("354 go on")
                    letter = []
                    while (text := self.rfile.readline().decode()) != ".\r\n":
                        letter.append(text)
                    box.letters.append("".join(letter))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        box.port = server.server_address[1]
        yield box
        server.shutdown()


def smtp(box: Mailbox, user: str = "") -> str:
    return f"smtp://{user}127.0.0.1:{box.port}/?from=g@example.org&to=a@example.org,b@example.org"
