"""What is said of the ends of series: where a forecast starts, and whether a newest row is lost."""

from __future__ import annotations

import re

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import observed
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import shown

# Rows without a stamp that are asked whether they are the newest of their series.
MOST_LOOKED_AT = 100


def blank_ends(
    ids: Array, y: Array, offsets: Array, start: Array, freq: Frequency, config: DataConfig
) -> dict[str, str]:
    """A fact for the report where series end with rows without y and no covariate is known ahead.

    The forecast starts after them then, and not after the last value.

    Parameters
    ----------
    ids, start : [N]; y : [T]; offsets : [N + 1].
    """
    if any(c.role == "future" for c in config.covariates) or not len(ids):
        return {}
    ends = offsets[1:]
    full = ends > offsets[:-1]
    open_ends = full & np.isnan(y[np.maximum(ends - 1, 0)]) if len(y) else full & False
    if open_ends.any():
        # A series without any value has no end of its own.
        open_ends &= observed(y, offsets)[1] >= 0
    at = np.flatnonzero(open_ends)
    if not len(at):
        return {}
    first = at[0]
    known = np.flatnonzero(~np.isnan(y[offsets[first] : ends[first]]))
    begin = start[first : first + 1]
    begin = begin if freq.integer else begin.astype("datetime64[us]")
    length = int(ends[first] - offsets[first])
    last, after = (
        str(freq.shift(begin, np.array([k]))[0]).replace("T00:00:00.000000", "")
        for k in (int(known[-1]), length)
    )
    count = length - 1 - int(known[-1])
    return {
        "ahead": f"{len(at):,} series end with rows without y: {ids[first]!r} has {count:,} after "
        f"its last value at {last}; its forecast starts after them, at {after}. blanks: trim "
        "leaves them out"
    }


def lost_ends(
    codes: Array, ds: Array, row: Array, lost: Array, y: Array, texts: list[str | None]
) -> dict[str, str]:
    """A fact for the report where the newest row of a series goes for want of a readable stamp.

    Parameters
    ----------
    codes, ds, row, y : [T] as delivered. lost : [K] rows that go; texts : [K] their stamps.
    """
    valued = [
        k for k, t in enumerate(texts) if not np.isnan(y[lost[k]]) and t and codes[lost[k]] >= 0
    ]
    valued = [k for k in valued if re.search(r"\d", texts[k] or "")]
    lost_rows = []
    for k in valued[:MOST_LOOKED_AT]:
        mine = np.flatnonzero((codes == codes[lost[k]]) & (ds != NAT))
        if not len(mine):
            continue
        newest = mine[ds[mine].argmax()]
        rising = ds[mine[-1]] >= ds[mine[0]]
        if (row[lost[k]] > row[newest]) if rising else (row[lost[k]] < row[newest]):
            lost_rows.append(k)
    if not lost_rows:
        return {}
    k = lost_rows[0]
    return {
        "lost end": f"the newest row of a series is lost, since its stamp {shown(texts[k] or '')} "
        f"cannot be read (row {row[lost[k]]}): the series ends before it, and its forecast starts "
        "a step early; write the stamp as the others"
    }
