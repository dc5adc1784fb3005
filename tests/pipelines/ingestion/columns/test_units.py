"""A column that says the unit of each row, where the config does not name it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(
    column=st.sampled_from(
        [
            ("unit", ["kg", "t"]),
            ("Currency", ["USD", "EUR"]),
            ("UoM", ["MWh", "kWh"]),
            ("Einheit", ["Stück", "Karton"]),
            ("UNIT_MULT", [0, 3]),
            ("multiplier", [1, 1000]),
            ("scale", [1.0, 1e6]),
        ]
    ),
    form=st.sampled_from(["csv", "frame", "arrow"]),
    at=st.integers(1, 39),
)
@DRAWN
def test_two_units_in_a_series_are_refused_and_their_factors_are_the_cure(
    column: tuple[str, list[Any]], form: str, at: int, tidy: pd.DataFrame, mend: Mend
) -> None:
    name, (one, two) = column
    changed = np.arange(len(tidy)) % 40 >= at
    table = tidy.assign(**{name: np.where(changed, two, one)})
    unit = {"column": name, "scale": {str(one): 1, str(two): 2}}

    def run(**config: Any) -> IngestResult:
        if form == "csv":
            return mend(table.to_csv(index=False), **config)
        source = table if form == "frame" else pa.Table.from_pandas(table)
        return ingest(DataConfig.parse(config), source=source)

    with pytest.raises(DataError, match=rf"column {name} is not used.*two units"):
        run()
    if isinstance(one, str):
        y = run(values={"unit": unit}).frame["y"]
        assert np.allclose(y, tidy["y"] * np.where(changed, 2, 1))
    assert len(run(id=["unique_id", name]).clean.ids) == 6


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_series_of_several_units_are_said(
    suffix: str, tidy: pd.DataFrame, mend: Mend, tmp_path: Any
) -> None:
    table = tidy.assign(unit=np.where(tidy["unique_id"] == "north", "kg", "t"))
    if suffix == "csv":
        result = mend(table.to_csv(index=False))
    else:
        pq.write_table(pa.Table.from_pandas(table), tmp_path / "t.parquet")
        result = ingest(DataConfig(), source=tmp_path / "t.parquet")
    assert "'kg', 't'" in result.report.to_dict()["facts"]["units"]
    assert np.allclose(result.frame["y"], tidy["y"])


def test_numbers_of_units_sold_and_names_are_no_units(tidy: pd.DataFrame, mend: Mend) -> None:
    for values in (np.arange(120), 7.5, [f"unit {k}" for k in range(120)], "kg"):
        for table in (tidy.assign(units=values), tidy.assign(unit=values)):
            facts = mend(table.to_csv(index=False)).report.to_dict()["facts"]
            assert "units" not in facts
    assert mend(tidy.assign(scale=np.arange(120)).to_csv(index=False)).report.summary


def test_rows_without_a_value_have_no_unit(tidy: pd.DataFrame, mend: Mend) -> None:
    units = np.where(tidy["y"] > 50, "kg", "t")
    blank = tidy.assign(unit=units, y=tidy["y"].where(tidy["y"] > 50))
    assert "units" not in mend(blank).report.to_dict()["facts"]


@pytest.mark.parametrize(
    "name", ["uom_code", "Unit Code", "ME", "MEINS", "WAERS", "measure", "Mengeneinheit"]
)
def test_columns_of_units_are_known_by_the_names_that_exports_give_them(
    name: str, tidy: pd.DataFrame, mend: Mend
) -> None:
    table = tidy.assign(**{name: np.where(np.arange(len(tidy)) % 2 == 0, "ST", "KAR")})
    with pytest.raises(DataError, match=f"column {name} is not used, but says that series"):
        mend(table.to_csv(index=False), ds="ds", y="y", id=["unique_id"])


@given(
    name=st.sampled_from(["what", "metric", "x", "sold_in", "mass"]),
    pair=st.sampled_from(
        [("kg", "g"), ("MWh", "kWh"), ("EUR", "USD"), ("°C", "°F"), ("l", "ml"), ("pcs", "boxes")]
    ),
    form=st.sampled_from(["csv", "frame", "arrow", "parquet", "folder", "database"]),
    at=st.integers(1, 39),
)
@DRAWN
def test_columns_of_units_are_known_by_their_values_too(
    name: str, pair: tuple[str, str], form: str, at: int, tidy: pd.DataFrame, tmp_path: Path
) -> None:
    column = "unit" if form == "database" else name
    table = tidy.assign(**{column: np.where(np.arange(len(tidy)) % 40 >= at, pair[1], pair[0])})
    target = tmp_path / f"units.{form}"
    if form != "folder":
        target.unlink(missing_ok=True)
    config: dict[str, Any] = {"id": ["unique_id"], "ds": "ds", "y": "y", "source": str(target)}
    source = {"frame": table, "arrow": pa.Table.from_pandas(table)}.get(form)
    if form == "csv":
        table.to_csv(target, index=False)
    elif form == "parquet":
        table.to_parquet(target)
    elif form == "folder":
        target.mkdir(exist_ok=True)
        half = len(table) // 2
        table.iloc[:half].to_parquet(target / "a.parquet")
        table.iloc[half:].to_parquet(target / "b.parquet")
    elif form == "database":
        with sqlite3.connect(target) as connection:
            table.to_sql("sales", connection, index=False)
        config |= {"source": f"sqlite:///{target}", "table": "sales"}
    with pytest.raises(DataError, match=f"column {column} is not used.*two units"):
        ingest(DataConfig.parse(config), source=source)


@pytest.mark.parametrize("values", [["S", "M", "L"], ["red", "kg", "blue"], ["kg", "kg", "kg"]])
def test_sizes_and_words_beside_units_are_no_units(
    values: list[str], tidy: pd.DataFrame, mend: Mend
) -> None:
    table = tidy.assign(kind=np.resize(values, len(tidy)))
    assert "units" not in mend(table.to_csv(index=False)).report.to_dict()["facts"]
