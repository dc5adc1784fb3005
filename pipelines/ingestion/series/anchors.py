"""Whether stamps fall on the weekday or the month that a given frequency names."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.steps import off_anchor
from forecasting.errors import DataError
from pipelines.ingestion.series.steps import common_alias


def refuse_other_anchor(ids: Array, start: Array, step: Frequency, freq: str | None) -> None:
    """Weeks on Mondays are none of ``W-SUN``, and quarters from March on none of ``QS-JAN``.

    Parameters
    ----------
    start : [N] int64, the first stamp of each series. step : that of the panel; freq : as given.

    Raises
    ------
    DataError : a series off the anchor of ``freq``; with the freq that its stamps would have.
    """
    if freq is None or step.integer:
        return
    first_stamps = start.astype("datetime64[us]")
    off = np.flatnonzero(off_anchor(Frequency.parse(freq), first_stamps))
    if len(off):
        first = off[0]
        raise DataError(
            f"series {ids[first]!r}: ds = {str(first_stamps[first])[:10]} does not lie on the grid "
            f"of freq = {freq} ({len(off):,} of {len(ids):,} series); set freq: "
            f"{common_alias(step, start[off])}, or irregular.policy: resample to count "
            f"rows to the steps of {freq}"
        )
