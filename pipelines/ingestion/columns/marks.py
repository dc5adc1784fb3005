"""One decimal mark per table: decided over all its columns, and refused where they disagree.

A number such as ``1,5`` says that the comma is the decimal mark, ``1,234.5`` that the point is;
``1,234`` and ``1.234`` say nothing alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError
from pipelines.ingestion.columns.numbers import BLANK, MONEY
from pipelines.ingestion.config import CsvConfig
from pipelines.ingestion.raw import is_text, shown

_BEGIN = rf"^\s*[(+−–-]?\s*{MONEY}?\s*[(+−–-]?\s*"
_END = rf"(?:[eE][+-]?\d+)?\s*(?:{MONEY}|[%‰])?\)?\s*(?:{MONEY}|[%‰])?-?\s*$"
_NUMBER = rf"{_BEGIN}\d?(?:\d|[.,]|{BLANK})*\d{_END}"
ROWS = 200_000  # rows of a column that are looked at
NUMERIC = 0.5  # share of cells that must be numbers, for a column to have a say
FEW, SMALL = 3, 0.05  # up to so many cells, or that share, are slips of the pen


def _sure(decimal: str, thousands: str) -> str:
    """Numbers that leave no doubt about the decimal mark."""
    d, t = f"[{decimal}]", f"[{thousands}]"
    return (
        rf"{_BEGIN}(?:(?:\d|{t}|{BLANK})*{d}(?:\d{{1,2}}|\d{{4,}})|0?{d}\d+|\d{{4,}}{d}\d+"
        rf"|\d{{1,3}}(?:{t}\d{{2,3}})*{t}\d{{3}}{d}\d+|\d{{1,3}}(?:{t}\d{{3}}){{2,}}"
        rf"|\d{{1,2}}(?:{t}\d{{2}})+{t}\d{{3}}|\d{{1,3}}(?:{BLANK}\d{{2,3}})+{d}\d+"
        rf"|\d{d}\d+[eE][+-]?\d+){_END}"
    )


_SURE = {",": _sure(",", "."), ".": _sure(".", ",")}
_OPEN = {m: rf"{_BEGIN}[1-9]\d{{0,2}}[{m}]\d{{3}}{_END}" for m in ",."}
_WORDS = {",": "comma", ".": "point"}


@dataclass(frozen=True)
class Votes:
    """What the numbers of one column say: per decimal mark, how many and the first of them.

    Attributes
    ----------
    sure : numbers that leave no doubt. unsure : such as 1,234, by the mark in them.
    """

    sure: dict[str, tuple[int, str]]
    unsure: dict[str, tuple[int, str]]

    @property
    def mark(self) -> str | None:
        """The decimal mark of most numbers that leave no doubt."""
        return max(self.sure, key=lambda m: self.sure[m][0]) if self.sure else None


def has_comma_numbers(column: pa.ChunkedArray) -> bool:
    """Whether a column of text holds numbers with a comma in them."""
    return bool(pc.any(pc.match_substring_regex(column, rf"{_BEGIN}\d[\d.]*,\d+{_END}")).as_py())


def votes_of(column: pa.ChunkedArray) -> Votes:
    """What the numbers of a column of text say."""
    text = column.drop_null().slice(0, ROWS)

    def count(pattern: str) -> tuple[int, str]:
        hit = pc.match_substring_regex(text, pattern)
        number = int(pc.sum(hit).as_py() or 0)
        return number, str(text.filter(hit)[0].as_py()).strip() if number else ""

    marked = count(r"\d[.,]\d")[0]
    if not marked or count(_NUMBER)[0] < NUMERIC * len(text):
        return Votes({}, {})
    sure = {m: count(pattern) for m, pattern in _SURE.items()}
    unsure = {m: count(pattern) for m, pattern in _OPEN.items()}
    return Votes({m: c for m, c in sure.items() if c[0]}, {m: c for m, c in unsure.items() if c[0]})


def table_marks(
    columns: Mapping[str, pa.ChunkedArray], csv: CsvConfig, elsewhere: Mapping[str, str]
) -> tuple[CsvConfig, dict[str, str]]:
    """The config with the decimal mark that the columns agree on, and what the report says of it.

    Parameters
    ----------
    columns : those read as numbers. elsewhere : a number that leaves no doubt, per other column.

    Raises
    ------
    DataError : two decimal marks; the message names a column and a number of each.
    """
    if csv.decimal is not None or csv.thousands in (",", "."):
        return csv, {}
    votes = {n: votes_of(c) for n, c in columns.items() if is_text(c.type)}
    sure: dict[str, tuple[str, str]] = {}
    unsure: dict[str, tuple[str, str]] = {}
    for name, vote in votes.items():
        if len(vote.sure) == 2:
            rare = min(count for count, _ in vote.sure.values())
            if rare > max(FEW, SMALL * sum(count for count, _ in vote.sure.values())):
                _refuse({m: (name, vote.sure[m][1]) for m in vote.sure})
        if vote.mark is not None:
            sure.setdefault(vote.mark, (name, vote.sure[vote.mark][1]))
        else:
            for mark, (_, example) in vote.unsure.items():
                unsure.setdefault(mark, (name, example))
    if len(sure) == 2:
        _refuse(sure)
    other = {_mark_of(example): (name, example) for name, example in elsewhere.items()}
    evidence = sure or (other if len(other) == 1 and unsure else {})
    if not evidence:
        if len(unsure) == 2:
            _refuse(unsure)
        return csv, {}
    mark, (name, example) = next(iter(evidence.items()))
    sentence = f"decimal {_WORDS[mark]} in the whole table: column {name} has {shown(example)}"
    if unsure:
        name, example = next(iter(unsure.values()))
        sentence += f", and so {shown(example)} in column {name} is read"
    against = [f"column {n}, not read, has {shown(e)}" for m, (n, e) in other.items() if m != mark]
    return csv.replace(decimal=mark), {"marks": "; ".join([sentence, *against])}


def sure_example(column: pa.ChunkedArray) -> str | None:
    """A number of a column that leaves no doubt about its decimal mark."""
    votes = votes_of(column)
    return votes.sure[votes.mark][1] if votes.mark is not None else None


def _mark_of(example: str) -> str:
    return "," if pc.match_substring_regex(pa.array([example]), _SURE[","])[0].as_py() else "."


def _refuse(examples: Mapping[str, tuple[str, str]]) -> None:
    parts = [f"column {name} has {shown(example)}" for name, example in examples.values()]
    raise DataError(
        f"two decimal marks in one table: {' and '.join(parts)}; say which is meant, csv.decimal: "
        '"," or csv.decimal: ".", or write the columns alike'
    )
