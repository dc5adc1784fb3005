"""What was not used is said, with how to use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.config import ReportConfig
from pipelines.ingestion.report.merging import Merged


@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "messy csv", "messy frame"])
def test_columns_left_aside_are_said_in_one_line_with_the_cure(
    form: str, tidy: pd.DataFrame, tmp_path: Path
) -> None:
    table = tidy.assign(promo=1.5, weather="sun", load=2)
    if form.startswith("messy"):
        table = pd.concat([table, table.tail(1)])  # the careful way
    source: object = table
    if "frame" not in form:
        kind = form.split()[-1]
        source = str(tmp_path / f"table.{kind}")
        getattr(table, f"to_{kind}")(source, index=False)
    report = ingest(DataConfig(id="unique_id", ds="ds", y="y"), source=source).report
    (line,) = [n for n in report.notes if "left aside" in n]
    assert "promo, weather, load" in line
    assert "{name: promo, role: past}" in line
    every = [{"name": n, "role": "past"} for n in ("promo", "weather", "load")]
    config = DataConfig.parse({"id": "unique_id", "ds": "ds", "y": "y", "covariates": every})
    report = ingest(config, source=source).report
    assert not [n for n in report.notes if "left aside" in n]


def test_the_season_found_is_said_in_one_line(tmp_path: Path) -> None:
    steps = np.arange(60)
    table = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b"], 60),
            "ds": np.tile(steps, 2),
            "y": np.tile(10 + np.sin(2 * np.pi * steps / 12), 2)
            + 0.1 * np.random.default_rng(0).normal(size=120),
        }
    )
    line = "season 12, found in 2 of 2 series"
    report = ingest(DataConfig(id="unique_id", ds="ds", y="y"), source=table).report
    assert line in report.notes
    assert report.to_dict()["facts"]["season"] == line
    # In pieces it is looked for in one of them, and said so.
    merged = Merged(ReportConfig())
    merged.add(report)
    assert merged.report().to_dict()["facts"]["season"] == line
    again = ingest(DataConfig(id="unique_id", ds="ds", y="y"), source=table).report
    merged.add(again)
    assert merged.report().to_dict()["facts"]["season"] == f"{line} of the first piece"
