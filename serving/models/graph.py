"""What an ONNX file holds, read from its bytes before any session opens it.

Only the few fields of the format that matter here are looked at: files outside the file, operators
that are not ONNX's own, functions, and tensors that claim to be larger than their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Final

from forecasting.errors import BundleError

MAX_BYTES: Final = 2 << 30  # of a graph
MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 16  # graphs within graphs
DOMAINS: Final = frozenset({"", "ai.onnx"})

# Fields by number in onnx.proto.
MODEL_GRAPH, MODEL_OPSET, MODEL_FUNCTIONS = 7, 8, 25
GRAPH_NODE, GRAPH_TENSOR, GRAPH_SPARSE = 1, 5, 15
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE = (22, 23)
TENSOR_DIMS, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 13, 14
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def check_graph(path: Path) -> None:
    """`BundleError` for a file that reads others, runs foreign code or claims what it has not."""
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        _Reader(path).model(memoryview(path.read_bytes()))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path} is no ONNX graph: {error}") from None


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = 0

    def model(self, data: memoryview) -> None:
        graphs = 0
        for field, value in _fields(data):
            if field == MODEL_FUNCTIONS:
                raise self._refused("defines functions of its own")
            if field == MODEL_OPSET:
                for part, name in _fields(_message(value)):
                    if part == 1:
                        self._check_domain(_message(name))
            if field == MODEL_GRAPH:
                graphs += 1
                self._graph(_message(value), 0)
        if graphs != 1:
            raise ValueError(f"it holds {graphs} graphs")

    def _graph(self, data: memoryview, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._refused(f"nests graphs deeper than {MAX_DEPTH}")
        for field, value in _fields(data):
            if field == GRAPH_NODE:
                self.nodes += 1
                if self.nodes > MAX_NODES:
                    raise self._refused(f"has more than {MAX_NODES} operators")
                self._node(_message(value), depth)
            elif field == GRAPH_TENSOR:
                self._tensor(_message(value))
            elif field == GRAPH_SPARSE:
                raise self._refused("holds sparse weights")

    def _node(self, data: memoryview, depth: int) -> None:
        for field, value in _fields(data):
            if field == NODE_DOMAIN:
                self._check_domain(_message(value))
            elif field == NODE_ATTRIBUTE:
                for part, content in _fields(_message(value)):
                    if part in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                        self._tensor(_message(content))
                    elif part in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                        self._graph(_message(content), depth + 1)
                    elif part in ATTRIBUTE_SPARSE:
                        raise self._refused("holds sparse weights")

    def _tensor(self, data: memoryview) -> None:
        shape: list[int] = []
        for field, value in _fields(data):
            if field == TENSOR_EXTERNAL or (field == TENSOR_LOCATION and value != 0):
                raise self._refused("keeps weights in another file, which no hash covers")
            if field == TENSOR_DIMS:
                shape += [value] if isinstance(value, int) else _numbers(value)
        if prod(shape) > 8 * len(data):
            raise self._refused(f"claims a tensor of {prod(shape)} values in {len(data)} bytes")

    def _check_domain(self, name: memoryview) -> None:
        domain = bytes(name).decode(errors="replace")
        if domain not in DOMAINS:
            raise self._refused(f"uses operators of {domain[:80]!r}, which are not ONNX's")

    def _refused(self, why: str) -> BundleError:
        return BundleError(f"{self.path} {why}; train the model again, or roll back")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and contents of the fields of a message; numbers of fixed width are left out."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield field, value
        elif kind == BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("it is cut off")
            yield field, data[at : at + size]
            at += size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"unknown kind of field {kind}")


def _numbers(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
