"""Delta and Iceberg for real, on local files: read, and only what is newer."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from forecasting.errors import ConfigError, DataError
from pipelines.config import build_config
from pipelines.ingestion import ingest
from pipelines.ingestion.config import DataConfig

deltalake = pytest.importorskip("deltalake", reason="pip install 'gatecast[delta]'")
pytest.importorskip("pyiceberg", reason="pip install 'gatecast[iceberg]'")

DAYS = 30
BEGIN = datetime.datetime(2024, 1, 1)


def sales(days: int = DAYS, factor: float = 1.0) -> pa.Table:
    """Two series by day, and the month that a row lies in as text."""
    stamps = [BEGIN + datetime.timedelta(days=k) for k in range(days)] * 2
    return pa.table(
        {
            "unique_id": ["a"] * days + ["b"] * days,
            "ds": pa.array(stamps, pa.timestamp("us")),
            "y": [factor * k for k in range(2 * days)],
            "week": [f"{stamp:%G-%V}" for stamp in stamps],
        }
    )


def values(source: Any, **config: Any) -> dict[str, list[float]]:
    panel = ingest(DataConfig(source=str(source), freq="D", **config)).panel()
    return {
        str(name): panel.y[panel.offsets[k] : panel.offsets[k + 1]].tolist()
        for k, name in enumerate(panel.ids)
    }


COLUMNS: dict[str, Any] = {"id": "unique_id", "ds": "ds", "y": "y"}
WHOLE = {"a": [float(k) for k in range(DAYS)], "b": [float(k) for k in range(DAYS, 2 * DAYS)]}


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """A table whose first rows were replaced: their files lie there still."""
    folder = tmp_path / "sales"
    deltalake.write_deltalake(folder, sales(factor=100.0), partition_by=["week"])
    deltalake.write_deltalake(folder, sales(), mode="overwrite")
    return folder


@pytest.fixture
def iceberg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A catalog in SQLite, and a table in it that was written twice."""
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__TYPE", "sql")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", f"sqlite:///{tmp_path / 'catalog.db'}")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", f"file://{tmp_path / 'warehouse'}")
    # It is read once, when the library is loaded.
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
    catalog = pyiceberg.catalog.load_catalog("shop")
    catalog.create_namespace("retail")
    table = catalog.create_table("retail.sales", sales().schema)
    table.append(sales(factor=100.0))
    table.overwrite(sales())
    return table


@pytest.mark.parametrize("config", [{}, COLUMNS])
def test_a_delta_table_is_its_newest_version(delta: Path, config: dict[str, Any]) -> None:
    assert values(f"delta://{delta}", **config) == WHOLE
    # A folder with a log is never read as its files.
    assert values(delta, **config) == WHOLE
    facts = ingest(DataConfig(source=str(delta), freq="D", **config)).clean.facts
    assert (facts["kind"], facts["version"]) == ("Delta table", 1)


@pytest.mark.parametrize("config", [{}, COLUMNS])
def test_an_iceberg_table_is_its_newest_snapshot(iceberg: Any, config: dict[str, Any]) -> None:
    assert values("iceberg://shop/retail.sales", **config) == WHOLE
    metadata = iceberg.metadata_location.removeprefix("file://")
    assert values(f"iceberg://{metadata}", **config) == WHOLE
    folder = Path(metadata).parents[1]
    with pytest.raises(DataError, match=r"is an Iceberg table, .* iceberg://CATALOG/"):
        values(folder, **config)


def newer(than: Any, column: str = "ds") -> dict[str, Any]:
    return {**COLUMNS, "newer": {"column": column, "than": than}}


def places(tmp_path: Path, delta: Path, iceberg: Any) -> dict[str, dict[str, Any]]:
    """The same rows in each kind of source that can be asked for newer ones."""
    pq.write_to_dataset(sales(), tmp_path / "parquet", partition_cols=["week"])
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = sa.create_engine(url)
    sales().to_pandas().to_sql("sales", engine, index=False)
    engine.dispose()
    return {
        f"delta://{delta}": {},
        "iceberg://shop/retail.sales": {},
        str(tmp_path / "parquet"): {},
        url: {"table": "sales"},
    }


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        (newer("2024-01-20"), 20),
        (newer(datetime.date(2024, 1, 20)), 20),
        # Monday, 15 January, begins the third week.
        (newer("2024-02", "week"), 14),
    ],
)
def test_every_source_gives_the_newer_rows_alone(
    tmp_path: Path, delta: Path, iceberg: Any, asked: dict[str, Any], first: int
) -> None:
    for source, more in places(tmp_path, delta, iceberg).items():
        expected = {name: y[first:] for name, y in WHOLE.items()}
        assert values(source, **asked, **more) == expected, source


def test_a_wrong_column_or_value_is_named(tmp_path: Path, delta: Path, iceberg: Any) -> None:
    for source, more in places(tmp_path, delta, iceberg).items():
        with pytest.raises(DataError, match=r"newer\.column: .* has no column 'day'; it has uni"):
            values(source, **newer("2024-01-20", "day"), **more)
        with pytest.raises(DataError, match=r"newer\.than: 'soon' is no value of the column 'ds'"):
            values(source, **newer("soon"), **more)


def test_a_partition_that_is_left_out_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "sales"
    deltalake.write_deltalake(folder, sales(), partition_by=["week"])
    for file in (folder / "week=2024-01").iterdir():
        file.write_bytes(b"damaged")
    assert values(folder, **newer("2024-01", "week"))["a"] == WHOLE["a"][7:]
    with pytest.raises(DataError, match="cannot be read as Delta"):
        values(folder, **COLUMNS)


def test_what_is_read_whole_cannot_be_asked_for_newer_rows(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    sales().to_pandas().to_csv(file, index=False)
    with pytest.raises(DataError, match=r"data\.newer: .*sales\.csv is read whole"):
        values(file, **newer("2024-01-20"))
    with pytest.raises(DataError, match="a table in memory is read whole"):
        ingest(DataConfig(freq="D", **newer("2024-01-20")), source=sales())
    with pytest.raises(ConfigError, match="put the condition into the query"):
        build_config(
            {
                "name": "m",
                "horizon": 1,
                "data": {
                    "source": "sqlite:///x.db",
                    "query": "SELECT 1",
                    "newer": {"column": "ds", "than": "2024"},
                },
            }
        )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("delta://{}/none", "there is no Delta table"),
        ("iceberg://shop/retail.none", "there is no such table"),
        ("iceberg://shop/nowhere.none", "there is no such table"),
        ("iceberg://shop", r"write iceberg://CATALOG/NAMESPACE\.TABLE"),
        ("iceberg://{}/x.metadata.json", "there is no such file"),
        ("iceberg://unknown/retail.sales", "cannot be opened as Iceberg"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, iceberg: Any, source: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        values(source.format(tmp_path))
