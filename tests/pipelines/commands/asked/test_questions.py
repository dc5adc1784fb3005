"""`gatecast anomalies`: from a saved forecaster and a table to what is odd in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting import Predictor
from forecasting.errors import GatecastError
from pipelines.cli import build
from tests.forecasting.samples import settings, untrained


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return untrained(settings()).save(tmp_path / "bundle")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = 100.0 + rng.normal(size=90)
    y[80] += 400.0
    stamps = pd.date_range("2020-01-01", periods=90, freq="D")
    path = tmp_path / "sales.csv"
    pd.DataFrame({"unique_id": "shop", "ds": stamps, "y": y}).to_csv(path, index=False)
    return path


def test_a_table_is_judged_written_and_drawn(bundle: Path, table: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "judged.csv", tmp_path / "seen" / "odd.png"
    written = ["--out", str(out), "--picture", str(picture)]
    options = ["--data", str(table), "--rate", "0.02", *written]
    result = CliRunner().invoke(build(), ["anomalies", str(bundle), *options])
    assert result.exit_code == 0, result.exception
    assert "points are anomalies" in result.stdout
    assert "high; expected" in result.stdout
    judged = pd.read_csv(out)
    given = pd.read_csv(table, parse_dates=["ds"])
    told = Predictor.load(bundle).anomalies(given, rate=0.02)
    np.testing.assert_allclose(judged["p"], told["p"], rtol=1e-9)
    assert judged.loc[80, "kind"] == "high"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_wrong_options_are_one_line(bundle: Path, table: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(build(), ["anomalies", str(bundle), *arguments])
        assert isinstance(result.exception, GatecastError), result.exception
        return str(result.exception)

    assert "within (0, 0.5]" in refused("--data", str(table), "--rate", "2")
    assert "last = 0" in refused("--data", str(table), "--last", "0")
    assert ".csv or .parquet" in refused("--data", str(table), "--out", "a.xlsx")
    assert ".png" in refused("--data", str(table), "--picture", "a.pdf")
    assert "no such table" in refused("--data", str(tmp_path / "missing.csv"))


def test_a_forecast_is_explained_written_and_drawn(
    bundle: Path, table: Path, tmp_path: Path
) -> None:
    out, picture = tmp_path / "parts.csv", tmp_path / "seen" / "why.png"
    written = ["--out", str(out), "--picture", str(picture)]
    result = CliRunner().invoke(build(), ["explain", str(bundle), "--data", str(table), *written])
    assert result.exit_code == 0, result.exception
    assert "shop: the parts add up to the median" in result.stdout
    told = pd.read_csv(out)
    given = pd.read_csv(table, parse_dates=["ds"])
    median = Predictor.load(bundle).predict(given, quantiles=[0.5])["q0.5"]
    np.testing.assert_allclose(told["median"], median)
    parts = told.drop(columns=["unique_id", "ds", "median"])
    np.testing.assert_allclose(parts.sum(axis=1), median, rtol=1e-6)
    assert picture.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(
        build(), ["explain", str(bundle), "--data", str(table), "--series", "none"]
    )
    assert "no series 'none' was explained" in str(wrong.exception)


def test_a_folders_table_is_not_guessed_at(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    stamps = pd.date_range("2020-01-01", periods=60, freq="D").strftime("%d/%m/%Y")
    pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(60.0)}).to_csv(path, index=False)
    for command in ("explain", "anomalies"):
        result = CliRunner().invoke(build(), [command, str(bundle), "--data", str(path)])
        assert isinstance(result.exception, GatecastError)
        assert "not in ISO 8601" in str(result.exception)
