"""A time zone is taken for what it is, whoever made the object."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from dateutil import tz
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.data.zones import zone_name
from forecasting.errors import DataError

HOUR = datetime.timedelta(hours=1)
ZONES = [
    (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
    ("Europe/Berlin", "Europe/Berlin"),
    (tz.gettz("Europe/Berlin"), "Europe/Berlin"),
    (ZoneInfo("CET"), "CET"),
    (tz.tzutc(), "UTC"),
    (datetime.UTC, "UTC"),
    (ZoneInfo("UTC"), "UTC"),
    (tz.tzoffset(None, 3600), "+01:00"),
    (tz.tzoffset("CET", 3600), "+01:00"),
    (datetime.timezone(HOUR), "+01:00"),
    (datetime.timezone(HOUR, "CET"), "+01:00"),
    (datetime.timezone(-3.5 * HOUR, "Europe/Berlin"), "-03:30"),
    (datetime.timezone(0 * HOUR, "CET"), "UTC"),
]


def hourly(zone: Any) -> pd.DataFrame:
    stamps = pd.date_range("2024-03-25", periods=300, freq="h", tz=zone)
    return pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(300.0)})


@pytest.mark.parametrize(("zone", "name"), ZONES, ids=[str(i) for i in range(len(ZONES))])
def test_a_zone_is_taken_for_what_it_is(zone: Any, name: str) -> None:
    table = hourly(zone)
    panel = Panel.from_frame(table)
    assert panel.tz == name
    back = panel.to_frame()["ds"]
    assert (back == table["ds"]).all()
    offsets = [[s.utcoffset() for s in column] for column in (back, table["ds"])]
    assert offsets[0] == offsets[1]


@settings(max_examples=50)
@given(minutes=st.integers(-14 * 60, 14 * 60), label=st.sampled_from([None, "CET", "UTC", "EST"]))
def test_a_fixed_offset_keeps_its_offset_under_every_label(minutes: int, label: str | None) -> None:
    span = datetime.timedelta(minutes=minutes)
    zone = datetime.timezone(span, label) if label else datetime.timezone(span)
    for made in (zone, tz.tzoffset(label, span)):
        name = zone_name(made)
        assert pd.Timestamp(0, tz="UTC").tz_convert(name).utcoffset() == span


def test_stamps_that_dateutil_has_read_are_utc() -> None:
    table = hourly(None)
    table["ds"] = [s.replace(tzinfo=tz.tzutc()) for s in table["ds"].dt.to_pydatetime()]
    assert Panel.from_frame(table).tz == "UTC"


def test_a_zone_without_a_name_is_refused_with_a_cure() -> None:
    class Local(datetime.tzinfo):
        def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta | None:
            return None if moment is None else HOUR

    with pytest.raises(DataError, match=r"no name that other machines know.*tz_convert"):
        zone_name(Local())


@pytest.mark.parametrize("step", ["2h", "6h", "12h"])
def test_steps_of_hours_by_the_wall_clock_are_refused_with_a_cure(step: str) -> None:
    stamps = pd.date_range("2024-03-20", periods=200, freq=step)
    zoned = stamps.tz_localize("Europe/Berlin", nonexistent="NaT", ambiguous="NaT").dropna()
    table = pd.DataFrame({"unique_id": "a", "ds": zoned, "y": 1.0})
    with pytest.raises(DataError, match=r"by the wall clock of Europe/Berlin.*tz_localize\(None\)"):
        Panel.from_frame(table)
    table["ds"] = table["ds"].dt.tz_localize(None)
    assert Panel.from_frame(table).freq.alias == step
