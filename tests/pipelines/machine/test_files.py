"""A file is there whole or as it was before, readable by those who may."""

from __future__ import annotations

import stat
from pathlib import Path

import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.machine.files import write_table, write_text


@pytest.mark.parametrize(("private", "mode"), [(False, 0o644), (True, 0o600)])
def test_a_text_is_written_for_those_who_may_read_it(
    private: bool, mode: int, tmp_path: Path
) -> None:
    path = write_text("ä\n", tmp_path / "new" / "x.yaml", private=private)
    assert path.read_bytes() == "ä\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [one.name for one in path.parent.iterdir()] == ["x.yaml"]


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet")
    before = path.read_bytes()
    with pytest.raises(Exception, match="x"):
        write_table(pd.DataFrame({"a": [1, "x"]}), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["x.parquet"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_text("x", tmp_path / "file" / "x.yaml")
