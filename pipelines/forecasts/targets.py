"""Where batch forecasts go: a file or a table."""

from __future__ import annotations

import os

from forecasting.errors import DataError
from forecasting.masking import conceals
from pipelines.forecasts.file_target import FileTarget
from pipelines.forecasts.job import Target
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.read.databases import is_database
from pipelines.ingestion.read.lakes import lake_of
from pipelines.machine.state import home


@conceals
def target_of(out: str, table: str) -> Target:
    """The target an output names: ``x.parquet``, ``x.csv``, a folder, a table's address."""
    if is_database(out, DataConfig()):
        from pipelines.forecasts.table_target import SqlTarget

        return SqlTarget(out, table)
    if lake_of(out):
        from pipelines.forecasts.lake_target import lake_target

        return lake_target(out)
    if "://" in out:
        raise DataError(
            f"{out} cannot be written to: give a .parquet or .csv file, a folder, or a "
            "sqlite:///, postgresql://, duckdb:///, delta:// or iceberg:// address"
        )
    return FileTarget(out)


def default_output(name: str) -> str:
    """Folder that gets a model's forecasts when nothing else is said."""
    return f"{home() / 'forecasts' / name}{os.sep}"
