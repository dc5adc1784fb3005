"""The covariates that tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from forecasting.data.encoding import (
    category,
    numbers,
    refuse_no_names,
    say_text_numbers,
    truths_apart,
)
from forecasting.data.tables.series import is_date
from forecasting.data.tables.static import flat
from forecasting.errors import DataError
from forecasting.schema import Covariate, Schema, moments


def schema_of(
    frame: pd.DataFrame,
    static: pd.DataFrame | None,
    past: Sequence[str],
    future: Sequence[str],
    categorical: Sequence[str],
) -> Schema:
    """Covariates as the tables' columns are: real ones with mean and deviation, others with names.

    Raises
    ------
    DataError : a column of dates, or one that is neither numbers nor categories.
    """
    covariates = []
    tables = [("past", list(past), frame), ("future", list(future), frame)]
    if static is not None:
        tables.append(("static", [c for c in static.columns if c != "unique_id"], static))
    for role, names, table in tables:
        for name in names:
            column = table[name]
            is_text = not (
                pd.api.types.is_numeric_dtype(column.dtype)
                or pd.api.types.is_bool_dtype(column.dtype)
            )
            values: dict[str, Any] = {"name": str(name), "role": role}
            if name not in categorical and is_date(column):
                numbers(column, str(name), table)  # refuses, and says what to do
            if is_text or name in categorical:
                refuse_no_names(column, str(name))
                if name not in categorical:
                    say_text_numbers(column, str(name))
                kinds = {category(v) for v in truths_apart(column).dropna().unique()}
                values |= {"type": "categorical", "categories": tuple(sorted(kinds))}
            else:
                cells = numbers(column, str(name), frame if role != "static" else flat(table))
                values |= moments(cells)
            covariates.append(Covariate.parse(values))
    return Schema(covariates=tuple(covariates))


def refuse_unknown(categorical: Sequence[str], schema: Schema) -> None:
    """Refuse names of categorical columns that are no covariate; DataError names one."""
    names = [c.name for c in schema.covariates]
    for name in categorical:
        if name not in names:
            raise DataError(
                f"categorical names {name!r}, which is no covariate; there are: "
                f"{', '.join(names) or 'none'}"
            )
