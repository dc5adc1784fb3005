"""Forecasts with the columns of Nixtla's libraries, for their measures and pictures.

Their tables go in as they are: ``unique_id, ds, y``, of pandas or polars.
"""

from __future__ import annotations

from typing import Any

from forecasting.errors import DataError
from forecasting.interop.kinds import as_pandas, like
from forecasting.quantiles import column_of, level_of


def to_nixtla(forecast: Any, model: str = "Gatecast") -> Any:
    """A forecast ``unique_id, ds, mean, q<level>…`` with the columns of Nixtla's libraries.

    The median, or without one the mean, is called as the ``model``; levels that lie alike around
    the median are an interval: 0.1 and 0.9 become ``Gatecast-lo-80`` and ``Gatecast-hi-80``.

    Raises
    ------
    DataError : a level without one that lies on the other side of the median.
    """
    frame = as_pandas(forecast)
    named = ((level_of(str(c)), c) for c in frame.columns)
    levels = {level: c for level, c in named if level is not None}
    point = levels.pop(0.5, "mean")
    renamed = {point: model}
    for level, column in levels.items():
        if not any(abs(level + other - 1.0) < 1e-9 for other in levels):
            raise DataError(
                f"{column} has no counterpart {column_of(1.0 - level)}, so it is the end of no "
                "interval: forecast both, or leave it out"
            )
        width = round(100.0 * abs(1.0 - 2.0 * level), 6)
        renamed[column] = f"{model}-{'lo' if level < 0.5 else 'hi'}-{width:g}"
    columns = ["unique_id", "ds", *renamed]
    return like(frame[columns].rename(columns=renamed), forecast)
