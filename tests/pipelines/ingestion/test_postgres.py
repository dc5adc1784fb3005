"""A real PostgreSQL, started here where its programs are installed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
from tests.stack.postgres import Postgres

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'gatecast[postgres]'")
sa = pytest.importorskip("sqlalchemy")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    given = os.environ.get("GATECAST_TEST_POSTGRES")
    if given:
        yield given
        return
    with Postgres() as started:
        yield started.url()


@pytest.fixture
def sales(server: str, tidy: pd.DataFrame) -> Iterator[str]:
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema if exists shop cascade"))
        connection.execute(sa.text("create schema shop"))
        connection.execute(
            sa.text(
                "create table shop.sales (store text, at timestamptz, sold numeric(12,2), "
                "note jsonb, price real)"
            )
        )
        rows = tidy.rename(columns={"unique_id": "store", "ds": "at", "y": "sold"})
        rows["at"] = rows["at"].dt.tz_localize("UTC")
        rows["price"] = 2.5
        rows.to_sql("sales", connection, schema="shop", if_exists="append", index=False)
    yield server
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema shop cascade"))
    engine.dispose()


COLUMNS = {"id": ("store",), "ds": ("at",), "y": "sold"}


def test_a_table_with_numeric_values_and_zoned_stamps(sales: str, tidy: pd.DataFrame) -> None:
    config = DataConfig.parse(
        {"source": sales, "table": "shop.sales", "covariates": ["price"], **COLUMNS}
    )
    result = ingest(config)
    assert result.freq == "D"
    frame = result.frame.sort_values(["unique_id", "ds"], ignore_index=True)
    assert frame["ds"].dt.tz_localize(None).tolist() == tidy["ds"].tolist()
    np.testing.assert_array_equal(frame["y"], tidy["y"])
    assert (frame["price"] == 2.5).all()
    assert result.report.to_dict()["facts"]["dialect"] == "postgresql"
    assert "anything" not in str(result.report.to_dict())


def test_a_query_that_makes_the_panel(sales: str, tidy: pd.DataFrame) -> None:
    query = (
        "select 'all' as unique_id, date_trunc('week', at) as ds, sum(sold) as y "
        "from shop.sales group by 2 order by 2"
    )
    result = ingest(DataConfig(source=sales, query=query))
    assert result.freq == "W-MON"
    assert result.frame["y"].sum() == pytest.approx(tidy["y"].sum())


def test_errors_of_the_database_are_one_line(sales: str) -> None:
    for wrong, said in (
        ({"table": "shop.nothing"}, "nothing"),
        ({"query": "select nonsense"}, "nonsense"),
        ({"query": "select 1 as unique_id, 2 as ds, 3 as y where false"}, "no rows"),
    ):
        with pytest.raises(DataError, match=said) as raised:
            ingest(DataConfig(source=sales, **COLUMNS, **wrong))
        assert "\n" not in str(raised.value)
        assert "anything" not in str(raised.value)
    absent = sa.make_url(sales).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(DataError, match="refused"):
        ingest(DataConfig(source=absent, table="sales", **COLUMNS))
