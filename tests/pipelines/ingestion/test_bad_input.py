"""What cannot be used is refused with one clear line that says where and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecasting.errors import ConfigError, DataError, GatecastError
from pipelines.ingestion import DataConfig, IngestResult, ingest

Mend = Callable[..., IngestResult]
HEAD = "unique_id,ds,y\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n  \n", "empty"),
        (b"# nothing\n# at all\n", "empty"),
        (HEAD.encode(), "no rows"),
        (HEAD.encode() + b"\n\n", "no rows"),
        (bytes(range(256)) * 40, "no text table"),
        (b"\x00" * 500, "no text table"),
        (b"\x89PNG\r\n\x1a\n" + os.urandom(2000), ""),
        (b"PK\x03\x04" + os.urandom(2000), "zip archive"),
        (b"PAR1" + os.urandom(2000), "Parquet"),
        (b"ARROW1" + os.urandom(2000), "Arrow"),
        (b"\x1f\x8b" + os.urandom(2000), "damaged"),
        (b"\x28\xb5\x2f\xfd" + os.urandom(2000), "damaged"),
        (b"one\n", "one"),
        (b"just some words here\nand some more of them\n", ""),
        (b'{"a": [1, 2, 3], "b": 4}\n', "JSON"),
        (b"<html><body>404</body></html>\n", "web page"),
    ],
)
def test_no_table_is_refused(content: bytes, said: str, mend: Mend) -> None:
    with pytest.raises(DataError) as raised:
        mend(content)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1500


def test_folders_without_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no table"):
        ingest(DataConfig(source=str(tmp_path)))
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.md"):
        ingest(DataConfig(source=str(tmp_path)))
    with pytest.raises(DataError, match="no file matches"):
        ingest(DataConfig(source=str(tmp_path / "*.csv")))
    with pytest.raises(DataError, match="nowhere"):
        ingest(DataConfig(source="nowhere://bucket/table.csv"))
    with pytest.raises(ConfigError, match=r"data\.source"):
        ingest(DataConfig())


def test_an_id_of_ten_kilobytes(mend: Mend) -> None:
    rows = "".join(f"a,2024-01-{d:02d},1\n" for d in range(1, 20))
    with pytest.raises(DataError, match=r"row 20.*10,240 characters") as raised:
        mend(HEAD + rows + "x" * 10_240 + ",2024-01-20,1\n")
    assert len(str(raised.value)) < 300


def test_a_million_columns(mend: Mend) -> None:
    names = ",".join(f"c{i}" for i in range(1_000_000))
    with pytest.raises(DataError, match=r"1,000,000 columns.*max_columns"):
        mend(names + "\n" + ",".join(["1"] * 1_000_000) + "\n")


def test_a_wide_table_of_many_columns_within_the_limit(mend: Mend) -> None:
    count = 20_000
    rows = [["date", *(f"s{i}" for i in range(count))]]
    rows += [[f"2024-01-{d:02d}", *(["1"] * count)] for d in range(1, 6)]
    result = mend("\n".join(",".join(r) for r in rows), layout="wide")
    assert len(result.clean.ids) == count


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,2024-01-01,one\na,2024-01-02,two\na,2024-01-03,three\n", "y"),
        ("a,monday,1\na,tuesday,2\na,friday,3\n", "ds"),
        (",2024-01-01,1\n,2024-01-02,2\n", "the row names no series"),
        ("a,2024-01-01,1\nb,2024-01-01,2\n", "freq"),
        ("a,1,1\na,2024-01-05,2\na,x,2\na,y,3\n", "row"),
    ],
)
def test_columns_that_hold_something_else(rows: str, said: str, mend: Mend) -> None:
    with pytest.raises(DataError) as raised:
        mend(HEAD + rows, id="unique_id", ds="ds", y="y")
    assert said in str(raised.value)


def test_a_wrong_separator_or_encoding_is_named(tidy: pd.DataFrame, mend: Mend) -> None:
    with pytest.raises(GatecastError, match="missing column"):
        mend(tidy.to_csv(index=False), csv={"separator": ";"}, id="unique_id", ds="ds", y="y")
    with pytest.raises(DataError, match="klingon"):
        mend(tidy.to_csv(index=False), csv={"encoding": "klingon"})
    spoiled = tidy.replace({"unique_id": {"north": "Zürich"}}).to_csv(index=False)
    with pytest.raises(DataError, match="is not utf-8: byte"):
        mend(spoiled.encode("latin-1"), csv={"encoding": "utf-8"})


def test_lines_with_other_numbers_of_cells(tidy: pd.DataFrame, mend: Mend) -> None:
    text = tidy.to_csv(index=False)
    result = mend(text + "north,2024-02-10\nnorth,2024-02-11,1,2\n")
    assert result.report.to_dict()["rows"]["lines_left_out"] == {"malformed line": 2}
    with pytest.raises(DataError, match="malformed line"):
        mend(text + "north,2024-02-10\n", strict=True)
    with pytest.raises(DataError, match="header's 3 cells"):
        mend(text + "north,2024-02-10\n", csv={"malformed": "refuse"})


def test_values_of_a_wrong_type_in_typed_tables(tidy: pd.DataFrame, mend: Mend) -> None:
    with pytest.raises(DataError, match="column y"):
        mend(pa.Table.from_pandas(tidy.assign(y=tidy["ds"])).to_pandas())
    with pytest.raises(DataError, match="ds"):
        mend(tidy.assign(ds=np.arange(120) / 7))
    table = pa.Table.from_pandas(tidy, preserve_index=False)
    nested = table.set_column(2, "y", pa.array([[1.0]] * 120))
    with pytest.raises(DataError, match="column y"):
        ingest(DataConfig(), source=nested)


def test_freq_and_stamps_that_do_not_fit(tidy: pd.DataFrame, mend: Mend) -> None:
    with pytest.raises(DataError, match="D"):
        mend(tidy, freq="MS")
    with pytest.raises(DataError, match="step"):
        mend(tidy, freq="step")
    with pytest.raises(ConfigError, match="fortnight"):
        mend(tidy, freq="fortnight")


def test_random_times_have_no_step(mend: Mend) -> None:
    rng = np.random.default_rng(0)
    ds = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 10**7, 300)), "s")
    with pytest.raises(DataError, match="resample"):
        mend(pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0}))


@pytest.mark.parametrize(
    "settings",
    [
        {"csv": {"drop_lines": "("}}, {"ids": {"drop": "("}}, {"ids": {"template": "{nothing}"}},
        {"stamps": {"formats": ["%Q"]}},
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_used(
    settings: dict[str, object], tidy: pd.DataFrame, mend: Mend
) -> None:
    with pytest.raises(GatecastError):
        mend(tidy.to_csv(index=False), **settings)
