"""A table mended in pieces gives the panel and the report that it gives as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.pieces import ingest_to

KEYS = ["unique_id", "ds"]


@pytest.fixture
def messy_table() -> pd.DataFrame:
    """60 series, shuffled, with gaps, duplicates, twins, stray blanks and a total."""
    rng = np.random.default_rng(5)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"Shop {i}",
                "ds": pd.date_range("2024-01-01", periods=50, freq="D"),
                "y": np.round(rng.normal(100, 5, 50), 2),
                "price": np.round(rng.normal(3, 0.1, 50), 2),
                "city": f"c{i % 4}",
            }
        )
        for i in range(60)
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table.drop(index=[7, 8, 120, 2000])
    table.iloc[30, 2] = -999.0
    table.iloc[400, 0] = "shop 8"
    table.iloc[500, 0] = " Shop 10"
    table = pd.concat([table, table.iloc[[11, 12]], table.iloc[[13]].assign(y=1.0)])
    total = pd.DataFrame({"unique_id": "TOTAL", "ds": [None, pd.Timestamp("2024-01-05")], "y": 1.0})
    return pd.concat([table, total]).sample(frac=1, random_state=2)


def settings(path: Path, **more: object) -> DataConfig:
    covariates = [{"name": "price"}, {"name": "city", "role": "static"}]
    return DataConfig.parse(
        {"source": str(path), "covariates": covariates, "ids": {"drop": "TOTAL"}, **more}
    )


def test_pieces_and_the_whole_agree(messy_table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    messy_table.to_parquet(path, index=False, row_group_size=311)
    whole = ingest(settings(path))
    out = tmp_path / "out"
    report = ingest_to(settings(path, stream=True), out, piece_rows=400)
    panel = pd.read_parquet(out / "panel.parquet")
    assert report.to_dict()["facts"]["kind"] == "parquet, parted by series"
    pd.testing.assert_frame_equal(
        panel.sort_values(KEYS, ignore_index=True),
        whole.frame.sort_values(KEYS, ignore_index=True),
        check_dtype=False,
    )
    static = pd.read_parquet(out / "static.parquet").sort_values("unique_id", ignore_index=True)
    assert whole.static is not None
    right = whole.static.sort_values("unique_id", ignore_index=True)
    pd.testing.assert_frame_equal(static, right, check_dtype=False)
    mine, right_report = report.to_dict(), whole.report.to_dict()
    assert mine["rows"]["balanced"]
    assert mine["rows"] == right_report["rows"]
    assert {f["code"]: (f["count"], f["series"]) for f in mine["findings"]} == {
        f["code"]: (f["count"], f["series"]) for f in right_report["findings"]
    }
    places = pd.read_parquet(out / "repairs.parquet")
    keys = ["code", "row", "column"]
    pd.testing.assert_frame_equal(
        places[keys].sort_values(keys, ignore_index=True),
        whole.report.repairs()[keys].sort_values(keys, ignore_index=True),
        check_dtype=False,
    )
    assert json.loads((out / "report.json").read_text())["summary"] == report.summary
    assert sorted(p.name for p in out.iterdir()) == [
        "panel.parquet", "repairs.parquet", "report.html", "report.json", "static.parquet",
    ]  # fmt: skip


def test_strict_refuses_pieces_too_and_leaves_nothing(
    messy_table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    messy_table.to_parquet(path, index=False)
    with pytest.raises(DataError, match="strict"):
        ingest_to(settings(path, stream=True), tmp_path / "out", strict=True, piece_rows=500)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_a_clean_table_needs_no_parting(tidy: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    tidy.to_parquet(path, index=False)
    report = ingest_to(DataConfig(source=str(path), stream=True), tmp_path / "out")
    assert "one pass" in report.to_dict()["facts"]["checked"]


def test_texts_in_pieces_need_their_formats(tidy: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    written = tidy.drop(index=3).assign(ds=tidy["ds"].dt.strftime("%d/%m/%Y"))
    written.to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"stamps\.formats"):
        ingest_to(DataConfig(source=str(path), stream=True), tmp_path / "out")
    config = DataConfig.parse(
        {"source": str(path), "stream": True, "stamps": {"formats": "%d/%m/%Y"}}
    )
    report = ingest_to(config, tmp_path / "out", piece_rows=50)
    assert report.to_dict()["rows"]["out"] == 120
