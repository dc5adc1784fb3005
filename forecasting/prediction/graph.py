"""What an ONNX file holds, read from its bytes before any session opens it.

Only the few fields of the format that matter here are looked at: files outside the file, operators
that are not ONNX's own, functions, tensors that claim to be larger than their bytes, and constants
that make an operator fill more memory than any forecaster needs.
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
MAX_VALUES: Final = 1 << 28  # that an operator makes of a constant shape
DOMAINS: Final = frozenset({"", "ai.onnx"})
# Operators that fill memory by a shape, and which of their inputs or attributes is the shape.
SHAPED: Final = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "Pad": 1}
DRAWN: Final = frozenset({"RandomNormal", "RandomUniform"})
RANGE: Final = "Range"

# Fields by number in onnx.proto.
MODEL_GRAPH, MODEL_OPSET, MODEL_FUNCTIONS = 7, 8, 25
GRAPH_NODE, GRAPH_TENSOR, GRAPH_SPARSE = 1, 5, 15
NODE_INPUT, NODE_OUTPUT, NODE_KIND, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_NUMBER, ATTRIBUTE_NUMBERS = 3, 8
ATTRIBUTE_SPARSE = (22, 23)
TENSOR_DIMS, TENSOR_KIND, TENSOR_INT64, TENSOR_NAME, TENSOR_RAW = 1, 2, 7, 8, 9
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
INT64 = 7
MAX_SHAPE = 4096  # bytes of a tensor that may be a shape
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Constants = dict[bytes, list[int]]


def check_graph(path: Path) -> bytes:
    """The bytes of a graph that may be opened.

    Raises
    ------
    BundleError : it reads other files, runs foreign code or claims what it has not.
    """
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{path} is larger than {MAX_BYTES} bytes")
    data = path.read_bytes()
    try:
        _Reader(path).model(memoryview(data))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path} is no ONNX graph: {error}") from None
    return data


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
                self._graph(_message(value), 0, {})
        if graphs != 1:
            raise ValueError(f"it holds {graphs} graphs")

    def _graph(self, data: memoryview, depth: int, outer: Constants) -> None:
        if depth > MAX_DEPTH:
            raise self._refused(f"nests graphs deeper than {MAX_DEPTH}")
        constants = {**outer, **_constants(data)}
        for field, value in _fields(data):
            if field == GRAPH_NODE:
                self.nodes += 1
                if self.nodes > MAX_NODES:
                    raise self._refused(f"has more than {MAX_NODES} operators")
                self._node(_message(value), depth, constants)
            elif field == GRAPH_TENSOR:
                self._tensor(_message(value))
            elif field == GRAPH_SPARSE:
                raise self._refused("holds sparse weights")

    def _node(self, data: memoryview, depth: int, known: Constants) -> None:
        kind, inputs, shapes = "", [], []
        for field, value in _fields(data):
            if field == NODE_DOMAIN:
                self._check_domain(_message(value))
            elif field == NODE_KIND:
                kind = bytes(_message(value)).decode(errors="replace")
            elif field == NODE_INPUT:
                inputs.append(known.get(bytes(_message(value)), []))
            elif field == NODE_ATTRIBUTE:
                shapes += self._attribute(_message(value), depth, known)
        shape = shapes if kind in DRAWN else []
        if kind in SHAPED and len(inputs) > SHAPED[kind]:
            shape = inputs[SHAPED[kind]]
        if kind == RANGE and len(inputs) == 3 and all(inputs):
            (start,), (stop,), (step,) = (one[:1] for one in inputs)
            shape = [abs(stop - start) // max(1, abs(step))]
        size = prod(abs(length) for length in shape)
        if size > MAX_VALUES:
            raise self._refused(f"makes {size} values at once by {kind}")

    def _attribute(self, data: memoryview, depth: int, known: Constants) -> list[int]:
        """Check what an attribute holds; its numbers, where it holds such."""
        numbers: list[int] = []
        single = 0
        for part, content in _fields(data):
            # A parser would merge two of them into one that nobody has looked at.
            single += part in (ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH)
            if single > 1:
                raise self._refused("gives an attribute twice")
            if part in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                self._tensor(_message(content))
            elif part in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                self._graph(_message(content), depth + 1, known)
            elif part in ATTRIBUTE_SPARSE:
                raise self._refused("holds sparse weights")
            elif part == ATTRIBUTE_NUMBERS:
                numbers += [content] if isinstance(content, int) else _numbers(content)
        return numbers

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


def _constants(data: memoryview) -> Constants:
    """Whole numbers that a graph holds under a name: they may be shapes."""
    constants: Constants = {}
    for field, value in _fields(data):
        if field == GRAPH_TENSOR:
            name, numbers = _whole_numbers(_message(value))
            constants[name] = numbers
        elif field == GRAPH_NODE:
            parts = list(_fields(_message(value)))
            kind = next((bytes(_message(v)) for f, v in parts if f == NODE_KIND), b"")
            name = next((bytes(_message(v)) for f, v in parts if f == NODE_OUTPUT), b"")
            if kind == b"Constant":
                constants[name] = [
                    number
                    for f, v in parts
                    if f == NODE_ATTRIBUTE
                    for number in _constant(_message(v))
                ]
    return constants


def _constant(data: memoryview) -> list[int]:
    numbers: list[int] = []
    for part, content in _fields(data):
        if part == ATTRIBUTE_TENSOR:
            numbers += _whole_numbers(_message(content))[1]
        elif part in (ATTRIBUTE_NUMBER, ATTRIBUTE_NUMBERS):
            numbers += [content] if isinstance(content, int) else _numbers(content)
    return [_signed(number) for number in numbers]


def _whole_numbers(data: memoryview) -> tuple[bytes, list[int]]:
    """Name and numbers of a small tensor of int64; of others no numbers."""
    name, kind, numbers = b"", 0, []
    for field, value in _fields(data):
        if field == TENSOR_NAME:
            name = bytes(_message(value))
        elif field == TENSOR_KIND and isinstance(value, int):
            kind = value
        elif field == TENSOR_INT64:
            numbers += [value] if isinstance(value, int) else _numbers(_short(value))
        elif field == TENSOR_RAW:
            raw = bytes(_short(_message(value)))
            numbers += [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
    return name, [_signed(number) for number in numbers] if kind == INT64 else []


def _short(data: memoryview) -> memoryview:
    """Nothing of what is too long to be a shape."""
    return data if len(data) <= MAX_SHAPE else data[:0]


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and contents of the fields of a message; numbers of fixed width are left out."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag >> 32:
            # Parsers cut it to 32 bits, and would see another field than this one.
            raise ValueError("the number of a field is too long")
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
