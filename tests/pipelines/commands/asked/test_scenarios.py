"""`gatecast scenarios`: from a saved forecaster and tables to what a change makes of forecasts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting import Predictor
from forecasting.errors import GatecastError
from forecasting.paths.planned import Planned
from pipelines import cli
from pipelines.cli import build
from tests.forecasting.paths.test_planned import future, table
from tests.forecasting.samples import MIXES, settings, untrained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle, its table, what is planned, and another plan."""
    untrained(settings(), MIXES["future"]).save(tmp_path / "bundle")
    table().to_csv(tmp_path / "sales.csv", index=False)
    future().to_csv(tmp_path / "plan.csv", index=False)
    future(1.0, "b").to_csv(tmp_path / "other.csv", index=False)
    return tmp_path


def test_scenarios_are_compared_written_and_drawn(folder: Path) -> None:
    out, picture = folder / "seen" / "told.csv", folder / "seen" / "what-if.png"
    line = ["--data", str(folder / "sales.csv"), "--future", str(folder / "plan.csv")]
    line += ["--scenario", "sale: promo=2, holiday=y", "--scenario", f"b: {folder / 'other.csv'}"]
    line += ["--out", str(out), "--picture", str(picture)]
    result = CliRunner().invoke(build(), ["scenarios", str(folder / "bundle"), *line])
    assert result.exit_code == 0, result.exception
    assert "what changes beside base" in result.stdout
    told = pd.read_csv(out, parse_dates=["ds"])
    plan = Planned.by(
        Predictor.load(folder / "bundle"),
        table(),
        {"sale": {"promo": 2.0, "holiday": "y"}, "b": future(1.0, "b")},
        future=future(),
    )
    columns = ["mean", "q0.1", "q0.5", "q0.9"]
    np.testing.assert_allclose(told[columns], plan.table[columns], rtol=1e-6)
    changes = told[told["scenario"] != "base"]
    for column in ["mean", "median", "q0.1", "q0.5", "q0.9"]:
        np.testing.assert_allclose(changes[f"change_{column}"], plan.differences[column], atol=1e-6)
    assert told.loc[told["scenario"] == "base", "change_mean"].isna().all()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_came_of_it_is_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["scenarios", str(folder / "bundle"), "--data", str(folder / "sales.csv")]
    line += ["--scenario", "low: promo=0, holiday=x", "--scenario", "high: promo=1, holiday=x"]
    monkeypatch.setattr("sys.argv", ["gatecast", *line, "--base", "low", "--json", "--quiet"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    (answer,) = (json.loads(text) for text in capfd.readouterr().out.splitlines())
    assert answer["base"] == "low"
    assert [(one["scenario"], one["unique_id"]) for one in answer["totals"]] == [
        ("high", "a"),
        ("high", "b"),
    ]


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("sale", "must be a name and what is so in it"),
        (": promo=1", "must be a name"),
        ("sale: promo", "'promo' must be COLUMN=VALUE"),
        ("sale: promo=much", "promo = 'much' is no number"),
        ("sale: price=1", "'price' is no covariate of the model"),
        ("sale: nowhere.csv", "no such table"),
    ],
)
def test_a_wrong_scenario_is_one_line(folder: Path, scenario: str, said: str) -> None:
    def run(*more: str) -> str:
        line = ["--data", str(folder / "sales.csv"), "--future", str(folder / "plan.csv"), *more]
        result = CliRunner().invoke(build(), ["scenarios", str(folder / "bundle"), *line])
        assert isinstance(result.exception, GatecastError), result.exception
        return str(result.exception)

    assert said in run("--scenario", scenario)
    same = ["--scenario", "sale: promo=1"]
    assert "stands twice" in run(*same, *same)
    assert "none of the scenarios" in run(*same, "--base", "other")
    assert ".png" in run(*same, "--picture", "a.pdf")
