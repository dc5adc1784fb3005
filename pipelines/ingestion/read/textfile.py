"""Text tables: encoding, dialect and header are found out, then pyarrow reads the cells.

Nothing is converted here that could lose something: identifiers stay text (``007``), and a
column with any code for "missing" stays text until its numbers are read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError
from pipelines.ingestion.columns.marks import has_comma_numbers, sure_example
from pipelines.ingestion.columns.numbers import THOUSANDS, WHOLE
from pipelines.ingestion.columns.units import unit_columns
from pipelines.ingestion.config import CsvConfig, DataConfig
from pipelines.ingestion.raw import MALFORMED, Raw, is_text, shown
from pipelines.ingestion.read.cells import parse, stream
from pipelines.ingestion.read.dialect import Dialect, find_dialect, split_line
from pipelines.ingestion.read.encodings import SAMPLE, detect_encoding, looks_binary, to_utf8
from pipelines.ingestion.read.mapping import settle, text_columns, wanted_columns

SAMPLE_LINES = 1000
LARGEST_YEAR = 2300
MOST_BYTES = 1 << 30  # of a text whose rows are all looked at to tell the columns' roles
_GROUPED = re.compile(rb'(?m)(?:^|;)"?[+-]?[1-9]\d{0,2}\.\d{3}"?(?:;|\r?$)')


@dataclass(frozen=True)
class Stream:
    """A text table in blocks, the config with the roles of its columns, and what is known of it.

    ``every`` names all columns, those that are not read among them.
    """

    batches: Iterator[pa.RecordBatch]
    config: DataConfig
    facts: dict[str, Any]
    every: list[str]


def read_text(data: pa.Buffer, name: str, config: DataConfig) -> tuple[Raw, DataConfig]:
    """A text table as columns, and the config with the roles of its columns."""
    plain = _as_it_is(data, name, config)
    if plain is not None:
        try:
            return _read(*plain, "utf-8", {}, name, config)
        except pa.ArrowInvalid:
            # Bytes that are no UTF-8 stand further below, or another oddity does.
            pass
    return _with_care(data.to_pybytes(), name, config)


def _as_it_is(data: pa.Buffer, name: str, config: DataConfig) -> tuple[Dialect, pa.Buffer] | None:
    """Dialect and rows of a text in UTF-8 none of whose bytes has to be changed, else None."""
    csv = config.csv
    head = data[: min(len(data), SAMPLE)].to_pybytes()
    at = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    end = head.rfind(b"\n") + 1
    if end <= at or not head.strip() or looks_binary(head) or csv.drop_lines:
        return None
    if csv.encoding is not None and csv.encoding.lower() not in ("utf-8", "utf8"):
        return None
    try:
        head[:end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    dialect = find_dialect(head[at:end], name, csv, "utf-8", config.max_columns)
    body = at + _lines_end(head[at:end], dialect.skip)
    return (dialect, data.slice(body)) if dialect.comment is None and body <= end else None


def _with_care(data: bytes, name: str, config: DataConfig) -> tuple[Raw, DataConfig]:
    """Text in any encoding, with comments and lines to be left out."""
    if not data.strip():
        raise DataError(f"{name} is empty")
    csv = config.csv
    encoding = csv.encoding or detect_encoding(data, name)
    data = to_utf8(data, encoding, name)
    if b"\r" in data[:SAMPLE] and b"\n" not in data[:SAMPLE]:
        data = data.replace(b"\r", b"\n")
    end = data.find(b"\n", SAMPLE) if len(data) > SAMPLE else -1
    # The header must be whole, however long its lines are.
    head = data[:end] if end >= 0 else data
    dialect = find_dialect(head, name, csv, encoding, config.max_columns)
    removed: dict[str, int] = {}
    body = _body(data, dialect, csv, removed)
    try:
        raw, config = _read(dialect, pa.py_buffer(body), encoding, removed, name, config)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} cannot be read as a text table: {error}") from None
    if csv.encoding is None and not encoding.startswith("utf"):
        letters = re.search(r"\w*[^\W\x00-\x7f]\w*", body[:SAMPLE].decode("utf-8", "ignore"))
        if letters:
            raw.facts["letters"] = (
                f"no UTF-8: read as {encoding}, in which letters are {shown(letters[0])}; if they "
                "are others, set csv.encoding"
            )
    return raw, config


def _read(
    dialect: Dialect,
    body: pa.Buffer,
    encoding: str,
    removed: dict[str, int],
    name: str,
    config: DataConfig,
) -> tuple[Raw, DataConfig]:
    names = dialect.headers[-1]
    config, texts, unread, units = _roles(dialect, body, config)
    facts = _facts(dialect, encoding, config)
    if config.layout in ("rows", "calendar"):
        body = pa.py_buffer(_padded(body.to_pybytes(), dialect, len(names)))
    table, malformed = parse(body, dialect, names, texts, wanted_columns(config, units))
    numeric = _numeric(config, names)
    if config.csv.decimal is None and _commas(names, table, numeric) and not numeric <= texts:
        # A comma stands further below: what was taken for a decimal point may be none.
        texts |= numeric
        table, malformed = parse(body, dialect, names, texts, wanted_columns(config, units))
    if malformed:
        first = malformed[0]
        if config.csv.malformed == "refuse" or len(malformed) > _few(table.num_rows):
            raise DataError(
                f"{name}: {len(malformed)} lines do not have the header's {len(names)} cells; the "
                f"first has {first.actual_columns}: {shown(first.text)}; is the separator "
                f"{dialect.separator!r} right?"
            )
        removed[MALFORMED] = len(malformed)
        facts["malformed lines"] = [shown(m.text, 120) for m in malformed[:20]]
    if not table.num_rows:
        raise DataError(f"{name} has a header but no rows")
    width = _named_width(dialect.headers, table)
    headers = [line[:width] for line in dialect.headers]
    raw = Raw(
        table.select(range(width)),
        headers,
        facts,
        removed,
        every=[*names],
        unread=unread,
        separator=dialect.separator,
    )
    return raw, config


def _named_width(headers: list[list[str]], table: pa.Table) -> int:
    """Columns without those that a separator at every line's end makes: no name, no value."""
    width = table.num_columns
    while width > 1 and not any(line[width - 1].strip() for line in headers):
        if table.column(width - 1).null_count < table.num_rows:
            break
        width -= 1
    return width


