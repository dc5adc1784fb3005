"""A run repeated is the same to the last bit, or what differs is named; no secret is kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from forecasting.errors import ConfigError, GatecastError
from forecasting.masking import HIDDEN
from pipelines.config import ExperimentConfig, build_config
from pipelines.machine.state import home
from pipelines.tracking.tracker import open_tracker
from pipelines.training.reproduce import reproduce
from pipelines.training.session import Outcome
from pipelines.training.train import train

Make = Callable[..., ExperimentConfig]


@pytest.fixture(scope="module")
def config(
    experiment: Make, state: Path, monthly: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> ExperimentConfig:
    """A quick experiment on a table of the module's own, which its tests may change."""
    path = tmp_path_factory.mktemp("reproduce") / "few.parquet"
    monthly.to_parquet(path, index=False)
    values = experiment("again").model_dump(mode="json", exclude_unset=True)
    values |= {"data": {"source": str(path)}, "candidates": {"gru": {"model": {"cell": "gru"}}}}
    values["training"]["max_steps"] = 8
    return build_config(values)


@pytest.fixture(scope="module")
def done(config: ExperimentConfig) -> Outcome:
    return train(config)


def test_the_same_data_and_settings_give_the_same_weights(done: Outcome) -> None:
    found = reproduce(done.run_id)
    assert found.same, found.verdict
    assert [f.what for f in found.findings] == [
        "config",
        "data",
        "code",
        "versions",
        "hardware",
        "weights as judged",
        "weights as served",
    ]
    assert "the same weights, bit for bit" in found.verdict
    assert not list((home() / "stages").glob("*.reproduce"))


def test_other_data_are_named_and_not_trained_on(done: Outcome, config: ExperimentConfig) -> None:
    assert config.data.source is not None
    path = Path(config.data.source)
    kept = path.read_bytes()
    frame = pd.read_parquet(path)
    first = frame["unique_id"].iloc[0]
    try:
        frame[frame["unique_id"] != first].to_parquet(path, index=False)
        fewer = reproduce(done.run_id)
        frame.loc[0, "y"] += 1.0
        frame.to_parquet(path, index=False)
        other = reproduce(done.run_id)
    finally:
        path.write_bytes(kept)
    assert not fewer.same
    assert not fewer.trained
    assert "data: series: then 24, now 23" in fewer.verdict
    assert not other.same
    assert next(f.what for f in other.findings if not f.same) == "data"


def test_another_config_is_named(done: Outcome, config: ExperimentConfig) -> None:
    values = config.model_dump(mode="json", exclude_unset=True)
    values["training"]["seed"] = 7
    found = reproduce(done.run_id, config=build_config(values))
    assert not found.same
    differing = [f for f in found.findings if not f.same]
    assert [f.what for f in differing] == ["config", "config: training.seed"]
    assert (differing[1].then, differing[1].now) == ("0", "7")
    assert "config: training.seed: then 0, now 7" in found.verdict


def test_settings_that_a_run_did_not_know_are_named(
    done: Outcome, config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ExperimentConfig.deciding

    def newer(self: ExperimentConfig) -> dict[str, Any]:
        values = kept(self)
        return {**values, "training": {**values["training"], "brand_new": 1}}

    monkeypatch.setattr(ExperimentConfig, "deciding", newer)
    found = reproduce(done.run_id)
    assert "config: training.brand_new: then not set, now 1" in found.verdict


def test_runs_that_cannot_be_repeated_say_why(done: Outcome, config: ExperimentConfig) -> None:
    with pytest.raises(GatecastError, match="no run '0123'"):
        reproduce("0123")
    tracker = open_tracker(config)
    with tracker.run("of another kind") as run:
        pass
    with pytest.raises(GatecastError, match="none of the training pipeline's"):
        reproduce(run.id)
    with tracker.run("died early", tags={"kind": "pipeline"}) as run:
        pass
    with pytest.raises(GatecastError, match="before it had a winner"):
        reproduce(run.id)


def test_a_config_kept_without_its_password_is_asked_for(
    done: Outcome, config: ExperimentConfig
) -> None:
    tracker = open_tracker(config)
    values = config.model_dump(mode="json", exclude_unset=True)
    values["data"] = {"source": "postgresql://me:secret@db/sales", "table": "sales"}
    values["schedule"] = {"webhook": "https://hooks/secret", "smtp": "smtp://me:secret@h"}
    text = build_config(values).to_yaml()
    assert "secret" not in text
    assert yaml.safe_load(text)["data"]["source"] == f"postgresql://me:{HIDDEN}@db/sales"
    with tracker.run("hidden", tags={"kind": "pipeline", "winner": "gru"}) as run:
        run.text(text, "config.yaml")
        with tracker.run("gru", parent=run, tags={"kind": "candidate", "candidate": "gru"}):
            pass
    with pytest.raises(ConfigError, match=re.escape("--config path/to/config.yaml")):
        reproduce(run.id)
