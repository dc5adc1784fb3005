"""Data sets that come along are what they say, and are whole."""

from __future__ import annotations

import pandas as pd
import pytest

from forecasting import datasets
from forecasting.data.panel import Panel
from forecasting.errors import DataError

SHAPES = {
    "air_passengers": (1, 144, "1949-01-01", "1960-12-01"),
    "sunspots": (1, 309, "1700-01-01", "2008-01-01"),
    "us_macro": (8, 203, "1959-01-01", "2009-07-01"),
}


@pytest.mark.parametrize("name", datasets.names())
def test_a_set_is_a_whole_panel_of_its_frequency(name: str) -> None:
    frame = datasets.load(name)
    count, rows, first, last = SHAPES[name]
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert frame["y"].notna().all()
    assert (frame.groupby("unique_id").size() == rows).all()
    panel = Panel.from_frame(frame)
    assert len(panel) == count
    assert panel.rows == len(frame)
    assert panel.freq.same_step(Panel.from_frame(frame, freq=frame.attrs["freq"]).freq)
    assert (frame["ds"].min(), frame["ds"].max()) == (pd.Timestamp(first), pd.Timestamp(last))
    assert frame.attrs["about"]
    assert frame.attrs["source"]


def test_figures_are_those_that_are_known_elsewhere() -> None:
    passengers = datasets.load("air_passengers")["y"]
    assert [passengers.iloc[k] for k in (0, 1, 2, -1)] == [112.0, 118.0, 132.0, 432.0]
    assert passengers.sum() == 40_363
    assert passengers.max() == 622.0
    spots = datasets.load("sunspots").set_index("ds")["y"]
    assert (spots["1957-01-01"], spots.idxmax()) == (190.2, pd.Timestamp("1957-01-01"))
    macro = datasets.load("us_macro").pivot_table(index="ds", columns="unique_id", values="y")
    assert macro.loc["2008-07-01", "gdp"] == 13324.6
    assert macro.loc["2009-07-01", "unemployment"] == 9.6


def test_air_passengers_are_those_of_another_library() -> None:
    utils = pytest.importorskip("statsforecast.utils", reason="statsforecast has them, too")
    assert datasets.load("air_passengers")["y"].tolist() == utils.AirPassengers.tolist()


def test_each_call_gives_a_table_of_its_own() -> None:
    first = datasets.load("sunspots")
    first["y"] = 0.0
    first.attrs.clear()
    assert datasets.load("sunspots")["y"].max() == 190.2
    assert datasets.load("sunspots").attrs["freq"] == "YS"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"did you mean 'air_passengers'\? .*, us_macro"):
        datasets.load("air_pasengers")
