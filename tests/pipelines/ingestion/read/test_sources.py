"""The same small table from every source and in every dialect is the same clean table."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Mend = Callable[..., IngestResult]


def same(result: IngestResult, tidy: pd.DataFrame) -> None:
    assert result.freq == "D"
    assert result.report.to_dict()["rows"]["balanced"]
    frame = result.frame.sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, tidy, check_dtype=False)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_any_encoding_and_separator(
    separator: str, encoding: str, tidy: pd.DataFrame, mend: Mend
) -> None:
    tidy["unique_id"] = tidy["unique_id"].replace("west", "café zürich")
    text = tidy.to_csv(index=False, sep=separator)
    result = mend(text.encode(encoding))
    same(result, tidy.sort_values(["unique_id", "ds"], ignore_index=True))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                  lambda b: zstandard.ZstdCompressor().compress(b)])  # fmt: skip
def test_packed_text(pack: Any, tidy: pd.DataFrame, mend: Mend) -> None:
    same(mend(pack(tidy.to_csv(index=False).encode())), tidy)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_ending(end: str, tidy: pd.DataFrame, mend: Mend) -> None:
    same(mend(tidy.to_csv(index=False, lineterminator=end)), tidy)


@pytest.mark.parametrize(
    ("decimal", "thousands", "separator"), [(",", ".", ";"), (",", " ", ";"), (".", ",", ";"),
                                            (",", "'", "\t"), (",", "\u202f", "|")],
)  # fmt: skip
def test_decimal_and_thousands_marks(
    decimal: str, thousands: str, separator: str, tidy: pd.DataFrame, mend: Mend
) -> None:
    tidy["y"] = (tidy["y"] * 1000).round(2)
    marks = str.maketrans({".": decimal, ",": thousands})
    written = tidy.assign(y=[f"{v:,.2f}".translate(marks) for v in tidy["y"]])
    same(mend(written.to_csv(index=False, sep=separator)), tidy)


def test_everything_quoted_with_line_breaks_in_cells(tidy: pd.DataFrame, mend: Mend) -> None:
    written = tidy.assign(note='two\nlines, "quoted"')
    same(mend(written.to_csv(index=False, quoting=1)), tidy)


def test_title_comments_blank_lines_and_footer(tidy: pd.DataFrame, mend: Mend) -> None:
    body = tidy.to_csv(index=False).replace("\nsouth", "\n\nsouth", 1)
    text = "# exported on Monday\n# by hand\n\n" + body + "\nTotal,,\n"
    result = mend(text)
    same(result, tidy)
    rows = result.report.to_dict()["rows"]
    assert rows["lines_left_out"]["comment line"] == 2
    assert rows["removed"] == {"unreadable_stamp": 1}


def test_a_column_that_turns_to_text_late_is_still_read(mend: Mend) -> None:
    count = 200_000
    values = [*map(str, range(count - 1)), "n/a"]
    lines = [f"{i},{v}" for i, v in enumerate(values)]
    result = mend("ds,y\n" + "\n".join(lines))
    assert result.clean.y[:3].tolist() == [0.0, 1.0, 2.0]
    assert np.isnan(result.clean.y[-1])


def test_ids_keep_their_leading_zeros(mend: Mend) -> None:
    text = "unique_id,ds,y\n" + "\n".join(f"007,2024-01-{d:02d},{d}" for d in range(1, 20))
    assert mend(text).clean.ids.tolist() == ["007"]


def test_parquet_arrow_and_folders(tidy: pd.DataFrame, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(tidy, preserve_index=False)
    pq.write_table(table, tmp_path / "one.parquet")
    same(ingest(DataConfig(source=str(tmp_path / "one.parquet"))), tidy)
    with pa.ipc.new_file(str(tmp_path / "one.arrow"), table.schema) as writer:
        writer.write_table(table)
    same(ingest(DataConfig(source=str(tmp_path / "one.arrow"))), tidy)
    pq.write_to_dataset(table, tmp_path / "parts", partition_cols=["unique_id"])
    same(ingest(DataConfig(source=str(tmp_path / "parts"))), tidy)
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for name, part in tidy.groupby("unique_id"):
        part.to_csv(folder / f"{name}.csv", index=False)
    same(ingest(DataConfig(source=str(folder))), tidy)
    same(ingest(DataConfig(source=str(folder / "*.csv"))), tidy)


def test_frames_and_tables_in_memory(tidy: pd.DataFrame) -> None:
    same(ingest(DataConfig(), source=tidy), tidy)
    same(ingest(DataConfig(), source=tidy.set_index(["unique_id", "ds"])), tidy)
    same(ingest(DataConfig(), source=pa.Table.from_pandas(tidy)), tidy)


def test_an_object_store_through_its_url(tidy: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    tidy.to_parquet(buffer, index=False)
    with fsspec.open("memory://bucket/sales.parquet", "wb") as file:
        file.write(buffer.getvalue())
    same(ingest(DataConfig(source="memory://bucket/sales.parquet")), tidy)
    with fsspec.open("memory://bucket/sales.csv.gz", "wb") as file:
        file.write(gzip.compress(tidy.to_csv(index=False).encode()))
    same(ingest(DataConfig(source="memory://bucket/sales.csv.gz")), tidy)


def test_sqlite_by_table_and_by_query(tidy: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        written = tidy.rename(columns={"unique_id": "shop", "ds": "day", "y": "sold"})
        written.to_sql("sales", connection, index=False)
    url = f"sqlite:///{path}"
    same(ingest(DataConfig(source=url, table="sales", id=("shop",), ds=("day",), y="sold")), tidy)
    query = "select shop as unique_id, day as ds, sold as y from sales"
    same(ingest(DataConfig(source=url, query=query)), tidy)
    for wrong in ({"table": "nothing"}, {"query": "select nonsense from sales"}, {}):
        with pytest.raises(DataError, match=r"shop.db"):
            ingest(DataConfig(source=url, **wrong))


def test_a_database_that_is_not_there_says_so_without_its_password() -> None:
    url = "postgresql://user:secret@127.0.0.1:1/none"
    with pytest.raises(DataError) as raised:
        ingest(DataConfig(source=url, table="sales", id=("a",), ds=("b",), y="c"))
    assert "secret" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


def test_wide_and_one_row_per_series_layouts(tidy: pd.DataFrame, mend: Mend) -> None:
    wide = tidy.pivot(index="ds", columns="unique_id", values="y").reset_index()
    same(mend(wide, layout="wide"), tidy)
    turned = tidy.pivot(index="unique_id", columns="ds", values="y")
    turned.columns = [d.strftime("%d.%m.%Y") for d in turned.columns]
    same(mend(turned.reset_index().to_csv(index=False)), tidy)


def test_a_wide_table_shares_its_covariates(tidy: pd.DataFrame, mend: Mend) -> None:
    wide = tidy.pivot(index="ds", columns="unique_id", values="y").reset_index()
    wide["promo"] = np.arange(len(wide)) % 2
    result = mend(wide, layout="wide", covariates=[{"name": "promo", "role": "future"}])
    same_rows = result.frame.drop(columns="promo")
    assert len(same_rows) == len(tidy)
    assert result.frame.groupby("unique_id")["promo"].sum().tolist() == [20.0] * 3


def test_several_id_columns_and_static_covariates(mend: Mend, tmp_path: Path) -> None:
    rows = [
        (store, item, f"2024-01-{d:02d}", d, "north" if store == 1 else "south")
        for store in (1, 2) for item in ("a", "b") for d in range(1, 15)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["store", "item", "date", "y", "region"])
    (tmp_path / "attributes.csv").write_text(
        "unique_id,size\n1-a,10\n1-b,20\n2-a,30\n", encoding="utf-8"
    )
    result = mend(
        frame, id=["store", "item"], ds="date", y="y",
        ids={"separator": "-"}, covariates=[{"name": "region", "role": "static"}],
        static={"source": str(tmp_path / "attributes.csv")},
    )  # fmt: skip
    static = result.static
    assert static is not None
    assert static["unique_id"].tolist() == ["1-a", "1-b", "2-a", "2-b"]
    assert static["region"].tolist() == ["north", "north", "south", "south"]
    assert static["size"].fillna(-1).tolist() == [10, 20, 30, -1]
    codes = [f["code"] for f in result.report.to_dict()["findings"]]
    assert codes == ["no_static"]
    assert len(result.panel().schema.static) == 2


def test_a_static_covariate_may_be_declared_and_stand_in_the_static_table(tmp_path: Path) -> None:
    stamps = pd.date_range("2026-01-01", periods=5)
    sales = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": 1.0 + np.arange(5)}) for name in "ab"
    )
    sales.to_parquet(tmp_path / "sales.parquet", index=False)
    shops = pd.DataFrame({"unique_id": ["b", "a"], "region": [2, 1], "size": [20.0, 10.0]})
    shops.to_parquet(tmp_path / "shops.parquet", index=False)
    config = DataConfig.parse(
        {
            "source": str(tmp_path / "sales.parquet"),
            "static": {"source": str(tmp_path / "shops.parquet")},
            "covariates": [{"name": "region", "role": "static", "type": "categorical"}],
        }
    )
    found = ingest(config).static
    assert found is not None
    assert list(found["region"]) == ["1", "2"]
    assert list(found["size"]) == [10.0, 20.0]
    missing = config.replace(covariates=({"name": "colour", "role": "static"},))
    with pytest.raises(DataError, match="colour"):
        ingest(missing)


@pytest.mark.parametrize(
    ("declared", "ds", "y"),
    [("ds date, y real", 1_704_067_200, 1.5), ("ds text, y numeric", "2024-01-01", "1'000.5"),
     ("ds timestamp, y real", "01/02/2024", 1.5), ("ds numeric, y real", "2024-01-01", 1.5),
     ("ds date, y real", "2024-01-01 00:00:00", 1.5)],
)  # fmt: skip
def test_values_of_another_type_than_declared_are_told_with_the_cure(
    declared: str, ds: object, y: object, tmp_path: Path
) -> None:
    """SQLite keeps any value in any column, which SQLAlchemy's types do not read."""
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute(f"create table t (unique_id text, {declared})")
        base.executemany("insert into t values ('a', ?, ?)", [(ds, y)] * 3)
    config = {"source": f"sqlite:///{tmp_path / 't.db'}", "table": "t"}
    with pytest.raises(DataError, match=r"not of the type that its column declares.*SELECT CAST"):
        ingest(DataConfig.parse(config))


@pytest.mark.parametrize("truth", [True, np.True_])
def test_true_beside_one_is_another_id(truth: object) -> None:
    ids = pd.Series([truth] * 10 + [1] * 10, dtype=object)
    frame = pd.DataFrame(
        {"unique_id": ids, "ds": pd.date_range("2024-01-01", periods=20), "y": range(20)}
    )
    assert list(ingest(DataConfig(), source=frame).panel().ids) == ["True", "1"]
