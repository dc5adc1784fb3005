"""How a text table is written: separator, comments, and where its header stands."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

from forecasting.errors import DataError
from pipelines.ingestion.config import CsvConfig
from pipelines.ingestion.raw import shown
from pipelines.ingestion.read.heads import column_kind, is_title, reads_as_data

SEPARATORS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class Dialect:
    """How a text table is written, and where its header stands.

    Attributes
    ----------
    skip : lines before the first row. titles : lines above the header, left out.
    """

    encoding: str
    separator: str
    quote: str | None
    comment: str | None
    skip: int
    headers: list[list[str]]
    titles: tuple[str, ...] = ()

    def facts(self) -> dict[str, str]:
        """What the report says of the lines above the header."""
        if not self.titles:
            return {}
        count, first = len(self.titles), shown(self.titles[0])
        return {"titles": f"{count} lines above the header left out, the first: {first}"}


def find_dialect(head: bytes, name: str, config: CsvConfig, encoding: str, width: int) -> Dialect:
    """How the table is written, from its first lines.

    Parameters
    ----------
    head : whole lines in UTF-8, the header among them.
    width : columns that are allowed.
    """
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not {encoding}: byte {error.start}") from None
    max_columns = width
    lines = [line.rstrip("\r") for line in text.split("\n")]
    comment = config.comment
    first = next((line for line in lines[config.skip_lines :] if line.strip()), "")
    if comment is None and first.startswith("#"):
        comment = "#"
    numbered = [
        (i, line)
        for i, line in enumerate(lines)
        if i >= config.skip_lines and line.strip() and not (comment and line.startswith(comment))
    ]
    if not numbered:
        raise DataError(f"{name} is empty: it has comments only")
    separator = config.separator or _separator([line for _, line in numbered[:200]], config.quote)
    cells = [split_line(line, separator, config.quote) for _, line in numbered[:200]]
    width, _ = Counter(len(c) for c in cells).most_common(1)[0]
    begin = _begin(cells, width, config)
    if begin + config.header_lines > len(numbered):
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
        skip = numbered[begin][0]
    else:
        skip = numbered[begin + config.header_lines - 1][0] + 1
    titles = tuple(line.strip() for _, line in numbered[:begin])
    return Dialect(encoding, separator, config.quote, comment, skip, headers, titles)


def _begin(cells: list[list[str]], width: int, config: CsvConfig) -> int:
    """The line that the header begins with: titles above it have fewer cells than the table."""
    begin = 0
    if not config.header_lines or width < 2:
        return begin
    while begin < len(cells) - 1 and len(cells[begin]) < width and len(cells[begin]) <= 2:
        begin += 1
    padded = begin
    while padded < len(cells) - 1 and is_title(cells[padded], width):
        padded += 1
    if padded == begin or config.header_lines > 1:
        return begin
    below = [row for row in cells[padded + 1 :] if len(row) == width]
    kinds = [column_kind([row[i] for row in below]) for i in range(width)]
    if not reads_as_data(cells[padded], kinds):
        return padded
    # A header that leaves columns without a name is followed by values; one word of many is none.
    words = max(sum(bool(c.strip()) for c in row) for row in cells[begin:padded])
    return padded if width > 2 and words < 2 else begin


def split_line(line: str, separator: str, quote: str | None) -> list[str]:
    """Cells of a line, their quotes taken off; what cannot be read so is cut at every separator."""
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
        widths = [len(split_line(line, separator, quote)) for line in lines]
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
