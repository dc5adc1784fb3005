"""Stamps in every common writing, steps from minutes to years, and daylight saving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]
FREQUENCIES = (
    "min", "5min", "15min", "30min", "h", "4h", "6h", "D", "2D", "B", "W-SUN", "W-THU", "2W-MON",
    "MS", "ME", "2MS", "QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC",
)  # fmt: skip


def table(freq: str, periods: int = 40, series: int = 3, **columns: Any) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range("2019-01-01", periods=periods + i, freq=freq),
                "y": np.arange(periods + i) % 7 + 1.0,
                **columns,
            }
        )
        for i in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_every_step_is_inferred_from_text(freq: str, mend: Mend) -> None:
    raw = table(freq)
    result = mend(raw.to_csv(index=False))
    pd.testing.assert_frame_equal(result.frame, raw, check_dtype=False)
    assert not result.report.repaired
    evidence = result.report.to_dict()["frequency"]["evidence"]
    assert "3 of 3 series" in evidence["inferred from"]


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_a_gap_does_not_hide_the_step(freq: str, mend: Mend) -> None:
    raw = table(freq)
    result = mend(raw.drop(index=[5, 6, 20, 50, 90]).to_csv(index=False))
    assert result.freq == mend(raw).freq
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    assert result.report.to_dict()["rows"]["inserted"] == {"gap": 5}


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d.%m.%y", "%Y%m%d", "%d-%b-%Y", "%b %d, %Y",
     "%d %B %Y", "%Y/%m/%d", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y-%m-%dT%H:%M:%SZ"],
)  # fmt: skip
def test_dates_in_every_common_writing(form: str, mend: Mend) -> None:
    raw = table("D", periods=60)
    text = raw.assign(ds=raw["ds"].dt.strftime(form)).to_csv(index=False)
    found = mend(text).frame["ds"]
    found = found.dt.tz_localize(None) if found.dt.tz is not None else found
    pd.testing.assert_series_equal(found, raw["ds"], check_dtype=False)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_unix_time_in_every_unit(unit: str, factor: int, mend: Mend) -> None:
    raw = table("h")
    seconds = (raw["ds"] - pd.Timestamp("1970-01-01")) // pd.Timedelta(seconds=1)
    result = mend(raw.assign(ds=seconds * factor).to_csv(index=False))
    assert result.freq == "h"
    pd.testing.assert_series_equal(
        result.frame["ds"].dt.tz_localize(None), raw["ds"], check_dtype=False
    )


@pytest.mark.parametrize(
    ("freq", "text", "found"),
    [
        ("QS-JAN", lambda d: f"{d.year}Q{d.quarter}", "QS-JAN"),
        ("QS-JAN", lambda d: f"Q{d.quarter} {d.year}", "QS-JAN"),
        ("MS", lambda d: f"{d:%Y-%m}", "MS"),
        ("MS", lambda d: f"{d:%b-%y}", "MS"),
        ("MS", lambda d: f"{d:%Y}M{d:%m}", "MS"),
        ("YS-JAN", lambda d: f"{d:%Y}", "YS-JAN"),
        ("W-MON", lambda d: f"{d:%G-W%V}", "W-MON"),
    ],
)
def test_periods_without_a_day(freq: str, text: Any, found: str, mend: Mend) -> None:
    raw = table(freq)
    written = raw.assign(ds=[text(d) for d in raw["ds"]])
    result = mend(written.to_csv(index=False))
    assert result.freq == found
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)


def test_mixed_formats_in_one_column(mend: Mend) -> None:
    raw = table("D", periods=60)
    ds = raw["ds"].dt.strftime("%Y-%m-%d")
    ds[20:40] = raw["ds"][20:40].dt.strftime("%d.%m.%Y")
    ds[100:] = raw["ds"][100:].dt.strftime("%d %b %Y")
    result = mend(raw.assign(ds=ds).to_csv(index=False))
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    assert len(result.report.to_dict()["facts"]["stamps"]) == 3


def test_days_and_months_that_cannot_be_told_apart_are_refused(mend: Mend) -> None:
    text = "unique_id,ds,y\na,01/02/2024,1\na,02/01/2024,2\n"
    with pytest.raises(DataError, match="day_first"):
        mend(text)
    assert mend(text, stamps={"day_first": False}, freq="D").frame["ds"].dt.month.tolist()[0] == 1


def test_the_missing_and_the_doubled_hour(mend: Mend) -> None:
    utc = pd.date_range("2023-03-24", "2023-10-31", freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    raw = pd.DataFrame({"unique_id": "a", "ds": local, "y": np.arange(len(utc)) % 24 + 1.0})
    result = mend(raw.to_csv(index=False), stamps={"zone": "Europe/Berlin"})
    assert len(result.frame) == len(utc)
    assert (pd.DatetimeIndex(result.frame["ds"]).tz_convert("UTC") == utc).all()
    np.testing.assert_array_equal(result.frame["y"], raw["y"])
    assert not result.report.repaired
    doubled = [f for f in result.report.to_dict()["findings"] if f["code"] == "doubled_hour"]
    assert doubled[0]["count"] == 2
    assert "doubled hour" in result.report.to_dict()["facts"]["zone"]


def test_a_stamp_in_the_skipped_hour(mend: Mend) -> None:
    hours = pd.date_range("2023-03-25", periods=72, freq="h")
    raw = pd.DataFrame({"unique_id": "a", "ds": hours, "y": 1.0 + np.arange(72) % 5})
    settings = {"zone": "Europe/Berlin"}
    result = mend(raw.to_csv(index=False), stamps=settings)
    codes = {f["code"]: f for f in result.report.to_dict()["findings"]}
    assert codes["skipped_hour"]["count"] == 1
    assert result.report.to_dict()["rows"]["balanced"]
    dropped = mend(raw.to_csv(index=False), stamps={**settings, "nonexistent": "drop"})
    assert dropped.report.to_dict()["rows"]["removed"] == {"skipped_hour": 1}
    with pytest.raises(DataError, match="does not exist"):
        mend(raw.to_csv(index=False), stamps={**settings, "nonexistent": "refuse"})


def test_days_of_a_zone_keep_their_wall_clock(mend: Mend) -> None:
    raw = table("D")
    zoned = raw.assign(ds=raw["ds"].dt.tz_localize("America/New_York"))
    result = mend(zoned)
    assert result.freq == "D"
    pd.testing.assert_series_equal(result.frame["ds"], zoned["ds"], check_dtype=False)


def test_mixed_zones_are_brought_to_one(mend: Mend) -> None:
    utc = pd.date_range("2024-01-01", periods=48, freq="h", tz="UTC")
    east = [d.tz_convert("Europe/Berlin").isoformat() for d in utc[:24]]
    west = [d.tz_convert("America/New_York").isoformat() for d in utc[24:]]
    raw = pd.DataFrame({"unique_id": "a", "ds": [*east, *west], "y": np.arange(48.0)})
    result = mend(raw.to_csv(index=False))
    assert (result.frame["ds"] == utc).all()


def test_stamps_with_and_without_a_zone_are_refused(mend: Mend) -> None:
    text = "unique_id,ds,y\na,2024-01-01T00:00Z,1\na,2024-01-01 01:00,2\na,2024-01-01T02:00Z,2\n"
    with pytest.raises(DataError, match=r"row 1.*row 2.*stamps.zone"):
        mend(text)


@pytest.mark.parametrize("year", [1650, 2250])
def test_years_out_of_reach_are_refused_with_their_row(year: int, mend: Mend) -> None:
    text = "unique_id,ds,y\n" + "".join(f"a,2024-01-{d:02d},1\n" for d in range(1, 20))
    with pytest.raises(DataError, match=rf"row 20.*{year}"):
        mend(text + f"a,{year}-01-01,2\n")


def test_stamps_that_end_their_interval_move_to_its_start(mend: Mend) -> None:
    raw = table("h")
    ended = raw.assign(ds=raw["ds"] + pd.Timedelta(hours=1))
    result = mend(ended.drop(index=7), stamps={"label": "end"})
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    places = result.report.repairs()
    assert places["ds"].tolist() == ["2019-01-01T07:00:00"]


def test_month_ends_survive_february(mend: Mend) -> None:
    ds = pd.date_range("2020-10-31", periods=30, freq="ME")
    raw = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0 + np.arange(30)})
    result = mend(raw.drop(index=[3, 4]))
    assert result.freq == "ME"
    assert (result.frame["ds"] == ds).all()


def test_business_days_are_told_from_days_with_missing_weekends(mend: Mend) -> None:
    raw = table("D", periods=100)
    result = mend(raw[raw["ds"].dt.day_of_week < 5])
    assert result.freq == "B"
    assert mend(raw[raw["ds"].dt.day_of_week < 6]).freq == "D"


def test_the_doubled_hour_of_a_source_with_the_latest_rows_first(mend: Mend) -> None:
    utc = pd.date_range("2023-10-27", "2023-10-31", freq="30min", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    raw = pd.DataFrame({"unique_id": "a", "ds": local, "y": np.arange(len(utc)) + 1.0})
    result = mend(raw[::-1].to_csv(index=False), stamps={"zone": "Europe/Berlin"})
    np.testing.assert_array_equal(result.frame["y"], raw["y"])


@pytest.mark.parametrize("freq", ["D", "W-SUN", "MS"])
def test_days_by_their_offset_or_zone_through_a_change_of_the_clock(freq: str, mend: Mend) -> None:
    ds = pd.date_range("2023-01-01", periods=300, freq=freq, tz="America/New_York")
    raw = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(300) % 7 + 1.0})
    typed = mend(raw)
    assert typed.freq == freq
    assert not typed.report.repaired
    assert (pd.DatetimeIndex(typed.frame["ds"]) == ds).all()
    written = raw.assign(ds=[d.isoformat() for d in ds]).to_csv(index=False)
    plain = mend(written)
    assert plain.freq == freq
    assert not plain.report.repaired
    assert (pd.DatetimeIndex(plain.frame["ds"]) == ds.tz_localize(None)).all()
    zoned = mend(written, stamps={"zone": "America/New_York"})
    assert (pd.DatetimeIndex(zoned.frame["ds"]) == ds).all()


@pytest.mark.parametrize("step", ["3h", "4h", "6h", "12h"])
@pytest.mark.parametrize("month", ["2024-03-25", "2024-10-20"])
@pytest.mark.parametrize("written", ["zone", "offset", "type"])
def test_steps_of_some_hours_that_keep_the_wall_clock_stay_on_it(
    step: str, month: str, written: str, mend: Mend
) -> None:
    ds = pd.date_range(month, periods=240 // int(step[:-1]), freq=step)
    aware = ds.tz_localize("Europe/Berlin", ambiguous=True, nonexistent="shift_forward")
    raw = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(len(ds)) % 7 + 1.0})
    settings: dict[str, Any] = {}
    if written == "zone":
        settings["stamps"] = {"zone": "Europe/Berlin"}
    elif written == "offset":
        raw["ds"] = [stamp.isoformat() for stamp in aware]
    else:
        raw["ds"] = aware
    result = mend(raw if written == "type" else raw.to_csv(index=False), **settings)
    assert result.freq == step
    assert result.clean.tz is None
    assert "stamps.axis" in result.report.to_dict()["facts"]["zone"]
    assert not result.report.to_dict()["findings"]
    np.testing.assert_array_equal(pd.DatetimeIndex(result.frame["ds"]), ds)
    np.testing.assert_array_equal(result.frame["y"], raw["y"])


@pytest.mark.parametrize("step", ["2h", "4h", "12h"])
@pytest.mark.parametrize("month", ["2024-03-25", "2024-10-20"])
def test_steps_of_some_hours_that_keep_the_time_stay_in_utc(
    step: str, month: str, mend: Mend
) -> None:
    ds = pd.date_range(month, periods=240 // int(step[:-1]), freq=step, tz="UTC")
    local = ds.tz_convert("Europe/Berlin").tz_localize(None)
    raw = pd.DataFrame({"unique_id": "a", "ds": local, "y": np.arange(len(ds)) % 7 + 1.0})
    result = mend(raw.to_csv(index=False), stamps={"zone": "Europe/Berlin"})
    assert result.clean.tz == "Europe/Berlin"
    assert (pd.DatetimeIndex(result.frame["ds"]).tz_convert("UTC") == ds).all()


def test_the_axis_can_be_chosen(mend: Mend) -> None:
    ds = pd.date_range("2024-01-01", periods=40, freq="6h")  # no change of the clock to tell by
    raw = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(40) % 7 + 1.0}).to_csv()
    zone = {"zone": "Europe/Berlin"}
    assert mend(raw, stamps=zone).clean.tz == "Europe/Berlin"
    assert mend(raw, stamps={**zone, "axis": "clock"}).clean.tz is None
