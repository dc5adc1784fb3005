"""Forecasts of a long table, for MLflow's scoring protocol and its Python models.

The table is the library's: ``unique_id, ds, y`` and covariate columns. Static covariates stand as
columns, too, with one value per series; rows without ``y`` at the end of a series carry its
known-future covariates.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import DataError
from forecasting.prediction.answers import Answers
from forecasting.quantiles import ASKED
from serving.reading.query import MAX_LEVELS

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS = ("horizon", "quantiles", "extend", "model")


def forecast_frame(
    engine: Answers, frame: pd.DataFrame, params: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """``unique_id, ds, mean, q<level>…`` for every series of a table.

    Parameters
    ----------
    params : ``horizon``, ``quantiles`` and ``extend``; all may be left out.

    Raises
    ------
    DataError : naming the column, series or parameter.
    """
    horizon, levels, extend = read_parameters(params or {})
    columns = {"unique_id", "ds", "y", *(c.name for c in engine.schema.covariates)}
    stray = [str(name) for name in frame.columns if name not in columns]
    if stray:
        raise DataError(
            f"unknown column {stray[0]!r}; this model takes: {', '.join(sorted(columns))}"
        )
    return engine.predict(
        frame,
        horizon=horizon,
        quantiles=levels,
        extend=extend,
    )


def read_parameters(params: Mapping[str, Any]) -> tuple[int | None, tuple[float, ...], bool]:
    """Horizon, levels and extend; `DataError` names the one that is wrong."""
    unknown = [name for name in params if name not in PARAMETERS]
    if unknown:
        raise DataError(f"unknown parameter {unknown[0]!r}; there are: {', '.join(PARAMETERS[:3])}")
    horizon, quantiles = params.get("horizon"), params.get("quantiles")
    if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, Integral)):
        raise DataError(f"horizon = {_shown(horizon)} must be a whole number")
    extend = params.get("extend")
    if extend is not None and not isinstance(extend, bool | np.bool_):
        raise DataError(f"extend = {_shown(extend)} must be true or false")
    levels = ASKED if quantiles is None else quantiles
    if not isinstance(levels, list | tuple | np.ndarray) or not 0 < len(levels) <= MAX_LEVELS:
        raise DataError(f"quantiles must be a list of 1 to {MAX_LEVELS} numbers between 0 and 1")
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, Real) or not 0 < float(level) < 1:
            raise DataError(f"quantiles: {_shown(level)} is no number between 0 and 1")
    steps = None if horizon is None else int(horizon)
    return steps, tuple(float(level) for level in levels), bool(extend)


def _shown(value: Any) -> str:
    return repr(value)[:80]
