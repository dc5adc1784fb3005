"""Batch forecasts in a Delta or Iceberg table.

One row per model, series, cutoff and step, as in a database: one that is there is replaced, each
piece in one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError
from forecasting.masking import masked
from forecasting.quantiles import level_of
from pipelines.forecasts.job import KEY, Job
from pipelines.ingestion.read.lakes import (
    DELTA,
    delta_place,
    iceberg_name,
    lake_of,
    lake_there,
    open_delta,
    open_iceberg,
)
from pipelines.machine.databases import refused_by


def lake_target(url: str) -> _LakeTarget:
    """The target of a ``delta://`` or ``iceberg://`` address."""
    return DeltaTarget(url) if lake_of(url) == DELTA else IcebergTarget(url)


class _LakeTarget:
    """A table that is made when it is not there; columns of further quantiles are added."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, masked(url)

    def open(self, job: Job) -> None:
        """Take the job; a table that is there has to be one of forecasts."""
        self.job = job
        with refused_by(self.name, self.url):
            lake = self._opened()
            names = KEY if lake is None else self._schema(lake).names
        if missing := [n for n in KEY if n not in names]:
            raise DataError(
                f"{self.name} is no table of forecasts: it has no column {', '.join(missing)}; "
                "name another"
            )

    def done(self, ids: Sequence[str]) -> np.ndarray:
        """[N] bool, the series all of whose steps this job has written."""
        with refused_by(self.name, self.url):
            lake = self._opened()
            rows = None if lake is None else self._of_version(lake, ["unique_id", "job"])
        own = (
            rows.filter(pc.equal(rows["job"], self.job.digest))
            if rows is not None and "job" in rows.schema.names
            else None
        )
        counts = own["unique_id"].value_counts().to_pylist() if own is not None else []
        there = {one["values"] for one in counts if one["counts"] == self.job.horizon}
        return np.fromiter((i in there for i in ids), bool, len(ids))

    def write(self, piece: int, table: pa.Table) -> None:
        """Add one piece in one commit; a row that is there already is replaced."""
        with refused_by(self.name, self.url):
            lake = self._opened()
            if lake is not None:
                self._check(self._schema(lake), table.schema)
            self._write(lake, table)

    def finish(self) -> str:
        """The table's address, without its password."""
        return self.name

    def _opened(self) -> Any | None:
        """The table as it is now; None where there is none."""
        return self._open() if lake_there(self.url) else None

    def _check(self, there: pa.Schema, schema: pa.Schema) -> None:
        lacking = [n for n in schema.names if n not in there.names and level_of(n) is None]
        if lacking:
            raise DataError(
                f"{self.name} is no table of forecasts: it has no column {', '.join(lacking)}; "
                "name another"
            )
        whole = pa.types.is_integer(schema.field("cutoff").type)
        if whole != pa.types.is_integer(there.field("cutoff").type):
            raise DataError(
                f"{self.name} holds forecasts whose stamps are {'dates' if whole else 'integers'}, "
                "these are not; use another table"
            )

    def _open(self) -> Any:
        raise NotImplementedError

    def _schema(self, lake: Any) -> pa.Schema:
        raise NotImplementedError

    def _of_version(self, lake: Any, columns: list[str]) -> pa.Table:
        """Columns, as far as they are there, of the rows of the job's model and version."""
        raise NotImplementedError

    def _write(self, lake: Any | None, table: pa.Table) -> None:
        """Put rows into the table, or into a new one."""
        raise NotImplementedError


class DeltaTarget(_LakeTarget):
    """Rows are merged into a Delta table by deltalake."""

    def _open(self) -> Any:
        return open_delta(self.url)

    def _schema(self, lake: Any) -> pa.Schema:
        return lake.to_pyarrow_dataset().schema

    def _of_version(self, lake: Any, columns: list[str]) -> pa.Table:
        data = lake.to_pyarrow_dataset()
        model, version = pc.field("model"), pc.field("version")
        rows: pa.Table = data.to_table(
            columns=[c for c in columns if c in data.schema.names],
            filter=(model == self.job.model) & (version == self.job.version),
        )
        return rows

    def _write(self, lake: Any | None, table: pa.Table) -> None:
        import deltalake

        if lake is None:
            deltalake.write_deltalake(delta_place(self.url), table.slice(0, 0), mode="ignore")
            lake = self._open()
        same = " AND ".join(f"kept.{name} = new.{name}" for name in KEY)
        (
            lake.merge(table, same, source_alias="new", target_alias="kept", merge_schema=True)
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )


class IcebergTarget(_LakeTarget):
    """Rows between the piece's cutoffs are written anew: PyIceberg's own upsert takes minutes."""

    def _open(self) -> Any:
        return open_iceberg(self.url)

    def _schema(self, lake: Any) -> pa.Schema:
        return lake.schema().as_arrow()

    def _of_version(self, lake: Any, columns: list[str]) -> pa.Table:
        names = self._schema(lake).names
        fields = tuple(c for c in columns if c in names)
        scan = lake.scan(row_filter=self._own(), selected_fields=fields)
        rows: pa.Table = scan.to_arrow()
        return rows

    def _own(self) -> Any:
        from pyiceberg import expressions

        equal: Any = expressions.EqualTo
        both: Any = expressions.And
        return both(equal("model", self.job.model), equal("version", self.job.version))

    def _write(self, lake: Any | None, table: pa.Table) -> None:
        from pyiceberg import expressions
        from pyiceberg.catalog import load_catalog

        low, high = (_literal(end) for end in pc.min_max(table["cutoff"]).as_py().values())
        least: Any = expressions.GreaterThanOrEqual
        most: Any = expressions.LessThanOrEqual
        both: Any = expressions.And
        rows = both(self._own(), both(least("cutoff", low), most("cutoff", high)))
        if lake is None:
            place, name = iceberg_name(self.url)
            catalog = load_catalog(place)
            catalog.create_namespace_if_not_exists(name.rpartition(".")[0])
            lake = catalog.create_table(name, table.schema)
        with lake.update_schema() as change:
            change.union_by_name(table.schema)
        there = lake.scan(row_filter=rows).to_arrow()
        if not there.num_rows:
            lake.append(table)
            return
        others = there.cast(_as_here(there.schema, table.schema)).join(
            table.select(KEY), list(KEY), join_type="left anti"
        )
        whole = pa.concat_tables([others, table], promote_options="default")
        lake.overwrite(whole, overwrite_filter=rows)


def _literal(stamp: Any) -> Any:
    return stamp if isinstance(stamp, int) else stamp.isoformat()


def _as_here(there: pa.Schema, here: pa.Schema) -> pa.Schema:
    """The kinds of columns as a piece has them; of a column that it lacks as they are."""
    names = set(here.names)
    return pa.schema([here.field(f.name) if f.name in names else f for f in there])
