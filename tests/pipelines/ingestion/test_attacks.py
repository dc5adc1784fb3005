"""Deliveries of the same kinds as the messy files, with other defects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Mend = Callable[..., IngestResult]


def hourly(rows: int = 200, start: str = "2024-01-01") -> pd.DataFrame:
    rng = np.random.default_rng(4)
    ds = pd.date_range(start, periods=rows, freq="h")
    return pd.DataFrame({"ds": ds, "y": np.round(2000 + rng.normal(0, 300, rows))})


@pytest.mark.parametrize(
    "form", ["%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H", "%d.%m.%Y %H", "%Y-%m-%d %H"]
)
@pytest.mark.parametrize("quoted", [False, True])
def test_compact_stamps_are_not_unix_time(form: str, quoted: bool, mend: Mend) -> None:
    raw = hourly()
    written = raw.assign(ds=raw["ds"].dt.strftime(form))
    result = mend(written.to_csv(index=False, quoting=1 if quoted else 0))
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    assert result.freq == "h"


def test_dates_without_leading_zeros(mend: Mend) -> None:
    raw = hourly()
    ds = [f"{d.year}-{d.month}-{d.day} {d.hour}:00" for d in raw["ds"]]
    result = mend(raw.assign(ds=ds).to_csv(index=False))
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)


def test_a_date_and_the_number_of_an_hour_that_ends(mend: Mend) -> None:
    raw = hourly(240)
    lines = [
        f"{d:%d/%m/%Y};{d.hour + 1};{int(v)}" for d, v in zip(raw["ds"], raw["y"], strict=True)
    ]
    result = mend(
        "Fecha;Hora;Demanda\n" + "\n".join(lines),
        series="demand", ds=["Fecha", "Hora"], y="Demanda", stamps={"label": "end"},
    )  # fmt: skip
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    np.testing.assert_array_equal(result.frame["y"], raw["y"])


@pytest.mark.parametrize("whole", [True, False])
def test_dates_of_a_spreadsheet(whole: bool, mend: Mend) -> None:
    ds = pd.date_range("2024-01-01", periods=60, freq="D" if whole else "6h")
    serial = (ds - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1)
    values = serial.astype(int) if whole else serial
    raw = pd.DataFrame({"date": values, "y": np.arange(60) % 7 + 1.0})
    result = mend(raw.to_csv(index=False))
    assert (result.frame["ds"] == ds).all()


@pytest.mark.parametrize("form", ["{y}-W{w:02d}", "{y}W{w:02d}", "{y}-w{w}", "W{w:02d} {y}",
                                  "KW{w} {y}", "{w}/KW {y}", "{y}-W{w:02d}-1"])  # fmt: skip
def test_weeks_in_every_common_writing(form: str, mend: Mend) -> None:
    ds = pd.date_range("2023-01-02", periods=110, freq="7D")
    parts = [d.isocalendar() for d in ds]
    text = [form.format(y=p.year, w=p.week) for p in parts]
    raw = pd.DataFrame({"week": text, "y": np.arange(110) % 9 + 1.0})
    if form.startswith("{w}"):
        with pytest.raises(DataError):
            mend(raw.to_csv(index=False))
        return
    result = mend(raw.to_csv(index=False))
    assert result.freq == "W-MON"
    assert (result.frame["ds"] == ds).all()


def test_exports_glued_together_repeat_their_header(tidy: pd.DataFrame, mend: Mend) -> None:
    parts = [part.to_csv(index=False) for _, part in tidy.groupby("unique_id")]
    result = mend("".join(parts))
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)
    assert result.report.to_dict()["rows"]["removed"] == {"unreadable_stamp": 2}


def test_a_line_of_units_below_the_header(mend: Mend) -> None:
    raw = hourly()
    lines = [f"{d:%d.%m.%Y %H:%M};{v:.1f};20,5".replace(".0;", ",0;")
             for d, v in zip(raw["ds"], raw["y"], strict=True)]  # fmt: skip
    result = mend(
        "Zeit;Last;Temperatur\n;[MW];[°C]\n" + "\n".join(lines), ds="Zeit", y="Last", series="x",
        covariates=["Temperatur"],
    )  # fmt: skip
    pd.testing.assert_series_equal(result.frame["ds"], raw["ds"], check_dtype=False)
    np.testing.assert_array_equal(result.frame["y"], raw["y"])
    assert (result.frame["Temperatur"] == 20.5).all()


def test_joined_cells_in_the_header_of_a_wide_table(mend: Mend) -> None:
    rows = "".join(f"2024-01-{d:02d};{d};{d + 1};{d + 2};{d + 3}\n" for d in range(1, 29))
    text = "Filiale;Nord;;Süd;\nTag;Milch;Brot;Milch;Brot\n" + rows
    result = mend(text.encode("cp1252"), csv={"header_lines": 2}, ids={"separator": "-"})
    assert result.clean.ids.tolist() == ["Nord-Milch", "Nord-Brot", "Süd-Milch", "Süd-Brot"]


def test_thousands_points_without_any_decimal_comma(mend: Mend) -> None:
    raw = hourly()
    raw.loc[:50, "y"] -= 1500
    raw["y"] = raw["y"].abs().round()
    text = [f"{v:,.0f}".replace(",", ".") for v in raw["y"]]
    result = mend(raw.assign(y=text).to_csv(index=False, sep=";"))
    np.testing.assert_array_equal(result.frame["y"], raw["y"])
    assert "thousands point" in result.report.to_dict()["facts"]["marks"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,5E+03", 1500.0), ("(12,5)", -12.5), ("12,5-", -12.5), ("−12,5", -12.5), ("€ 12,5", 12.5),
     ("12,5 %", 12.5), ("+12,5", 12.5), ("1 234,5", 1234.5), ("1'234,5", 1234.5)],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: float, mend: Mend) -> None:
    share = " %" if "%" in text else ""
    lines = [f"2024-01-{d:02d};{d},25{share}" for d in range(1, 29)]
    lines[10] = f"2024-01-11;{text}"
    settings = {"values": {"minimum": -1e6}, "flags": {"spikes": "keep"}}
    assert mend("ds;y\n" + "\n".join(lines), **settings).frame.loc[10, "y"] == value


def test_a_clock_that_drifts_by_seconds(mend: Mend) -> None:
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=500, freq="10min")
    drift = pd.to_timedelta(rng.integers(-20, 21, 500), "s")
    raw = pd.DataFrame({"unique_id": "a", "ds": ds + drift, "y": rng.normal(50, 5, 500).round(2)})
    result = mend(raw)
    assert result.freq == "10min"
    assert len(result.frame) == 500
    np.testing.assert_array_equal(result.frame["y"], raw["y"])


def test_a_footer_of_sums_and_averages(tidy: pd.DataFrame, mend: Mend) -> None:
    text = tidy.to_csv(index=False) + "Total,,6000.5\nAverage,,50.1\n\nprinted on Monday,,\n"
    result = mend(text)
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)
    assert result.report.to_dict()["rows"]["removed"] == {"unreadable_stamp": 3}


def test_a_total_series_is_pointed_out(tidy: pd.DataFrame, mend: Mend) -> None:
    total = tidy.groupby("ds", as_index=False)["y"].sum().assign(unique_id="Total")
    assert mend(pd.concat([tidy, total])).report.to_dict()["totals"] == ["Total"]


def test_ids_with_signs_that_nobody_sees(tidy: pd.DataFrame, mend: Mend) -> None:
    names = tidy["unique_id"].to_numpy(dtype=object)
    names[5], names[6], names[7] = "north\u200b", "\ufeffnorth", "north\u00a0"
    result = mend(tidy.assign(unique_id=names))
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)


def test_files_of_a_folder_with_their_columns_in_another_order(
    tidy: pd.DataFrame, tmp_path: Path
) -> None:
    for i, (_, part) in enumerate(tidy.groupby("unique_id")):
        part[["y", "ds", "unique_id"] if i == 1 else list(part)].to_csv(
            tmp_path / f"{i}.csv", index=False
        )
    result = ingest(DataConfig(source=str(tmp_path)))
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)


def test_seconds_and_milliseconds_in_one_column(mend: Mend) -> None:
    raw = hourly()
    seconds = (raw["ds"] - pd.Timestamp("1970-01-01")) // pd.Timedelta(seconds=1)
    mixed = [str(s) if i < 100 else str(s * 1000) for i, s in enumerate(seconds)]
    result = mend(raw.assign(ds=mixed).to_csv(index=False, quoting=1))
    assert (result.frame["ds"].dt.tz_localize(None) == raw["ds"]).all()
    plain = mend(raw.assign(ds=mixed).to_csv(index=False))
    assert (plain.frame["ds"].dt.tz_localize(None) == raw["ds"]).all()


def test_a_tsv_in_utf_16_with_decimal_commas(mend: Mend) -> None:
    raw = hourly()
    text = raw.assign(y=[f"{v / 10:.1f}".replace(".", ",") for v in raw["y"]])
    result = mend(text.to_csv(index=False, sep="\t").encode("utf-16"))
    np.testing.assert_allclose(result.frame["y"], raw["y"] / 10)


def test_quarter_hours_through_both_changes_of_the_clock(mend: Mend) -> None:
    utc = pd.date_range("2024-03-30", "2024-11-01", freq="15min", tz="UTC")
    for zone in ("Europe/Berlin", "America/Chicago"):
        local = utc.tz_convert(zone)
        raw = pd.DataFrame({"ds": local.strftime("%d/%m/%Y %H:%M"), "y": np.arange(len(utc)) + 1.0})
        result = mend(raw.to_csv(index=False), stamps={"zone": zone})
        assert (pd.DatetimeIndex(result.frame["ds"]).tz_convert("UTC") == utc).all()
        np.testing.assert_array_equal(result.frame["y"], raw["y"])


def test_four_hours_of_local_time_keep_their_step(mend: Mend) -> None:
    local = pd.date_range("2024-03-01", "2024-05-01", freq="4h")
    raw = pd.DataFrame({"ds": local, "y": np.arange(len(local)) % 6 + 1.0})
    for settings in ({"stamps": {"zone": "Europe/Berlin"}}, {}):
        result = mend(raw, **settings)
        assert result.freq == "4h"
        np.testing.assert_array_equal(pd.DatetimeIndex(result.frame["ds"]), local)


@pytest.mark.parametrize(
    "form", ["{} %", "{}%", "{} €", "€ {}", "{} EUR", "-$ {}", "{}\u00a0€"], ids=str
)
def test_money_and_per_cent_are_numbers(form: str, mend: Mend) -> None:
    rows = [f"a;2024-01-{i + 1:02};{form.format(f'1.23{i},50')}" for i in range(9)]
    y = mend("unique_id;ds;y\n" + "\n".join(rows)).frame["y"].to_numpy()
    np.testing.assert_allclose(np.abs(y), 1230.5 + np.arange(9))
    assert (y < 0).all() == form.startswith("-")


def test_the_stamps_name_may_stand_in_an_upper_header_line(mend: Mend) -> None:
    dates = pd.date_range("2024-01-01", periods=70).strftime("%d.%m.%y")
    days = [f"{day};{i},5;{i};{i + 1},5;7" for i, day in enumerate(dates)]
    text = "\n".join(["Zeit;Nord;;Süd;", ";Strom;Gas;Strom;Gas", ";MWh;m3;MWh;m3", *days])
    result = mend(text, layout="wide", ds="Zeit", csv={"header_lines": 3})
    frame = result.frame.set_index(["unique_id", "ds"])["y"]
    assert len(frame) == 280
    assert frame[("Süd/Strom/MWh", "2024-01-03")] == 3.5


def test_a_small_table_without_its_id_column_is_refused(mend: Mend) -> None:
    days = pd.date_range("2024-01-01", periods=10)
    raw = pd.DataFrame({"ds": [*days, *days], "y": np.arange(20.0)})
    with pytest.raises(DataError, match="is a column of the id forgotten"):
        mend(raw)


def test_lines_with_too_many_cells_are_told_and_many_of_them_refused(mend: Mend) -> None:
    def text(wrong: int) -> str:
        rows = [f"a,2024-01-{i + 1:02},{i}{',x' * (i < wrong)}" for i in range(10)]
        return "unique_id,ds,y\n" + "\n".join(rows)

    assert "1 lines with another number of cells left out" in mend(text(1)).report.summary
    with pytest.raises(DataError, match="4 lines do not have the header's 3 cells"):
        mend(text(4))


def test_a_misspelt_sqlite_path_makes_no_database(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    with pytest.raises(DataError, match=r"absent\.db does not exist"):
        ingest(DataConfig(source=f"sqlite:///{path}", table="sales"))
    assert not path.exists()
