"""Paths, totals and hierarchies of a batch forecast are the library's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.errors import ConfigError
from forecasting.paths.drawn import Drawn
from forecasting.paths.sampling import Draws
from forecasting.prediction.predictor import Predictor
from pipelines.cli import build
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.forecasts.joint import read_levels, read_total
from tests.pipelines.small import crown, small_bundle

Make = Callable[..., ExperimentConfig]
HORIZON = 6


@pytest.fixture(scope="module")
def made(
    state: Path, experiment: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExperimentConfig, Predictor, Path, pd.DataFrame]:
    """A champion of series in two regions, and its config as a file."""
    folder = tmp_path_factory.mktemp("joint")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(6)], 60),
            "ds": np.tile(pd.date_range("2019-01-01", periods=60, freq="MS"), 6),
            "y": rng.uniform(50, 150, 360),
            "region": np.repeat(list("nnsssn"), 60),
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    covariates = [{"name": "region", "role": "static"}]
    data = {"source": str(folder / "table.csv"), "covariates": covariates}
    config = experiment("joint", data=data)
    bundle = small_bundle(config, prepare(config).panel, folder / "bundle")
    crown(config, bundle)
    (folder / "joint.yaml").write_text(config.to_yaml())
    return config, Predictor.load(bundle), folder, frame


def run(folder: Path, *options: str) -> Any:
    arguments = ["forecast", str(folder / "joint.yaml"), "--out", str(folder / "f.csv"), *options]
    return CliRunner().invoke(build(), [*arguments, "--joint-out", str(folder / "out")])


def test_tables_of_the_command_are_the_librarys(made: Any) -> None:
    _, predictor, folder, frame = made
    options = ["--paths", "20", "--seed", "3", "--aggregate", "steps=3,blocks", "--aggregate"]
    done = run(folder, *options, "steps=6,by=region", "--hierarchy", "total,region")
    assert done.exit_code == 0, done.output
    static = frame[["unique_id", "region"]].drop_duplicates()
    drawn = Drawn.by(predictor, frame[["unique_id", "ds", "y"]], Draws(20, 3), static=static)
    paths = pd.read_parquet(folder / "out" / "paths.parquet")
    np.testing.assert_allclose(paths.y, drawn.table.y, rtol=1e-5)
    totals = pd.read_parquet(folder / "out" / "totals.parquet")
    for number, wanted in ((1, {"steps": 3, "blocks": True}), (2, {"steps": 6, "by": "region"})):
        found = totals[totals.total == number].drop(columns="total").reset_index(drop=True)
        other = drawn.totals(**wanted)
        pd.testing.assert_frame_equal(found, other, check_dtype=False, rtol=1e-5)
    hierarchy = pd.read_parquet(folder / "out" / "hierarchy.parquet")
    wanted = drawn.coherent([[], "region"])
    pd.testing.assert_frame_equal(hierarchy, wanted, check_dtype=False, rtol=1e-5)


def test_a_config_may_ask_the_same(made: Any, tmp_path: Path) -> None:
    _, _, folder, _ = made
    out = tmp_path / "from-config"
    joint = f"forecast.joint={{aggregate: [{{by: [region]}}], output: {out}}}"
    arguments = ["forecast", str(folder / "joint.yaml"), "--out", str(tmp_path / "f.csv")]
    done = CliRunner().invoke(build(), [*arguments, "--set", joint, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["made"] == [str(tmp_path / "f.csv"), str(out / "totals.parquet")]
    assert [p.name for p in out.iterdir()] == ["totals.parquet"]
    found = pd.read_parquet(out / "totals.parquet")
    assert found.unique_id.unique().tolist() == ["n", "s"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--aggregate", "by=moon"], "forecast.joint.aggregate.0.by.0: 'moon' is no static column"),
        (["--aggregate", "steps=99"], "99 is outside 1..6, the horizon"),
        (["--aggregate", "weeks=2"], "'weeks=2' is none of steps=NUMBER"),
        (["--hierarchy", "total,moon"], "forecast.joint.levels.1.0: 'moon'"),
        (["--hierarchy", "total", "--how", "best"], "how"),
        (["--paths", "1"], "paths"),
        (["--seed", "4"], "add --paths, --aggregate or --hierarchy"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_written(
    made: Any, options: list[str], told: str
) -> None:
    folder = made[2]
    (folder / "f.csv").unlink(missing_ok=True)
    done = run(folder, *options)
    assert done.exit_code != 0
    assert told in str(done.exception) or told in done.output
    assert not (folder / "f.csv").exists()


def test_what_is_written_on_the_command_line_is_read() -> None:
    assert read_total("steps=7, blocks") == {"steps": 7, "blocks": True}
    assert read_total("by=a+b,steps=2") == {"by": ["a", "b"], "steps": 2}
    assert read_total("by=") == {"by": []}
    assert read_levels("total,state, state/region") == [[], ["state"], ["state", "region"]]
    with pytest.raises(ConfigError, match="is none of"):
        read_total("steps=x")
