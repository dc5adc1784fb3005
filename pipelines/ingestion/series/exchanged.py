"""Tables in which a spreadsheet has exchanged day and month of every date up to the 12th.

It takes 1/2/2024 of the other order for a date and leaves 1/13/2024 as text. Over whole years no
stamp is missing then, and none is there twice: only the order of the rows, and how the two kinds
are written, tell.
"""

from __future__ import annotations

import re

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.series.steps import REPAIR
from pipelines.ingestion.stamps.readings import DAY, exchanged
from pipelines.ingestion.stamps.stamps import Stamps

# Turns of a table's order that an exchange undoes, and dates of either kind, at least.
LEAST_TURNS = 3
LEAST_DATES = 6


def refuse_exchanged(codes: Array, ds: Array, row: Array, stamps: Stamps) -> None:
    """Refuse a table whose rows go back and forth in time but for an exchange of day and month.

    Parameters
    ----------
    codes, ds, row : [T] series, stamp in microseconds, and row of the source of each.
    stamps : as they were read, with their texts.

    Raises
    ------
    DataError : with a stamp read both ways, and what to do.
    """
    places = np.flatnonzero((ds != NAT) & (codes >= 0))
    order = places[np.lexsort((row[places], codes[places]))]
    sorted_ds, owner = ds[order], codes[order]
    turns = _turns(sorted_ds, owner)
    if not turns:
        return
    other = exchanged(sorted_ds)
    date = (sorted_ds // DAY).astype("datetime64[D]")
    late = (date - date.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) >= 12
    differ = np.flatnonzero(other != sorted_ds)
    if min(int(late.sum()), len(differ)) < LEAST_DATES:
        return
    if turns >= LEAST_TURNS and _turns(other, owner) == 0:
        why = "only so the rows of each series follow each other in time"
    elif _two_forms(stamps, late, order):
        why = "those up to the 12th are written otherwise than the rest"
    else:
        return
    at = differ[0]
    one, two = (
        str(v[at].astype("datetime64[us]").astype("datetime64[D]")) for v in (sorted_ds, other)
    )
    raise DataError(
        f"row {row[order[at]]}: ds was read as {one}, and may be {two}: {why}. A spreadsheet that "
        f"reads the other order of day and month has stored the table; {REPAIR}"
    )


def _turns(ds: Array, codes: Array) -> int:
    """How often the rows of a series go back in time, or ahead where most go back."""
    steps = np.diff(ds)[codes[1:] == codes[:-1]]
    return int(min((steps < 0).sum(), (steps > 0).sum()))


def _two_forms(stamps: Stamps, late: Array, order: Array) -> bool:
    """Whether all dates up to the 12th are written in one form, and all others in another."""
    if stamps.texts is None:
        return False
    rows = np.arange(len(order)) if stamps.index is None else stamps.index[order]
    first, second = (np.unique(rows[part]) for part in (~late, late))
    texts = stamps.texts.to_pylist()
    forms = [{_form(str(texts[k])) for k in part} - {""} for part in (first, second)]
    return all(forms) and not forms[0] & forms[1]


def _form(text: str) -> str:
    """How a date is written: its marks, and whether one digit has a zero in front; "" unknown."""
    marks = re.sub(r"\d+", "9", text)
    numbers = re.findall(r"\d+", text)[:3]
    small = [n for n in numbers if int(n) < 10]
    if re.match(r"9-9-9", marks):
        return marks
    return f"{marks} {len(small[0])}" if small else ""
