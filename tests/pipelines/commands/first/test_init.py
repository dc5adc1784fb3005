"""``gatecast init``: what it writes, what it says, and what it leaves alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from forecasting.errors import ConfigError
from pipelines.cli import build

STAMPS = pd.date_range("2024-01-01", periods=140)
HOLE = range(60, 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [f"{stamp:%Y-%m-%d},{k % 7}.5" for k, stamp in enumerate(STAMPS) if k not in HOLE]
    (tmp_path / "load.csv").write_text("\n".join(["day,load", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Any:
    result = CliRunner().invoke(build(), ["init", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_draws_says_and_writes_and_names_what_comes_next(folder: Path) -> None:
    result = init("load.csv")
    assert "136 rows in, 140 out, 1 series, freq D" in result.stdout
    assert "  4 of 140 values are missing; none is filled in\n" in result.stdout
    assert "▁" in result.stdout
    assert result.stderr.splitlines()[-3:] == [
        "made: load.yaml",
        "made: load.png",
        "next: gatecast train load.yaml",
    ]
    assert yaml.safe_load((folder / "load.yaml").read_text())["data"]["source"] == "load.csv"
    assert (folder / "load.png").read_bytes().startswith(b"\x89PNG")


def test_rows_with_what_is_known_ahead_are_no_lost_end(folder: Path) -> None:
    rows = [f"{stamp:%Y-%m-%d},{k % 7}.5,{k % 2}" for k, stamp in enumerate(STAMPS)]
    ahead = [f"{stamp:%Y-%m-%d},,1" for stamp in pd.date_range(STAMPS[-1], periods=8)[1:]]
    (folder / "plan.csv").write_text("\n".join(["day,load,promo", *rows, *ahead]) + "\n")
    said = init("plan.csv").stdout
    assert "column promo: future" in said
    assert "missing" not in said
    assert "after its last value" not in said


def test_a_program_gets_what_was_seen(folder: Path) -> None:
    answer = json.loads(init("load.csv", "--json", "-q").stdout)
    assert answer["series"] == 1
    assert answer["frequency"] == "D"
    assert answer["gaps"] == 4
    assert answer["season"]["stamps"][0] == 7
    assert answer["config"]["horizon"] == 14
    assert answer["made"] == ["load.yaml", "load.png"]
    assert answer["next"] == ["gatecast train load.yaml"]


@pytest.mark.parametrize("there", ["load.yaml", "load.png"])
def test_what_is_there_is_not_written_over(there: str, folder: Path) -> None:
    (folder / there).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{there} is there already; --force"):
        init("load.csv")
    assert (folder / there).read_text() == "mine"
    init("load.csv", "--force")
    assert (folder / there).read_bytes() != b"mine"


def test_what_the_user_says_stands_in_the_config(folder: Path) -> None:
    init("load.csv", "--out", "other.yaml", "--set", "data.values.minimum=0", "--set",
         "training.members=1", "--horizon", "12")  # fmt: skip
    values = yaml.safe_load((folder / "other.yaml").read_text())
    assert values["data"]["values"] == {"minimum": 0}
    assert values["training"] == {"members": 1}
    assert values["horizon"] == 12


def test_a_config_is_no_table(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a config already: gatecast train x\.yaml"):
        init("x.yaml")


def test_nothing_is_written_where_the_table_is_refused(folder: Path) -> None:
    (folder / "bad.csv").write_text("unique_id,ds,y\na,2020-01-01,many\n")
    with pytest.raises(Exception, match="many"):
        init("bad.csv")
    assert not [path for path in folder.iterdir() if path.name.startswith("bad.y")]


def test_a_config_with_a_password_is_its_owners(folder: Path) -> None:
    import sqlite3

    with sqlite3.connect(folder / "sales.db") as base:
        pd.DataFrame({"unique_id": "a", "ds": range(40), "y": range(40)}).to_sql(
            "sales", base, index=False
        )
    init("sqlite:///sales.db?password=hunter2", "--set", "data.table=sales", "--out", "s.yaml")
    assert "hunter2" in (folder / "s.yaml").read_text()
    assert stat.S_IMODE((folder / "s.yaml").stat().st_mode) == 0o600
