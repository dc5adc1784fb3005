"""Text tables: encoding, dialect and header are found out, then pyarrow reads the cells.

Nothing is converted here that could lose something: identifiers stay text (``007``), and a
column with any code for "missing" stays text until its numbers are read.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import charset_normalizer
import pyarrow as pa
import pyarrow.csv as pacsv
import zstandard

from forecasting.errors import DataError
from pipelines.ingestion.config import CsvConfig, DataConfig
from pipelines.ingestion.mapping import settle, text_columns, wanted_columns
from pipelines.ingestion.raw import Raw, shown

SAMPLE = 1 << 18
SEPARATORS = (";", "\t", "|", ",")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Dialect:
    """How a text table is written, and where its header stands."""

    encoding: str
    separator: str
    quote: str | None
    comment: str | None
    skip: int
    headers: list[list[str]]


def decompress(data: bytes, name: str) -> bytes:
    """The bytes themselves, whatever they were packed with; told by their first bytes."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:4] == b"\x28\xb5\x2f\xfd":
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        if data[:3] == b"BZh":
            return bz2.decompress(data)
        if data[:6] == b"\xfd7zXZ\x00":
            return lzma.decompress(data)
    except (OSError, EOFError, ValueError, zstandard.ZstdError, lzma.LZMAError) as error:
        raise DataError(f"{name}: its compressed content is damaged ({error})") from None
    return data


def read_text(data: bytes, name: str, config: DataConfig) -> tuple[Raw, DataConfig]:
    """A text table as columns, and the config with the roles of its columns."""
    if not data.strip():
        raise DataError(f"{name} is empty")
    csv = config.csv
    encoding = csv.encoding or detect_encoding(data, name)
    data = to_utf8(data, encoding, name)
    if b"\r" in data[:SAMPLE] and b"\n" not in data[:SAMPLE]:
        data = data.replace(b"\r", b"\n")
    dialect = _dialect(data, name, csv, encoding, config.max_columns)
    removed: dict[str, int] = {}
    body, header_lines = _body(data, dialect, csv, removed)
    names = dialect.headers[-1]
    facts: dict[str, Any] = {
        "kind": "text table",
        "encoding": encoding,
        "separator": dialect.separator,
        "header lines": header_lines,
        "all columns": names,
    }
    try:
        sample, _ = _parse(_head(body), dialect, names, (), None)
        config = settle(config, dialect.headers, sample)
        if config.layout == "rows":
            body = _padded(body, dialect, len(names))
        table, malformed = _parse(
            body, dialect, names, text_columns(config, names), wanted_columns(config)
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} cannot be read as a text table: {error}") from None
    if malformed:
        first = malformed[0]
        if csv.malformed == "refuse" or len(malformed) > max(5, 0.05 * table.num_rows):
            raise DataError(
                f"{name}: {len(malformed)} lines do not have the header's {len(names)} cells; the "
                f"first has {first.actual_columns}: {shown(first.text)}; is the separator "
                f"{dialect.separator!r} right?"
            )
        removed["malformed line"] = len(malformed)
        facts["malformed lines"] = [shown(m.text, 120) for m in malformed[:20]]
    if not table.num_rows:
        raise DataError(f"{name} has a header but no rows")
    return Raw(table, dialect.headers, facts, removed), config


def _head(body: bytes) -> bytes:
    """The first lines, whole."""
    if len(body) <= SAMPLE:
        return body
    end = body.rfind(b"\n", 0, SAMPLE)
    return body[: end + 1] if end > 0 else body[: body.find(b"\n", SAMPLE) + 1] or body


