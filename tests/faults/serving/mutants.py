"""Requests that are almost right, in every form that the service reads."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from serving.reading.body import ARROW
from tests.faults.serving.traffic import request
from tests.serving.reading.test_arrow_form import stream, table
from tests.serving.test_forecast import rich_series, series
from tests.serving.test_fuzz import broken, seeds

JSON = "application/json"
COLUMNS = (
    pa.array([None, None]),
    pa.array([True, False]),
    pa.array([1, -1], pa.int8()),
    pa.array([np.inf, np.nan]),
    pa.array([2**63 - 1, -(2**63)]),
    pa.array(["a", ""]),
    pa.array([[1.0], []]),
    pa.array([[None], None], pa.list_(pa.float32())),
    pa.array([["x"], ["y"]]),
    pa.array([[[1.0]], [[2.0]]]),
    pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    pa.array([{"a": 1}, {"a": 2}]),
    pa.array([0, 10**15], pa.timestamp("us")),
    pa.array([0, 1], pa.duration("s")),
    pa.array([0, 1], pa.date32()),
    pa.array(["a", "a"]).dictionary_encode(),
    pa.array([b"\xff", b"\x00"]),
)
LINES = (
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 1, 2",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Host: other",
    b"Content-Type: text/plain",
    b"Accept: */*;q=x",
    b"X-Request-Id: \xff\xfe",
    b"X-Long: " + b"a" * 9000,
    b" folded: line",
    b": no name",
    b"\x00: \x01",
)
METHODS = (
    b"GET",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"post",
    b"\x16\x03",
)

Mutant = tuple[bytes, bool]  # the bytes, and whether what is asked is a whole request


def mutants(draw: random.Random) -> dict[str, Callable[[], Mutant]]:
    """By the name of a form: a way to one more request."""
    good = seeds()
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda content: gzip.compress(content, 1, mtime=0),
        "zstd": lambda content: zstandard.ZstdCompressor(level=1).compress(content),
    }

    def body_of(path: str) -> bytes:
        while True:
            body = draw.choice([one for where, one in good if where == path])
            try:
                content = orjson.dumps(broken(body, draw))
            except TypeError:
                continue
            return damaged(content, draw) if draw.random() < 0.2 else content

    def flat() -> bytes:
        body: dict[str, Any] = {
            "ids": ["a", "b"], "sizes": [3, 2], "start": ["2020-01-01", "2021-01-01"],
            "y": [1.0, 2.0, None, 4.0, 5.0], "horizon": 2,
        }  # fmt: skip
        if draw.random() < 0.5:
            body |= {"model": "retail", "past": {"temp": [1.0] * 5},
                     "future": {"promo": [0.0] * 4}, "static": {"region": ["a", "b"]}}  # fmt: skip
        return orjson.dumps(broken(body, draw), default=str)

    def packed(name: str) -> Mutant:
        content = packers[name](body_of(draw.choice(["/v1/forecast", "/invocations"])))
        if draw.random() < 0.5:
            content = damaged(content, draw)
        accept = draw.choice(["gzip", "zstd", "identity", "br;q=1, gzip;q=0"])
        return request(content, Content_Encoding=name, Accept_Encoding=accept), True

    return {
        "json": lambda: (request(body_of("/v1/forecast")), True),
        "flat": lambda: (request(flat()), True),
        "arrow": lambda: (
            request(arrow(draw), kind=ARROW, Accept=draw.choice([JSON, ARROW, "*/*"])),
            True,
        ),
        "gzip": lambda: packed("gzip"),
        "zstd": lambda: packed("zstd"),
        "invocations": lambda: (request(body_of("/invocations"), "/invocations"), True),
        "raw": lambda: (raw(request(body_of("/v1/forecast")), draw), False),
    }


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A few bytes others, some gone or twice."""
    out = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        if not out:
            break
        at = draw.randrange(len(out))
        what = draw.randrange(4)
        if what == 0:
            del out[at : at + draw.randint(1, 20)]
        elif what == 1:
            out[at:at] = out[at : at + draw.randint(1, 20)]
        else:
            out[at] = draw.randrange(256)
    return bytes(out)


def arrow(draw: random.Random) -> bytes:
    """A stream with columns of other types or names, options that are none, bytes that flipped."""
    rich = draw.random() < 0.5
    made = table([rich_series(0), rich_series(1)] if rich else [series("a", 6), series("b", 4)])
    for _ in range(draw.randint(0, 2)):
        column = draw.choice(COLUMNS)
        name = draw.choice([*made.column_names, "past.temp", "extra", ""])
        if name in made.column_names and draw.random() < 0.8:
            made = made.set_column(made.column_names.index(name), name, column)
        elif draw.random() < 0.5:
            made = made.append_column(name, column)
        elif name in made.column_names:
            made = made.remove_column(made.column_names.index(name))
    options: Any = {"horizon": 2, "model": "retail" if rich else "monthly"}
    content = stream(made, **(broken(options, draw) if draw.random() < 0.3 else options))
    return damaged(content, draw) if draw.random() < 0.5 else content


def raw(content: bytes, draw: random.Random) -> bytes:
    """What breaks the rules of HTTP itself."""
    head, _, body = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(draw.randint(1, 3)):
        what = draw.randrange(6)
        if what == 0:
            lines.insert(draw.randint(1, len(lines)), draw.choice(LINES))
        elif what == 1:
            del lines[draw.randrange(len(lines))]
        elif what == 2:
            lines[0] = draw.choice(METHODS) + lines[0][4:] if lines else b""
        elif what == 3 and lines:
            lines[0] = lines[0].replace(b"/v1/forecast", bytes(draw.choices(range(256), k=9)))
        elif what == 4:
            body = damaged(body, draw)
        else:
            lines = damaged(b"\r\n".join(lines), draw).split(b"\r\n")
        if not lines:
            break
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
