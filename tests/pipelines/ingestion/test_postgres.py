"""A real PostgreSQL, started here where its programs are installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'gatecast[postgres]'")
sa = pytest.importorskip("sqlalchemy")


def _program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(places[-1]) if places else None)


def _account() -> str | None:
    """PostgreSQL does not run as root: then the account of its package is taken."""
    return "postgres" if os.getuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    given = os.environ.get("GATECAST_TEST_POSTGRES")
    if given:
        yield given
        return
    initdb, control = _program("initdb"), _program("pg_ctl")
    if not (initdb and control):
        pytest.skip("PostgreSQL is not installed (Debian: postgresql), nor is "
                    "GATECAST_TEST_POSTGRES set")  # fmt: skip
    account = _account()
    if account is not None:
        try:
            pwd.getpwnam(account)
        except KeyError:
            pytest.skip("running as root, and there is no account postgres to run a server")
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        os.chmod(folder, 0o755)
        home = Path(folder) / "home"
        home.mkdir()
        if account is not None:
            shutil.chown(home, account)

        def run(*command: str) -> None:
            subprocess.run(
                command, check=True, user=account, cwd=home, timeout=60,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        port, data = _free_port(), str(home / "data")
        run(initdb, "-D", data, "-U", "tester", "--auth=trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {home}"
        run(control, "-D", data, "-w", "-o", options, "start")
        try:
            yield f"postgresql://tester:anything@127.0.0.1:{port}/postgres"
        finally:
            with contextlib.suppress(subprocess.SubprocessError):
                run(control, "-D", data, "-m", "immediate", "stop")


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
