"""Forecasts in Delta and Iceberg tables: replaced, never doubled, and read again."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forecasting.errors import DataError
from pipelines.forecasts.job import Job
from pipelines.forecasts.kept import read_forecasts
from pipelines.forecasts.targets import target_of

deltalake = pytest.importorskip("deltalake", reason="pip install 'gatecast[delta]'")
pytest.importorskip("pyiceberg", reason="pip install 'gatecast[iceberg]'")

NOW = datetime.datetime(2020, 2, 1, tzinfo=datetime.UTC)
JOB = Job("m", 1, "r", "j", "", 2, (0.5,), NOW)


@pytest.fixture(params=["delta", "iceberg"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "delta":
        return f"delta://{tmp_path / 'forecasts'}"
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", f"sqlite:///{tmp_path / 'catalog.db'}")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", f"file://{tmp_path / 'warehouse'}")
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
    return "iceberg://shop/retail.forecasts"


def piece(
    value: float, *, series: str = "s0", day: int = 20, job: str = "j", **more: float
) -> pa.Table:
    days = [datetime.datetime(2020, 1, day + k) for k in range(3)]
    return pa.table(
        {
            "model": ["m"] * 2,
            "version": pa.array([1, 1], pa.int32()),
            "run_id": ["r"] * 2,
            "unique_id": [series] * 2,
            "cutoff": pa.array([days[0]] * 2, pa.timestamp("us")),
            "step": pa.array([1, 2], pa.int32()),
            "ds": pa.array(days[1:], pa.timestamp("us")),
            "mean": [value, value],
            "q0.5": [value, value],
            **{name: [one, one] for name, one in more.items()},
            "created": pa.array([NOW] * 2, pa.timestamp("us", tz="UTC")),
            "job": [job] * 2,
        }
    )


def written(url: str, *pieces: pa.Table) -> Any:
    target = target_of(url, "")
    target.open(JOB)
    for place, table in enumerate(pieces):
        target.write(place, table)
    target.finish()
    return target


def test_a_row_that_is_there_is_replaced_and_all_others_stay(url: str) -> None:
    assert read_forecasts(url, "", "m").empty
    target = written(
        url,
        piece(1.0),
        piece(1.5, series="s1", day=21),
        # Between the same cutoffs, and no row of the two.
        piece(7.0, series="s1", day=20, job="other"),
        piece(2.5, **{"q0.9": 3.0}),
    )
    found = read_forecasts(url, "", "m").sort_values(["unique_id", "cutoff", "step"])
    assert found["unique_id"].tolist() == ["s0"] * 2 + ["s1"] * 4
    assert found["q0.5"].tolist() == [2.5] * 2 + [7.0] * 2 + [1.5] * 2
    assert found["q0.9"].fillna(-1).tolist() == [3.0] * 2 + [-1.0] * 4
    assert f"{found['ds'].iloc[0]:%Y-%m-%d}" == "2020-01-21"
    assert list(target.done(["s0", "s1", "s2"])) == [True, True, False]


def test_a_table_of_something_else_is_left_alone(url: str) -> None:
    other = pa.table({"day": pa.array([1], pa.int32()), "sold": [1.0]})
    if url.startswith("delta"):
        deltalake.write_deltalake(url.removeprefix("delta://"), other)
    else:
        import pyiceberg.catalog

        catalog = pyiceberg.catalog.load_catalog("shop")
        catalog.create_namespace("retail")
        catalog.create_table("retail.forecasts", other.schema).append(other)
    with pytest.raises(DataError, match="is no table of forecasts: it has no column model"):
        target_of(url, "").open(JOB)


def test_steps_and_dates_do_not_share_a_table(url: str) -> None:
    written(url, piece(1.0))
    steps = piece(2.0).set_column(4, "cutoff", pa.array([5, 5]))
    target = target_of(url, "")
    target.open(JOB)
    with pytest.raises(DataError, match="whose stamps are dates, these are not"):
        target.write(0, steps)
    assert len(read_forecasts(url, "", "m")) == 2
