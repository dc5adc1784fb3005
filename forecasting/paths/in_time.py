"""Forecasts of the same series at several steps, days, weeks and months, brought to agree.

Each comes from a model of its own step; where a week or a month lies whole within the days that are
forecast, their sum and its forecast are moved to each other by `reconcile`, as series of a
hierarchy are: weeks and months may cross.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from forecasting.paths.reconcile import DEVIATIONS, HOWS, Errors, How, reconciled

KEYS = ["unique_id", "ds"]


def coherent_in_time(
    forecasts: Mapping[str, pd.DataFrame],
    *,
    how: How = "wls_struct",
    nonnegative: bool = False,
    ends: Collection[str] = (),
) -> dict[str, pd.DataFrame]:
    """Forecasts of which the longer steps are the sums of the shortest ones.

    Parameters
    ----------
    forecasts : tables of `Forecaster.predict` by pandas' alias of their step, the shortest first:
        ``{"D": days, "W": weeks, "MS": months}``, of totals over the step.
    how : as of `reconcile.reconciled`, but ``mint_shrink``, which needs errors.
    ends : which of the longer steps are stamped at their last day, as pandas' ``W`` is where it
        adds up; of months and the like the alias says so. Others begin at their stamp.

    Returns
    -------
    The same tables with ``mean`` and quantiles moved. Rows of longer steps that do not lie whole
    within the shortest ones stay as they are; their ``ds`` say which these are.

    Raises
    ------
    DataError : naming the table and what is wrong with it.
    """
    _check(forecasts, how)
    fine, *coarse = forecasts
    days = forecasts[fine].sort_values(KEYS, ignore_index=True)
    out = {alias: table.copy() for alias, table in forecasts.items()}
    rows_of = {
        alias: {
            name: np.asarray(rows, np.int64)
            for name, rows in out[alias].groupby("unique_id", sort=False).indices.items()
        }
        for alias in coarse
    }
    parts = []
    for name, own in days.groupby("unique_id", sort=False):
        own = own.copy()
        wholes = [
            (alias, row, inside)
            for alias in coarse
            for row, inside in _whole(
                out[alias]["ds"].iloc[rows_of[alias][name]],
                rows_of[alias][name],
                own["ds"],
                Frequency.parse(alias),
                at_end=alias in ends,
            )
        ]
        before = own["mean"].to_numpy(np.float64)
        if wholes:
            after = _moved(before, own, wholes, out, how, nonnegative=nonnegative)
        else:
            after = np.maximum(before, 0.0) if nonnegative else before
        parts.append(_shifted(own, after - before, nonnegative=nonnegative))
        for alias, row, inside in wholes:
            table = out[alias]
            place = table.index[row]
            forecast = table.loc[[place]]
            off = after[inside].sum() - forecast["mean"].to_numpy(np.float64)
            one = _shifted(forecast, off, nonnegative=nonnegative)
            table.loc[place, one.columns] = one.iloc[0]
    out[fine] = pd.concat(parts, ignore_index=True)
    return out


def _moved(
    before: Array,
    own: pd.DataFrame,
    wholes: Sequence[tuple[str, int, Array]],
    out: Mapping[str, pd.DataFrame],
    how: How,
    *,
    nonnegative: bool,
) -> Array:
    """[h] means of one series at the shortest step, brought to agree with the longer ones."""
    from scipy import sparse

    matrix = np.array([inside for _, _, inside in wholes], np.float64)
    longer = pd.concat([out[alias].iloc[[row]] for alias, row, _ in wholes])
    upper = longer["mean"].to_numpy(np.float64)
    variance = np.ones(len(longer) + len(before))
    if how == "wls":
        frame = pd.concat([longer, own])
        spread = (frame["q0.9"] - frame["q0.1"]).to_numpy(np.float64)
        variance = (spread / DEVIATIONS) ** 2
    means = reconciled(
        sparse.csr_array(matrix),
        upper[:, None],
        before[:, None],
        Errors(variance),
        how,
        nonnegative=nonnegative,
    )
    return means[:, 0]


def _whole(
    stamps: pd.Series, rows: Array, days: pd.Series, freq: Frequency, *, at_end: bool
) -> list[tuple[int, Array]]:
    """Rows of a longer step that lie whole within the shortest ones, and those within [h]."""
    fine = days.to_numpy().astype("datetime64[us]")
    width = np.diff(fine).min() if len(fine) > 1 else np.timedelta64(1, "us")
    ds = stamps.to_numpy().astype("datetime64[us]")
    if freq.end or at_end:
        begin, end = freq.shift(ds, -1) + width, ds + width
    else:
        begin, end = ds, freq.shift(ds, 1)
    wholes = []
    for row, first, after in zip(rows.tolist(), begin, end, strict=True):
        inside = (fine >= first) & (fine < after)
        if inside.any() and int(inside.sum()) == round(float((after - first) / width)):
            wholes.append((row, inside))
    return wholes


def _shifted(table: pd.DataFrame, by: Array, *, nonnegative: bool) -> pd.DataFrame:
    """A table whose mean and quantiles are moved by [rows]."""
    table = table.copy()
    for column in table.columns:
        if column not in KEYS:
            moved = table[column].to_numpy(np.float64) + by
            table[column] = np.maximum(moved, 0.0) if nonnegative else moved
    return table


def _check(forecasts: Mapping[str, pd.DataFrame], how: How) -> None:
    if len(forecasts) < 2:
        raise DataError("give forecasts of two steps or more, the shortest first")
    if how not in HOWS or how == "mint_shrink":
        raise DataError(f"how = {how} must be one of {', '.join(HOWS[:-1])}")
    ids = None
    for alias, table in forecasts.items():
        missing = [c for c in (*KEYS, "mean") if c not in table.columns]
        if missing:
            raise DataError(
                f"forecasts[{alias!r}] has no column {missing[0]}: give a table of predict"
            )
        if how == "wls" and not {"q0.1", "q0.9"} <= set(table.columns):
            raise DataError(f"how = wls needs q0.1 and q0.9 in forecasts[{alias!r}]")
        if not pd.api.types.is_datetime64_any_dtype(table["ds"]):
            raise DataError(f"forecasts[{alias!r}] has no stamps in ds: steps are told by them")
        own = set(table["unique_id"])
        if ids is not None and own != ids:
            other = sorted(map(str, own ^ ids))[0]
            raise DataError(f"series {other!r} is not in all forecasts: each needs the same ones")
        ids = own
