"""Going on from the champion: when it is done, when not and why, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from forecasting.errors import GatecastError
from pipelines.config import ExperimentConfig
from pipelines.jobs.run import Ended, JobResult, config_of
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.store import connect
from pipelines.training.begin import BEGAN_TAG, ROUNDS_TAG
from pipelines.training.candidates import Making
from pipelines.training.reproduce import reproduce
from pipelines.training.session import Outcome
from pipelines.training.train import train

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("undrawn")]

Make = Callable[..., ExperimentConfig]
ONE = {"gru": {"model": {"cell": "gru"}}}
WIDE_OPEN = {"margin": 1.0, "max_newest": 50.0, "max_unlike": 50.0}


def deliver(monthly: pd.DataFrame, path: Path, *, back: int, factor: float = 1.0) -> str:
    """The table as it was so many months before its end."""
    place = monthly.groupby("unique_id")["ds"].rank(ascending=False)
    kept = monthly[place > back]
    kept.assign(y=kept["y"] * factor).to_parquet(path, index=False)
    return str(path)


@pytest.fixture
def deliveries(
    experiment: Make, monthly: pd.DataFrame, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., tuple[Outcome, list[str]]]:
    """Trains on the next delivery, and tells what was said."""
    path = tmp_path / "delivered.parquet"

    def next_one(back: int, *, factor: float = 1.0, **changes: object) -> tuple[Outcome, list[str]]:
        source = deliver(monthly, path, back=back, factor=factor)
        training = {"begin": "champion", **changes.pop("training", {})}  # type: ignore[dict-item]
        gate = {**WIDE_OPEN, **changes.pop("gate", {})}  # type: ignore[dict-item]
        config = experiment(
            request.node.name[:40],
            candidates=ONE,
            data={"source": source},
            training=training,
            gate=gate,
            **changes,
        )
        said: list[str] = []
        return train(config, say=said.append), said

    return next_one


def tags(outcome: Outcome, version: int) -> dict[str, str]:
    return dict(Registry(connect(None)).version(outcome.name, version).tags)


@pytest.mark.slow
def test_nights_go_on_from_the_champion_until_its_age(
    deliveries: Callable[..., tuple[Outcome, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    state: Path,
) -> None:
    fits: list[str] = []
    fitted = Making._fitted

    def watched(making: Making, kind: str, name: str, *rest: object, **more: object) -> object:
        fits.append(f"{kind}-{name}")
        return fitted(making, kind, name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Making, "_fitted", watched)
    first, said = deliveries(3)
    assert "training anew: there is no champion yet" in said
    assert first.promoted
    second, said = deliveries(2, training={"max_age": 1})
    assert "going on from version 1, gru: training 1 of 1 in a row that does" in said
    assert second.promoted
    kept = tags(second, 2)
    assert (kept[ROUNDS_TAG], kept[BEGAN_TAG]) == ("1", "1")
    again, _ = deliveries(2, training={"max_age": 1})
    assert (again.version, again.decision) == (2, None)
    third, said = deliveries(1, training={"max_age": 1})
    assert any(line.startswith("training anew: 1 trainings in a row have gone on") for line in said)
    assert ROUNDS_TAG not in tags(third, 3)
    assert fits == [
        "fit-gru", "final-gru", "carry-gru", "carry-gru", "carry-gru", "carry-gru",
        "fit-gru", "final-gru",
    ]  # fmt: skip
    with pytest.raises(GatecastError, match="went on from version 1 and cannot be repeated"):
        reproduce(second.candidate_run_ids["gru"])


@pytest.mark.slow
def test_what_the_gate_refuses_is_trained_anew_and_drift_is_too(
    deliveries: Callable[..., tuple[Outcome, list[str]]], state: Path
) -> None:
    deliveries(3)
    refused, said = deliveries(2, gate={"max_latency_ms": 1e-6})
    assert "training anew: the gate refused version 2, which went on" in said
    assert refused.version == 3
    assert not refused.promoted
    assert Registry(connect(None)).aliases(refused.name)[CHAMPION] == 1
    moved, said = deliveries(1, factor=1.9)
    assert any("the data have moved by 0.6" in line and "max_shift" in line for line in said)
    assert ROUNDS_TAG not in tags(moved, 4)
    other, said = deliveries(1, training={"max_steps": 41})
    assert "training anew: the settings are others than the champion's: training" in said
    assert other.version == 5


def test_a_verdict_of_drift_leads_to_a_training_anew(experiment: Make) -> None:
    config = experiment("nightly", training={"begin": "champion"})
    drifted = JobResult(Ended.RETRAIN, "drift")
    assert config_of("train", config, drifted).training.begin == "nothing"
    assert config_of("train", config, None) is config
    assert config_of("forecast", config, drifted) is config
    assert config_of("train", config, JobResult(Ended.FINE, "")) is config


def test_what_a_run_begins_from_is_no_setting_of_one_candidate(experiment: Make) -> None:
    with pytest.raises(GatecastError, match=r"candidates\.gru\.training.*begin"):
        experiment("x", candidates={"gru": {"training": {"begin": "champion"}}})
    with pytest.raises(GatecastError, match=r"training\.begin"):
        experiment("x", training={"begin": "scratch"})
    config = experiment("x", training={"begin": "champion", "max_age": 3})
    assert "begin" not in config.forecaster("gru").training.model_dump()
