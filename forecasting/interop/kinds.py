"""Tables of several libraries: read as pandas' ones, and answered in the kind that was given.

No library is imported here before a table of its own is given: where one is, it is loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from forecasting.errors import DataError
from forecasting.interop import darts, gluonts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DAY_MICROSECONDS = 86_400_000_000


class Tabular(Protocol):
    """A table with named columns: of pandas, polars or Arrow."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


# What goes in as a table comes out as one of the same kind.
TableT = TypeVar("TableT", bound=Tabular)


class Kind(NamedTuple):
    """How tables of one library are read, and how a forecast is handed back.

    Attributes
    ----------
    mine : whether a table is of this kind.
    read : the table as one of pandas. write : a table of pandas as one of this kind, for a table
        that was given.
    """

    mine: Callable[[Any], bool]
    read: Callable[[Any], pd.DataFrame]
    write: Callable[[pd.DataFrame, Any], Any]


def as_pandas(table: Any) -> Any:
    """A table as pandas' DataFrame; what is of no kind known here comes back as it is.

    Missing values of all kinds become pandas' own, decimals become floats, dates stamps.

    Raises
    ------
    DataError : a table of a known kind that cannot be read, and what to do.
    """
    kind = _kind_of(table)
    return table if kind is None else kind.read(table)


def like(frame: pd.DataFrame, given: Any) -> Any:
    """A table of pandas in the kind of another.

    ``unique_id`` and stamps have the types they have in ``given`` where no value is lost by it.
    """
    kind = _kind_of(given)
    return frame if kind is None else kind.write(frame, given)


def is_foreign(given: Any) -> bool:
    """Whether these are series or data sets, not tables: only forecasts are handed back as such."""
    return darts.is_darts(given) or gluonts.is_gluonts(given)


def in_kind_of(answer: pd.DataFrame, given: Any) -> Any:
    """An answer that is no forecast in the kind of a table; series and data sets get pandas."""
    return answer if is_foreign(given) else like(answer, given)


def _kind_of(table: Any) -> Kind | None:
    return next((kind for kind in KINDS if kind.mine(table)), None)


def _is_a(table: Any, library: str, name: str) -> bool:
    """Whether an object is of a class of a library, which is loaded if it is."""
    module = sys.modules.get(library)
    return module is not None and isinstance(table, getattr(module, name, ()))


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    import pyarrow as pa

    for k, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type):
            values = table.column(k).cast(pa.float64(), safe=False)
            table = table.set_column(k, column.name, values)
    # Without metadata: an index of pandas that is kept there would take columns away.
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas(date_as_object=False)
    return frame


def _to_arrow(frame: pd.DataFrame, types: dict[str, pa.DataType]) -> pa.Table:
    """The table with columns of the ``types`` given, where they hold every value."""
    import pyarrow as pa

    table = pa.table({name: _arrow_column(frame[name]) for name in frame.columns})
    for name, kind in types.items():
        k = table.schema.get_field_index(name)
        if k < 0 or table.column(k).type == kind or not _castable(table.column(k), kind):
            continue
        try:
            values = table.column(k).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue  # such as stamps beyond the years that nanoseconds hold
        table = table.set_column(k, name, values)
    return table


def _arrow_column(column: pd.Series) -> pa.Array:
    """A column in Arrow; stamps of a zone by their instants, which pandas hands over with a
    warning only.
    """
    import pyarrow as pa

    zone = getattr(column.dtype, "tz", None)
    if zone is None:
        return pa.array(column, from_pandas=True)
    instants = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    whole = pa.array(instants.astype("datetime64[us]"))
    return whole.cast(pa.int64()).cast(pa.timestamp("us", str(zone)))


def _castable(column: pa.ChunkedArray, wanted: pa.DataType) -> bool:
    """Whether a cast keeps what the values are, not only their bits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        if pa.types.is_timestamp(wanted):
            return bool(column.type.tz == wanted.tz)
        whole = pc.cast(column, pa.timestamp("us")).cast(pa.int64())
        return pa.types.is_date(wanted) and not any(
            value is not None and value % DAY_MICROSECONDS for value in whole.unique().to_pylist()
        )
    return not pa.types.is_temporal(wanted)


def _write_arrow(frame: pd.DataFrame, given: pa.Table) -> pa.Table:
    return _to_arrow(frame, {f.name: f.type for f in given.schema if f.name in ("unique_id", "ds")})


def _read_polars(table: Any) -> pd.DataFrame:
    objects = [name for name, kind in table.schema.items() if str(kind).startswith("Object")]
    if objects:
        # Arrow would hold where they lie in memory.
        raise DataError(
            f"column {objects[0]} of the polars table holds Python objects: cast it to text, "
            "numbers or stamps, or drop it"
        )
    import pyarrow as pa

    try:
        return _from_arrow(table.to_arrow())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wide = [name for name, kind in table.schema.items() if str(kind).endswith("128")]
        raise DataError(
            f"column {', '.join(wide) or 'of the polars table'} cannot be read through Arrow: cast "
            f"it to Int64 or Float64 ({str(error).splitlines()[0]})"
        ) from None


def _write_polars(frame: pd.DataFrame, given: Any) -> Any:
    polars = sys.modules["polars"]
    own = given.select([n for n in ("unique_id", "ds") if n in given.columns])
    table = polars.from_arrow(_write_arrow(frame, own.to_arrow()))
    ids = own.schema.get("unique_id")
    # Categories have no counterpart in Arrow that comes back as the same type.
    if ids is not None and "unique_id" in table.columns and table.schema["unique_id"] != ids:
        table = table.with_columns(polars.col("unique_id").cast(polars.String).cast(ids))
    return table


KINDS = (
    Kind(lambda t: _is_a(t, "pyarrow", "Table"), _from_arrow, _write_arrow),
    Kind(lambda t: _is_a(t, "polars", "DataFrame"), _read_polars, _write_polars),
    Kind(darts.is_darts, darts.from_darts, darts.to_darts),
    Kind(gluonts.is_gluonts, gluonts.from_gluonts, gluonts.to_gluonts),
)
