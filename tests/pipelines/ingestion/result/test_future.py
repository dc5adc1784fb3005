"""Known-future covariates must reach the horizon; what is missing is named, the others go on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from pipelines.ingestion import IngestResult
from pipelines.ingestion.result.future import future_problems, missing_future

Mend = Callable[..., IngestResult]
HORIZON = 5
COVARIATES = [
    {"name": "promo", "role": "future"},
    {"name": "kind", "role": "future", "type": "categorical"},
]


@pytest.fixture
def ahead(tidy: pd.DataFrame) -> pd.DataFrame:
    """The tidy table with covariates, and rows for the horizon."""
    last = tidy["ds"].max()
    future = pd.DataFrame(
        [(i, last + pd.Timedelta(days=s), np.nan) for i in tidy["unique_id"].unique()
         for s in range(1, HORIZON + 1)],
        columns=["unique_id", "ds", "y"],
    )  # fmt: skip
    table = pd.concat([tidy, future]).sort_values(["unique_id", "ds"], ignore_index=True)
    return table.assign(promo=np.arange(len(table)) % 3, kind=["a", "b", "c"] * (len(table) // 3))


def test_nothing_is_missing_from_a_full_horizon(ahead: pd.DataFrame, mend: Mend) -> None:
    panel = mend(ahead, covariates=COVARIATES).panel()
    assert panel.lengths.tolist() == [40, 40, 40]
    assert missing_future(panel, HORIZON).empty
    assert future_problems(panel, HORIZON) == []
    longer = missing_future(panel, HORIZON + 1)
    assert len(longer) == 3 * 2
    assert set(longer["step"]) == {HORIZON + 1}


def test_each_missing_value_is_named_by_id_stamp_and_column(
    ahead: pd.DataFrame, mend: Mend
) -> None:
    spoiled = ahead.copy()
    spoiled.loc[42, "promo"] = np.nan  # north, third step
    spoiled.loc[88, "kind"] = None  # south, fourth step
    spoiled = spoiled.drop(index=89)  # south, fifth step: the whole row
    panel = mend(spoiled, covariates=COVARIATES).panel()
    missing = missing_future(panel, HORIZON)
    found = [(r.unique_id, str(r.ds.date()), r.column) for r in missing.itertuples()]
    assert found == [
        ("north", "2024-02-12", "promo"), ("south", "2024-02-13", "kind"),
        ("south", "2024-02-14", "promo"), ("south", "2024-02-14", "kind"),
    ]  # fmt: skip
    problems = future_problems(panel, HORIZON)
    assert [p.id for p in problems] == ["north", "south"]
    assert problems[1].where == {"column": "kind", "ds": "2024-02-13 00:00:00", "step": 4}
    assert "2 more" in problems[1].detail


def test_the_report_says_what_a_forecast_would_lack(ahead: pd.DataFrame) -> None:
    from pipelines.ingestion import DataConfig, ingest

    config = DataConfig.parse({"covariates": COVARIATES})
    spoiled = ahead.drop(index=44)
    report = ingest(config, source=spoiled, horizon=HORIZON).report.to_dict()
    lacking = [f for f in report["findings"] if f["code"] == "future_missing"]
    assert lacking[0]["columns"] == {"promo": 1, "kind": 1}
    assert {p["ds"] for p in lacking[0]["positions"]} == {"2024-02-14"}
    assert "1 of 3 series" in report["facts"]["horizon"]
    history = ahead[ahead["y"].notna()]
    told = ingest(config, source=history, horizon=HORIZON).report.to_dict()
    assert "to train on" in told["facts"]["horizon"]


def test_a_panel_without_future_covariates_lacks_nothing(tidy: pd.DataFrame) -> None:
    assert missing_future(Panel.from_frame(tidy), HORIZON).empty
