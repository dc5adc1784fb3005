"""A freq that names its weekday or month, and a static table, must be those of the series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import ingest
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.pieces import ingest_to


def table(freq: str, ids: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    stamps = pd.date_range("2019-01-01", periods=20, freq=freq)
    parts = [pd.DataFrame({"unique_id": i, "ds": stamps, "y": np.arange(20.0)}) for i in ids]
    return pd.concat(parts, ignore_index=True)


def written(freq: str, folder: Path) -> DataConfig:
    table(freq).to_csv(folder / "t.csv", index=False)
    return DataConfig.parse({"source": str(folder / "t.csv")})


WRONG = [("QS-MAR", "QS-JAN"), ("W-MON", "W-SUN"), ("QE-DEC", "QE-JAN"), ("YS-JAN", "YS-APR")]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("stamps", "freq"), WRONG)
def test_stamps_off_the_anchor_of_a_given_freq_are_refused(
    stamps: str, freq: str, strict: bool, tmp_path: Path
) -> None:
    cure = f"2 of 2 series.*set freq: {stamps}"
    with pytest.raises(DataError, match=cure):
        ingest(written(stamps, tmp_path), freq=freq, strict=strict)
    with pytest.raises(DataError, match=cure):
        ingest(DataConfig(), source=table(stamps), freq=freq, strict=strict)
    assert ingest(written(stamps, tmp_path), freq=stamps, strict=strict).freq == stamps


def test_a_table_in_pieces_is_held_to_the_freq_that_was_given(tmp_path: Path) -> None:
    both = pd.concat([table("W-MON", tuple("abcdef")), table("W-SUN", tuple("ghijkl"))])
    both.to_parquet(tmp_path / "t.parquet")
    config = DataConfig.parse(
        {"source": str(tmp_path / "t.parquet"), "stream": True, "id": ["unique_id"], "ds": ["ds"],
         "y": "y"}
    )  # fmt: skip
    with pytest.raises(DataError, match="does not lie on the grid of freq = W-MON"):
        ingest_to(config, tmp_path / "out", freq="W-MON", piece_rows=40)
    ingest_to(config, tmp_path / "out", piece_rows=40)


def test_resampling_moves_rows_to_the_anchor(tmp_path: Path) -> None:
    config = written("W-MON", tmp_path).replace(irregular={"policy": "resample"})
    assert ingest(config, freq="W-SUN").freq == "W-SUN"


@pytest.mark.parametrize("ids", [["001", "002"], ["x"], ["1.0", "2.0"]])
def test_a_static_table_of_other_series_is_refused_with_one_id_of_each(
    ids: list[str], tmp_path: Path
) -> None:
    table("D", ("1", "2")).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame({"unique_id": ids, "size": 1.0}).to_csv(tmp_path / "s.csv", index=False)
    config = DataConfig.parse(
        {"source": str(tmp_path / "t.csv"), "static": {"source": str(tmp_path / "s.csv")}}
    )
    with pytest.raises(DataError, match=f"is called '1' and in the static table '{ids[0]}'"):
        ingest(config)


def test_series_without_a_static_row_are_in_the_report(tmp_path: Path) -> None:
    table("D", ("1", "2")).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame({"unique_id": [1, 9], "size": 1.0}).to_csv(tmp_path / "s.csv", index=False)
    config = DataConfig.parse(
        {"source": str(tmp_path / "t.csv"), "static": {"source": str(tmp_path / "s.csv")}}
    )
    codes = {f["code"]: f["count"] for f in ingest(config).report.values["findings"]}
    assert codes["no_static"] == 1
