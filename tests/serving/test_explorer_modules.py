"""The explorer's modules beside the library: time, baselines, how tables are read."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.data.calendar import Frequency
from forecasting.data.whole import refuse_dates, refuse_size
from forecasting.errors import DataError
from forecasting.evaluation.baselines import naive_arrays
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.read.proposal import MappingError
from tests.serving.javascript import javascript

ALIASES = (
    "step",
    "7step",
    "15min",
    "h",
    "6h",
    "D",
    "2D",
    "W-SUN",
    "B",
    "MS",
    "ME",
    "QS",
    "QE",
    "YS",
)


def test_steps_of_time_are_the_librarys() -> None:
    rng = np.random.default_rng(0)
    given, expected = [], []
    for alias in ALIASES:
        freq = Frequency.parse(alias)
        for number in rng.integers(-20_000, 40_000, 40):
            if freq.integer:
                start: Any = int(number)
            else:
                days = np.datetime64("1970-01-01", "D") + number
                days = np.busday_offset(days, 0, roll="forward") if alias == "B" else days
                start = freq.shift(days.astype("datetime64[us]"), 0)[()]
            steps = int(rng.integers(-300, 300))
            moved = freq.shift(start, steps)[()]
            given.append([alias, _number(start), steps])
            expected.append([_number(moved), steps])
    found = javascript(
        """return given.map(([alias, start, steps]) => {
             const freq = calendar.parseFreq(alias), moved = calendar.shift(freq, start, steps);
             return [moved, calendar.steps(freq, start, moved)];
           })""",
        given,
    )
    wrong = [(g, e, f) for g, e, f in zip(given, expected, found, strict=True) if e != f]
    assert wrong == []


def _number(stamp: Any) -> int:
    whole = isinstance(stamp, int | np.integer)
    return int(stamp) if whole else int(stamp.astype("datetime64[ms]").astype(np.int64))


def test_baselines_are_the_librarys() -> None:
    rng = np.random.default_rng(1)
    given, expected = [], []
    for _ in range(200):
        y = rng.normal(size=rng.integers(1, 30)).round(3)
        y[rng.random(len(y)) < 0.3] = np.nan
        y[rng.integers(len(y))] = 1.0
        season, horizon = int(rng.integers(1, 13)), int(rng.integers(1, 20))
        given.append([[None if v != v else v for v in y], horizon, season])
        offsets = np.array([0, len(y)])
        levels = [0.5]
        expected.append(naive_arrays(y, offsets, horizon, season, levels).mean[0].tolist())
    found = javascript("return given.map(g => series.repeatSeason(...g))", given)
    for one, other_one in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other_one)


READ = """
  const options = {freq: calendar.parseFreq(given.freq), schema: given.schema ?? [],
                   order: given.order ?? "", mark: given.mark ?? "", name: "name"};
  const counted = options.freq.unit === "step";
  return attempt(() => {
    const read = table.parseTable(given.text, "the file");
    const roles = table.recognise(read, options.schema, counted);
    const found = series.seriesOf(read, roles, options);
    return {series: Object.fromEntries([...found.series].map(([id, s]) =>
              [id, [s.start, s.y, s.ahead, s.covariates]])),
            notes: found.notes, roles};
  });
