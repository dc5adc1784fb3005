"""The cells of a text table, with the types that pyarrow's reader tells them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.ingestion.dialect import Dialect
from pipelines.ingestion.encodings import SAMPLE


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
    keys = [f"f{i}" for i in range(len(names))]
    stripped = {n.strip() for n in text_columns}
    text = {k: pa.string() for k, n in zip(keys, names, strict=True) if n.strip() in stripped}
    chosen = None
    if wanted is not None:
        stripped = {n.strip() for n in wanted}
        chosen = [k for k, n in zip(keys, names, strict=True) if n.strip() in stripped]
    malformed: list[Any] = []

    def note(row: Any) -> str:
        malformed.append(row)
        return "skip"

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