def _facts(dialect: Dialect, encoding: str, config: DataConfig) -> dict[str, Any]:
    return {
        "kind": "text table",
        "encoding": encoding,
        "separator": dialect.separator,
        "header lines": len(dialect.headers) if config.csv.header_lines else 0,
        **dialect.facts(),
    }


def _numeric(config: DataConfig, names: list[str]) -> set[str]:
    """Names of columns that may hold numbers: all but ids, stamps and categories."""
    apart = {n.strip() for n in text_columns(config, names)}
    return {n for n in names if n.strip() not in apart | {d.strip() for d in config.ds or ("ds",)}}


def _commas(names: list[str], table: pa.Table, numeric: set[str]) -> bool:
    """Whether numbers with a comma stand in one of some columns."""
    texts = [c for n, c in zip(names, table.columns, strict=True) if n in numeric]
    return any(has_comma_numbers(c) for c in texts if is_text(c.type))


def _roles(
    dialect: Dialect, body: pa.Buffer, config: DataConfig
) -> tuple[DataConfig, set[str], dict[str, str], set[str]]:
    """The config with the roles of the columns, those that stay text, `Raw.unread`, and units."""
    names = dialect.headers[-1]
    sample, _ = parse(_head(body), dialect, names, (), None)
    width = _named_width(dialect.headers, sample)
    headers = [line[:width] for line in dialect.headers]

    def whole(columns: list[str]) -> pa.Table:
        if len(body) > MOST_BYTES:
            return sample
        try:
            return parse(body, dialect, names, (), set(columns))[0]
        except pa.ArrowInvalid:  # a line that is left out, or mended, later
            return sample

    config = settle(config, headers, sample.select(range(width)), whole)
    units = unit_columns(names, sample)
    texts = set(text_columns(config, names))
    own = {n.strip() for n in config.ds or ()} if len(config.ds or ()) == 1 else set()
    zoned = (i for i, n in enumerate(names) if n.strip() in own)
    as_read = [sample.column(i) for i in zoned]
    if any(_needs_its_text(c) for c in as_read):
        texts |= own
    elif any(pa.types.is_integer(c.type) for c in as_read):
        cells, _ = parse(_head(body), dialect, names, names, None)
        written = [cells.column(i) for i, n in enumerate(names) if n.strip() in own]
        if any(pc.any(pc.match_substring_regex(c, r"^0\d")).as_py() for c in written):
            texts |= own
    if (
        dialect.separator == ";"
        and config.csv.decimal is None
        and _GROUPED.search(_head_bytes(body))
    ):
        # 1.234 may be a number of thousands: its column decides, as text.
        texts |= set(names)
    numeric = _numeric(config, names)
    if config.csv.decimal is None and dialect.separator != ";":
        texts |= _unsure(config, names, numeric, dialect, sample, body)
    if config.csv.decimal == ",":
        # A point in a number parts its thousands.
        texts |= numeric
    elif config.csv.decimal is None and _commas(names, sample, numeric):
        texts |= numeric
        needed = wanted_columns(config)
        cells, _ = parse(_head(body), dialect, names, names, None)
        examples = {
            n: sure_example(c)
            for n, c in zip(names, cells.columns, strict=True)
            if needed is not None and n in numeric and n.strip() not in needed
        }
        return config, texts, {n: e for n, e in examples.items() if e is not None}, units
    return config, texts, {}, units


