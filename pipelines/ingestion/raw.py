"""What a source hands over: columns as they were written, and what was left out of them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError, listed

# Key of `Raw.removed`, and of a report's lines left out: lines with another number of cells.
MALFORMED = "malformed line"


# Of decimals and of thousands.
ARABIC_MARKS = {"\u066b": ".", "\u066c": ","}


def plain_digits(text: pa.Array) -> pa.Array:
    """Texts with the digits of any script written 0 to 9, as in Arabic or in full width.

    Arabic marks of decimals and thousands, too, where such digits stand.
    """
    if not pc.any(pc.match_substring_regex(text, r"[^\x00-\x7f]")).as_py():
        return text
    if not pc.any(pc.match_substring_regex(text, r"[^\P{Nd}0-9]")).as_py():
        return text
    cells = [
        None if cell is None
        else "".join(
            str(unicodedata.decimal(c)) if c.isdecimal() else ARABIC_MARKS.get(c, c) for c in cell
        )
        for cell in text.to_pylist()
    ]  # fmt: skip
    return pa.array(cells, text.type)


@dataclass
class Raw:
    """A table as its source has it.

    Attributes
    ----------
    table : columns by position; their names are in ``headers``.
    headers : header lines, the last one holding the columns' names; each as long as the table is
        wide.
    facts : what was found out about the source, for the report.
    removed : lines left out before they became rows, by reason.
    row : each row's number in the source, from 1; None when the table is the whole source.
    every : names of all of the source's columns, those that were not read among them.
    unread : a number of each column that was not read, where its decimal mark is beyond doubt.
    separator : between the cells of a line of text; None elsewhere.
    """

    table: pa.Table
    headers: list[list[str]]
    facts: dict[str, Any] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    row: np.ndarray[Any, np.dtype[np.int64]] | None = None
    every: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    separator: str | None = None

    def __post_init__(self) -> None:
        self.every = self.every or self.names

    @property
    def names(self) -> list[str]:
        """The columns' names: the last header line."""
        return self.headers[-1]

    def position(self, name: str, role: str) -> int:
        """Where the column of that name stands; an error lists those there are."""
        places = [i for i, n in enumerate(self.names) if n == name]
        if not places:
            # Blanks around a header's names are nobody's intention.
            places = [i for i, n in enumerate(self.names) if n.strip() == name.strip()]
        if not places:
            # Above cells that are joined downwards, only the first header line has the name.
            upper = (line for line in self.headers[:-1] if name.strip() in line)
            places = [i for i, n in enumerate(next(upper, [])) if n.strip() == name.strip()]
        if not places:
            there = listed(list(map(repr, self.every)), 20)
            raise DataError(
                f"missing column: {role} = {name!r} is not in the table; it has {there}"
            )
        if len(places) > 1:
            raise DataError(
                f"{role} = {name!r}: {len(places)} columns have this name "
                f"(columns {', '.join(str(i + 1) for i in places)}); give them different names"
            )
        return places[0]

    def column(self, name: str, role: str) -> pa.ChunkedArray:
        """The column of that name."""
        return self.table.column(self.position(name, role))


def shown(value: object, width: int = 60) -> str:
    """A value for a message, cut when it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, short or long."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
