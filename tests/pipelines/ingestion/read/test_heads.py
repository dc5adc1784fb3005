"""Where the header stands, and whether there is one: no row is lost, no title becomes a name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ingestion import DataConfig, IngestResult, MappingError, ingest

Mend = Callable[..., IngestResult]
STAMPS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d", "%Y-%m-%d %H:%M", "%d %b %Y", "%Y-%m")
DRAWN = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def rows(stamps: list[str], ids: tuple[str, ...], separator: str = ",") -> list[str]:
    return [
        separator.join([name, stamp, f"{50 + 3 * k + i % 7 + 0.25:.2f}"])
        for k, name in enumerate(ids)
        for i, stamp in enumerate(stamps)
    ]


def months(form: str, count: int) -> list[str]:
    return [f"{m:{form}}" for m in pd.date_range("2018-01-01", periods=count, freq="MS")]


@given(
    form=st.sampled_from(STAMPS),
    separator=st.sampled_from(",;\t"),
    count=st.integers(14, 50),
    series=st.integers(1, 4),
)
@DRAWN
def test_a_table_without_a_header_is_refused_and_the_cure_keeps_every_row(
    form: str, separator: str, count: int, series: int, mend: Mend
) -> None:
    ids = tuple("abcd"[:series])
    lines = rows(months(form, count), ids, separator)
    with pytest.raises(MappingError, match="has no header") as raised:
        mend("\n".join(lines) + "\n")
    cure = yaml.safe_load(raised.value.proposal)["data"]
    assert cure["csv"] == {"header_lines": 0}
    cure = {**cure, "stamps": {"day_first": True}}
    result = mend("\n".join(lines) + "\n", **cure)
    assert result.clean.rows_in == len(lines)
    named = "\n".join([separator.join(["unique_id", "ds", "y"]), *lines])
    with_header = mend(named, stamps={"day_first": True})
    np.testing.assert_array_equal(result.frame["y"], with_header.frame["y"])


@pytest.mark.parametrize("first", ["2019,100.5", "1,7", "a,201901,5", "1262304000,4"])
def test_years_steps_and_periods_without_a_header_are_refused(first: str, mend: Mend) -> None:
    *name, start, _ = first.split(",")
    lines = [",".join([*name, str(int(start) + i), f"{20 + i % 5}"]) for i in range(12)]
    with pytest.raises(MappingError, match="has no header"):
        mend("\n".join(lines))


def test_a_title_above_rows_without_a_header_is_no_header(mend: Mend) -> None:
    lines = rows(months("%Y-%m-%d", 20), ("a", "b"))
    for title in ("Report 2024", "Report 2024,,", "Report 2024,,\n,,"):
        with pytest.raises(MappingError, match="has no header"):
            mend("\n".join([title, *lines]))


def test_a_frame_that_was_read_without_its_header_is_refused(mend: Mend) -> None:
    frame = pd.DataFrame([line.split(",") for line in rows(months("%Y-%m-%d", 20), ("a", "b"))])
    frame = frame.iloc[1:].set_axis(frame.iloc[0].tolist(), axis=1)
    with pytest.raises(MappingError, match="header=None"):
        ingest(DataConfig(), source=frame)


@pytest.mark.parametrize(
    "header", ["sku,1,2,3,4,5,6", "sku,201901,201902,201903,201904,201905,201906",
               "sku,2019-01,2019-02,2019-03,2019-04,2019-05,2019-06",
               "sku,2001,2002,2003,2004,2005,2006"],
)  # fmt: skip
def test_periods_in_a_header_are_one(header: str, mend: Mend) -> None:
    lines = [f"s{k}," + ",".join(str(7 + k + i) for i in range(6)) for k in range(3)]
    result = mend("\n".join([header, *lines]))
    assert result.clean.ids.tolist() == ["s0", "s1", "s2"]
    assert len(result.clean.y) == 18


def test_names_that_the_config_gives_are_names(mend: Mend) -> None:
    lines = ["2020-01-01,5", *(f"2020-01-{d:02d},{d}" for d in range(2, 20))]
    result = mend("\n".join(lines), ds="2020-01-01", y="5", series="s")
    assert len(result.frame) == 18


@given(
    titles=st.lists(
        st.sampled_from(
            ["Sales report", "Printed 2024-01-02", "", "Region,North", '"Net, in EUR"', "2024"]
        ),
        max_size=5,
    ),
    padded=st.booleans(),
    extra=st.integers(0, 3),
)
@DRAWN
def test_titles_above_the_header_are_left_out_and_counted(
    titles: list[str], padded: bool, extra: int, mend: Mend
) -> None:
    names = ["unique_id", "ds", "y", *(f"x{i}" for i in range(extra))]
    body = [line + ",1" * extra for line in rows(months("%Y-%m-%d", 20), ("a", "b"))]
    width = len(names)

    def line(title: str) -> str:
        cells = 2 if title.startswith("Region") else 1
        return title + "," * (width - cells) if padded else title

    text = "\n".join([*map(line, titles), ",".join(names), *body]) + "\n"
    result = mend(text)
    assert result.clean.rows_in == 40
    written = [t for t in map(line, titles) if t]
    facts = result.report.to_dict()["facts"]
    assert facts.get("titles", "").startswith(f"{len(written)} lines" if written else "")


def test_the_world_banks_layout_is_years_in_the_header(mend: Mend) -> None:
    years = range(1960, 2024)
    text = '"Data Source","World Development Indicators",\n\n"Last Updated Date","2024-05-30",\n\n'
    names = ["Country Name", "Country Code", "Indicator Name", "Indicator Code", *map(str, years)]
    text += ",".join(f'"{n}"' for n in names) + ",\n"
    for k, (name, code) in enumerate([("Aruba", "ABW"), ("Bahamas, The", "BHS"), ("Chad", "TCD")]):
        cells = [name, code, "Population, total", "SP.POP.TOTL"]
        cells += ["" if y < 1965 + k or y == 2023 else str(50_000 + 100 * k + y) for y in years]
        text += ",".join(f'"{c}"' for c in cells) + ",\n"
    result = mend(text)
    assert result.freq == "YS-JAN"
    assert [i.split("/")[:2] for i in result.clean.ids] == [
        ["Aruba", "ABW"], ["Bahamas, The", "BHS"], ["Chad", "TCD"],
    ]  # fmt: skip
    chad = result.frame[result.frame["unique_id"].str.startswith("Chad")]
    first = chad.dropna().iloc[0]
    assert (first["ds"], first["y"]) == (pd.Timestamp("1967-01-01"), 50_200 + 1967)
    assert "2 lines above" in result.report.to_dict()["facts"]["titles"]


def test_a_header_with_blank_names_is_no_title(mend: Mend) -> None:
    text = "unique_id,ds,\n" + "\n".join(rows(months("%Y-%m-%d", 20), ("a", "b")))
    with pytest.raises(MappingError) as raised:
        mend(text)
    assert "has no header" not in str(raised.value)


@given(separator=st.sampled_from(",;"), count=st.integers(4, 30), extra=st.integers(1, 3))
@DRAWN
def test_a_separator_at_the_end_of_every_line_is_no_column(
    separator: str, count: int, extra: int, mend: Mend
) -> None:
    tail = separator * extra
    lines = [separator.join(["sku", *map(str, range(1, 13))]) + tail]
    lines += [
        separator.join([f"s{k}", *(str(k + i) for i in range(12))]) + tail for k in range(count)
    ]
    result = mend("\n".join(lines))
    assert len(result.clean.ids) == count
    assert len(result.clean.y) == 12 * count
