"""`gatecast ingest`: all files or none, one clear line and exit code 2 for what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import cli
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.result.output import tables, write_result

CONFIGS = Path(__file__).parents[1] / "messy"


def gatecast(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(cli, "command_modules", lambda: ["ingest", "doctor"])
    monkeypatch.setattr(sys, "argv", ["gatecast", "ingest", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    return int(raised.value.code or 0)


def test_a_table_becomes_a_folder_that_reads_back(
    tidy: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source, out = tmp_path / "t.csv", tmp_path / "clean"
    tidy.drop(index=5).to_csv(source, index=False)
    assert gatecast(monkeypatch, str(source), "--out", str(out)) == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == ["panel.parquet", "repairs.parquet", "report.html", "report.json"]
    shown = capsys.readouterr()
    assert "1 absent rows inserted" in shown.err
    assert str(out / "panel.parquet") in shown.out
    back = ingest(DataConfig(source=str(out / "panel.parquet")), strict=True)
    assert len(back.frame) == 120
    report = json.loads((out / "report.json").read_text())
    assert report["rows"] == {
        "in": 119, "removed": {}, "inserted": {"gap": 1}, "out": 120, "balanced": True,
        "lines_left_out": {},
    }  # fmt: skip
    assert len(pd.read_parquet(out / "repairs.parquet")) == 1
    assert "<svg" in (out / "report.html").read_text()


def test_a_refusal_leaves_nothing_and_keeps_what_was_there(
    tidy: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source, out = tmp_path / "t.csv", tmp_path / "clean"
    tidy.drop(index=5).to_csv(source, index=False)
    assert gatecast(monkeypatch, str(source), "--out", str(out), "--strict") == 2
    assert not out.exists()
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "1 gap" in line
    assert "2024-01-06" in line
    assert gatecast(monkeypatch, str(source), "--out", str(out)) == 0
    before = (out / "panel.parquet").read_bytes()
    assert gatecast(monkeypatch, str(source), "--out", str(out), "--strict") == 2
    assert (out / "panel.parquet").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_earlier_result_is_replaced_as_a_whole(tidy: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    config = DataConfig.parse({"covariates": [{"name": "kind", "role": "static"}]})
    write_result(ingest(config, source=tidy.assign(kind="a")), out)
    (out / "notes.txt").write_text("mine")
    assert (out / "static.parquet").exists()
    write_result(ingest(DataConfig(), source=tidy), out)
    names = sorted(p.name for p in out.iterdir())
    assert names == ["notes.txt", "panel.parquet", "report.html", "report.json"]


def test_a_config_of_its_own_or_a_whole_experiment(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(shared_data / "messy" / "03_load_decimal_comma.csv")
    config = str(CONFIGS / "03_load_decimal_comma.yaml")
    assert gatecast(monkeypatch, source, "-c", config, "-o", str(tmp_path / "a")) == 0
    whole = tmp_path / "whole.yaml"
    text = (CONFIGS / "03_load_decimal_comma.yaml").read_text()
    whole.write_text(f"name: load\nhorizon: 48\n{text}  source: {source}\n")
    assert gatecast(monkeypatch, "-c", str(whole), "-o", str(tmp_path / "b")) == 0
    a, b = (pd.read_parquet(tmp_path / n / "panel.parquet") for n in "ab")
    pd.testing.assert_frame_equal(a, b)


def test_settings_on_the_command_line(
    tidy: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "t.csv"
    tidy.rename(columns={"y": "sold"}).assign(other=1).to_csv(source, index=False)
    sets = ["--set", "data.id=unique_id", "--set", "data.ds=ds", "--set", "data.y=sold"]
    assert gatecast(monkeypatch, str(source), *sets, "--freq", "D") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.csv"], "missing.csv does not exist"),
        ([], "data.source"),
        (["t.csv", "--set", "data.nonsense=1"], "nonsense"),
        (["t.csv", "--set", "data.stamps.zone=Mars/Olympus"], "Mars/Olympus"),
        (["t.csv", "--freq", "fortnight"], "fortnight"),
        (["t.csv", "--config", "no.yaml"], "no.yaml"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(
    arguments: list[str], said: str, tidy: pd.DataFrame, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tidy.to_csv("t.csv", index=False)
    assert gatecast(monkeypatch, *arguments) == 2
    line = capsys.readouterr().err.strip()
    assert said in line
    assert "\n" not in line


def test_a_proposal_is_printed_when_names_are_missing(
    tidy: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tidy.assign(price=1.5).rename(columns={"y": "sold", "ds": "on"}).to_csv("t.csv", index=False)
    assert gatecast(monkeypatch, "t.csv") == 2
    assert "\ndata:\n  id: [unique_id]\n" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to(
    tidy: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidy.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "file").write_text("in the way")
    assert gatecast(monkeypatch, str(tmp_path / "t.csv"), "-o", str(tmp_path / "file")) == 2
    assert (tmp_path / "file").read_text() == "in the way"
    assert gatecast(monkeypatch, str(tmp_path / "t.csv"), "-o", str(tmp_path / "file/x")) == 2


def test_the_panel_is_written_in_pieces_of_whole_series(tidy: pd.DataFrame) -> None:
    result = ingest(DataConfig(), source=tidy)
    pieces = list(tables(result.clean, rows=50))
    assert [len(p) for p in pieces] == [80, 40]
    again = pd.concat([p.to_pandas() for p in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(again, result.frame, check_dtype=False)


def test_names_of_the_users_data_are_escaped_in_the_page(
    tidy: pd.DataFrame, tmp_path: Path
) -> None:
    hostile = "<script>alert('x')</script>&\""
    spoiled = tidy.replace({"unique_id": {"north": hostile}}).drop(index=4)
    write_result(ingest(DataConfig(), source=spoiled), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_report_holds_plain_json_whatever_the_values(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 30,
            "ds": pd.date_range("2024-01-01", periods=30),
            "y": [np.inf, -np.inf, np.nan, 1e300, -1e300, *np.arange(25.0)],
        }
    )
    write_result(ingest(DataConfig(), source=frame), tmp_path / "out")
    text = (tmp_path / "out" / "report.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
