"""The first hour goes through: each step of a stranger, from the wheel to the forecast."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.first_hour.hour import play
from tests.first_hour.tables import TABLES


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_stranger_gets_from_the_wheel_to_a_forecast(tmp_path: Path) -> None:
    hour = play(tmp_path)
    assert len([what for what, _, _ in hour.steps if "gatecast init" in what]) == len(TABLES)
    assert len(hour.champions) >= 3
    forecasts = pd.read_csv(tmp_path / "work" / "forecasts.csv")
    assert len(forecasts) > 0


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    first = TABLES[name](tmp_path).read_bytes()
    assert TABLES[name](tmp_path).read_bytes() == first
