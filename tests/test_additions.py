"""What docs/architecture.md says of adding a source or a command is so: a dummy added that way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from forecasting.errors import GatecastError
from pipelines import cli, commands
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.read.sources import OPENERS

COMMAND = '''
import typer

def register(app: typer.Typer) -> None:
    app.command("greet")(greet)

def greet(name: str) -> None:
    """Greet. Example: `gatecast greet Ann`"""
    print(f"good day, {name}")
'''


def table() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=40, freq="D")
    return pd.DataFrame({"unique_id": "a", "ds": days, "y": range(40)})


@pytest.fixture
def almanac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of its own, as an entry of OPENERS."""

    def read_almanac(source: str, config: DataConfig) -> tuple[pa.Table, dict[str, Any]]:
        assert source == "almanac://tides/2024"
        return pa.Table.from_pandas(table(), preserve_index=False), {"kind": "almanac"}

    monkeypatch.setitem(OPENERS, "almanac", read_almanac)


@pytest.mark.usefixtures("almanac")
def test_a_new_source_is_an_entry() -> None:
    result = ingest(DataConfig(source="almanac://tides/2024"))
    expected = ingest(DataConfig(), source=table())
    pd.testing.assert_frame_equal(result.frame, expected.frame)
    assert result.report.to_dict()["facts"]["kind"] == "almanac"


@pytest.mark.usefixtures("almanac")
def test_a_new_source_goes_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["ingest", "almanac://tides/2024", "--out", "clean"]
    assert not cli.build()(arguments, standalone_mode=False)
    (file,) = (tmp_path / "clean").glob("*.parquet")
    assert pd.read_parquet(file)["y"].tolist() == list(range(40))


def test_a_scheme_nobody_reads_is_refused() -> None:
    with pytest.raises(GatecastError, match="almanac"):
        ingest(DataConfig(source="almanac://tides/2024"))


def test_a_new_command_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greet.py").write_text(COMMAND)
    before = cli.command_modules()
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert cli.command_modules() == [*before, "greet"]
    cli.build()(["greet", "Ann"], standalone_mode=False)
    assert capsys.readouterr().out == "good day, Ann\n"


def test_the_help_lists_commands_in_the_order_that_is_written_down() -> None:
    assert cli.command_modules() == list(cli.FIRST)
