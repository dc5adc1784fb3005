"""A column that says the unit of each row, where the config does not name it."""

from __future__ import annotations

from collections.abc import Callable
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