def _unsure(
    config: DataConfig,
    names: list[str],
    numeric: set[str],
    dialect: Dialect,
    sample: pa.Table,
    body: pa.Buffer,
) -> set[str]:
    """Columns of numbers such as 1.234 and whole ones below 1000: all cells decide, as text."""
    needed = wanted_columns(config)
    stripped = None if needed is None else {n.strip() for n in needed}
    own = [
        i
        for i, n in enumerate(names)
        if n in numeric and i < sample.num_columns and (stripped is None or n.strip() in stripped)
        and (
            pa.types.is_floating(sample.column(i).type)
            or pa.types.is_integer(sample.column(i).type)
        )
    ]  # fmt: skip
    # Cells of a table that is not long are numbers of one kind.
    groups = [[i] for i in own] if config.layout == "long" else [own]
    groups = [g for g in groups if any(pa.types.is_floating(sample.column(i).type) for i in g)]
    groups = [g for g in groups if not _decimal(sample, g)]
    if not groups:
        return set()
    cells, _ = parse(_head(body), dialect, names, names, None)
    unsure: set[str] = set()
    for group in groups:
        text = pa.chunked_array([c for i in group for c in cells.column(i).chunks], pa.string())
        text = text.drop_null()
        fits = pc.match_substring_regex(text, rf"{THOUSANDS}|{WHOLE}")
        if pc.all(fits).as_py() and pc.any(pc.match_substring_regex(text, THOUSANDS)).as_py():
            unsure |= {names[i] for i in group}
    return unsure


def _decimal(sample: pa.Table, at: list[int]) -> bool:
    """Whether some number of these columns has digits that no thousands have."""
    for i in at:
        numbers = pc.abs(sample.column(i).drop_null())
        split = pc.and_(pc.greater(numbers, 0), pc.less(numbers, 1))
        if pc.any(pc.or_(split, pc.greater_equal(numbers, 1000))).as_py():
            return True
    return False


