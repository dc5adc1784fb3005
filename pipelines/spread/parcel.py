"""What travels to a worker and back: plain values as JSON, and bytes beside them. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

HEAD = 8  # bytes that say how long the JSON is


def pack(values: Mapping[str, Any]) -> bytes:
    """Plain values and bytes by name, as bytes.

    Floats come out again bit for bit, NaN and infinity among them; a tuple comes out as a list.

    Raises
    ------
    TypeError : a value that is neither bytes nor plain.
    """
    blobs = {key: value for key, value in values.items() if isinstance(value, bytes)}
    plain = {key: value for key, value in values.items() if key not in blobs}
    sizes = [[key, len(value)] for key, value in blobs.items()]
    head = json.dumps({"plain": plain, "blobs": sizes}).encode()
    return b"".join([len(head).to_bytes(HEAD, "little"), head, *blobs.values()])


def unpack(data: bytes) -> dict[str, Any]:
    """The values that `pack` made bytes of.

    Raises
    ------
    ValueError : bytes that it did not make, or not all of them.
    """
    at = HEAD + int.from_bytes(data[:HEAD], "little")
    if at > len(data):
        raise ValueError(f"{len(data)} bytes are no parcel, or only its beginning")
    head = json.loads(data[HEAD:at])
    values = dict(head["plain"])
    for key, size in head["blobs"]:
        values[key] = data[at : at + size]
        at += size
    if at != len(data):
        raise ValueError(f"a parcel of {at} bytes came as {len(data)}")
    return values
