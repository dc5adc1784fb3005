"""Small data sets by name, as long tables."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from forecasting.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class Known(NamedTuple):
    """What is told of a data set.

    Attributes
    ----------
    about : what was counted or measured, and in what unit. freq : pandas alias.
    source : where the figures come from. All of them are in the public domain.
    """

    about: str
    freq: str
    source: str


KNOWN = {
    "air_passengers": Known(
        "Passengers of international airlines, thousands a month, 1949 to 1960",
        "MS",
        "Box & Jenkins, Time Series Analysis: Forecasting and Control (1976), series G",
    ),
    "sunspots": Known(
        "Mean number of sunspots, a year, 1700 to 2008",
        "YS",
        "US National Geophysical Data Center (NOAA)",
    ),
    "us_macro": Known(
        "The economy of the United States in eight series, quarterly, 1959 to 2009: gross domestic "
        "product, consumption, investment, government spending and disposable income (billions of "
        "dollars of 2005), consumer prices (index), money (M1, billions) and unemployment (%)",
        "QS",
        "US Bureau of Economic Analysis and Bureau of Labor Statistics, Federal Reserve (FRED)",
    ),
}


def names() -> list[str]:
    """The names that `load` knows."""
    return list(KNOWN)


def load(name: str) -> pd.DataFrame:
    """A data set as a pandas DataFrame ``unique_id, ds, y``, sorted by series and stamp.

    ``.attrs`` has what it is about, its ``freq`` and its source. Nothing is downloaded.

    Raises
    ------
    DataError : an unknown name; the known ones are listed.
    """
    import pandas as pd

    if name not in KNOWN:
        near = get_close_matches(str(name), KNOWN, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"no data set is called {name!r}: {hint}there are {', '.join(KNOWN)}")
    with (resources.files(__package__) / f"{name}.csv").open(encoding="utf-8") as file:
        wide = pd.read_csv(file, parse_dates=["ds"])
    frame = wide.melt("ds", var_name="unique_id", value_name="y")[["unique_id", "ds", "y"]]
    frame["y"] = frame["y"].astype("float64")
    frame.attrs.update(KNOWN[name]._asdict())
    return frame