def _needs_its_text(stamps: pa.ChunkedArray) -> bool:
    """Whether a column of stamps says more as it was written.

    The offset beside an instant says where its day begins; 01.2020 is no number, nor is 2019.10.
    """
    if getattr(stamps.type, "tz", None) is not None:
        return True
    return pa.types.is_floating(stamps.type) and (pc.max(stamps).as_py() or 0.0) < LARGEST_YEAR


def text_stream(data: pa.Buffer, path: str | None, name: str, config: DataConfig) -> Stream | None:
    """A plain text table to be read block by block; None when it needs more care.

    Parameters
    ----------
    path : the local file that the bytes are, to be read again without holding it in memory.
    """
    plain = _as_it_is(data, name, config)
    if plain is None or len(plain[0].headers) != 1:
        return None
    dialect, body = plain
    config, texts, _, units = _roles(dialect, body, config)
    if units - set(config.id or ()):
        return None  # which units they say is looked at
    file = pa.BufferReader(body) if path is None else pa.OSFile(path)
    if path is not None:
        file.seek(len(data) - len(body))
    names = dialect.headers[-1]
    batches = stream(file, dialect, names, texts, wanted_columns(config))
    return Stream(batches, config, _facts(dialect, "utf-8", config), [*names])


def _few(rows: int) -> float:
    """Lines with a wrong number of cells that a table of so many rows may lose."""
    return max(0.05 * rows, min(5, 0.2 * rows), 1)


def _head(body: pa.Buffer) -> pa.Buffer:
    """The first lines, whole: enough of them to tell the columns' roles."""
    few = body[: min(len(body), SAMPLE // 8)]
    end = few.to_pybytes().rfind(b"\n") + 1
    if end and few[:end].to_pybytes().count(b"\n") >= SAMPLE_LINES:
        return few[:end]
    if len(body) <= SAMPLE:
        return body
    end = _head_bytes(body).rfind(b"\n")
    return body[: end + 1] if end > 0 else body


def _head_bytes(body: pa.Buffer) -> bytes:
    return bytes(body[: min(len(body), SAMPLE)])


def _lines_end(data: bytes, lines: int) -> int:
    """Where the line after the first ``lines`` begins."""
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return len(data)
    return at


def _body(data: bytes, dialect: Dialect, config: CsvConfig, removed: dict[str, int]) -> bytes:
    """The rows' bytes, without header, comments and lines that are no rows."""
    at = _lines_end(data, dialect.skip)
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
        rows = [line for line in lines if not compiled.search(line.rstrip(b"\r"))]
        if len(rows) < len(lines):
            removed["dropped line"] = removed.get("dropped line", 0) + len(lines) - len(rows)
        body = b"\n".join(rows)
    return body


def _padded(body: bytes, dialect: Dialect, width: int) -> bytes:
    """Short lines filled up with empty cells; a quoted cell may hold line breaks."""
    separator = dialect.separator.encode()
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    if dialect.quote:
        lines = _joined(lines, dialect.quote.encode())
    if dialect.quote and any(dialect.quote.encode() in line for line in lines[:50]):
        counts = [
            len(split_line(line.decode(), dialect.separator, dialect.quote)) for line in lines
        ]
    else:
        counts = [line.count(separator) + 1 for line in lines]
    if all(n >= width for n, line in zip(counts, lines, strict=True) if line):
        return body
    return b"\n".join(
        line + separator * max(width - n, 0) if line else line
        for n, line in zip(counts, lines, strict=True)
    )


def _joined(lines: list[bytes], quote: bytes) -> list[bytes]:
    """Lines whose quotes are closed: those that end inside a quoted cell go on in the next."""
    odd = [line.count(quote) % 2 for line in lines]
    if not any(odd) or sum(odd) % 2:
        return lines  # a quote that is never closed is no quote
    out: list[bytes] = []
    open_ = False
    for line, turns in zip(lines, odd, strict=True):
        if open_:
            out[-1] += b"\n" + line
        else:
            out.append(line)
        open_ ^= bool(turns)
    return out
