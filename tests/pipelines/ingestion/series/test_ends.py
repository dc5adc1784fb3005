"""What is said of the ends of series."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
DAYS = pd.date_range("2023-03-01", periods=63)


def csv(stamps: list[str], blank: int = 0) -> str:
    values = [f"{100 + k % 7}.5" for k in range(len(stamps) - blank)] + [""] * blank
    rows = zip(stamps, values, strict=True)
    return "unique_id,ds,y\n" + "".join(f"a,{t},{v}\n" for t, v in rows)


@pytest.mark.parametrize("typed", [False, True])
def test_rows_without_y_at_the_end_say_where_the_forecast_starts(mend: Mend, typed: bool) -> None:
    text = csv([str(d.date()) for d in DAYS], blank=2)
    frame = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": [1.5] * 61 + [None] * 2})
    table = frame if typed else text
    notes = " ".join(mend(table).report.notes)
    assert "'a' has 2 after its last value at 2023-04-30" in notes
    assert "starts after them, at 2023-05-03" in notes
    trimmed = mend(table, blanks="trim")
    assert "rows without y" not in " ".join(trimmed.report.notes)
    assert trimmed.frame["ds"].iloc[-1] == pd.Timestamp("2023-04-30")


def test_rows_of_a_horizon_and_full_series_say_nothing(mend: Mend) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": [1.5] * 61 + [None] * 2, "p": 1.0})
    ahead = mend(frame, covariates=[{"name": "p", "role": "future"}])
    full = mend(frame.iloc[:61], covariates=[{"name": "p", "role": "past"}])
    for result in (ahead, full):
        assert "rows without y" not in " ".join(result.report.notes)


def test_a_newest_row_that_is_lost_is_said(mend: Mend) -> None:
    stamps = [str(d.date()) for d in DAYS]
    newest = mend(csv([*stamps[:-1], "2023-05-xx"]))
    assert "'2023-05-xx' cannot be read (row 63)" in " ".join(newest.report.notes)
    reverse = mend(csv(["2023-05-xx", *stamps[:-1][::-1]]))
    assert "newest row of a series is lost" in " ".join(reverse.report.notes)
    inside = mend(csv([*stamps[:30], "2023-03-xx", *stamps[31:]]))
    footer = mend(csv(stamps) + "a,Total,6300\n")
    for result in (inside, footer):
        assert "is lost" not in " ".join(result.report.notes)
