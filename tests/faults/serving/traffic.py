"""Callers on sockets of their own: one request at a time on a connection, and many of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PATIENCE = 60.0  # seconds after which an answer counts as none


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 is a connection that ended without an answer."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def version(self) -> int:
        """Of the model that answered."""
        return int(json.loads(self.body)["model"]["version"])


class LostError(Exception):
    """A connection ended, or a time ran out, before an answer was whole."""


class Caller:
    """A connection that is kept, and made anew when it ends."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, raw: bytes, patience: float = PATIENCE) -> Answer:
        """The answer to a request; `LostError` where none came."""
        fresh = self._streams is None
        try:
            return await asyncio.wait_for(self._ask(raw), patience)
        except TimeoutError:
            self.close()
            raise LostError(f"no answer within {patience:g} s") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.close()
            # A server may end a connection that rests just when it is used again.
            if not fresh and isinstance(error, asyncio.IncompleteReadError) and not error.partial:
                return await self.ask(raw, patience)
            raise LostError(f"{type(error).__name__}: {error}") from None

    async def _ask(self, raw: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        reader, writer = self._streams
        try:
            writer.write(raw)
            await writer.drain()
        except OSError:
            pass  # what refused it may stand there to be read all the same
        head = await reader.readuntil(b"\r\n\r\n")
        while head[9:12] == b"100":
            head = await reader.readuntil(b"\r\n\r\n")
        fields = head.lower()
        at = fields.find(b"\r\ncontent-length:")
        length = int(fields[at + 17 : fields.find(b"\r", at + 2)]) if at >= 0 else 0
        body = await reader.readexactly(length) if not raw.startswith(b"HEAD") else b""
        if b"\r\nconnection: close" in fields:
            self.close()
        return Answer(int(head[9:12]), head, body)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


def request(
    body: bytes,
    path: str = "/v1/forecast",
    kind: str = "application/json",
    method: str = "POST",
    **headers: str,
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if method == "POST":
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


READY = request(b"", "/readyz", method="GET")


def series(name: str = "a", rows: int = 40, start: Any = "2020-01-01") -> dict[str, Any]:
    """A series of a monthly model."""
    y = 100.0 + 10.0 * np.sin(np.arange(rows) / 2.0)
    return {"id": name, "start": start, "y": y.tolist()}


def question(count: int = 1, rows: int = 40, start: Any = "2020-01-01") -> bytes:
    """A forecast that a monthly model answers."""
    asked = [series(f"s{i}", rows, start) for i in range(count)]
    return request(json.dumps({"series": asked}).encode())


@dataclass
class Traffic:
    """Callers who ask without a pause, or at a rate, until they are stopped.

    Attributes
    ----------
    pause : seconds from a request of a caller to the next, as long as answers come in time.
    statuses : of answers. lost : why an answer did not come. times : in seconds. kept : what
        ``keep`` made of each answer.
    """

    port: int
    raw: bytes
    callers: int = 4
    pause: float = 0.0
    keep: Callable[[Answer], Any] | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)

    async def __aenter__(self) -> Traffic:
        self._going = True
        self._tasks = [asyncio.create_task(self._call()) for _ in range(self.callers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def _call(self) -> None:
        caller = Caller(self.port)
        while self._going:
            began = time.monotonic()
            try:
                answer = await caller.ask(self.raw)
            except LostError as error:
                self.lost.append(str(error))
                await asyncio.sleep(0.05)
                continue
            self.times.append(time.monotonic() - began)
            self.statuses[answer.status] += 1
            if self.keep is not None:
                self.kept.append(self.keep(answer))
            if self.pause:
                await asyncio.sleep(max(0.0, began + self.pause - time.monotonic()))
        caller.close()

    def at(self, share: float) -> float:
        """A quantile of the times, in milliseconds."""
        return 1e3 * float(np.quantile(self.times, share)) if self.times else 0.0

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return len(self.lost) + self.statuses.total() - self.statuses[200]
