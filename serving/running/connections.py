"""The HTTP protocol of the server, with bounds that uvicorn's has not.

Heads that never end, heads and bodies that arrive too slowly, trailers and chunk sizes without end,
more connections than the service can hold, and an upgrade that nobody offers.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from http import HTTPStatus
from typing import Any, ClassVar, Final, Self

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.errors import PROBLEM_TYPE, RETRY_SECONDS, RequestError, new_request_id
from serving.settings import ServingSettings

MAX_HEAD: Final = 64 * 1024  # bytes of a request before and between its body's
WASTE: Final = 8  # bytes of chunk sizes for a byte of a body: chunks of one byte take five
UPGRADE: Final = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class GuardedProtocol(HttpToolsProtocol):
    """A connection that ends when its caller takes more than a caller may."""

    # Servers make their protocols themselves: a process reads the bounds once, as workers do.
    settings = ServingSettings.read()
    # Those whose request has not come in whole, the one that has taken longest first.
    arriving: ClassVar[dict[GuardedProtocol, None]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head; of one connection too many the slowest caller's ends."""
        super().connection_made(transport)
        self._in_head = True
        self._overhead = self._body = self._of_bodies = 0
        self._watch: asyncio.TimerHandle | None = None
        if len(self.connections) > self.settings.max_connections:
            slowest: Self | None = next(iter(self.arriving), None)  # type: ignore[assignment]
            (slowest or self)._make_room()
            if slowest is None:
                return
        self.arriving[self] = None
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self.arriving.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, and count what is no body."""
        if self.transport.is_closing():
            return
        if self._watch is None and self._in_head:
            self._wait_for_head()
        if self._in_head:
            data = _without_upgrade(data)
        before = self._of_bodies
        super().data_received(data)
        # A request may end and another begin within the data: what was a body never counts.
        self._overhead += len(data) - (self._of_bodies - before)
        if self._overhead > MAX_HEAD + WASTE * self._body and not self.transport.is_closing():
            self._refuse(431, "headers_too_large", f"at most {MAX_HEAD} bytes of headers")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self.arriving.pop(self, None)
        self.arriving[self] = None

    def on_headers_complete(self) -> None:
        """The head has arrived in time."""
        self._in_head = False
        self._overhead = self._body = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body has arrived."""
        self._body += len(body)
        self._of_bodies += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        super().on_message_complete()
        self.arriving.pop(self, None)
        self._in_head = True
        self._overhead = self._body = 0

    def _wait_for_head(self) -> None:
        self._watch = self.loop.call_later(self.settings.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _too_slow(self) -> None:
        self._watch = None
        if self._in_head and not self.transport.is_closing():
            detail = f"the headers did not arrive within {self.settings.head_seconds:g} seconds"
            self._refuse(408, "headers_too_slow", detail)

    def _make_room(self) -> None:
        held = self.settings.max_connections
        detail = f"at most {held} connections are held, and this one's request was not whole"
        self._refuse(503, "too_busy", detail)

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer without the application, and close; in the middle of an answer only close."""
        self._stop_waiting()
        self.arriving.pop(self, None)
        cycle = self.cycle
        between = cycle is None or cycle.response_complete or not cycle.response_started
        if between and not self.pipeline:
            request_id = new_request_id()
            content = RequestError(status, code, detail).body(request_id)
            lines = [
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
                f"content-type: {PROBLEM_TYPE}",
                f"content-length: {len(content)}",
                f"x-request-id: {request_id}",
                "connection: close",
            ]
            if status == 503:
                lines.append(f"retry-after: {RETRY_SECONDS}")
            with contextlib.suppress(RuntimeError):
                self.transport.write("\r\n".join([*lines, "", ""]).encode() + content)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """A head without the offer to go on in another protocol, for which the parser drops the body.

    The offer may be passed over (RFC 9110, 7.8): the answer is HTTP/1.1, as ``curl --http2`` takes.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    if not UPGRADE.search(head):
        return data
    return UPGRADE.sub(b"\r\nignored:", head) + data[len(head) :]


def server_options() -> dict[str, Any]:
    """How a server of this service is configured, apart from what it serves."""
    return {
        "http": GuardedProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }
