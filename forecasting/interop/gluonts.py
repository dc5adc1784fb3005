"""Data sets of GluonTS as long tables, and forecasts as its forecasts.

A data set is anything that can be gone through more than once and gives dicts with ``start`` and
``target``: the classes of GluonTS, and lists. GluonTS is imported to hand a forecast back only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import DataError, warn

if TYPE_CHECKING:
    import pandas as pd


def is_gluonts(given: Any) -> bool:
    """Whether this is a data set of GluonTS, or a list of what one gives."""
    if isinstance(given, list | tuple):
        return bool(given) and all(
            isinstance(each, Mapping) and {"start", "target"} <= each.keys() for each in given
        )
    modules = {cls.__module__.split(".")[0] for cls in type(given).__mro__}
    return "gluonts" in modules and hasattr(given, "__iter__")


def from_gluonts(dataset: Any) -> pd.DataFrame:
    """A long table ``unique_id, ds, y`` of a data set.

    Series are called by their ``item_id``; where one lacks it or stands twice, by their number
    from 0. Stamps are the beginnings of the periods. Features are left aside, with a warning.

    Raises
    ------
    DataError : a start that is no period of pandas, or a target of more than one dimension.
    """
    import pandas as pd

    entries = list(dataset)
    if not entries:
        raise DataError("the data set has no series")
    ids = _identities(entries)
    aside = sorted({key for each in entries for key in each if "feat_" in key})
    if aside:
        warn(
            f"of the data set are left aside: {', '.join(aside)}; to use them, bring them into a "
            "long table, in columns of their own"
        )
    parts = []
    for identity, each in zip(ids, entries, strict=True):
        start, target = _start(each, identity), np.asarray(each["target"], dtype=np.float64)
        if target.ndim != 1:
            raise DataError(
                f"series {identity!r}: target has {target.ndim} dimensions; give each of its rows "
                "as a series of its own"
            )
        periods = pd.period_range(start, periods=len(target), freq=start.freq)
        stamps = periods.to_timestamp(how="start")
        parts.append(pd.DataFrame({"unique_id": identity, "ds": stamps, "y": target}))
    return pd.concat(parts, ignore_index=True)


def to_gluonts(forecast: pd.DataFrame, dataset: Any) -> list[Any]:
    """A forecast as a `QuantileForecast` of GluonTS for each series of a data set, in its order.

    Parameters
    ----------
    forecast : of what `from_gluonts` made of ``dataset``.

    Raises
    ------
    DataError : GluonTS is not installed.
    """
    try:
        kind = importlib.import_module("gluonts.model.forecast").QuantileForecast
    except ImportError:
        raise DataError(
            "a forecast of dicts with start and target is handed back as GluonTS's own, and "
            "gluonts is not installed: install it, or give a table, such as that of "
            "forecasting.interop.from_gluonts"
        ) from None
    entries = list(dataset)
    columns = [c for c in forecast.columns if c not in ("unique_id", "ds")]
    parts = dict(list(forecast.groupby("unique_id", sort=False)))
    return [
        kind(
            forecast_arrays=parts[identity][columns].to_numpy(dtype=np.float64).T,
            start_date=_start(each, identity) + len(each["target"]),
            forecast_keys=[c.removeprefix("q") for c in columns],
            item_id=each.get("item_id"),
        )
        for identity, each in zip(_identities(entries), entries, strict=True)
    ]


def _identities(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    ids = [each.get("item_id") for each in entries]
    names = [str(i) for i in ids if i is not None]
    return names if len(set(names)) == len(ids) else [str(k) for k in range(len(ids))]


def _start(entry: Mapping[str, Any], identity: str) -> pd.Period:
    import pandas as pd

    if not isinstance(entry["start"], pd.Period):
        raise DataError(
            f"series {identity!r}: start = {entry['start']!r} does not say how long a step is: "
            'give a period, pd.Period("2024-01", freq="M"), as GluonTS\'s own data sets do'
        )
    return entry["start"]
