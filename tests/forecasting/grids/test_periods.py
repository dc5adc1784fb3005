"""Rules of stamps beside pandas's own offsets, and series that keep to them, end to end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.tseries.offsets import FY5253Quarter

from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.grids.periods import at, place, stamps_of

QUICK = {"training": {"max_steps": 3, "validation": "none", "threads": 1, "start": "none"}}
RULES = ("SMS", "SME", "BMS", "BME", "445S-N-SAT-JAN", "454E-L-SUN-DEC", "544S-L-FRI-AUG")


@pytest.mark.parametrize("rule", ["SMS", "SME", "BMS", "BME"])
def test_stamps_of_months_are_those_of_pandas(rule: str) -> None:
    wanted = pd.date_range("1990-01-01", "2050-12-31", freq=rule).to_numpy().astype("datetime64[D]")
    own = stamps_of(rule)
    inside = (own >= np.datetime64("1990-01-01")) & (own <= np.datetime64("2050-12-31"))
    assert np.array_equal(own[inside], wanted)


@pytest.mark.parametrize(
    ("kind", "weekday", "month"), [("N", "SAT", "JAN"), ("L", "SUN", "DEC"), ("L", "FRI", "AUG")]
)
def test_quarters_of_weeks_end_where_those_of_pandas_do(
    kind: str, weekday: str, month: str
) -> None:
    names = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
    months = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    offset = FY5253Quarter(
        startingMonth=months.index(month) + 1,
        weekday=names.index(weekday),
        qtr_with_extra_week=4,
        variation="nearest" if kind == "N" else "last",
    )
    wanted = pd.date_range("1990-01-01", "2050-12-31", freq=offset).to_numpy()
    ends = stamps_of(f"445E-{kind}-{weekday}-{month}")
    quarters = ends[2::3]
    inside = (quarters >= np.datetime64("1990-01-01")) & (quarters <= np.datetime64("2050-12-31"))
    assert np.array_equal(quarters[inside], wanted.astype("datetime64[D]"))
    starts = stamps_of(f"445S-{kind}-{weekday}-{month}")
    assert np.array_equal(starts[1:], ends[:-1] + 1)
    assert set(np.diff(starts).astype(int) // 7) == {4, 5, 6}


@given(rule=st.sampled_from(RULES), begin=st.integers(3000, 5000), steps=st.integers(-900, 900))
def test_steps_there_and_back_are_the_same(rule: str, begin: int, steps: int) -> None:
    freq = Frequency.parse(rule)
    start = at(rule, np.array([begin])).astype("datetime64[us]")
    later = freq.shift(start, steps)
    assert freq.steps_between(start, later).tolist() == [steps]
    assert np.array_equal(freq.shift(later, -steps), start)
    assert place(rule, later).tolist() == [begin + steps]
    day = np.timedelta64(1, "D")
    between = min(1, int((freq.shift(later, 1) - later)[0] / day) - 1)
    assert freq.steps_between(start, later + between * day).tolist() == [steps]
    assert Frequency.parse(freq.alias) == freq


@pytest.mark.parametrize("rule", ["SMS", "SME", "BME", "BMS"])
def test_a_table_of_such_stamps_says_its_rule_and_is_forecast_by_it(rule: str) -> None:
    ds = pd.date_range("2018-01-01", periods=96, freq=rule)
    y = 10.0 + np.sin(np.arange(96) * np.pi / 12)
    frame = pd.concat(pd.DataFrame({"unique_id": i, "ds": ds, "y": y + i}) for i in range(2))
    panel = Panel.from_frame(frame)
    assert panel.freq.alias == rule
    made = Forecaster.fit(frame, horizon=5, config=QUICK, verbose=False)
    forecast = made.predict(frame)
    ahead = pd.date_range(ds[-1], periods=6, freq=rule)[1:]
    assert forecast["ds"].iloc[:5].tolist() == ahead.tolist()
    assert np.isfinite(forecast["q0.5"]).all()


def test_weeks_of_a_retail_year_are_named_and_forecast() -> None:
    rule = "445S-N-SAT-JAN"
    ds = stamps_of(rule)[3800:3860]
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": ds.astype("datetime64[us]"), "y": np.arange(60.0)}
    )
    made = Forecaster.fit(frame, horizon=3, freq=rule, config=QUICK, verbose=False)
    assert made.predict(frame)["ds"].to_numpy().astype("datetime64[D]").tolist() == (
        stamps_of(rule)[3860:3863].tolist()
    )
    assert made.config.season in (1, 12)


def test_what_is_off_its_rule_or_beyond_its_table_is_refused() -> None:
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": pd.to_datetime(["2024-01-01", "2024-01-16"]), "y": [1.0, 2.0]}
    )
    with pytest.raises(DataError, match=r"2024-01-16.* does not lie on the grid of freq = SMS"):
        Panel.from_frame(frame, freq="SMS")
    far = np.array(["2299-12-31"], "datetime64[us]")
    with pytest.raises(DataError, match="has stamps from 1700 to 2299 only"):
        Frequency.parse("BME").shift(far, 5)
    with pytest.raises(DataError, match="is not a frequency"):
        Frequency.parse("445S-N-SAT-QQQ")
