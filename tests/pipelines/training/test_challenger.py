"""A delivery beside what the champion was trained on, from the table to the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import GatecastError, SignatureError
from forecasting.signing import KEY_VARIABLE, RING_VARIABLE, Ring, SigningKey
from pipelines.config import ExperimentConfig
from pipelines.data import revision
from pipelines.data.fingerprint import Fingerprint
from pipelines.data.prepare import prepare
from pipelines.jobs.run import trained
from pipelines.registry.files import FINGERPRINT_FILE, FINGERPRINT_FOLDER, FINGERPRINT_TAG
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.tracker import open_tracker
from pipelines.training.session import Outcome
from pipelines.training.train import train

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("undrawn")]

Make = Callable[..., ExperimentConfig]
# The model is not what is looked at here: its own checks let everything pass.
LENIENT = {"margin": 1.0, "max_segment_loss": 9.0}


def deliver(monthly: pd.DataFrame, months_back: int, folder: Path) -> Path:
    """The series without their last months, as a table."""
    kept = monthly.groupby("unique_id").cumcount(ascending=False) >= months_back
    path = folder / "delivery.parquet"
    monthly[kept].to_parquet(path, index=False)
    return path


def judged_on(experiment: Make, name: str, source: Path) -> ExperimentConfig:
    """One small candidate, and a gate that is lenient with the model."""
    return experiment(
        name,
        data={"source": str(source)},
        candidates={"gru": {"model": {"cell": "gru"}}},
        gate=LENIENT,
    )


def run(config: ExperimentConfig, reason: str | None = None) -> Outcome:
    outcome = train(config, accept_revision=reason)
    assert outcome.decision is not None
    return outcome


def reason(outcome: Outcome) -> str:
    return outcome.decision.reason if outcome.decision is not None else "not asked"


@pytest.mark.slow
def test_a_delivery_that_is_another_is_refused_and_one_that_is_accepted_promoted(
    experiment: Make,
    state: Path,
    monthly: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = deliver(monthly, 1, tmp_path)
    config = judged_on(experiment, "delivered", source)
    # The trainer signs what passes, and takes no champion that it has not signed.
    Ring(tmp_path / "ring").add("trainer", SigningKey.create(tmp_path / "key"))
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "key"))
    monkeypatch.setenv(RING_VARIABLE, str(tmp_path / "ring"))
    registry = Registry(open_tracker(config).client)
    first = run(config)
    assert first.promoted, reason(first)
    version = registry.version("delivered", CHAMPION)
    path = registry.fingerprint(version)
    assert path is not None
    kept = Fingerprint.read(path)
    assert list(kept.ids) == list(prepare(config).panel.ids)

    # An honest month: compared, and nothing found.
    deliver(monthly, 0, tmp_path)
    second = run(config)
    assert second.promoted, reason(second)
    assert {c.key for c in second.decision.checks} >= {"lost", "revised", "jumped"}  # type: ignore[union-attr]

    # Half of the series gone, and those left moved by a step (the competition gave no dates).
    half = sorted(set(monthly["unique_id"]))[::2]
    moved = monthly[monthly["unique_id"].isin(half)]
    moved.assign(ds=moved["ds"] + 1).to_parquet(source, index=False)
    third = run(config)
    assert not third.promoted
    assert third.decision is not None
    assert {"lost", "shifted", "revised"} <= third.decision.failed
    assert trained(third).events == ("refused", "drift"), "nothing is forecast from it"
    assert registry.aliases("delivered")[CHAMPION] == 2
    registry.download(registry.version("delivered", 2), tmp_path / "bundles")
    with pytest.raises(SignatureError, match="version 3 of 'delivered' is not signed"):
        registry.download(registry.version("delivered", 3), tmp_path / "bundles")
    client = open_tracker(config).client
    parent = client.get_run(third.run_id).data.tags["mlflow.parentRunId"]
    facts = json.loads(
        Path(client.download_artifacts(parent, "data/revision.json", str(tmp_path))).read_text()
    )
    assert facts["lost"]["count"] == len(set(monthly["unique_id"])) - len(half)

    # The same table again, which somebody has looked at.
    fourth = run(config, "the other half was sold")
    assert fourth.promoted, reason(fourth)
    assert fourth.version == 4
    last = registry.history("delivered")[-1]
    assert last.action == "promoted"
    assert "accepted: the other half was sold" in last.reason


def test_a_table_that_has_not_changed_is_late_once_rows_should_have_come(
    experiment: Make,
    state: Path,
    monthly: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came from month to month; a year later the same table again is told of, not trained."""
    this_month = pd.Timestamp.now("UTC").tz_localize(None).to_period("M").to_timestamp()
    back = monthly.groupby("unique_id").cumcount(ascending=False)
    stamps = [this_month - pd.DateOffset(months=int(months)) for months in back]
    source = tmp_path / "monthly.parquet"
    monthly.assign(ds=pd.to_datetime(stamps)).to_parquet(source, index=False)
    config = judged_on(experiment, "late", source)
    assert run(config).promoted
    again = train(config)
    assert (again.decision, again.late) == (None, "")
    assert trained(again).events == ()
    later = np.datetime64(this_month + pd.DateOffset(years=1), "us")
    monkeypatch.setattr(revision, "utc_now", lambda: later)
    late = train(config)
    assert late.decision is None
    count = monthly["unique_id"].nunique()
    assert f"{count} of {count} series have fallen behind" in late.late
    told = trained(late)
    assert told.events == ("drift",)
    assert "nothing has changed since version 1" in told.line
    assert "their newest rows are late" in told.line


@pytest.mark.slow
def test_a_fingerprint_that_was_changed_is_no_witness(
    experiment: Make, state: Path, monthly: pd.DataFrame, tmp_path: Path
) -> None:
    source = deliver(monthly, 1, tmp_path)
    config = judged_on(experiment, "tampered", source)
    first = run(config)
    client = open_tracker(config).client
    registry = Registry(client)
    version = registry.version("tampered", first.version)
    other = tmp_path / FINGERPRINT_FILE
    Fingerprint.of(prepare(config).panel.select([0])).write(other)
    client.log_artifact(first.run_id, str(other), FINGERPRINT_FOLDER)
    with pytest.raises(GatecastError, match=r"version 1 of 'tampered' .*another hash"):
        registry.fingerprint(version)
    deliver(monthly, 0, tmp_path)
    second = run(config)
    assert second.decision is not None
    assert second.decision.failed == {"before"}
    # A champion of an earlier Gatecast keeps none: nothing to compare with.
    client.delete_model_version_tag("tampered", "1", FINGERPRINT_TAG)
    assert registry.fingerprint(registry.version("tampered", 1)) is None
    third = train(config, force=True).decision
    assert third is not None
    assert third.promote, third.reason
    assert not {c.key for c in third.checks} & {"before", "lost", "revised"}
