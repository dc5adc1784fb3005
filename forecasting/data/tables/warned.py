"""What a table makes one wonder at, said as a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.codes import codes_for_missing
from forecasting.errors import listed, warn
from forecasting.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

# Series whose names are compared with each other.
MOST_NAMES = 100_000


def say_left_aside(frame: pd.DataFrame, used: Sequence[str]) -> None:
    """Warn of columns that training does not look at, and say how it would."""
    aside = [str(n) for n in frame.columns if n not in {"unique_id", "ds", "y", *used}]
    if not aside:
        return
    named = listed(aside, 8)
    warn(
        f"columns left aside: {named}; to use one, name it in past=[{aside[0]!r}], or in future if "
        "it is known ahead; what has one value per series belongs into a table of its own, static"
    )


def say_open_ends(y: Array, offsets: Array, ids: Array) -> None:
    """Warn where series end with rows without y and no covariate is known ahead.

    Their forecast starts after these rows, and not after the last value.

    Parameters
    ----------
    y : [T]; offsets : [N + 1]; ids : [N].
    """
    seen = np.concatenate([[0], np.cumsum(~np.isnan(y))])
    valued = seen[offsets[1:]] > seen[offsets[:-1]]
    at = np.flatnonzero(valued)
    at = at[np.isnan(y[offsets[1:][at] - 1])]
    if len(at):
        warn(
            f"{len(at):,} series, such as {ids[at[0]]!r}, end with rows without y: the forecast "
            "starts after these rows, not after the last value; leave them out to start there"
        )


def say_names(ids: Array) -> None:
    """Warn of series whose names differ in blanks or capitals only: one series, perhaps, in two.

    Parameters
    ----------
    ids : [N].
    """
    if len(ids) > MOST_NAMES:
        return
    first: dict[str, str] = {}
    for name in map(str, ids):
        alike = first.setdefault("".join(name.split()).casefold(), name)
        if alike != name:
            warn(
                f"series {alike!r} and {name!r} differ in blanks or capitals only: they are two "
                "series; if they are one, write its name alike in every row"
            )
            return


def say_codes(y: Array, offsets: Array) -> None:
    """Warn of values that are codes for missing more often than values: -999, 9999.

    Parameters
    ----------
    y : [T]; offsets : [N + 1].
    """
    codes = codes_for_missing(y, offsets)
    if codes.any():
        value = y[codes][0]
        count = int((y == value).sum())
        warn(
            f"y holds {value:g} in {count:,} rows, which is read as a value: if it stands for "
            f'one that is missing, df["y"] = df["y"].replace({value:g}, float("nan"))'
        )


def say_truths(y: pd.Series) -> None:
    """Warn of a target of true and false, which is forecast as a number between 0 and 1."""
    if y.dtype.kind == "b":
        warn(
            "y holds true and false, which are read as 1 and 0: what is forecast is a number, the "
            "mean about the share of true"
        )


def say_blank(
    frame: pd.DataFrame, static: pd.DataFrame | None, schema: Schema, *, trained: bool
) -> None:
    """Warn of covariates that have no value in any row.

    Parameters
    ----------
    schema : the forecaster's where one is ``trained``; else what the tables say.
    """
    tables = [(frame, (*schema.past, *schema.future)), (static, schema.static)]
    blanks = [
        c.name
        for table, covariates in tables
        if table is not None
        for c in covariates
        if c.name in table and len(table) and table[c.name].isna().all()
    ]
    if blanks:
        learned = "what was learned of them is of no use" if trained else "nothing is learned"
        warn(
            f"covariates without a value in any row: {listed(blanks, 8)}; they count as missing, "
            f"and {learned}"
        )
