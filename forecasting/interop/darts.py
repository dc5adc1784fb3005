"""Series of Darts as long tables, and forecasts as series of Darts.

Its classes are known by name and reached through the objects given, so nothing of it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import DataError
from forecasting.quantiles import level_of

if TYPE_CHECKING:
    import pandas as pd


def is_darts(given: Any) -> bool:
    """Whether this is a TimeSeries of Darts, or a list of some."""
    series = given if isinstance(given, list | tuple) else [given]
    return bool(series) and all(_is_series(each) for each in series)


def from_darts(series: Any) -> pd.DataFrame:
    """A long table ``unique_id, ds, y`` of a TimeSeries, or of a list of them.

    Each component is a series, called by its name; in a list where names stand twice, by the
    number of the TimeSeries from 0 before it, ``0 sales``. Static covariates are left aside.

    Raises
    ------
    DataError : several samples of one step, of which none is what happened.
    """
    import pandas as pd

    listed = _listed(series)
    columns = [
        (identity, each.time_index, values)
        for each, identities in zip(listed, _identities(listed), strict=True)
        for identity, values in zip(identities, _values(each).T, strict=True)
    ]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(
                np.array([identity for identity, _, _ in columns], dtype=object),
                [len(values) for _, _, values in columns],
            ),
            "ds": np.concatenate([np.asarray(index) for _, index, _ in columns]),
            "y": np.concatenate([values for _, _, values in columns]).astype(np.float64),
        }
    )


def to_darts(forecast: pd.DataFrame, series: Any) -> Any:
    """A forecast as a TimeSeries for each that was given: a list for a list, else one.

    A component ``sales`` becomes ``sales_mean`` and, for each level, ``sales_q0.100``, as Darts
    calls the quantiles of its own models.

    Parameters
    ----------
    forecast : of what `from_darts` made of ``series``.
    """
    listed = _listed(series)
    parts = dict(list(forecast.groupby("unique_id", sort=False)))
    values = [c for c in forecast.columns if c not in ("unique_id", "ds")]
    forecasts = []
    for each, identities in zip(listed, _identities(listed), strict=True):
        own = [parts[identity] for identity in identities]
        names = [
            f"{component}_{_named(column)}" for component in each.components for column in values
        ]
        times = _times(own[0]["ds"], each)
        block = np.concatenate([part[values].to_numpy(dtype=np.float64) for part in own], axis=1)
        forecasts.append(type(each).from_times_and_values(times, block, columns=names))
    return forecasts if isinstance(series, list | tuple) else forecasts[0]


def _is_series(given: Any) -> bool:
    return any(
        cls.__name__ == "TimeSeries" and cls.__module__.split(".")[0] == "darts"
        for cls in type(given).__mro__
    )


def _listed(series: Any) -> Sequence[Any]:
    return series if isinstance(series, list | tuple) else [series]


def _identities(listed: Sequence[Any]) -> list[list[str]]:
    """What each component of each TimeSeries is called in a long table."""
    names = [[str(component) for component in each.components] for each in listed]
    flat = [name for each in names for name in each]
    if len(set(flat)) == len(flat):
        return names
    return [[f"{k} {name}" for name in each] for k, each in enumerate(names)]


def _values(series: Any) -> np.ndarray[Any, Any]:
    """[T, C] the one value of each step and component."""
    if series.n_samples > 1:
        raise DataError(
            f"a TimeSeries with {series.n_samples} samples of each step is no history: give one "
            "value a step, such as its median"
        )
    return np.asarray(series.values(copy=False))


def _named(column: str) -> str:
    level = level_of(column)
    if level is None or level != round(level, 3):
        return column
    return f"q{level:.3f}"  # as Darts itself names them


def _times(stamps: pd.Series, like: Any) -> Any:
    """The steps of a forecast as the time index of a TimeSeries is."""
    import pandas as pd

    if isinstance(like.time_index, pd.RangeIndex):
        first, step = int(stamps.iloc[0]), int(like.time_index.step)
        return pd.RangeIndex(first, first + step * len(stamps), step)
    return pd.DatetimeIndex(stamps.to_numpy(), freq=like.freq, name=like.time_index.name)
