"""What is no text table is called what it is, whatever its name says, and the cure is named."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest
from pipelines.ingestion.read.encodings import other_content

Mend = Callable[..., IngestResult]


def zipped(names: list[str]) -> bytes:
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w") as archive:
        for name in names:
            archive.writestr(name, "unique_id,ds,y\na,2024-01-01,1\n")
    return room.getvalue()


def arrow_stream(frame: pd.DataFrame) -> bytes:
    room = io.BytesIO()
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(room, table.schema) as writer:
        writer.write_table(table)
    return room.getvalue()


CONTENTS = {
    "JSON": [
        b'[{"ds": "2024-01-01", "y": 1}]',
        b'{"data": [1, 2]}',
        b'\n {\n  "y": 1}',
        b"[[1, 2]]",
        b'\xef\xbb\xbf[{"y": 1}]',
        '{"y": 1}'.encode("utf-16"),
        b'{"y": 1}\n{"y": 2}\n',
        b"[]",
        b"{}",
    ],
    "HTML": [
        b"<!DOCTYPE html><html><body>Sign in, please</body></html>",
        b"<html>\n<table></table></html>",
        b"\n<table><tr><td>1</td></tr></table>",
        b"<!-- a --><HTML><body></body></HTML>",
        "<!doctype html><p>1</p>".encode("utf-16"),
    ],
    "XML": [b'<?xml version="1.0"?><rows><row y="1"/></rows>', b"<rows><row>1</row></rows>"],
    "xlsx": [zipped(["[Content_Types].xml", "xl/workbook.xml"])],
    "zip": [zipped(["table.csv"])],
    "PDF": [b"%PDF-1.7\n..."],
    "xls": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)],
    "SQLite": [b"SQLite format 3\x00" + bytes(100)],
}


@pytest.mark.parametrize(
    ("what", "content"), [(what, c) for what, several in CONTENTS.items() for c in several]
)
@pytest.mark.parametrize("name", ["table.csv", "table.txt", "table", "table.csv.gz"])
def test_content_is_called_what_it_is(what: str, content: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=rf"is .*{what}") as raised:
        ingest(DataConfig(source=str(path)))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("form", ["parquet", "feather", "stream"])
def test_typed_tables_are_read_whatever_their_name(
    form: str, tidy: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    if form == "stream":
        path.write_bytes(arrow_stream(tidy))
    else:
        getattr(tidy, f"to_{form}")(path)
    assert len(ingest(DataConfig(source=str(path))).frame) == len(tidy)
    if form == "parquet":
        with pytest.raises(DataError, match=r"is a Parquet file.*data.format: parquet"):
            ingest(DataConfig(source=str(path), format="csv"))


@pytest.mark.parametrize(
    "first",
    [
        "<DATE>,<ID>,<CLOSE>",
        "[date],[id],[close]",
        "ORC,id,close",
        "PAR1,id,close",
        "#date,id,close",
        "'date','id','close'",
    ],
)
def test_odd_names_of_columns_are_no_other_content(first: str) -> None:
    head = first.encode() + b"\n2024-01-01,a,1\n2024-01-02,a,2\n"
    assert other_content(head) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from([None, 1, 4]),
)
@settings(max_examples=100, deadline=None)
def test_any_json_of_a_list_or_an_object_is_called_json(value: object, indent: int | None) -> None:
    text = json.dumps({"a": value}, indent=indent)
    assert other_content(text.encode()) is not None
    text = json.dumps([value], indent=indent)
    assert other_content(text.encode()) is not None


@pytest.mark.parametrize(
    ("encoding", "city"),
    [("latin-1", "Köln"), ("cp1250", "Łódź"), ("mac-roman", "Zürich"), ("gbk", "北京")],
)
def test_letters_of_a_guessed_encoding_are_shown(encoding: str, city: str, tmp_path: Path) -> None:
    rows = "".join(f"{city},2024-01-{day:02d},{day}\n" for day in range(1, 30))
    path = tmp_path / "t.csv"
    path.write_bytes(f"unique_id,ds,y\n{rows}".encode(encoding))
    told = ingest(DataConfig(source=str(path))).report.notes
    assert any("no UTF-8: read as" in note and "csv.encoding" in note for note in told)
    named = DataConfig.parse({"source": str(path), "csv": {"encoding": encoding}})
    result = ingest(named)
    assert list(result.panel().ids) == [city]
    assert not any("no UTF-8" in note for note in result.report.notes)
