"""Whether the line taken for a header is one: a first row of values reads like those below it."""

from __future__ import annotations

import itertools
import re

import pyarrow as pa

from pipelines.ingestion.config import DEFAULT_CODES

ALIKE = 0.8  # share of a column's cells that say what it holds
SAMPLE = 200
_NUMBER = re.compile(r"[+-]?[$€£¥]?\s?(\d[\d.,'’\s\u00a0\u202f]*|[.,]\d+)([eE][+-]?\d+)?\s?[%€]?")
_STAMP = re.compile(
    r"\d{1,4}([-/.])\d{1,2}(\1\d{1,4})?([T ]+\d{1,2}(:\d{2}.*)?)?|"
    r"\d{1,2}:\d{2}(:\d{2})?|"
    r"\d{4}[-\s/]?[QMWK]{1,2}\s?\d{1,2}(-\d)?|[QWK]{1,2}\s?\d{1,2}[-\s/]\d{4}|FY\s?\d{4}(/\d{2,4})?|"
    r"(\d{1,4}[-./\s]{0,2})?[^\W\d_]{3,10}[-./,\s]{1,2}\d{2,4}(,?\s+\d{4})?( \d{1,2}:\d{2}.*)?|"
    r"\d{4}[-./\s][^\W\d_]{3,10}\.?",
    re.I,
)
_NAMED = re.compile(r"[^\W\d_]{3,}")


def kind_of(text: str) -> str:
    """``number``, ``stamp``, ``text``, or nothing for a blank and a code for missing."""
    text = text.strip()
    if text in DEFAULT_CODES:
        return ""
    if _NUMBER.fullmatch(text) and not re.fullmatch(r"\d{1,4}\.\d{1,2}\.\d{1,4}", text):
        return "number"
    return "stamp" if _STAMP.fullmatch(text) else "text"


def column_kind(cells: list[str]) -> str:
    """What most cells of a column are, leaving out missing ones."""
    kinds = [k for k in map(kind_of, cells) if k]
    for kind in ("number", "stamp", "text"):
        if kinds and kinds.count(kind) >= ALIKE * len(kinds):
            return kind
    return ""


def reads_as_data(first: list[str], kinds: list[str], named: bool = True) -> bool:
    """Whether a line is a row of values, by the kinds of the columns below it.

    Parameters
    ----------
    first : its cells. kinds : per column, what `column_kind` says of the rows below.
    named : names of months count as stamps, too.
    """
    pairs = [(c, kind_of(c), k) for c, k in zip(first, kinds, strict=False)]
    for cell, kind, below in pairs:
        if kind == below == "stamp" and (named or not _NAMED.search(cell)):
            return True
    values = [(c, kind) for c, kind, below in pairs if below in ("number", "stamp")]
    cells = [(c, kind) for c, kind in values if c.strip() == "" or kind]
    if not any(kind == "number" for _, kind in cells):
        return False
    if any(kind != "number" for _, kind in cells) or "stamp" in kinds:
        return False
    # Years, periods and numbered columns rise from left to right.
    numbers = [c.strip() for c, _ in cells]
    whole = all(n.isdigit() for n in numbers)
    rising = whole and all(int(a) < int(b) for a, b in itertools.pairwise(numbers))
    return not (rising and (len(numbers) > 2 or int(numbers[-1]) - int(numbers[0]) == 1))


def headless(names: list[str], sample: pa.Table) -> bool:
    """Whether the names of a table's columns are its first row."""
    if not sample.num_rows or not names:
        return False
    kinds = []
    for column in sample.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
            kinds.append("stamp")
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            kinds.append("number")
        else:
            cells = column.slice(0, SAMPLE).to_pylist()
            kinds.append(column_kind([c if isinstance(c, str) else "" for c in cells]))
    return reads_as_data(names, kinds)


def is_title(cells: list[str], width: int) -> bool:
    """Whether a line above a table of that width is a title: few cells, the rest blank."""
    filled = [i for i, cell in enumerate(cells) if cell.strip()]
    # Two are a word and what it is said of, side by side; a header of joined cells has gaps.
    return len(filled) < width and (len(filled) <= 1 or filled == [0, 1])
