"""Covariates and the target as numbers: what a column's values become, and what is refused."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError, warn
from forecasting.schema import Covariate

if TYPE_CHECKING:
    # Imported where tables are handled: a service of arrays starts without pandas.
    import pandas as pd

LISTS = (list, dict, set, np.ndarray)
_TIMES = (datetime.date, datetime.time, datetime.timedelta)
# Whole numbers as text of which so few are different are codes, as of regions.
FEW_CODES = 12


def numbers(column: pd.Series, name: str, frame: pd.DataFrame) -> Array:
    """Float64 values [K] of a column; ``frame`` tells whose a wrong one is, and at what stamp.

    Raises
    ------
    DataError : a value that is no number, or infinite.
    """
    import pandas as pd

    if column.dtype.kind in "mMc" or isinstance(column.dtype, pd.PeriodDtype):
        raise DataError(
            f"column {name} holds {column.dtype} values such as {column.iloc[0]}, which are no "
            "numbers; make numbers of them, for instance the days since some date"
        )
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = _underlined(column)
    except (ValueError, TypeError, OverflowError):
        rows = np.flatnonzero(column.notna().to_numpy())
        wrong = next(int(k) for k in rows if not _is_number(column.iloc[k]))
    if wrong is not None:
        at = wrong
        where = f"series {frame['unique_id'].iloc[at]!r}, ds = {frame['ds'].iloc[at]}"
        raise DataError(
            f"column {name}: {column.iloc[at]!r} is not a number ({where}); mend it, or let "
            "`gatecast ingest` read it as missing"
        )
    if np.isinf(values).any():
        at = int(np.flatnonzero(np.isinf(values))[0])
        where = f"series {frame['unique_id'].iloc[at]!r}, ds = {frame['ds'].iloc[at]}"
        raise DataError(f"column {name} is infinite ({where}); leave it empty if it is missing")
    return values


def refuse_no_names(column: pd.Series, name: str) -> None:
    """Refuse what names neither a category nor a series: dates, times and spans, lists, records.

    Raises
    ------
    DataError : the first such value, and what to make of it.
    """
    import pandas as pd

    if not pd.api.types.is_object_dtype(column.dtype):
        return
    for value in column:
        if isinstance(value, LISTS):
            raise DataError(
                f"column {name} holds lists or records such as {value!r}: make a column of each of "
                "their parts, one number or name a row"
            )
        if isinstance(value, _TIMES):
            raise DataError(
                f"column {name} holds {type(value).__name__} values such as {value}, which are no "
                "numbers; make numbers of them, for instance the days since some date, or the hour"
            )


def say_text_numbers(column: pd.Series, name: str) -> None:
    """Warn of a covariate whose numbers are text: each of them would be a category of its own."""
    texts = column.dropna().unique()
    if len(texts) <= FEW_CODES and not any("." in str(t) for t in texts):
        return
    if all(isinstance(t, str) and _is_number(t) for t in texts):
        warn(
            f"column {name} holds numbers as text, such as {texts[0]!r}, and each of the "
            f"{len(texts):,} is a category of its own: where they are quantities, make numbers of "
            f'them, df["{name}"] = pd.to_numeric(df["{name}"]); where they are names, say so: '
            f'categorical=["{name}"]'
        )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return not (isinstance(value, str) and "_" in value)


def _underlined(column: pd.Series) -> int | None:
    """The first row with a text such as 1_5, which Python takes for 15; None for none."""
    if column.dtype.kind in "iufb" or not hasattr(column, "str"):
        return None
    mask = column.map(lambda value: isinstance(value, str) and "_" in value)
    at = np.flatnonzero(mask.to_numpy(dtype=bool, na_value=False))
    return int(at[0]) if len(at) else None


def encode(
    column: Any,
    covariate: Covariate,
    frame: pd.DataFrame | None = None,
    *,
    missing: float = 0.0,
) -> Array:
    """Codes of a categorical column [K], numbers of a real one; float64 [K] either way.

    ``missing`` : the code of a category that is not given; 0 is that of one that is not known.
    """
    if hasattr(column, "iloc"):
        return _encode_series(column, covariate, frame, missing)
    if covariate.type == "real":
        return np.asarray(column, dtype=np.float64)
    if any(map(is_truth, column)):
        column = [v if _is_missing(v) else category(v) for v in column]
    place = {name: float(code) for code, name in enumerate(covariate.categories, 1)}
    codes = {v: place.get(category(v), 0.0) for v in dict.fromkeys(column) if not _is_missing(v)}
    return np.array([codes.get(v, missing) for v in column], dtype=np.float64)


def _encode_series(
    column: pd.Series, covariate: Covariate, frame: pd.DataFrame | None, missing: float
) -> Array:
    import pandas as pd

    if covariate.type == "real":
        return numbers(column, covariate.name, frame if frame is not None else pd.DataFrame())
    rows, values = pd.factorize(truths_apart(column))
    place = {name: code for code, name in enumerate(covariate.categories, 1)}
    codes = np.array([place.get(category(v), 0) for v in values] + [missing], dtype=np.float64)
    return codes[rows]  # a missing value is row -1: the one at the end


def unseen(covariate: Covariate, names: Iterable[str]) -> str | None:
    """What is to be said of categories that were in none of the training data; None for nothing."""
    if covariate.type != "categorical":
        return None
    strange = sorted(set(names) - set(covariate.categories))
    if not strange:
        return None
    listed = ", ".join(map(repr, strange[:3])) + (", …" if len(strange) > 3 else "")
    examples = ", ".join(map(repr, covariate.categories[:5]))
    more = ", …" if len(covariate.categories) > 5 else ""
    return (
        f"covariate {covariate.name!r} holds {listed}, which no row of the training data held "
        f"(there: {examples}{more}): forecast as an unknown category; write it as it was there, or "
        "train again"
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def category(value: Any) -> str:
    """The name of a category or series; 7.0 is 7, as whole numbers become beside missing ones."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def is_truth(value: Any) -> bool:
    """Whether a value is true or false, which Python takes for 1 and 0."""
    return isinstance(value, (bool, np.bool_))


def truths_apart(column: pd.Series) -> pd.Series:
    """A column of names where True stands beside 1 as another: a table of hashes holds them one."""
    if column.dtype.kind == "O" and column.map(is_truth).any():
        return column.map(category, na_action="ignore")
    return column


def decode(values: Array, covariate: Covariate) -> Any:
    """What `encode` made numbers of, [T]: names of categories, None where unseen or missing."""
    if covariate.type == "real":
        return values
    names = np.array([None, *covariate.categories], dtype=object)
    return names[np.nan_to_num(values).astype(np.int64)]


def blank(covariate: Covariate, count: int) -> Array:
    """What stands where a covariate is missing altogether."""
    return np.full(count, 0.0 if covariate.type == "categorical" else np.nan)
