"""`gatecast forecast TABLE --model zero`: a table in, forecasts out, nothing trained or kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.zero.predictor import LONGEST_HORIZON, Zero
from pipelines.cli import build
from pipelines.forecasts import forecast as score


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Seven series, in the file sales.csv of an empty place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / "home"))
    draw = np.random.default_rng(0)
    ds = pd.date_range("2019-01-01", periods=48, freq="MS")
    wave = 100 + 20 * np.sin(2 * np.pi * np.arange(48) / 12)
    parts = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": wave + draw.standard_normal(48)})
        for i in range(7)
    ]
    made = pd.concat(parts, ignore_index=True)
    made.to_csv("sales.csv", index=False)
    return made


def asked(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), ["forecast", "sales.csv", "--model", "zero", *words])
    return result.exit_code, " ".join((result.output + str(result.exception)).split())


def test_a_table_is_forecast_as_the_library_does(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several pieces: which season is read is chosen for the whole table.
    monkeypatch.setattr(score, "CHUNK", 3)
    code, said = asked("--horizon", "5", "--out", "out.parquet")
    assert code == 0, said
    found = pd.read_parquet("out.parquet").sort_values(["unique_id", "step"])
    expected = Zero.load().predict(table, 5)
    assert list(found["unique_id"]) == list(expected["unique_id"])
    assert list(pd.to_datetime(found["ds"])) == list(expected["ds"])
    for name in ("mean", "q0.1", "q0.9"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    assert set(found["model"]) == {"zero"}
    assert not list((tmp_path / "home").glob("**/mlflow.db"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say how far to forecast, as in --horizon 12"),
        (["--horizon", str(LONGEST_HORIZON + 1)], f"is beyond {LONGEST_HORIZON}"),
        (["--horizon", "3", "--paths", "10"], "zero forecasts each series by itself"),
        (["--horizon", "3", "--as-of", "2020-01-01"], "--as-of needs a model that was trained"),
        (["--horizon", "3", "--future", "f.csv"], "--future needs a model that was trained"),
    ],
)
def test_what_it_cannot_do_is_said(table: pd.DataFrame, words: list[str], said: str) -> None:
    code, found = asked(*words)
    assert code != 0
    assert said in found


def test_a_horizon_is_not_passed_over_for_a_trained_model(table: pd.DataFrame) -> None:
    result = CliRunner().invoke(build(), ["forecast", "demand", "--horizon", "3"])
    assert result.exit_code != 0
    assert "--horizon goes with --model zero" in str(result.exception)
