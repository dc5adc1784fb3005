"""The raw deliveries in the shared data become the tables that they should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest

NAMES = (
    "01_metro_traffic_raw",
    "02_pedestrian_mixed",
    "03_load_decimal_comma",
    "04_retail_wide_two_header_rows",
    "05_ragged_wide",
    "06_edge_cases",
)
# The delivery has three decimals of load and two of temperature, the expected table all.
TOLERANCE = {"03_load_decimal_comma": {"y": 1e-3, "temperature": 5.1e-3}}
Config = Callable[[str], DataConfig]


@pytest.mark.parametrize("name", NAMES[:5])
def test_a_messy_file_equals_its_expected_table(
    name: str, messy_config: Config, shared_data: Path
) -> None:
    found = ingest(messy_config(name)).frame
    expected = pd.read_parquet(shared_data / "messy" / f"{name[:2]}_expected.parquet")
    if isinstance(expected["ds"].dtype, pd.DatetimeTZDtype):
        found = found.assign(ds=found["ds"].dt.tz_convert("UTC"))
    keys = ["unique_id", "ds"]
    assert list(found.columns) == list(expected.columns)
    found = found.sort_values(keys, ignore_index=True)
    expected = expected.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(found[keys], expected[keys], check_dtype=False)
    for column in expected.columns[2:]:
        mine, right = found[column], expected[column]
        if right.dtype.kind == "f":
            limit = TOLERANCE.get(name, {}).get(column, 1e-9)
            np.testing.assert_allclose(mine, right, rtol=0, atol=limit, err_msg=column)
        else:
            assert mine.tolist() == right.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_no_row_of_a_messy_file_vanishes_unreported(name: str, messy_config: Config) -> None:
    result = ingest(messy_config(name))
    rows = result.report.to_dict()["rows"]
    assert rows["balanced"]
    assert rows["in"] - sum(rows["removed"].values()) + sum(rows["inserted"].values()) == len(
        result.frame
    )
    # The places listed add up to the counts: every one of them can be looked up.
    places = result.report.repairs()["code"].value_counts()
    for finding in result.report.to_dict()["findings"]:
        assert places[finding["code"]] == finding["count"]
        assert sum(finding["per_series"].values()) <= finding["count"]


@pytest.mark.parametrize("name", NAMES)
def test_the_panel_from_arrays_equals_the_panel_from_the_frame(
    name: str, messy_config: Config
) -> None:
    from forecasting.data.panel import Panel

    config = messy_config(name)
    result = ingest(config)
    direct = result.panel()
    through = Panel.from_frame(
        result.frame, freq=result.freq, static=result.static,
        past=config.role("past"), future=config.role("future"),
    )  # fmt: skip
    assert direct.ids.tolist() == through.ids.tolist()
    for part in ("offsets", "y", "start", "past", "future"):
        np.testing.assert_array_equal(getattr(direct, part), getattr(through, part), err_msg=part)
    assert direct.freq.alias == through.freq.alias
    assert direct.schema == through.schema


@pytest.mark.slow
def test_strict_refuses_every_file_that_needs_a_repair(messy_config: Config) -> None:
    for name in NAMES[:4]:
        with pytest.raises(DataError, match="strict"):
            ingest(messy_config(name), strict=True)
    for name in NAMES[4:]:
        ingest(messy_config(name), strict=True)


def test_planted_defects_of_the_sensors_are_found_where_they_are(
    messy_config: Config, shared_data: Path
) -> None:
    places = ingest(messy_config(NAMES[1])).report.repairs()
    log = pd.read_csv(shared_data / "messy" / "02_defects.csv")
    log["ds"] = pd.to_datetime(log["ds"], utc=True)
    places["ds"] = pd.to_datetime(places["ds"], utc=True)
    removed = log[log["defect"] == "row_removed"]
    gaps = places[places["code"] == "gap"]
    both = removed.merge(gaps, on=["unique_id", "ds"])
    assert len(both) == len(removed)


def test_difficult_series_are_kept_and_named(messy_config: Config) -> None:
    result = ingest(messy_config(NAMES[5]))
    series = result.report.to_dict()["series"]
    assert series["out"] == 16
    assert {"all_missing"} <= set(series["no_values"]["ids"])
    assert {"single_observation", "two_observations"} <= set(series["too_short"]["ids"])
    assert {"constant", "all_zero"} <= set(series["constant"]["ids"])
    assert len(result.panel()) == 16
