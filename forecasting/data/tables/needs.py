"""What tables and columns must be, before they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# What turns other things into a table, by the name of their class.
_CURES = {
    "str": "read it first, with pd.read_csv or `gatecast ingest`",
    "dict": "make one with pd.DataFrame(...)",
    "list": "make one with pd.DataFrame(...)",
    "ndarray": "make one with pd.DataFrame(..., columns=[...])",
    "Series": "make one with .to_frame() or .reset_index()",
    "RecordBatch": "make one with pa.Table.from_batches([...])",
    "LazyFrame": "make one with .collect()",
}


def need_frame(table: Any, name: str) -> None:
    """DataError for what is no table, as `as_pandas` gives it; ``name`` is the argument's."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return
    kind = type(table)
    cure = _CURES.get("str" if hasattr(table, "__fspath__") else kind.__name__)
    if cure is None:
        has_way = hasattr(table, "to_pandas")
        cure = "make one with .to_pandas()" if has_way else "make one with pd.DataFrame(...)"
    raise DataError(
        f"{name} must be a table of pandas, polars or Arrow, not a {kind.__name__}: {cure}"
    )


def need_frames(**tables: Any) -> None:
    """DataError for one of several tables, each by its argument's name, that is given and none."""
    for name, table in tables.items():
        if table is not None:
            need_frame(table, name)


def need_names(given: Any, name: str) -> None:
    """DataError for a text, or what is no list, where a list of columns is meant."""
    if isinstance(given, str):
        raise DataError(f'{name} = "{given}" must be a list of columns: {name}=["{given}"]')
    import pandas as pd

    if not isinstance(given, Sequence | pd.Index | np.ndarray):
        raise DataError(
            f"{name} must be a list of columns of the table, not a {type(given).__name__}"
        )


def refuse_two_roles(past: Sequence[str], future: Sequence[str]) -> None:
    """DataError for a column named twice, or that stands in the way of the table's own."""
    names = [*past, *future]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"covariate {name!r} is named twice in past and future: keep one")
        if name in ("unique_id", "ds", "y"):
            raise DataError(f"{name} is no covariate: take it out of past and future")


def need_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """DataError for a table where a column is missing, or stands twice."""
    import pandas as pd

    twice = [n for n in names if n in frame.columns and isinstance(frame[n], pd.DataFrame)]
    if twice:
        raise DataError(f"column {twice[0]} stands twice in the table; drop or rename one of them")
    missing = [n for n in names if n not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns[:20]))
        in_index = [n for n in missing if n in frame.index.names]
        cure = f"; {', '.join(in_index)} in the index: call .reset_index()" if in_index else ""
        raise DataError(
            f"missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"the table has: {there or 'none'}{cure}"
        )
