"""Days of a calendar: which they are, what is told of them, and that a bundle keeps them."""

from __future__ import annotations

import datetime
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dateutil.easter import EASTER_ORTHODOX
from dateutil.easter import easter as reckoned
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.config import CalendarConfig, EventConfig, ForecasterConfig, Occasion, Occasions
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError, MissingGroupError
from forecasting.forecaster import Forecaster
from forecasting.known.occasions import (
    columns,
    easter,
    kept,
    values,
    with_closed_days,
    with_occasions,
)
from forecasting.prediction.predictor import Predictor
from tests.forecasting.samples import MIXES, make_panel, seasonal_frame

QUICK = {"training": {"max_steps": 30, "validation": "none", "threads": 1}}


@given(year=st.integers(1900, 2099))
def test_easter_is_that_of_the_reckoning(year: int) -> None:
    assert str(easter(year)) == reckoned(year).isoformat()
    assert str(easter(year, orthodox=True)) == reckoned(year, EASTER_ORTHODOX).isoformat()


def occasions(days: list[str], before: int = 0, after: int = 0, stamps: str = "start") -> Occasions:
    group = Occasion(name="x", days=tuple(sorted(days)), before=before, after=after)
    return Occasions(groups=(group,), until="2099-12-31", stamps=stamps)  # type: ignore[arg-type]


def slow(day: datetime.date, days: set[datetime.date], before: int, after: int) -> list[float]:
    """What is told of a day, by looking at its neighbours one by one."""
    told = [float(day in days)]
    for sign, reach in ((1, before), (-1, after)):
        if not reach:
            continue
        gaps = [k for k in range(1, reach + 1) if day + sign * datetime.timedelta(days=k) in days]
        told.append(1.0 - (gaps[0] - 1) / reach if gaps and day not in days else 0.0)
    return told


@examples(max_examples=60, deadline=None)
@given(
    offsets=st.sets(st.integers(0, 60), max_size=12),
    before=st.integers(0, 6),
    after=st.integers(0, 6),
)
def test_what_is_told_of_days_is_what_a_walk_through_them_finds(
    offsets: set[int], before: int, after: int
) -> None:
    first = datetime.date(2024, 1, 1)
    days = {first + datetime.timedelta(days=k) for k in offsets}
    known = occasions([d.isoformat() for d in days], before, after)
    stamps = np.datetime64("2024-01-01", "us") + np.arange(61) * np.timedelta64(1, "D")
    told = values(known, stamps, Frequency.parse("D"), None)
    walked = [slow(first + datetime.timedelta(days=k), days, before, after) for k in range(61)]
    assert told == pytest.approx(np.array(walked))


@pytest.mark.parametrize(
    ("freq", "start", "stamps", "counts"),
    [
        ("MS", "2024-05-01", "start", [2, 0, 1]),
        ("ME", "2024-05-31", "start", [2, 0, 1]),
        ("W-MON", "2024-04-29", "start", [1, 1, 0]),
        ("W-SUN", "2024-05-05", "end", [1, 1, 0]),
        ("B", "2024-04-30", "start", [0, 1, 0]),
        ("12h", "2024-05-01", "start", [1, 1, 0]),
    ],
)
def test_steps_longer_than_a_day_count_their_days(
    freq: str, start: str, stamps: str, counts: list[int]
) -> None:
    known = occasions(["2024-05-01", "2024-05-09", "2024-07-14"], stamps=stamps)
    step = Frequency.parse(freq)
    ds = step.stamps(np.array([start], "datetime64[us]"), 0, 3)
    side = known.replace(stamps="end") if step.end else known
    assert values(side, ds, step, None)[0, :, 0].tolist() == counts


def test_hours_belong_to_the_day_of_their_place() -> None:
    known = occasions(["2024-12-25"])
    utc = np.array(["2024-12-24T22:30", "2024-12-24T23:30", "2024-12-25T23:30"], "datetime64[us]")
    told = values(known, utc, Frequency.parse("h"), "Europe/Berlin")[:, 0]
    assert told.tolist() == [0, 1, 0]


def test_a_country_gives_its_days_with_those_around_them() -> None:
    panel = make_panel([40])
    config = CalendarConfig(country="DE", subdivision="BY", before=2, until=2026)
    found = kept(config, panel)
    assert "2024-01-06" in found.groups[0].days, "Epiphany, in Bavaria"
    assert "2024-01-06" not in kept(CalendarConfig(country="DE"), panel).groups[0].days
    assert found.until == "2026-12-31"
    assert found.source.startswith("holidays ")
    assert found.source.endswith("DE-BY")
    assert [c.name for c in columns(found)] == ["calendar.DE", "calendar.DE.before"]
    alone = kept(CalendarConfig(country="DE", each=True), panel)
    assert {"Christmas Day", "Easter Monday"} <= {group.name for group in alone.groups}


