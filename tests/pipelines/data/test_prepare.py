"""What the first stage hands on: training leaves short series out, forecasting does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import prepare, source_name
from pipelines.ingestion import DataConfig
from pipelines.ingestion.pieces import ingest_to

SIZES = {"long": 60, "longer": 80, "short": 8, "two": 2}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    days = pd.date_range("2024-01-01", periods=80)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": days[:size], "y": np.arange(size) % 7 + 1.0})
        for name, size in SIZES.items()
    ]
    blank = pd.DataFrame({"unique_id": "blank", "ds": days, "y": np.nan})
    path = tmp_path / "t.csv"
    pd.concat([*parts, blank]).to_csv(path, index=False)
    return path


def experiment(table: Path, min_rows: int) -> ExperimentConfig:
    data = {"source": str(table), "flags": {"min_rows": min_rows}}
    return build_config({"name": "x", "horizon": 3, "data": data})


@pytest.mark.parametrize(
    ("min_rows", "kept"), [(3, {"long", "longer", "short"}), (20, {"long", "longer"})]
)
def test_training_leaves_out_what_the_report_lists_as_too_short(
    table: Path, min_rows: int, kept: set[str]
) -> None:
    prepared = prepare(experiment(table, min_rows))
    assert set(prepared.panel.ids) == kept
    assert prepared.left_out == 5 - len(kept)
    assert f"{prepared.left_out} too short to train on left out" in prepared.summary
    assert prepared.report is not None
    listed = prepared.report.to_dict()["series"]
    assert {*listed["too_short"]["ids"], *listed["no_values"]["ids"]} == {*SIZES, "blank"} - kept


def test_forecasting_keeps_every_series(table: Path) -> None:
    panel = prepare(experiment(table, 20), every_series=True).panel
    assert set(panel.ids) == {*SIZES, "blank"}


def test_a_table_of_short_series_alone_is_refused(table: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 5 series .*\.min_rows = 500"):
        prepare(experiment(table, 500))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("calls.csv", "calls"),
        ("calls.csv.gz", "calls"),
        ("there/Calls.TSV.ZST", "Calls"),
        ("calls.txt.xz", "calls"),
        ("calls.gz", "calls"),
        ("calls.2024.gz", "calls.2024"),
        ("calls.2024.csv.bz2", "calls.2024"),
        ("calls.parquet", "calls"),
        ("calls.feather", "calls"),
        ("s3://bucket/calls.csv.gz?versionId=7", "calls"),
        ("dataset:m3_monthly", "m3_monthly"),
    ],
)
def test_a_sources_name_bears_no_ending(source: str, name: str) -> None:
    assert source_name(source) == name


@pytest.mark.parametrize("every", [True, False])
def test_what_was_mended_while_a_table_was_read_is_said(
    table: Path, tmp_path: Path, every: bool
) -> None:
    assert not prepare(experiment(table, 3), every_series=every).mended
    frame = pd.read_csv(table)
    frame.loc[frame.index[[5, 9]], "y"] = -999.0
    other = tmp_path / "mended.csv"
    frame.drop(index=[20, 21]).to_csv(other, index=False)
    prepared = prepare(experiment(other, 3), every_series=every)
    assert "2 sentinel values mended, 2 absent rows inserted" in prepared.said


@pytest.mark.parametrize("shift", [0, 2, -1])
def test_a_covariate_that_is_y_itself_is_said_where_something_is_trained(
    tmp_path: Path, shift: int
) -> None:
    rows = 80
    y = np.random.default_rng(0).normal(50, 9, rows).round(2)
    frame = pd.DataFrame(
        {
            "unique_id": "a",
            "ds": pd.date_range("2024-01-01", periods=rows),
            "y": y,
            "revenue": pd.Series(3.5 * y).shift(-shift),
            "promo": np.arange(rows) % 5,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {
        "source": str(tmp_path / "t.csv"),
        "covariates": [{"name": n, "role": "future"} for n in ("revenue", "promo")],
    }
    prepared = prepare(build_config({"name": "x", "horizon": 3, "data": data}))
    (line,) = [line for line in prepared.said if "y itself" in line]
    assert "revenue (" in line
    assert "promo" not in line
    assert prepared.notes.count(line) == 1
    told = ingest_to(DataConfig.parse(data, at="data"), None, horizon=3)
    assert told.notes.count(line) == 1
