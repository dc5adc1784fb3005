"""DuckDB for real: read by query, table and day, and forecasts written back."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from forecasting.errors import DataError
from pipelines.forecasts.job import Job
from pipelines.forecasts.kept import read_forecasts
from pipelines.forecasts.targets import target_of
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.read.databases import read_database

duckdb = pytest.importorskip("duckdb", reason="pip install 'gatecast[duckdb]'")
pytest.importorskip("duckdb_engine", reason="pip install 'gatecast[duckdb]'")

SALES = """CREATE TABLE sales AS SELECT 's' || (i % 2) AS unique_id,
DATE '2020-01-01' + CAST(i // 2 AS INTEGER) AS ds, i * 1.5 AS y FROM range(0, 40) AS t(i)"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(SALES)
    return f"duckdb:///{tmp_path / 'shop.duckdb'}"


def rows(url: str, wanted: tuple[str, ...] | None = None, **config: str) -> pa.Table:
    return read_database(url, DataConfig(**config), wanted)[0]


def test_a_table_and_a_query_give_the_same_rows(url: str) -> None:
    whole = rows(url, table="sales")
    assert (whole.num_rows, whole.column_names) == (40, ["unique_id", "ds", "y"])
    assert whole.equals(rows(url, query="SELECT * FROM sales"))
    assert rows(url, ("ds", "y"), table="main.sales").column_names == ["ds", "y"]


def test_the_days_that_are_new_are_read_alone(url: str) -> None:
    days = rows(url, query="SELECT * FROM sales WHERE ds >= DATE '2020-01-19'")
    assert {f"{one:%Y-%m-%d}" for one in days.column("ds").to_pylist()} == {
        "2020-01-19",
        "2020-01-20",
    }


@pytest.mark.parametrize("config", [{"table": "nothing"}, {"query": "SELECT * FROM nothing"}])
def test_what_is_not_there_is_said(url: str, config: dict[str, str]) -> None:
    with pytest.raises(DataError, match="nothing"):
        rows(url, **config)


def test_a_misspelt_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        rows(f"duckdb:///{tmp_path / 'shpo.duckdb'}", table="sales")
    assert not (tmp_path / "shpo.duckdb").exists()


def piece(value: float, **more: float) -> pa.Table:
    now = datetime.datetime(2020, 2, 1, tzinfo=datetime.UTC)
    days = [datetime.datetime(2020, 1, 20 + k) for k in range(3)]
    columns = {
        "model": ["m"] * 2,
        "version": pa.array([1, 1], pa.int32()),
        "run_id": ["r"] * 2,
        "unique_id": ["s0"] * 2,
        "cutoff": pa.array([days[0]] * 2, pa.timestamp("us")),
        "step": pa.array([1, 2], pa.int32()),
        "ds": pa.array(days[1:], pa.timestamp("us")),
        "mean": [value, value],
        "q0.5": [value, value],
        **{name: [one, one] for name, one in more.items()},
        "created": pa.array([now] * 2, pa.timestamp("us", tz="UTC")),
        "job": ["j"] * 2,
    }
    return pa.table(columns)


def test_forecasts_are_written_back_and_a_row_that_is_there_is_replaced(url: str) -> None:
    job = Job("m", 1, "r", "j", "", 2, (0.5,), datetime.datetime.now(datetime.UTC))
    # The second brings one more quantile, which the table gets.
    for table in (piece(1.5), piece(2.5, **{"q0.9": 3.0})):
        target = target_of(url, "forecasts")
        target.open(job)
        target.write(0, table)
        assert list(target.done(["s0", "s1"])) == [True, False]
        target.finish()
    found = read_forecasts(url, "forecasts", "m")
    assert list(found["q0.5"]) == [2.5, 2.5]
    assert list(found["q0.9"]) == [3.0, 3.0]
    # A database keeps no order.
    assert sorted(f"{one:%Y-%m-%d}" for one in found["ds"]) == ["2020-01-21", "2020-01-22"]
    other = target_of(url, "sales")
    other.open(job)
    with pytest.raises(DataError, match="no table of forecasts"):
        other.write(0, piece(1.0))
