"""Headers that come again, columns without a name, names that stand twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Mend = Callable[..., IngestResult]
DRAWN = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DAYS = [str(d.date()) for d in pd.date_range("2024-01-10", periods=40)]


@given(
    order=st.permutations(["unique_id", "ds", "y", "price"]),
    at=st.integers(1, 39),
    shout=st.booleans(),
    separator=st.sampled_from([";", ",", "\t"]),
)
@DRAWN
def test_a_header_that_comes_again_in_another_order_is_refused(
    order: list[str], at: int, shout: bool, separator: str, mend: Mend
) -> None:
    names = ["unique_id", "ds", "y", "price"]
    rows = [dict(zip(names, ["a", d, 100 + k, 5], strict=True)) for k, d in enumerate(DAYS)]
    head = [n.upper() if shout else n for n in order]
    lines = [names, *([r[n] for n in names] for r in rows[:at]), head]
    lines += [[r[n] for n in order] for r in rows[at:]]
    text = "\n".join(separator.join(map(str, line)) for line in lines) + "\n"
    for covariates in ([], ["price"]):
        if order == names:
            result = mend(text, covariates=covariates)
            np.testing.assert_array_equal(result.frame["y"], [100 + k for k in range(40)])
        elif order[:3] != names[:3] or covariates:
            with pytest.raises(DataError, match=rf"row {at + 1} is a header with other names"):
                mend(text, covariates=covariates)


def test_a_second_block_with_other_columns_is_refused(mend: Mend) -> None:
    first = [f"a;{d};{k}" for k, d in enumerate(DAYS[:20])]
    second = [f"a;{d};{k}" for k, d in enumerate(DAYS[20:])]
    text = "\n".join(["unique_id;ds;y", *first, "unique_id;ds;returned", *second])
    with pytest.raises(DataError, match=r"row 21 is a header with other names.*'returned'"):
        mend(text)


@given(order=st.permutations(["A", "B", "C"]), at=st.integers(1, 39))
@DRAWN
def test_series_side_by_side_that_change_places_are_refused(
    order: list[str], at: int, mend: Mend
) -> None:
    rows = [f"{d},{k},{k + 100},{k + 200}" for k, d in enumerate(DAYS)]
    text = "\n".join(["date,A,B,C", *rows[:at], ",".join(["date", *order]), *rows[at:]])
    if order == ["A", "B", "C"]:
        assert len(mend(text, layout="wide", ds="date").frame) == 120
    else:
        with pytest.raises(DataError, match="header with other names"):
            mend(text, layout="wide", ds="date")


def test_names_of_series_that_stand_in_the_header_too_are_no_header(mend: Mend) -> None:
    rows = [f"{k},{','.join(str(k + d) for d in range(12))}" for k in range(1, 6)]
    text = "\n".join(["shelf," + ",".join(str(k) for k in range(1, 13)), *rows])
    assert mend(text, layout="rows").clean.ids.tolist() == list("12345")
    rows = [f"{s};{d};{k}" for s in ("y", "ds", "x") for k, d in enumerate(DAYS)]
    assert len(mend("\n".join(["unique_id;ds;y", *rows])).clean.ids) == 3


@pytest.mark.parametrize(
    ("head", "twice"),
    [
        ("unique_id;ds;y;y", "columns 3, 4"),
        ("unique_id;ds;y;y ", "columns 3, 4"),
        ("unique_id;ds;ds;y", "columns 2, 3"),
        ("store;date;sales;sales", "columns 3, 4"),
        ("store;store;date;sales", "columns 1, 2"),
    ],
)
def test_a_name_that_stands_twice_is_refused_with_its_columns(
    head: str, twice: str, mend: Mend
) -> None:
    names = [n.strip() for n in head.split(";")]
    rows = []
    for k, day in enumerate(DAYS):
        numbers = iter([str(k), str(2 * k)])
        rows.append(
            ";".join(
                day
                if n in ("ds", "date")
                else "a"
                if n in ("unique_id", "store")
                else next(numbers)
                for n in names
            )
        )
    with pytest.raises(DataError, match=f"{twice}.*different names"):
        mend("\n".join([head, *rows]))


def test_a_column_without_name_and_values_is_none_and_one_with_values_is_asked_for(
    mend: Mend,
) -> None:
    rows = [f"{d},{k},,{k + 100}" for k, d in enumerate(DAYS)]
    result = mend("\n".join(["date,A,,B", *rows]), layout="wide", ds="date")
    assert result.clean.ids.tolist() == ["A", "B"]
    assert result.report.summary.endswith("nothing to mend")
    rows[7] = rows[7].replace(",,", ",9,")
    with pytest.raises(DataError, match=r"column 3 has no name, and values such as '9'"):
        mend("\n".join(["date,A,,B", *rows]), layout="wide", ds="date")
    years = ",".join(str(y) for y in range(2010, 2022))
    flat = "\n".join([f"sku,,{years}", *(f"s{k},,{','.join('7' * 12)}" for k in range(3))])
    assert len(mend(flat, layout="rows").frame) == 36


@given(count=st.integers(5, 30), drawn=st.randoms(use_true_random=False))
@DRAWN
def test_numbered_columns_are_the_steps_they_say_or_refused(
    count: int, drawn: object, mend: Mend
) -> None:
    numbers = list(range(1, count + 1))
    drawn.shuffle(numbers)
    line = ",".join(f"V{n}" for n in numbers)
    table = "\n".join([f"sku,{line}", *(f"s{k},{','.join(map(str, numbers))}" for k in range(3))])
    if numbers == sorted(numbers):
        assert mend(table, layout="rows", id="sku").frame["y"].iloc[0] == 1
        return
    with pytest.raises(DataError, match=r"columns are numbered, but 'V\d+' follows 'V\d+'"):
        mend(table, layout="rows", id="sku")
    found = mend(table, layout="rows", id="sku", freq="step").frame
    assert found["y"].iloc[:count].tolist() == numbers


@pytest.mark.parametrize(
    ("header", "cure"),
    [("6,5,4,3,2,1", "turn the columns over"), ("1,2,3,5,6,7", "add those that are missing")],
)
def test_columns_that_run_backwards_or_leave_one_out_are_asked_about(
    header: str, cure: str, mend: Mend
) -> None:
    table = f"sku,{header}\na,1,2,3,4,5,6\nb,1,2,3,4,5,6\n"
    with pytest.raises(DataError, match=cure):
        mend(table, layout="rows", id="sku")
    assert len(mend(table.replace(header, "0,7,14,21,28,35"), layout="rows", id="sku").frame) == 12


def test_a_line_break_in_the_id_of_a_row_of_values_is_a_blank(mend: Mend) -> None:
    days = ",".join(DAYS[:8])
    lines = [f"sku,{days}", f'"a\nb",{",".join("12345678")}', f"c,{','.join('8765')}"]
    result = mend("\n".join(lines), layout="rows", id="sku")
    assert result.clean.ids.tolist() == ["a b", "c"]
    assert result.frame["y"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5]


def test_a_number_among_dates_is_no_stamp(mend: Mend) -> None:
    rows = [f"a,{day},{k}" for k, day in enumerate(DAYS)]
    result = mend("\n".join(["unique_id,ds,y", "1,2,3", *rows]))
    assert result.clean.ids.tolist() == ["a"]
    assert result.report.to_dict()["rows"]["removed"] == {"unreadable_stamp": 1}


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "row_id"])
@pytest.mark.parametrize("first", [0, 1])
def test_an_index_that_was_written_along_is_no_series(name: str, first: int) -> None:
    frame = pd.DataFrame(
        {
            name: range(first, first + 30),
            "date": pd.date_range("2024-01-01", periods=30),
            "a": range(30, 60),
            "b": range(60, 90),
        }
    )
    config = DataConfig.parse({"layout": "wide", "ds": "date"})
    result = ingest(config, source=frame)
    assert list(result.panel().ids) == ["a", "b"]
    assert any(name in note for note in result.report.notes)
    counts = frame.assign(**{name: range(5, 35)})
    assert list(ingest(config, source=counts).panel().ids) == [name, "a", "b"]
