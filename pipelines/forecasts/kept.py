"""Forecasts that were written, read again: from files, folders and tables of databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.errors import DataError
from forecasting.masking import conceals, masked
from pipelines.forecasts.file_target import SUFFIXES
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.read.databases import is_database
from pipelines.ingestion.read.lakes import (
    DELTA,
    METADATA,
    lake_of,
    lake_there,
    read_delta,
    read_iceberg,
)
from pipelines.machine.databases import table_in

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


NEEDED = ("model", "version", "unique_id", "cutoff", "step", "ds", "q0.5")
ONCE = ["unique_id", "cutoff", "step"]


def read_forecasts(source: str, table: str, model: str, *, since: Any = None) -> pd.DataFrame:
    """Forecasts of a model from a file, a folder of files or a database table.

    Where a series was forecast more than once from one cutoff the latest forecast counts: it is
    the one that was in use. Empty when nothing has been forecast yet.

    Parameters
    ----------
    since
        Stamp; a database is not asked for forecasts of what lies before it.

    Raises
    ------
    DataError
        Something there that is no table of forecasts.
    """
    if is_database(source, DataConfig()):
        frame = _from_database(source, table, model, since)
        where = f"{masked(source)}, table {table}"
    elif lake_of(source):
        frame, where = _from_lake(source), masked(source)
    else:
        frame, where = _from_files(Path(source).expanduser()), masked(source)
    if frame is None or frame.empty:
        return pd.DataFrame(columns=[*NEEDED])
    lacking = [name for name in NEEDED if name not in frame.columns]
    if lacking:
        there = ", ".join(map(str, frame.columns[:20]))
        raise DataError(
            f"{where} is no table of forecasts by `gatecast forecast`: no column "
            f"{', '.join(lacking)} (it has {there}); set monitor.forecasts"
        )
    frame = frame[frame["model"].astype(str) == model]
    frame = frame.assign(unique_id=frame["unique_id"].astype(str))
    if "created" in frame:
        created = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        frame = frame.assign(created=created).sort_values("created", kind="stable")
    return frame.drop_duplicates(ONCE, keep="last").reset_index(drop=True)


def _from_files(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.name[0] != ".")
    frames = []
    for file in files:
        try:
            if file.suffix == ".csv":
                frames.append(pd.read_csv(file, dtype={"unique_id": str, "model": str}))
            else:
                frames.append(pd.read_parquet(file))
        except OSError as error:
            raise DataError(f"cannot read {file}: {error}") from error
        except ValueError as error:  # ArrowInvalid and pandas' parser errors among them
            raise DataError(f"{file} is damaged or no table: {error}") from error
    return pd.concat(frames, ignore_index=True) if frames else None


def _from_lake(source: str) -> pd.DataFrame | None:
    if not source.endswith(METADATA) and not lake_there(source):
        return None
    read = read_delta if lake_of(source) == DELTA else read_iceberg
    return read(source, DataConfig(), None)[0].to_pandas()


@conceals
def _from_database(url: str, table: str, model: str, since: Any) -> pd.DataFrame | None:
    from pipelines.forecasts.table_target import open_engine, reason, split_name

    engine = open_engine(url)
    import sqlalchemy as sa

    schema, name = split_name(table)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(name, schema=schema):
                return None
            forecasts = table_in(connection, name, schema)
            query = sa.select(forecasts)
            if "model" in forecasts.c:
                query = query.where(forecasts.c.model == model)
            if since is not None and "ds" in forecasts.c:
                query = query.where(forecasts.c.ds >= _bound(since, forecasts.c.ds.type))
            return pd.read_sql(query, connection)
    except sa.exc.SQLAlchemyError as error:
        raise DataError(f"{url}: {reason(error)}") from error
    finally:
        engine.dispose()


def _bound(since: Any, kind: Any) -> Any:
    """A stamp as the database compares it; a day early, whatever zone it is read in."""
    import sqlalchemy as sa

    if not isinstance(since, np.datetime64):
        return int(since)
    stamp = pd.Timestamp(since) - pd.Timedelta(days=1)
    if isinstance(kind, sa.DateTime):
        return (stamp.tz_localize("UTC") if kind.timezone else stamp).to_pydatetime()
    return stamp.isoformat()


def native(column: pd.Series, panel: Panel, name: str) -> Array:
    """Stamps as the panel holds them: UTC where it is sub-daily, else the wall clock's."""
    if panel.freq.integer:
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.isna().any() or column.dtype.kind == "M":
            raise DataError(
                f"column {name} of the forecasts holds dates, the data have integer steps"
            )
        return numbers.to_numpy(np.int64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        if len(column):
            raise DataError(f"column {name} of the forecasts holds numbers, the data have dates")
        return np.empty(0, "datetime64[us]")
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
    if column.dtype.kind != "M" and not zoned:
        # Text of a CSV file or of SQLite; an offset stands there when there is a zone.
        texts = column.astype(str)
        zoned = bool(len(texts) and texts.str.contains(r"(?:[+-]\d\d:?\d\d|Z)$").all())
        column = pd.to_datetime(texts, format="ISO8601", utc=zoned)
    if zoned:
        if panel.tz is None:
            raise DataError(f"column {name} of the forecasts has a time zone, the data have none")
        zone = "UTC" if panel.freq.sub_daily else panel.tz
        column = column.dt.tz_convert(zone).dt.tz_localize(None)
        if not panel.freq.sub_daily:
            # Where clocks skipped midnight the day began an hour late.
            column = column.dt.floor("D")
    elif panel.tz is not None and len(column):
        raise DataError(f"column {name} of the forecasts has no time zone, the data have one")
    return column.to_numpy().astype("datetime64[us]")