def test_events_and_feasts_of_ones_own() -> None:
    config = CalendarConfig(
        events={
            "school": EventConfig(days=("2024-02-10/2024-02-12",)),
            "carnival": EventConfig(feast="easter", offset=-48),
        },
        until=2025,
    )
    school, carnival = kept(config, make_panel([40])).groups
    assert school.days == ("2024-02-10", "2024-02-11", "2024-02-12")
    assert {"2024-02-12", "2025-03-03"} <= set(carnival.days)


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        ({"country": "XX"}, "Country XX not available: country is an ISO 3166 code"),
        ({"country": "DE", "subdivision": "ZZ"}, "does not have subdivision ZZ"),
        ({"country": "DE", "kinds": ["odd"]}, "calendar.kinds = odd"),
        ({"events": {"a": {"days": ["soon"]}}}, "calendar.events.a: 'soon' is no day"),
        ({"events": {"a": {"days": ["2024-02-02/2024-01-01"]}}}, "ends before it begins"),
        ({"events": {"a": {}}}, "give days, or a feast"),
        ({}, "name a country, or events"),
        ({"subdivision": "BY", "events": {"a": {"feast": "easter"}}}, "name it"),
        ({"country": "DE", "until": 1999}, "is before the last row"),
    ],
)
def test_a_calendar_that_means_nothing_is_refused(calendar: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        kept(ForecasterConfig.parse({"horizon": 1, "calendar": calendar}).calendar, make_panel([9]))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plain steps"):
        kept(CalendarConfig(country="DE"), make_panel([9], freq="step"))


def test_columns_stand_behind_those_that_were_given_and_only_once() -> None:
    panel = make_panel([20, 12], schema=MIXES["future"], horizon=2)
    known = occasions(["2024-01-15"], after=3)
    wide = with_occasions(panel, known, 5)
    assert [c.name for c in wide.schema.future] == [
        "promo",
        "holiday",
        "calendar.x",
        "calendar.x.after",
    ]
    assert wide.horizon is not None
    assert wide.horizon.shape == (2, 5, 4)
    np.testing.assert_array_equal(wide.horizon[:, :2, :2], panel.horizon)
    assert np.isnan(wide.horizon[:, 2:, :2]).all()
    assert not np.isnan(wide.horizon[..., 2:]).any()
    assert wide.future[14, 2] == 1.0
    assert with_occasions(wide, known, 5) is wide
    later = wide.truncate(10, 5)
    assert later.horizon is not None
    assert later.horizon[0, 4, 2] == 1.0


def daily(rows: int = 300, dip: str = "2024-10-03") -> pd.DataFrame:
    """Sales that fall to a fifth on German holidays."""
    import holidays

    frame = seasonal_frame(series=3, rows=rows, start="2024-01-01")
    off = frame["ds"].dt.date.isin(set(holidays.country_holidays("DE", years=[2024])))
    frame.loc[off, "y"] *= 0.2
    return frame


@pytest.fixture(scope="module")
def trained() -> Forecaster:
    table = daily()
    config = {
        "model": {"hidden_size": 8, "layers": 1},
        "training": {"max_steps": 120, "threads": 1, "validation": "none"},
        "calendar": {"country": "DE", "until": 2025},
    }
    return Forecaster.fit(
        table[table["ds"] < "2024-09-28"], horizon=7, config=config, verbose=False
    )


def test_a_holiday_ahead_is_heeded_and_an_equal_day_is_not(trained: Forecaster) -> None:
    table = daily()
    forecast = trained.predict(table[table["ds"] < "2024-09-28"])
    day = forecast.groupby("ds")["q0.5"].mean()
    others = day.drop(pd.Timestamp("2024-10-03")).mean()
    assert day[pd.Timestamp("2024-10-03")] < 0.8 * others


def test_a_bundle_says_the_same_without_the_package(
    trained: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = daily()
    table = table[table["ds"] < "2024-09-28"]
    trained.save(tmp_path / "b")
    monkeypatch.setitem(sys.modules, "holidays", None)
    opened = Predictor.load(tmp_path / "b")
    assert opened.schema.covariates == ()
    assert opened.config.occasions == trained.config.occasions
    for again in (opened, Forecaster.load(tmp_path / "b")):
        np.testing.assert_allclose(
            again.predict(table)["q0.5"], trained.predict(table)["q0.5"], rtol=1e-5
        )
    with pytest.raises(MissingGroupError, match=r"pip install 'gatecast\[calendars\]'"):
        Forecaster.fit(table, horizon=2, config={"calendar": {"country": "DE"}}, verbose=False)


def test_beyond_the_last_year_that_is_kept_it_is_said(trained: Forecaster) -> None:
    late = seasonal_frame(series=2, rows=60, start="2025-11-01")
    with pytest.warns(UserWarning, match="days are known up to 2025-12-31.*reaches to 2026-01-06"):
        trained.predict(late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained.predict(late[late["ds"] < "2025-12-01"])


def test_what_is_carried_on_and_fitted_again_keeps_its_days(trained: Forecaster) -> None:
    panel = Panel.from_frame(daily())
    carried = trained.carry_on(panel, steps=2)
    again = trained.refit(panel, backs=[7], steps=2)
    for one in (carried, again):
        assert one.config.occasions == trained.config.occasions
        assert one.schema.covariates == ()
        assert np.isfinite(one.predict_panel(panel).mean).all()
    with pytest.raises(DataError, match="cannot be extended"):
        trained.predict_panel(panel, horizon=9, extend=True)
    with pytest.raises(ConfigError, match="keeps no state"):
        trained.encode(panel)


def test_hours_of_a_place_and_a_backtest_know_their_days() -> None:
    frame = seasonal_frame(series=2, rows=24 * 20, freq="h", start="2024-12-14")
    frame["ds"] = frame["ds"].dt.tz_localize("Europe/Berlin")
    config = {**QUICK, "calendar": {"country": "DE"}, "model": {"hidden_size": 4, "layers": 1}}
    made = Forecaster.fit(frame, horizon=30, config=config, verbose=False)
    assert np.isfinite(made.predict(frame)["q0.5"]).all()
    past = made.historical(frame, last=2, every=24)
    assert len(past) == 2 * 2 * 30
    rolled = made.backtest(frame, windows=1, retrain=False)
    assert np.isfinite(rolled.scores().loc["forecaster", "mase"])


def test_open_times_may_name_a_market_or_a_country() -> None:
    traded = with_closed_days("D[MON-FRI; closed NYSE]")
    assert "2024-07-04" in traded
    assert "NYSE" not in traded
    assert with_closed_days(traded) == traded
    both = with_closed_days("h[MON-SAT 09:00-18:00; closed DE-BY 2024-03-05]")
    assert {"2024-01-06", "2024-03-05"} <= set(both.removesuffix("]").split())
    assert "2024-02-18" not in both, "a Sunday is closed anyway"
    freq = Frequency.parse(traded)
    day = np.array(["2024-07-03"], "datetime64[us]")
    assert str(freq.shift(day, 1)[0])[:10] == "2024-07-05"
    assert with_closed_days("D") == "D"
    with pytest.raises(ConfigError, match="closed XX: Country XX not available"):
        with_closed_days("D[MON-FRI; closed XX]")


@pytest.mark.parametrize(
    ("freq", "first", "side", "told"),
    [
        # The fifth is a Sunday, the sixth a Monday.
        ("B", "2024-05-02", "start", [0, 0, 1]),
        ("D[MON-SAT]", "2024-05-03", "start", [0, 0, 1]),
        ("W-SUN", "2024-05-05", "end", [1, 1, 0]),
    ],
)
def test_a_day_that_lies_between_two_steps_falls_into_the_step_it_is_of(
    freq: str, first: str, side: str, told: list[int]
) -> None:
    known = occasions(["2024-05-05", "2024-05-06"], stamps=side)
    step = Frequency.parse(freq)
    ds = step.stamps(np.array([first], "datetime64[us]"), 0, 3)
    assert values(known, ds, step, None)[0, :, 0].tolist() == told


def test_days_are_kept_from_the_year_before_the_first_row_to_that_after_the_last() -> None:
    config = CalendarConfig(events={"new": EventConfig(feast="easter")}, until=2025)
    (found,) = kept(config, make_panel([40])).groups
    assert [day[:4] for day in found.days] == ["2023", "2024", "2025", "2026"]


def test_steps_that_a_clock_asks_for_beyond_the_horizon_know_their_days() -> None:
    panel = make_panel([30], freq="h", tz="Europe/Berlin")
    wide = with_occasions(panel, occasions(["2024-01-02"]), 2)
    assert wide.horizon is not None
    assert wide.horizon[0, :, 0].tolist() == [1.0] * 5
