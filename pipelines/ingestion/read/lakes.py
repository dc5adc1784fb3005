"""Delta and Iceberg tables: files with a log that says which of them count."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from forecasting.errors import DataError, MissingGroupError, lacking
from forecasting.masking import conceals
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.read.newer import Newer
from pipelines.machine.databases import reason

DELTA, ICEBERG = "delta", "iceberg"
LOG = "_delta_log"
METADATA = ".metadata.json"


def lake_of(source: str) -> str | None:
    """``delta`` or ``iceberg`` for a table of one, by its URL or its log; else None."""
    scheme, mark, _ = source.partition("://")
    kind = scheme.partition("+")[0].lower()
    if mark:
        return kind if kind in (DELTA, ICEBERG) else None
    return DELTA if (Path(source).expanduser() / LOG).is_dir() else None


def delta_place(source: str) -> str:
    """What deltalake is told: ``delta://sales`` is a folder, ``delta+s3://…`` lies in a store."""
    scheme, mark, rest = source.partition("://")
    if not mark:
        return str(Path(source).expanduser())
    store = scheme.partition("+")[2]
    return f"{store}://{rest}" if store else str(Path(unquote(rest)).expanduser())


@conceals
def lake_there(source: str) -> bool:
    """Whether there is a table at the address of a lake.

    Raises
    ------
    DataError : an address that is none, or a catalog that cannot be asked.
    """
    try:
        if lake_of(source) == DELTA:
            import deltalake

            return bool(deltalake.DeltaTable.is_deltatable(delta_place(source)))
        from pyiceberg.catalog import load_catalog
    except ImportError as error:
        raise lacking(f"{source}: tables of a lake", error) from None
    catalog, name = iceberg_name(source)
    try:
        return bool(load_catalog(catalog).table_exists(name))
    except Exception as error:  # catalogs have errors of their own
        raise DataError(f"{source} cannot be opened as Iceberg: {reason(error)}") from None


def iceberg_name(source: str) -> tuple[str, str]:
    """Catalog and name of ``iceberg://CATALOG/NAMESPACE.TABLE``; `DataError` for anything else."""
    scheme, _, rest = source.partition("://")
    catalog, _, name = rest.partition("/")
    if not catalog or "." not in name or "+" in scheme or rest.endswith(METADATA):
        raise DataError(
            f"{source}: write iceberg://CATALOG/NAMESPACE.TABLE, or to read it the path of a "
            f"metadata file, which ends in {METADATA}"
        )
    return catalog, unquote(name)


@conceals
def open_delta(source: str) -> Any:
    """A `deltalake.DeltaTable`; `DataError` where there is none."""
    try:
        import deltalake
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise lacking(f"{source}: reading Delta tables", error) from None
    place = delta_place(source)
    try:
        return deltalake.DeltaTable(place)
    except TableNotFoundError:
        raise DataError(f"{source}: there is no Delta table (a folder with {LOG} in it)") from None
    except (DeltaError, OSError, ValueError) as error:
        raise DataError(f"{source} cannot be opened as Delta: {reason(error)}") from None


def read_delta(
    source: str, config: DataConfig, wanted: Collection[str] | None
) -> tuple[pa.Table, dict[str, Any]]:
    """The newest version of a Delta table, and which that is.

    ``wanted`` : columns to read; None: all. Partitions that `DataConfig.newer` leaves out are not
    opened.

    Raises
    ------
    DataError : no such table, one of features that deltalake does not read, or a missing column.
    """
    table = open_delta(source)

    def rows() -> pa.Table:
        data = table.to_pyarrow_dataset()
        newer = Newer.of(config, data.schema, source)
        return data.to_table(
            columns=_chosen(data.schema.names, wanted), filter=newer and newer.expression
        )

    facts = {"kind": "Delta table", "version": table.version()}
    return _read(source, "Delta", rows), facts


@conceals
def open_iceberg(source: str) -> Any:
    """A `pyiceberg.table.Table`: ``iceberg://CATALOG/NAMESPACE.TABLE``, or a metadata file.

    The catalog is one of PyIceberg's configuration (``~/.pyiceberg.yaml``, or variables
    ``PYICEBERG_CATALOG__NAME__URI``).

    Raises
    ------
    DataError : no such catalog, table or file.
    """
    try:
        from pyiceberg.catalog import load_catalog
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
        from pyiceberg.table import StaticTable
    except ImportError as error:
        raise lacking(f"{source}: reading Iceberg tables", error) from None
    scheme, _, rest = source.partition("://")
    store = scheme.partition("+")[2]
    try:
        if rest.endswith(METADATA):
            place = f"{store}://{rest}" if store else str(Path(unquote(rest)).resolve())
            return StaticTable.from_metadata(place)
        catalog, name = iceberg_name(source)
        return load_catalog(catalog).load_table(name)
    except DataError:
        raise
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise DataError(f"{source}: there is no such table: {reason(error)}") from None
    except FileNotFoundError:
        raise DataError(f"{source}: there is no such file") from None
    except Exception as error:  # catalogs and stores have errors of their own
        raise DataError(f"{source} cannot be opened as Iceberg: {reason(error)}") from None


def read_iceberg(
    source: str, config: DataConfig, wanted: Collection[str] | None
) -> tuple[pa.Table, dict[str, Any]]:
    """The newest snapshot of an Iceberg table, and which that is.

    Parameters and errors as of `read_delta`.
    """
    table = open_iceberg(source)
    snapshot = table.current_snapshot()

    def rows() -> pa.Table:
        schema = table.schema().as_arrow()
        newer = Newer.of(config, schema, source)
        scan = {"row_filter": newer.iceberg} if newer is not None else {}
        names = _chosen(schema.names, wanted)
        return table.scan(selected_fields=tuple(names or ("*",)), **scan).to_arrow()

    facts = {"kind": "Iceberg table", "snapshot": snapshot.snapshot_id if snapshot else None}
    return _read(source, "Iceberg", rows), facts


def _chosen(names: list[str], wanted: Collection[str] | None) -> list[str] | None:
    if wanted is None:
        return None
    stripped = {w.strip() for w in wanted}
    # Where one is missing all are read, and the table's mapping says which.
    columns = [n for n in names if n.strip() in stripped]
    return columns or None


@conceals
def _read(source: str, kind: str, rows: Callable[[], pa.Table]) -> pa.Table:
    try:
        return _plain(rows())
    except (DataError, MissingGroupError):
        raise
    except Exception as error:  # the libraries' own, Arrow's, the stores'
        raise DataError(f"{source} cannot be read as {kind}: {reason(error)}") from None


def _plain(table: pa.Table) -> pa.Table:
    """Arrow's usual types for those that libraries prefer: large and viewed text."""
    schema = pa.schema([pa.field(f.name, _usual(f.type)) for f in table.schema])
    return table if schema.equals(table.schema.remove_metadata()) else table.cast(schema)


def _usual(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _usual(kind.value_type)
    return kind
