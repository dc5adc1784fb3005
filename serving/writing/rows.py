"""A forecast as plain rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.data.forecast import Forecast
from forecasting.quantiles import column_of
from serving.reading.query import Query


def write_plain(query: Query, found: Forecast) -> list[dict[str, Any]] | None:
    """The forecasts as rows; None where some series has none, which the data frame explains."""
    if found.problems or len(found.ids) != len(query.ids):
        return None
    stamps = found.stamps()
    steps = stamps.shape[1]
    flat = stamps.ravel()
    if not found.freq.integer:
        whole = (flat == flat.astype("datetime64[s]")).all()
        flat = (
            np.datetime_as_string(flat, unit="s")
            if whole
            else np.array([stamp.isoformat() for stamp in flat.tolist()])
        )
    names = [name for name in query.ids for _ in range(steps)]
    columns = [names, flat.tolist(), found.mean.ravel().tolist()]
    columns += [found.quantiles[:, :, k].ravel().tolist() for k in range(len(found.levels))]
    keys = ["unique_id", "ds", "mean", *(column_of(level) for level in found.levels)]
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
