"""Business days at the ends of months: named, with the line that moves them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.steps import business_ends
from forecasting.data.tables import say_open_ends
from forecasting.errors import DataError
from tests.pipelines.ingestion.samples import read


@given(
    st.sampled_from([("BME", "last", "ME"), ("BMS", "first", "MS"), ("BQE", "last", "QE")]),
    st.integers(2001, 2020), st.integers(24, 80),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_business_days_of_months_are_a_step_and_those_of_quarters_have_a_cure(
    case: tuple[str, str, str], year: int, count: int
) -> None:
    freq, which, cured = case
    stamps = pd.date_range(f"{year}-01-01", periods=count, freq=freq)
    assert business_ends(stamps.to_numpy().astype("datetime64[us]")) == which
    df = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(count) + 1.0})
    moved = (
        df["ds"] + pd.offsets.MonthEnd(0) if which == "last"
        else df["ds"].dt.to_period("M").dt.to_timestamp()
    )  # fmt: skip
    if freq == "BQE":
        with pytest.raises(DataError, match=f"the {which} business day") as refused:
            Panel.from_frame(df)
        assert "MonthEnd(0)" in str(refused.value)
    else:
        assert Panel.from_frame(df).freq.alias == freq
        assert list(read(stamps).frame["ds"]) == list(stamps)
    assert Panel.from_frame(df.assign(ds=moved)).freq.alias.startswith(cured)
    assert list(read(stamps, freq=cured).frame["ds"]) == list(moved)


@pytest.mark.parametrize("freq", ["D", "B", "W-MON", "MS", "ME", "QS", "QE", "YS", "28D", "h"])
def test_other_steps_are_none_of_them(freq: str) -> None:
    stamps = pd.date_range("2015-01-01", periods=60, freq=freq).to_numpy()
    assert business_ends(stamps.astype("datetime64[us]")) == ""


def test_ends_without_y_are_warned_of() -> None:
    offsets = np.array([0, 3, 6, 8])
    y = np.array([1.0, 2.0, 3.0, 1.0, np.nan, np.nan, np.nan, np.nan])
    with pytest.warns(UserWarning, match=r"1 series, such as 'b', end with rows without y"):
        say_open_ends(y, offsets, np.array(["a", "b", "c"], dtype=object))