def detect_encoding(data: bytes, name: str) -> str:
    """The encoding of a text; `DataError` when the bytes are no text."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    sample = data[:SAMPLE]
    if b"\x00" in sample:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if max(even, odd) > 0.3 * len(sample) / 2 and min(even, odd) < 0.05 * len(sample):
            return "utf-16-be" if even > odd else "utf-16-le"
        at = data.index(b"\x00")
        raise DataError(
            f"{name} is no text table: byte {at} is zero; name the format (parquet, arrow) or "
            "export it as CSV"
        )
    control = sum(sample.count(bytes([c])) for c in range(1, 32) if c not in (9, 10, 12, 13, 26))
    if control > 0.01 * len(sample):
        raise DataError(f"{name} is no text table: {control} control characters at its beginning")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        window = data[max(0, error.start - SAMPLE // 2) : error.start + SAMPLE // 2]
        best = charset_normalizer.from_bytes(window).best()
        guess = best.encoding if best else "cp1252"
        # Western code pages differ in a handful of signs; cp1252 holds all that are printed.
        western = re.match(
            r"latin|iso8859|cp125[0247]|cp437|cp85|mac|hp_|cp1140|cp500|cp037", guess
        )
        return "cp1252" if western or guess in ("utf_8", "ascii") else guess
    return "utf-8"


def to_utf8(data: bytes, encoding: str, name: str) -> bytes:
    """The text in UTF-8, without a byte-order mark."""
    try:
        if codecs.lookup(encoding).name == "utf-8":
            return data[3:] if data.startswith(codecs.BOM_UTF8) else data
        # cp1252 leaves five bytes undefined, which Latin-1 reads as control characters.
        text = data.decode(encoding, "strict")
    except LookupError:
        raise DataError(f"csv.encoding = {encoding!r} is not known") from None
    except UnicodeDecodeError as error:
        if encoding != "cp1252":
            raise DataError(
                f"{name} is not {encoding}: byte {error.start} ({error.reason})"
            ) from None
        text = data.decode("latin-1")
    return text.lstrip("\ufeff").encode("utf-8")


def _dialect(data: bytes, name: str, config: CsvConfig, encoding: str, max_columns: int) -> Dialect:
    sample = data[:SAMPLE]
    if len(data) > SAMPLE:
        # The header must be whole, however long its lines are.
        end = data.find(b"\n", SAMPLE)
        sample = data[: end if end >= 0 else len(data)]
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not {encoding}: byte {error.start}") from None
    lines = text.splitlines()
    comment = config.comment
    first = next((line for line in lines[config.skip_lines :] if line.strip()), "")
    if comment is None and first.startswith("#"):
        comment = "#"
    kept = [
        (i, line)
        for i, line in enumerate(lines)
        if i >= config.skip_lines and line.strip() and not (comment and line.startswith(comment))
    ]
    if not kept:
        raise DataError(f"{name} is empty: it has comments only")
    separator = config.separator or _separator([line for _, line in kept[:200]], config.quote)
    cells = [_split(line, separator, config.quote) for _, line in kept[:200]]
    width, _ = Counter(len(c) for c in cells).most_common(1)[0]
    begin = 0
    if config.header_lines and width > 1:
        # Titles above the header have fewer cells than the table.
        while begin < len(cells) - 1 and len(cells[begin]) < width and len(cells[begin]) <= 2:
            begin += 1
    if begin + config.header_lines > len(kept):
        raise DataError(f"{name} ends within its header of {config.header_lines} lines")
    width = max(len(c) for c in cells[begin : begin + max(config.header_lines, 1)])
    if width > max_columns:
        raise DataError(
            f"{name} has {width:,} columns, more than max_columns = {max_columns:,}; keep the "
            "table long (one row per value), or raise max_columns"
        )
    headers = [
        [cell.strip() for cell in row] + [""] * (width - len(row))
        for row in cells[begin : begin + config.header_lines]
    ]
    if not headers:
        headers = [[f"c{i + 1}" for i in range(width)]]
        skip = kept[begin][0]
    else:
        skip = kept[begin + config.header_lines - 1][0] + 1
    return Dialect(encoding, separator, config.quote, comment, skip, headers)


def _split(line: str, separator: str, quote: str | None) -> list[str]:
    csv.field_size_limit(1 << 30)
    if quote is None:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, quotechar=quote))
    except (csv.Error, StopIteration):
        return line.split(separator)


def _separator(lines: list[str], quote: str | None) -> str:
    """The sign that cuts most lines into the same number of cells."""
    best, chosen = 0.0, ","
    for separator in SEPARATORS:
        widths = [len(_split(line, separator, quote)) for line in lines]
        width, count = Counter(widths).most_common(1)[0]
        # A decimal comma cuts evenly too, so the rarer signs go first and win ties.
        score = count / len(widths) if width > 1 else 0.0
        if score > best + 0.05:
            best, chosen = score, separator
    if best == 0.0 and lines and len(lines[0].split()) > 1:
        counts = Counter(len(line.split()) for line in lines)
        if counts.most_common(1)[0][1] == len(lines) and not re.search(r"\d-\d", lines[-1]):
            return " "
    return chosen


def _body(
    data: bytes, dialect: Dialect, config: CsvConfig, removed: dict[str, int]
) -> tuple[bytes, int]:
    """The rows' bytes, without header, comments and lines that are no rows."""
    at = 0
    for _ in range(dialect.skip):
        at = data.find(b"\n", at) + 1
        if at == 0:
            at = len(data)
            break
    body = data[at:]
    if dialect.comment:
        sign = re.escape(dialect.comment.encode())
        body, count = re.subn(rb"(?m)^" + sign + rb"[^\n]*(\n|\Z)", b"", body)
        removed["comment line"] = count + data[:at].count(b"\n" + dialect.comment.encode()) + int(
            data.startswith(dialect.comment.encode())
        )  # fmt: skip
    for pattern in config.drop_lines:
        try:
            compiled = re.compile(pattern.encode())
        except re.error as error:
            raise DataError(
                f"csv.drop_lines: {pattern!r} is no regular expression: {error}"
            ) from None
        lines = body.split(b"\n")
        kept = [line for line in lines if not compiled.search(line.rstrip(b"\r"))]
        if len(kept) < len(lines):
            removed["dropped line"] = removed.get("dropped line", 0) + len(lines) - len(kept)
        body = b"\n".join(kept)
    return body, len(dialect.headers) if config.header_lines else 0


def _padded(body: bytes, dialect: Dialect, width: int) -> bytes:
    """Short lines filled up with empty cells."""
    separator = dialect.separator.encode()
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    if dialect.quote and any(dialect.quote.encode() in line for line in lines[:50]):
        counts = [len(_split(line.decode(), dialect.separator, dialect.quote)) for line in lines]
    else:
        counts = [line.count(separator) + 1 for line in lines]
    if all(n >= width for n, line in zip(counts, lines, strict=True) if line):
        return body
    return b"\n".join(
        line + separator * max(width - n, 0) if line else line
        for n, line in zip(counts, lines, strict=True)
    )


def _parse(
    body: bytes,
    dialect: Dialect,
    names: list[str],
    text_columns: Collection[str],
    wanted: Collection[str] | None,
) -> tuple[pa.Table, list[Any]]:
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
    longest = max((len(line) for line in body[:SAMPLE].split(b"\n", 3)[:3]), default=0)
    if longest * 4 > reading.block_size:
        reading.block_size = min(longest * 4, (1 << 31) - 1)
    if len(body) and not body.strip(b"\r\n"):
        body = b""
    if not body:
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
        parsing = replace_newlines(parsing)
        table = _typed(body, reading, parsing, converting, malformed)
    return _all_columns(table, keys, chosen), list(malformed)


def _typed(
    body: bytes,
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


def replace_newlines(parsing: pacsv.ParseOptions) -> pacsv.ParseOptions:
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
