"""A column beside y is taken for what its values say, and for nothing where they say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.drafting.candidates import Candidate
from pipelines.drafting.look import look_at

ROWS, AHEAD = 60, 5
IDS = np.repeat(["a", "b"], ROWS)
STEP = np.tile(np.arange(ROWS), 2)
LATE = STEP >= ROWS - AHEAD
RNG = np.random.default_rng(0)
COLUMNS: dict[str, tuple[Any, str | None, str, str]] = {
    "known ahead": (STEP % 3, "future", "real", "5 rows after the last value"),
    "known ahead of one only": (
        np.where(LATE & (IDS == "b"), np.nan, STEP % 3), "past", "real", "none of them after",
    ),
    "known in the past": (np.where(LATE, np.nan, STEP), "past", "real", "none of them after"),
    "words known ahead": (
        np.where(STEP % 2 == 0, "sun", "rain"), "future", "categorical", "known ahead",
    ),
    "one value per series": (np.where(IDS == "a", 3.5, 4.5), "static", "real", "one value per"),
    "another name": (np.where(IDS == "a", "Anna", "Bert"), None, "categorical", "another name"),
    "the same everywhere": (np.full(len(IDS), 7), None, "real", "the same everywhere"),
    "free text": (
        [f"note {k}" for k in range(len(IDS))], None, "categorical", "no categories",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_taken_for_what_its_values_say(name: str, tmp_path: Path) -> None:
    values, role, kind, why = COLUMNS[name]
    y = np.where(LATE, np.nan, 10 + RNG.normal(size=len(IDS)).round(2))
    stamps = np.datetime64("2024-01-01") + STEP
    table = pd.DataFrame({"unique_id": IDS, "ds": stamps, "y": y, "extra": values})
    table.to_csv(tmp_path / "t.csv", index=False)
    (found,) = look_at(str(tmp_path / "t.csv"), {}).candidates
    assert (found.name, found.role, found.type) == ("extra", role, kind)
    assert why in found.why


def test_only_a_categorical_says_so_in_the_config() -> None:
    assert Candidate("a", "past", "real", "").setting() == {"name": "a", "role": "past"}
    said = Candidate("a", "past", "categorical", "").setting()
    assert said == {"name": "a", "role": "past", "type": "categorical"}
