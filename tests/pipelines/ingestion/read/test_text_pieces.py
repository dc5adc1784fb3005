"""A clean text is read piece by piece; what is not clean gives what it gives as a whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.ingestion import DataConfig, IngestResult, ingest
from pipelines.ingestion.read import cells
from pipelines.ingestion.ways import fast


def text(series: int = 40, rows: int = 30) -> str:
    days = pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d")
    lines = [f"s{i:03},{day},{i + k / 4}" for i in range(series) for k, day in enumerate(days)]
    return "unique_id,ds,y\n" + "\n".join(lines)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cells, "PIECE", 1000)
    return tmp_path / "t.csv"


def whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> IngestResult:
    with monkeypatch.context() as patch:
        patch.setattr(fast, "open_text", lambda *_: None)
        return ingest(DataConfig(source=str(path)))


def in_one_pass(result: IngestResult) -> bool:
    return "checked" in result.report.to_dict()["facts"]


SPOILED = {
    "nothing": lambda t: t,
    "CRLF": lambda t: t.replace("\n", "\r\n"),
    "a byte-order mark": lambda t: "\ufeff" + t,
    "blank lines at the end": lambda t: t + "\n\n\n\n",
    "blank lines at the end of a piece": lambda t: t + "\n" * 3000,
    "a late word": lambda t: t.replace("s039,2024-01-30,46.25", "s039,2024-01-30,none"),
    "a late cell too many": lambda t: t + "\ns039,2024-01-31,1,2",
    "a late stamp of another form": lambda t: t.replace("s039,2024-01-29", "s039,29.01.2024"),
    "a late gap": lambda t: t.replace("s039,2024-01-15,42.5\n", ""),
    "a late quoted cell": lambda t: t.replace("s039,2024-01-30", '"s039",2024-01-30'),
    "a late longer line": lambda t: t + "\n" + "x" * 990 + ",2024-01-01,1",
    "whole numbers first": lambda t: t.replace(",2024-01-01,0.0\n", ",2024-01-01,0\n"),
    "numbers that begin whole": lambda t: "\n".join(
        line.split(".")[0] if i < 200 else line for i, line in enumerate(t.split("\n"))
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_pieces_give_what_the_whole_gives(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(SPOILED[name](text()).encode())
    found, wanted = ingest(DataConfig(source=str(path))), whole(path, monkeypatch)
    pd.testing.assert_frame_equal(found.frame, wanted.frame)
    assert found.freq == wanted.freq
    assert found.report.summary == wanted.report.summary
    rows = found.report.to_dict()["rows"]
    assert rows["balanced"]
    assert rows["lines_left_out"] == wanted.report.to_dict()["rows"]["lines_left_out"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_clean_text_is_checked_in_one_pass(path: Path, packed: bool) -> None:
    data = text().encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    result = ingest(DataConfig(source=str(path)))
    assert in_one_pass(result)
    assert result.report.to_dict()["facts"]["kind"] == "text table"
    np.testing.assert_array_equal(result.panel().lengths, np.full(40, 30))


def test_a_line_longer_than_a_piece_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"column{i}" for i in range(400)]
    rows = [f"a,2024-01-{i + 1:02},{i}" + ",1" * 400 for i in range(20)]
    path.write_text("unique_id,ds,y," + ",".join(names) + "\n" + "\n".join(rows))
    result = ingest(DataConfig(source=str(path), id=("unique_id",), ds=("ds",), y="y"))
    np.testing.assert_array_equal(result.frame["y"], np.arange(20))
