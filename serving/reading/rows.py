"""Long tables of the usual kind as a `Query`, without a data frame.

The usual kind: ``unique_id, ds, y`` in columns, the rows of a series together, in order and
without gaps, stamps as plain ISO 8601 text or steps. Whatever else a table may be is left to the
data frame that knows how to read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from serving.reading.columns import NUMBERS
from serving.reading.query import Options, Query, Spec
from serving.reading.stamps import FIRST_YEAR, LAST_YEAR, MAX_STEP

COLUMNS: Final = frozenset({"unique_id", "ds", "y"})
# Nothing of a zone, and none of the words that NumPy takes for stamps.
PLAIN: Final = frozenset("0123456789-:T. ")
SHORTEST, LONGEST = len("2026-01-31"), len("2026-01-31T04:00:00.000000")


def read_plain(columns: Mapping[str, Any], options: Options, spec: Spec) -> Query | None:
    """The query of a plain table; None for any other, right or wrong."""
    if columns.keys() != COLUMNS or spec.schema.covariates:
        return None
    names, values = columns["unique_id"], columns["y"]
    if not names or not len(names) == len(values) == len(columns["ds"]):
        return None
    if set(map(type, names)) != {str} or not NUMBERS.issuperset(map(type, values)):
        return None
    runs = [(name, sum(1 for _ in run)) for name, run in groupby(names)]
    ids = [name for name, _ in runs]
    if len(ids) != len(set(ids)) or "" in ids:
        return None
    sizes = np.array([size for _, size in runs], np.int64)
    ends = np.cumsum(sizes)
    first = ends - sizes
    y = np.array(values, np.float64)
    # Missing values at an end say where a history begins and a horizon starts.
    if np.isinf(y).any() or np.isnan(y[first]).any() or np.isnan(y[ends - 1]).any():
        return None
    stamps = _stamps(columns["ds"], spec.freq)
    if stamps is None:
        return None
    start = stamps[first]
    place = np.arange(len(y)) - np.repeat(first, sizes)
    if (spec.freq.shift(np.repeat(start, sizes), place) != stamps).any():
        return None
    return Query(options, ids, np.arange(len(ids)), y, sizes, start, None)


def _stamps(values: list[Any], freq: Frequency) -> Array | None:
    if freq.integer:
        if set(map(type, values)) != {int} or max(map(abs, values)) > MAX_STEP:
            return None
        return np.array(values, np.int64)
    if set(map(type, values)) != {str}:
        return None
    text, lengths = "".join(values), [len(value) for value in values]
    plain = PLAIN.issuperset(text) and text.count("-") == 2 * len(values)
    if not plain or min(lengths) < SHORTEST or max(lengths) > LONGEST:
        return None
    try:
        stamps = np.array(values, "datetime64[us]")
    except ValueError:
        return None
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    return stamps if ((years >= FIRST_YEAR) & (years <= LAST_YEAR)).all() else None