"""


def read(text: str, freq: str, **more: Any) -> Any:
    return javascript(READ, {"text": text, "freq": freq, **more})


def days(count: int = 6, form: str = "%Y-%m-%d", freq: str = "D") -> list[str]:
    return list(pd.date_range("2024-01-29", periods=count, freq=freq).strftime(form))


PLAIN = {
    "canonical": ("unique_id,ds,y\n" + "".join(f"a,{d},{i}\n" for i, d in enumerate(days())), "D"),
    "other names, unsorted": (
        "Shop;Datum;Umsatz;Menge\n"
        + "".join(f"s{i % 2};{d};1.234,5{i};{i}\n" for i in range(2) for d in days(6)[::-1]),
        "D",
    ),
    "two ids": (
        "store,item,date,sales\n"
        + "".join(f"x{s},y{k},{d},{s + k}.5\n" for s in (1, 2) for k in (3, 4) for d in days(5)),
        "D",
    ),
    "quotes and missing": (
        'series,date,value\n"a ""b"", c",2024-01-01,1\n"a ""b"", c",2024-01-02,NA\n'
        '"a ""b"", c",2024-01-03,3\n"a ""b"", c",2024-01-05,"1,234.5"\n',
        "D",
    ),
    "day first": (
        "date\ty\n" + "".join(f"{d}\t{i}\n" for i, d in enumerate(days(40, "%d/%m/%Y"))),
        "D",
    ),
    "hours": (
        "id,timestamp,load\n"
        + "".join(f"a,{d},{i}\n" for i, d in enumerate(days(30, "%Y-%m-%d %H:%M", "h"))),
        "h",
    ),
    "months in words": (
        "month,value\n" + "".join(f"{d},{i}\n" for i, d in enumerate(days(14, "%b %Y", "MS"))),
        "MS",
    ),
    "a column for each series": (
        "date,north,south\n" + "".join(f"{d},{i},{i * 2}\n" for i, d in enumerate(days())),
        "D",
    ),
    "steps": ("sku,step,units\n" + "".join(f"k,{i},{i * i}\n" for i in range(1, 8)), "step"),
    "years": ("year,value\n" + "".join(f"{y},{y % 7}\n" for y in range(1990, 2004)), "YS"),
    "numbers with signs": (
        "date,amount\n"
        + "".join(
            f"{d},{v}\n" for d, v in zip(days(4), ["€ 5.25", "-3", "1e3", "40"], strict=True)
        ),
        "D",
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_table_is_read_as_ingestion_reads_it(name: str, tmp_path: Path) -> None:
    text, freq = PLAIN[name]
    file = tmp_path / "name.csv"
    file.write_text(text)
    found = read(text, freq)
    assert "message" not in found, found
    config = {"source": str(file), "freq": freq}
    try:
        expected = ingest(DataConfig(**config)).frame
    except MappingError as error:
        # What ingestion only proposes the page takes, and shows for the reader to change.
        expected = ingest(DataConfig(**config, **error.roles)).frame
    for unique_id, rows in expected.groupby("unique_id", observed=True, sort=False):
        start, y, _, _ = found["series"][str(unique_id)]
        first = rows["ds"].iloc[0]
        assert start == (first if freq == "step" else first.value // 10**6)
        np.testing.assert_allclose(np.array(y, float), rows["y"].to_numpy(float))
    assert len(found["series"]) == expected["unique_id"].nunique()


BROKEN = {
    "empty": ("", "D", "is empty", "a line of names", ""),
    "header alone": ("a,b\n", "D", "no rows", "a line of names", ""),
    "no header": ("2024-01-01,5.0\n2024-01-02,6.0\n", "D", "no header", "a line of names", ""),
    "JSON": ('{"a": 1}\n', "D", "is JSON", "gatecast ingest", ""),
    "open quote": ('ds,y\n2024-01-01,"5\n2024-01-02,6\n', "D", "line 2", "Close it", ""),
    "no stamp": ("a,y\nx,1\nz,2\n", "D", "time stamp", "under Columns", "columns"),
    "twice": (
        "ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n",
        *("D", "lines 3 and 4", "under Columns", "columns"),
    ),
    "day or month": (
        "date,y\n" + "".join(f"0{m}/0{m}/2024,1\n" for m in range(1, 4)),
        *("D", "01/01/2024", "order of day and month", "order"),
    ),
    "two marks": (
        "ds;y;x\n2024-01-01;1,5;1.25\n2024-01-02;2,5;2.25\n",
        *("D", "y has 1,5, column x has 1.25", "decimal mark", "decimal"),
    ),
    "months for days": (
        "ds,y\n" + "".join(f"{d},1\n" for d in days(60, freq="MS")),
        *("h", "a value per month, the model reads one per hour", "model of that step", "model"),
    ),
    "days for months": (
        "ds,y\n" + "".join(f"{d},1\n" for d in days(60)),
        *("MS", "a value per day, the model reads one per month", "model of that step", "model"),
    ),
    "weeks for days": (
        "ds,y\n" + "".join(f"{d},1\n" for d in days(9, freq="7D")),
        *("D", "a value per week, the model reads one per day", "model of that step", "model"),
    ),
    "off the grid": (
        "ds,y\n2024-01-01 00:00,1\n2024-01-01 01:00,1\n2024-01-01 02:30,1\n2024-01-01 03:00,1\n",
        *("h", "line 4", "gatecast ingest", "model"),
    ),
    "steps for days": ("step,y\n1,1\n2,2\n", "D", "counts steps", "column of dates", "columns"),
    "words as values": (
        "ds,y\n2024-01-01,red\n2024-01-02,blue\n",
        *("D", 'such as "red" in line 2', "another column", "columns"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_table_that_cannot_be_read_says_what_where_and_the_cure(name: str) -> None:
    text, freq, what, cure, control = BROKEN[name]
    schema = [{"name": "x", "role": "past", "type": "real", "required": True}]
    found = read(text, freq, schema=schema)
    assert what in found["message"]
    assert cure in found["cure"]
    assert found["control"] == control


def test_what_was_repaired_is_said() -> None:
    text = (
        "shop,day,sold,promo\n# a remark\na,2024-01-01,1,0\na,2024-01-02,oops,1\na,2024-01-05,3,0\n"
    )
    text += "a,2024-01-06,,1\nb,2024-01-01,1\nb,2024-01-01,2,0\nb,someday,3,1\n"
    text += "".join(f"b,2024-01-{day:02d},1,0\n" for day in range(2, 13))
    schema = [{"name": "promo", "role": "future", "type": "real", "required": True}]
    found = read(text, "D", schema=schema)
    start = int(pd.Timestamp("2024-01-01").value // 10**6)
    promo = [0, 1, None, None, 0, 1]
    assert found["series"]["a"] == [start, [1, None, None, None, 3], 1, {"promo": promo}]
    assert found["series"]["b"] == [start, [2] + [1] * 11, 0, {"promo": [0] * 12}]
    notes = "\n".join(found["notes"])
    assert "another number of cells" in notes
    assert "line 7" in notes
    assert '"oops" in line 4' in notes
    assert '"someday" in line 9' in notes
    assert "2 stamps not in the table" in notes
    assert "known ahead (1 series)" in notes


def test_offsets_count_for_hours_and_not_for_days() -> None:
    days_of = pd.date_range("2026-03-27", periods=5, tz="Europe/Madrid")
    found = read("ds,y\n" + "".join(f"{d.isoformat()},1\n" for d in days_of), "D")
    assert found["series"]["name"][:2] == [_number(np.datetime64("2026-03-27", "us")), [1] * 5]
    hours = pd.date_range("2026-03-29", periods=5, freq="h", tz="Europe/Madrid")
    found = read("ds,y\n" + "".join(f"{d.isoformat()},1\n" for d in hours), "h")
    assert found["series"]["name"][:2] == [_number(np.datetime64("2026-03-29", "us")), [1] * 5]


def test_months_are_moved_to_the_day_that_the_model_stamps_them_with() -> None:
    text = "ds,y\n" + "".join(f"{d},1\n" for d in days(5, freq="ME"))
    found = read(text, "MS")
    assert found["series"]["name"][0] == int(pd.Timestamp("2024-01-01").value // 10**6)
    assert any("were moved there" in note for note in found["notes"])
    quarters = "ds,y\n2023-03-31,1\n2023-06-30,2\n2023-09-30,3\n"
    found = read(quarters, "QS")
    assert found["series"]["name"][0] == int(pd.Timestamp("2023-01-01").value // 10**6)


def test_levels_of_intervals_are_those_that_people_write() -> None:
    found = javascript("return request.levelsOf([80, 95, 50, 99, 90])")
    assert found == [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995]


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f", "'", "’"])
def test_a_blank_in_the_explorer_parts_groups_of_three_and_nothing_else(blank: str) -> None:
    read = "return Array.from(table.readNumbers(given).values, String);"
    parted = [cell.replace(" ", blank) for cell in ("1 234", "12 34 567", "€1 234.5", "-1 234 567")]
    assert javascript(read, parted) == ["1234", "1234567", "1234.5", "-1234567"]
    others = [cell.replace(" ", blank) for cell in ("1 5", "07 30", "1 234 5", "1 2345", "12 34")]
    assert javascript(read, others) == ["NaN"] * len(others)


def test_two_currencies_in_a_column_of_the_explorer_are_no_numbers_of_one_unit() -> None:
    read = "return Array.from(table.readNumbers(given).values, String);"
    assert javascript(read, ["€5", "$6", "7", "8 €"]) == ["5", "NaN", "7", "8"]


def _drawn_steps(rng: np.random.Generator) -> list[int]:
    """Whole numbers as people write dates, counts and steps, now and then with one left out."""
    n, year = int(rng.integers(2, 40)), int(rng.choice([1, 69, 98, 2, 20, 2001, 2019]))
    first = int(rng.integers(0, 3))
    months = [(year + (first + k) // 12, (first + k) % 12 + 1) for k in range(n)]
    weeks = [(year + k // 52, k % 52 + 1) for k in range(n)]
    dates = pd.date_range(
        "2021-01-04", periods=n, freq=str(rng.choice(["D", "B", "MS", "QS", "YS"]))
    )
    origin = int(rng.choice([0, -3653, 25569, 24107]))
    since = (dates.to_numpy().astype("datetime64[D]").astype(int) + origin).tolist()
    seconds = [int(d.timestamp()) * int(rng.choice([1])) for d in dates]
    kinds: list[list[int]] = [
        [y * 100 + m for y, m in months],
        [y * 100 + w for y, w in weeks],
        [y * 10 + (m - 1) // 3 + 1 for y, m in months[:: 3 if n > 9 else 1]],
        [int(d.strftime("%Y%m%d")) for d in dates],
        [int(d.strftime("%y%m%d")) for d in dates],
        [int(d.strftime("%y%j")) for d in dates],
        [int(d.strftime("%Y%m%d%H")) for d in dates],
        since,
        seconds,
        [s * 1000 for s in seconds],
        [int(rng.integers(1, 60_000)) + int(rng.choice([1, 1, 2, 7, 100])) * k for k in range(n)],
        [10**9 + 3600 * k for k in range(n)],
    ]
    chosen = kinds[int(rng.integers(len(kinds)))]
    kept = [v for v in chosen if rng.random() > (0.1 if rng.random() < 0.3 else 0.0)]
    return sorted(set(kept)) if len(set(kept)) > 1 else sorted(set(chosen))


def _told(steps: list[int]) -> list[bool]:
    """Whether the library refuses numbers as dates, and whether it says what they may count."""
    values = np.array(steps)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            refuse_dates(values)
            if len(values) > 1:
                sizes, often = np.unique(np.diff(values), return_counts=True)
                size = int(sizes[often.argmax()])
                refuse_size(size, int(values[np.abs(values).argmin()]))
        except DataError:
            return [True, False]
    return [False, bool(said)]


def test_whole_numbers_are_dates_where_the_library_says_so() -> None:
    rng = np.random.default_rng(3)
    given = [_drawn_steps(rng) for _ in range(600)]
    given += [[6940, 6941, 6942, 6943], [102, 103, 104, 201, 202], [402, 403, 404, 501, 502]]
    given += [list(range(1, 30)), list(range(45000, 45030)), [1990, 1991, 1992, 1993, 1994, 1995]]
    found = javascript(
        """return given.map((steps) => {
             const dates = whole.datesIn(steps);
             return [dates !== "", !dates && whole.countsIn(steps).length > 0];
           })""",
        given,
    )
    wrong = [(g, _told(g), f) for g, f in zip(given, found, strict=True) if _told(g) != f]
    assert wrong == []
    assert sum(dates for dates, _ in found) > 100 < sum(not dates for dates, _ in found)


@pytest.mark.parametrize(
    "steps",
    [
        [6950, 6951, 6952, 7001, 7002],
        [202211, 202212, 202301, 202302],
        [20240130, 20240131, 20240201],
        [1_700_000_000 + 86_400 * k for k in range(4)],
        [*range(402, 413), 501, 502],
    ],
)
def test_dates_that_a_step_model_would_count_are_refused_in_the_explorer(steps: list[int]) -> None:
    rows = "".join(f"{s},1\n" for s in steps)
    found = read(f"ds,y\n{rows}", "step")
    assert "whole numbers such as" in found["message"]
    assert "1, 2, 3" in found["cure"]


def test_days_of_a_spreadsheet_are_said_where_a_model_counts_steps() -> None:
    rows = "".join(f"{s},1\n" for s in range(45000, 45009))
    [note] = [n for n in read(f"ds,y\n{rows}", "step")["notes"] if "plain steps" in n]
    assert "2023-03-15 as days of a spreadsheet" in note
