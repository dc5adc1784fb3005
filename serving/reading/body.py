"""Bodies: read within limits, unpacked within limits, taken only in the types that are served."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any

import orjson

from serving.errors import RETRY_SECONDS, RequestError, show
from serving.reading.twice import refuse_twice
from serving.settings import ServingSettings

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
ENCODINGS = ("gzip", "zstd")
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_MEMBERS = 64  # gzip files one after the other in a body; each costs a copy of the rest
# Least memory of what JSON turns into, and how much of it a byte of `max_content` may become.
BYTES_OF_VALUE = 40
BYTES_OF_LIST = 64
BYTES_OF_OBJECT = 192
GROWTH = 4

Receive = Callable[[], Awaitable[Any]]
# What a request is known by while its body is held.
Share = Hashable


class GoneError(Exception):
    """The caller hung up before the body was complete."""


def read_headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """Headers by lower-case name, within limits; of repeated ones the last."""
    raw = scope["headers"]
    if len(raw) > MAX_HEADERS or sum(len(k) + len(v) for k, v in raw) > MAX_HEADER_BYTES:
        raise RequestError(
            431,
            "headers_too_large",
            f"at most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes of them",
        )
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}


class Bodies:
    """Reads bodies, and bounds what those under way may hold of a worker's memory together.

    Attributes
    ----------
    under_way : requests that have begun and are not answered; the application counts them.
    arriving : those of them whose bodies are still on their way, and so keep nobody from work.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.held = self.under_way = self.arriving = 0
        self._shares: dict[Share, int] = {}

    async def read(
        self, receive: Receive, headers: Mapping[str, str], share: Share, most: int
    ) -> bytes:
        """The whole body of at most so many bytes, as sent.

        Its bytes count against the bound until `release`.
        """
        length = headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > most:
            raise _too_large(most)
        self.arriving += 1
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                content = await self._receive(receive, share, most)
        except TimeoutError:
            raise RequestError(
                408,
                "body_too_slow",
                f"the body did not arrive within {self.settings.body_seconds:g} seconds",
                headers={"connection": "close"},
            ) from None
        finally:
            self.arriving -= 1
        self.check_room()
        return content

    def check_room(self) -> None:
        """503 where more requests are at work than may be."""
        most = self.settings.max_waiting
        if self.under_way - self.arriving > most:
            raise RequestError(
                503,
                "too_busy",
                f"{most} requests are under way; try again shortly",
                headers={"retry-after": RETRY_SECONDS},
            )

    def release(self, share: Share) -> None:
        """A request is over: its body no longer counts."""
        self.held -= self._shares.pop(share, 0)

    async def _receive(self, receive: Receive, share: Share, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _too_large(most)
            self._hold(share, len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, share: Share, size: int) -> None:
        if self.held + size > self.settings.max_held:
            raise RequestError(
                503,
                "too_busy",
                f"the bodies under way hold {self.settings.max_held} bytes; try again shortly",
                headers={"retry-after": RETRY_SECONDS, "connection": "close"},
            )
        self.held += size
        self._shares[share] = self._shares.get(share, 0) + size


def media_type(headers: Mapping[str, str], allowed: tuple[str, ...]) -> str:
    """The body's type, one of those allowed; JSON in UTF-8 only."""
    header = headers.get("content-type", "")
    kind, _, parameters = header.partition(";")
    kind = kind.strip().lower()
    if kind not in allowed:
        named = show(kind) if kind else "missing"
        raise RequestError(
            415,
            "unsupported_media_type",
            f"Content-Type is {named}; send {' or '.join(allowed)}",
            headers={"accept-post": ", ".join(allowed)},
        )
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind == JSON and charset not in ("", "utf-8", "utf8"):
        raise RequestError(415, "unsupported_media_type", "JSON is taken in UTF-8 only")
    return kind


def unpack(body: bytes, headers: Mapping[str, str], most: int) -> bytes:
    """The body without its content encoding."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise RequestError(
            415,
            "unsupported_encoding",
            f"Content-Encoding {show(encoding)}; send {', '.join(ENCODINGS)} or none",
            headers={"accept-encoding": ", ".join(ENCODINGS)},
        )
    out = _gunzip(body, most) if encoding == "gzip" else _unzstd(body, most)
    if out is None:
        raise RequestError(
            400, "malformed_body", f"the body is not complete {encoding}, as its header says"
        )
    return out


def _gunzip(body: bytes, most: int) -> bytes | None:
    parts: list[bytes] = []
    remaining = most
    while body:
        if len(parts) >= MAX_MEMBERS:
            return None
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(body, remaining + 1)
        except zlib.error:
            return None
        if len(part) > remaining:
            raise _too_large(most, unpacked=True)
        if not unpacker.eof:
            return None
        parts.append(part)
        remaining -= len(part)
        body = unpacker.unused_data
    return b"".join(parts) if parts else None


def _unzstd(body: bytes, most: int) -> bytes | None:
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=max(8 << 20, min(1 << 27, most)))
    try:
        with unpacker.stream_reader(body, read_across_frames=True) as reader:
            out = bytes(reader.read(most + 1))
    except zstandard.ZstdError:
        return None
    if len(out) > most:
        raise _too_large(most, unpacked=True)
    return out if out or body else None


def pack(body: bytes, headers: Mapping[str, str], least: int) -> tuple[bytes, str | None]:
    """A long answer, compressed where the caller takes that."""
    accepted = headers.get("accept-encoding", "")
    if len(body) < least or not accepted:
        return body, None
    names = {
        part.split(";")[0].strip() for part in accepted.lower().split(",") if "q=0" not in part
    }
    if "zstd" in names:
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress(body), "zstd"
    if "gzip" in names:
        packer = zlib.compressobj(level=1, wbits=31)
        return packer.compress(body) + packer.flush(), "gzip"
    return body, None


def decode_json(body: bytes, most: int) -> Any:
    """The body as JSON; NaN, Infinity and numbers beyond a double are none.

    Parameters
    ----------
    most : ``max_content``. A body of empty lists takes thirty times its size once decoded: what it
        would take is reckoned from its punctuation first.
    """
    if GROWTH * most < BYTES_OF_OBJECT * len(body):
        values, lists, objects = body.count(b","), body.count(b"["), body.count(b"{")
        memory = BYTES_OF_VALUE * values + BYTES_OF_LIST * lists + BYTES_OF_OBJECT * objects
        if memory > GROWTH * most:
            raise RequestError(
                413,
                "body_too_large",
                f"the body holds {values} values in {lists + objects} lists and objects, which "
                "would take too much memory; send the series in parts, or as Arrow",
                extra={"limit": GROWTH * most},
            )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        reason = "the body is empty" if not body.strip() else f"{error.msg} ({where})"
        raise RequestError(400, "malformed_json", f"the body is not JSON: {reason}") from None
    refuse_twice(body, content)
    return content


def _too_large(most: int, *, unpacked: bool = False) -> RequestError:
    what = "once decompressed" if unpacked else "as sent"
    return RequestError(
        413,
        "body_too_large",
        f"a body holds at most {most} bytes {what}; send the series in parts",
        headers={"connection": "close"},
        extra={"limit": most},
    )
