"""The cells of a text table, with the types that pyarrow's reader tells them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.ingestion.read.dialect import Dialect
from pipelines.ingestion.read.encodings import SAMPLE

PIECE = 1 << 23  # bytes of a text that are held at a time


def parse(
    body: pa.Buffer,
    dialect: Dialect,
    names: list[str],
    text_columns: Collection[str],
    wanted: Collection[str] | None,
) -> tuple[pa.Table, list[Any]]:
    """Cells by pyarrow's reader, and the lines that have another number of cells.

    Parameters
    ----------
    text_columns : names whose cells stay text.
    wanted : names to read; None for all.
    """
    malformed: list[Any] = []

    def note(row: Any) -> str:
        malformed.append(row)
        return "skip"

    keys, chosen, (reading, parsing, converting) = _options(
        dialect, names, text_columns, wanted, note
    )
    head = body[: min(len(body), SAMPLE)].to_pybytes()
    longest = max((len(line) for line in head.split(b"\n", 3)[:3]), default=0)
    if longest * 4 > reading.block_size:
        reading.block_size = min(longest * 4, (1 << 31) - 1)
    if len(head) == len(body) and not head.strip(b"\r\n"):
        return pa.table({k: pa.array([], pa.string()) for k in chosen or keys}), []
    try:
        table = _typed(body, reading, parsing, converting, malformed)
        broken = bool(malformed) and dialect.quote and any(
            m.text and m.text.count(dialect.quote) % 2 for m in malformed
        )  # fmt: skip
    except pa.ArrowInvalid:
        broken = True
    if broken:
        # A quoted cell may hold line breaks, which costs a slower reader.
        malformed.clear()
        parsing = _with_newlines(parsing)
        table = _typed(body, reading, parsing, converting, malformed)
    return _all_columns(table, keys, chosen), list(malformed)


def stream(
    file: pa.NativeFile,
    dialect: Dialect,
    names: list[str],
    text_columns: Collection[str],
    wanted: Collection[str] | None,
) -> Iterator[pa.RecordBatch]:
    """The cells of rows that are all well formed, piece by piece; the first tells the types.

    ``pyarrow.csv.open_csv`` does the same, but takes half as long again as its reader of whole
    tables, to which the pieces are given here.

    Raises
    ------
    pa.ArrowInvalid : a cell is not of its column's type, or a line has another number of cells.
    """
    keys, _, (reading, parsing, converting) = _options(
        dialect, names, text_columns, wanted, lambda row: "error"
    )
    have = dict(zip(keys, names, strict=True))
    for piece in _pieces(file):
        table = pacsv.read_csv(pa.BufferReader(piece), reading, parsing, converting)
        converting.column_types = {f.name: f.type for f in table.schema}
        named = table.rename_columns([have[k].strip() for k in table.column_names])
        yield from named.to_batches()


def _pieces(file: pa.NativeFile) -> Iterator[pa.Buffer]:
    """Whole lines; each piece is overwritten by the next."""
    room, held = bytearray(PIECE), 0
    while True:
        with memoryview(room) as view:
            count = file.readinto(view[held:])
        end = room.rfind(b"\n", 0, held + count) + 1 if count else held
        held += count
        if end > 2 or (not room[:end].isspace() and end):
            yield pa.py_buffer(memoryview(room)[:end])
        if not count:
            return
        if end:
            room[: held - end] = room[end:held]
            held -= end
        if held == len(room):  # one line is longer than a piece
            room = room + bytes(len(room))


def _options(
    dialect: Dialect,
    names: list[str],
    text_columns: Collection[str],
    wanted: Collection[str] | None,
    note: Callable[[Any], str],
) -> tuple[list[str], list[str] | None, tuple[Any, Any, Any]]:
    """Keys of all columns and of the wanted ones, and the reader's options."""
    keys = [f"f{i}" for i in range(len(names))]
    stripped = {n.strip() for n in text_columns}
    text = {k: pa.string() for k, n in zip(keys, names, strict=True) if n.strip() in stripped}
    chosen = None
    if wanted is not None:
        stripped = {n.strip() for n in wanted}
        chosen = [k for k, n in zip(keys, names, strict=True) if n.strip() in stripped]
    reading = pacsv.ReadOptions(column_names=keys, use_threads=False, block_size=1 << 22)
    parsing = pacsv.ParseOptions(
        delimiter=dialect.separator,
        quote_char=dialect.quote or False,
        invalid_row_handler=note,
        newlines_in_values=False,
    )
    converting = pacsv.ConvertOptions(
        column_types=text,
        null_values=[""],
        strings_can_be_null=True,
        include_columns=chosen or None,
    )
    return keys, chosen, (reading, parsing, converting)


def _typed(
    body: pa.Buffer,
    reading: pacsv.ReadOptions,
    parsing: pacsv.ParseOptions,
    converting: pacsv.ConvertOptions,
    malformed: list[Any],
) -> pa.Table:
    """The table; a column whose type was told too early from its first rows becomes text."""
    kinds = dict(converting.column_types)
    while True:
        try:
            return pacsv.read_csv(pa.BufferReader(body), reading, parsing, converting)
        except pa.ArrowInvalid as error:
            place = re.search(r"In CSV column #(\d+): CSV conversion error", str(error))
            name = reading.column_names[int(place[1])] if place else ""
            if not place or name in kinds:
                raise
            malformed.clear()
            kinds[name] = pa.string()
            converting.column_types = kinds


def _with_newlines(parsing: pacsv.ParseOptions) -> pacsv.ParseOptions:
    """The same options, for cells that hold line breaks."""
    return pacsv.ParseOptions(
        delimiter=parsing.delimiter,
        quote_char=parsing.quote_char,
        invalid_row_handler=parsing.invalid_row_handler,
        newlines_in_values=True,
    )


def _all_columns(table: pa.Table, keys: list[str], chosen: list[str] | None) -> pa.Table:
    if chosen is None:
        return table
    # Columns nobody asked for keep their place, as nulls that take no room.
    blank = pa.nulls(table.num_rows)
    have = set(table.column_names)
    return pa.table([table[k] if k in have else blank for k in keys], names=keys)
