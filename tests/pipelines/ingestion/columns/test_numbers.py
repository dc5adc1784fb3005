"""Numbers as people write them: read as they are meant, or missing and said, or refused."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest
from pipelines.ingestion.columns.numbers import read_numbers
from pipelines.ingestion.config import CsvConfig, ValueConfig

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values(cells: list[str], **csv: Any) -> np.ndarray[Any, Any]:
    return read_numbers(pa.array(cells), ValueConfig(), CsvConfig(**csv)).values


def table(y: list[str], separator: str = ";", series: str = "a", **columns: list[str]) -> str:
    names = ["unique_id", "ds", "y", *columns]
    days = pd.date_range("2024-01-10", periods=len(y))
    lines = [
        separator.join([series, str(d.date()), *cells])
        for d, *cells in zip(days, y, *columns.values(), strict=True)
    ]
    return "\n".join([separator.join(names), *lines]) + "\n"


def codes(result: IngestResult) -> dict[str, int]:
    return {f["code"]: f["count"] for f in result.report.to_dict()["findings"]}


BLANKS = st.sampled_from(
    [" ", "\u00a0", "\u2009", "\u202f", "_", "'", "’", "`", "\u00b4", "\u02bc", "\u2032", "\u2018"]
)


@given(parts=st.lists(st.integers(0, 99999), min_size=2, max_size=4), blank=BLANKS)
@DRAWN
def test_a_blank_parts_groups_of_three_or_the_cell_is_no_number(
    parts: list[int], blank: str
) -> None:
    cell = blank.join(map(str, parts))
    groups = [str(p) for p in parts]
    thousands = (
        len(groups[0]) <= 3
        and groups[0] != "0"
        and len(groups[-1]) == 3
        and all(len(g) in (2, 3) for g in groups[1:])
    )
    (found,) = values([cell])
    if thousands:
        assert found == float("".join(groups))
    else:
        assert np.isnan(found)


@given(number=st.integers(1, 10**10), blank=BLANKS, decimals=st.sampled_from(["", ".5", ",25"]))
@DRAWN
def test_thousands_with_blanks_go_on_as_before(number: int, blank: str, decimals: str) -> None:
    (found,) = values([f"{number:,}".replace(",", blank) + decimals])
    assert found == number + float(decimals.replace(",", ".") or 0)


@given(
    number=st.integers(1, 10**8),
    mark=st.sampled_from([",", "."]),
    dash=st.sampled_from(["-", "--", "–", "—", "–-"]),
    money=st.sampled_from(["{}", "CHF {}", "{} €", "Fr{}", "kr {}", "-{}", "({})"]),
)
@DRAWN
def test_a_dash_for_the_cents_is_no_sign(number: int, mark: str, dash: str, money: str) -> None:
    """5.- and 5,– are 5; where 12.50- stands beside them the dash may be a sign, and none is."""
    cell = money.format(f"{number:,}".replace(",", "'") + mark + dash)
    (found,) = values([cell])
    if money == "Fr{}":
        assert np.isnan(found)
    else:
        assert found == (-number if money in ("-{}", "({})") else number)
    found, behind = values([cell, "12.50-"], decimal=".")
    assert behind == -12.5
    assert np.isnan(found)


def test_a_stray_blank_is_a_finding_and_a_column_of_durations_is_refused(mend: Mend) -> None:
    y = [str(10 + k % 30) for k in range(40)]
    y[7] = "1 5"
    result = mend(table(y))
    assert np.isnan(result.frame["y"][7])
    assert codes(result)["not_a_number"] == 1
    for write in ("{}'{:02}", "{:02} {:02}", "{}_{}", "{}:{:02}", "{}h{:02}"):
        with pytest.raises(DataError, match="column y holds no numbers"):
            mend(table([write.format(k % 9, 10 + k % 40) for k in range(40)]))


SIGNS = st.sampled_from(
    ["$", "€", "£", "¥", "₹", "kr", "zł", "pct", "USD", "CHF", "R$", "%", "‰", ""]
)
# How a negative number is written with a sign.
NEGATIVE = (
    "-{n}{s}", "-{s}{n}", "{s}-{n}", "({n}{s})", "({s}{n})", "{s}({n})", "({n}){s}", "{n}{s}-",
    "{n}-{s}", "{n} -", "{n} – {s}", "–{n}{s}", "−{s}{n}", "—{n} {s}", "- {n}", "( {s} {n} )",
    "‒{n}", "{s} –{n}",
)  # fmt: skip


@given(
    number=st.decimals(0, 9999, places=2) | st.integers(1, 99),
    sign=SIGNS, write=st.sampled_from(NEGATIVE),
    space=st.sampled_from(["", " ", "\u00a0"]),
)  # fmt: skip
@DRAWN
def test_every_way_of_writing_a_negative_number_is_negative(
    number: Any, sign: str, write: str, space: str
) -> None:
    cell = write.format(n=number, s=space + sign if write.endswith("{s}") else sign)
    (found,) = values([cell])
    assert found == -float(number), cell
    (found,) = values([f"{number}{space}{sign}"])
    assert found == float(number)


@pytest.mark.parametrize("cell", ["(-5)", "--5", "$5€", "5 € %", "(5", "5)", "()", "-", "$", "3–5"])
def test_what_contradicts_itself_is_no_number(cell: str) -> None:
    assert np.isnan(values([cell])).all()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,23,456", "12,34,567.5"], [123456.0, 1234567.5]),
        (["₹1,23,456", "₹99"], [123456.0, 99.0]),
        (["1.234,5 €", "-2 €"], [1234.5, -2.0]),
        (["13,5%", "2%"], [13.5, 2.0]),
        (["12 345", "7"], [12345.0, 7.0]),
        (["1'234.5", "7"], [1234.5, 7.0]),
    ],
)
def test_signs_and_marks_together(cells: list[str], expected: list[float]) -> None:
    np.testing.assert_allclose(values(cells), expected)


@given(
    share=st.sampled_from(["%", " %", "‰"]), plain=st.sets(st.integers(0, 39), min_size=1),
    separator=st.sampled_from([";", "\t", "|"]),
)  # fmt: skip
@settings(DRAWN, max_examples=12)
def test_per_cent_and_plain_numbers_in_one_series_are_refused(
    share: str, plain: set[int], separator: str, mend: Mend
) -> None:
    y = [f"{3 + k % 9}.5{share}" for k in range(40)]
    mixed = [f"0.0{3 + k % 6}" if k in plain else cell for k, cell in enumerate(y)]
    if len(plain) < 40:
        with pytest.raises(DataError, match=r"column y: .* are of two units.*values\.unit"):
            mend(table(mixed, separator))
    result = mend(table(y, separator))
    np.testing.assert_array_equal(result.frame["y"], [3 + k % 9 + 0.5 for k in range(40)])
    assert share.strip() in result.report.to_dict()["facts"]["signs left out of y"]
    zeros = ["0" if k % 7 == 0 else cell for k, cell in enumerate(y)]
    assert (mend(table(zeros, separator)).frame["y"][::7] == 0).all()


def test_covariates_and_wide_tables_keep_to_one_unit_too(mend: Mend) -> None:
    y = [str(100 + k % 7) for k in range(40)]
    rate = [f"{k % 9}.5%" if k % 2 else "0.12" for k in range(40)]
    with pytest.raises(DataError, match=r"column rate: .*two units"):
        mend(table(y, rate=rate), covariates=["rate"])
    days = pd.date_range("2024-01-10", periods=40)
    own = "\n".join(["ds;a;b", *(f"{d.date()};{k}.5%;{k + 1}" for k, d in enumerate(days))])
    assert len(mend(own, layout="wide", ds="ds").frame) == 80
    mixed = "\n".join(["ds;a;b", *(f"{d.date()};{r};{1}" for r, d in zip(rate, days, strict=True))])
    with pytest.raises(DataError, match="two units"):
        mend(mixed, layout="wide", ds="ds")


@given(pair=st.sampled_from([("$", "€"), ("€", "£"), ("kr", "€"), ("USD", "CHF"), ("₹", "$")]))
@settings(DRAWN, max_examples=5)
def test_two_currencies_in_one_series_are_refused_and_a_unit_column_cures(
    pair: tuple[str, str], mend: Mend
) -> None:
    y = [f"{pair[k % 2]} {100 + k}" for k in range(40)]
    with pytest.raises(DataError, match=r"two units.*values\.unit"):
        mend(table(y))
    money = [pair[k % 2] for k in range(40)]
    unit = {"column": "money", "scale": {pair[0]: 1, pair[1]: 2}}
    result = mend(table(y, money=money), values={"unit": unit})
    np.testing.assert_array_equal(result.frame["y"], [(100 + k) * (1 + k % 2) for k in range(40)])
    each = table(y[::2]) + "".join(table(y[1::2], series="b").splitlines(True)[1:])
    facts = mend(each).report.to_dict()["facts"]["signs left out of y"]
    assert facts.count("(20)") == 2


def test_one_currency_written_two_ways_or_left_out_is_one(mend: Mend) -> None:
    y = [["$10", "USD 11", "12", "13 US$"][k % 4] for k in range(40)]
    np.testing.assert_array_equal(mend(table(y)).frame["y"], [10 + k % 4 for k in range(40)])


@given(
    separator=st.sampled_from([",", "\t", "|"]),
    whole=st.sets(st.integers(0, 39), min_size=1, max_size=39),
    covariate=st.booleans(),
)
@settings(DRAWN, max_examples=10)
def test_three_digits_behind_a_point_or_none_are_asked_about(
    separator: str, whole: set[int], covariate: bool, mend: Mend
) -> None:
    y = [str(800 + k) if k in whole else f"{1 + k % 3}.{100 + 7 * k}" for k in range(40)]
    text = table(["5"] * 40, separator, price=y) if covariate else table(y, separator)
    given: dict[str, Any] = {"covariates": ["price"]} if covariate else {}
    column = "price" if covariate else "y"
    with pytest.raises(DataError, match=rf"column {column}: .*csv\.decimal"):
        mend(text, **given)
    for mark, expected in (
        (",", [float(c.replace(".", "")) for c in y]), (".", [float(c) for c in y])
    ):  # fmt: skip
        found = mend(text, **given, csv={"decimal": mark}).frame[column]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("other", ["2.5", "1000", "0.125", "12.3456"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_one_other_number_tells_that_points_are_decimal(
    other: str, separator: str, mend: Mend
) -> None:
    y = [*(str(k) if k % 2 else f"{1 + k % 3}.{100 + 7 * k}" for k in range(39)), other]
    np.testing.assert_array_equal(mend(table(y, separator)).frame["y"], [float(c) for c in y])


def test_all_numbers_with_three_digits_behind_the_point_are_decimals_and_said(mend: Mend) -> None:
    y = [f"{1 + k % 3}.{100 + 7 * k}" for k in range(40)]
    for separator in (";", "\t", ","):
        result = mend(table(y, separator))
        np.testing.assert_array_equal(result.frame["y"], [float(c) for c in y])
        assert "csv.decimal" in result.report.to_dict()["facts"]["marks"]


@pytest.mark.parametrize(
    ("write", "factor"),
    [("{} kg", 1), ("ca. {}", 1), ("{}K", 1e3), ("{} Mio.", 1e6), ("{} pcs", 1)],
)
def test_numbers_with_a_unit_are_refused_with_what_takes_it_off(
    write: str, factor: float, mend: Mend
) -> None:
    numbers = [1.5 + k % 9 for k in range(40)]
    text = table([write.format(n) for n in numbers])
    with pytest.raises(DataError, match="column y holds no numbers") as raised:
        mend(text)
    cure = re.search(r"pandas: (column\..*\))\)", str(raised.value))
    assert cure is not None
    frame = pd.read_csv(io.StringIO(text), sep=";", dtype=str)
    frame["y"] = eval(cure[1], {"column": frame["y"]})
    np.testing.assert_allclose(mend(frame).frame["y"], np.array(numbers) * factor)


def test_a_covariate_without_numbers_is_told_how_to_be_one(mend: Mend) -> None:
    text = table(["5", "6"] * 20, promo=["yes", "no"] * 20)
    with pytest.raises(DataError, match=r"type: categorical for covariates\.promo"):
        mend(text, covariates=[{"name": "promo", "type": "real"}])
    cured = mend(text, covariates=[{"name": "promo", "type": "categorical"}])
    assert set(cured.frame["promo"]) == {"yes", "no"}
    with pytest.raises(DataError, match="name another column as y"):
        mend(text, y="promo", id="unique_id", ds="ds")


@pytest.mark.parametrize("zero", ["\u0660", "\u06f0", "\u0966", "\uff10"])
def test_digits_of_any_script_are_read_as_numbers_and_stamps_and_ids_stay(zero: str) -> None:
    other = str.maketrans("0123456789", "".join(chr(ord(zero) + k) for k in range(10)))
    days = [f"2024-01-{day:02d}" for day in range(1, 15)]
    own = [f"{1_000 + 13 * k}.5" for k in range(14)]
    name = "shop 1".translate(other)
    frame = pd.DataFrame(
        {
            "unique_id": name,
            "ds": [day.translate(other) for day in days],
            "y": [value.translate(other) for value in own],
        }
    )
    result = ingest(DataConfig(), source=frame)
    assert result.frame["unique_id"].unique().tolist() == [name]
    assert result.frame["ds"].tolist() == [pd.Timestamp(day) for day in days]
    assert result.frame["y"].tolist() == [float(value) for value in own]
    for column in ("ds", "y"):
        lone = pd.DataFrame({"ds": days, "y": own, column: frame[column]})
        pd.testing.assert_frame_equal(
            ingest(DataConfig(), source=lone).frame[["ds", "y"]], result.frame[["ds", "y"]]
        )
