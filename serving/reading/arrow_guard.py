"""What an Arrow stream claims to hold, checked before anything is allocated for it.

The format lets a few bytes state any length: a column of nulls has no buffers at all, a compressed
buffer names the size it unpacks to, and a dictionary repeats one long value as often as it likes.
So the headers of all batches are read first, by the few fields of the FlatBuffers that name
lengths, and set against the bytes that are there.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from serving.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS: Final = 10_000
MAX_BATCHES: Final = 10_000  # record batches and dictionaries of one stream
BYTES_OF_VALUE: Final = 8  # of memory, once it is a double
DICTIONARY_BATCH: Final = 2
RECORD_BATCH: Final = 3
PLAIN_LENGTH: Final = -1  # in place of an unpacked length: the buffer is not compressed


def check_stream(body: bytes, most: int) -> None:
    """Refuse a stream whose headers claim more than ``most`` bytes, or more than the body can hold.

    Raises
    ------
    RequestError : 413 for claims beyond the limits. ValueError : for headers that contradict
        themselves. What Arrow itself finds wrong is raised as Arrow raises it.
    """
    import pyarrow as pa

    values = unpacked = count = 0
    for message in pa.ipc.MessageReader.open_stream(body):
        batch = _batch(_Table.root(message.metadata))
        if batch is None:
            continue
        count += 1
        if count > MAX_BATCHES:
            raise _too_large(f"the stream holds more than {MAX_BATCHES} batches")
        content = memoryview(message.body) if message.body is not None else memoryview(b"")
        lengths = [batch.number(0), *(length for length, _ in batch.pairs(1))]
        buffers = batch.pairs(2)
        present = len(content)
        if batch.has(3):
            present = sum(_claimed(content, *buffer) for buffer in buffers)
        unpacked += present
        values += sum(lengths[1:])
        if unpacked > most or values * BYTES_OF_VALUE > most:
            raise _too_large(f"the table holds more than {most} bytes")
        # Whatever is no text and no number takes a byte or more beside the id of its series.
        if min(lengths) < 0 or max(lengths) > present:
            raise ValueError(
                f"a batch claims {max(lengths)} values, and has {present} bytes of them"
            )


def check_dictionary(column: Any, most: int) -> None:
    """Refuse a dictionary-encoded column that would be larger than ``most`` once decoded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_primitive(kind)):
        raise RequestError(
            422, "invalid_request", f"a dictionary must hold text or numbers, not {kind}"
        )
    if text:
        widths = pc.binary_length(column.dictionary).cast(pa.int64())
        size = pc.sum(pc.take(widths, column.indices)).as_py() or 0
        if size > most:
            raise _too_large(f"a dictionary holds more than {most} bytes once decoded")


def check_schema(schema: pa.Schema) -> None:
    """Refuse more columns than any model could have."""
    if len(schema) > MAX_COLUMNS:
        raise _too_large(f"the table has more than {MAX_COLUMNS} columns")


def _claimed(content: memoryview, offset: int, length: int) -> int:
    """Bytes of a buffer once unpacked, as its first eight bytes say."""
    if length == 0:
        return 0
    if offset < 0 or length < BYTES_OF_VALUE or offset + length > len(content):
        raise ValueError("a buffer lies outside its batch")
    (size,) = struct.unpack_from("<q", content, offset)
    if size == PLAIN_LENGTH:
        return length
    if size < 0:
        raise ValueError("a buffer claims a negative length")
    return int(size)


def _batch(message: _Table) -> _Table | None:
    kind = message.byte(1)
    if kind == RECORD_BATCH:
        return message.table(2)
    return message.table(2).table(1) if kind == DICTIONARY_BATCH else None


class _Table:
    """A table of a FlatBuffer; its fields are known by their places in the schema."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at
        self.layout = at - self._read("<i", at)
        self.size = self._read("<H", self.layout)

    @classmethod
    def root(cls, metadata: Any) -> _Table:
        data = memoryview(metadata)
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _read(self, form: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(form) > len(self.data):
            raise ValueError("a header points outside itself")
        return int(struct.unpack_from(form, self.data, at)[0])

    def _place(self, field: int) -> int:
        entry = 4 + 2 * field
        offset = self._read("<H", self.layout + entry) if entry < self.size else 0
        return self.at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self._place(field) > 0

    def byte(self, field: int) -> int:
        place = self._place(field)
        return self._read("<B", place) if place else 0

    def number(self, field: int) -> int:
        place = self._place(field)
        return self._read("<q", place) if place else 0

    def table(self, field: int) -> _Table:
        place = self._place(field)
        if not place:
            raise ValueError("a header lacks its content")
        return _Table(self.data, place + self._read("<I", place))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        place = self._place(field)
        if not place:
            return []
        begin = place + self._read("<I", place)
        count = self._read("<I", begin)
        stop = begin + 4 + 16 * count
        if stop > len(self.data):
            raise ValueError("a header points outside itself")
        return list(struct.iter_unpack("<qq", self.data[begin + 4 : stop]))


def _too_large(detail: str) -> RequestError:
    return RequestError(413, "body_too_large", f"{detail}; send the series in parts")
