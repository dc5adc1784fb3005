"""Whether a training goes on from the champion or begins anew, and why."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forecasting.errors import GatecastError
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared
from pipelines.data.profile import panel_profile, shift
from pipelines.machine.state import home
from pipelines.registry.files import JUDGED_TAG
from pipelines.registry.registered import registered_config
from pipelines.registry.registry import CHAMPION, Registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# Of a version: how many trainings in a row went on from a champion, and from which version it did.
ROUNDS_TAG, BEGAN_TAG = "rounds", "began_from"
# Share of the shift of the data that the gate allows from which on a model is trained anew.
DRIFT_SHARE = 0.5


@dataclass(frozen=True)
class Begin:
    """What a training goes on from.

    Attributes
    ----------
    candidate : the one of the config's that became the version. version : its number.
    judged : its bundle from before its own backtest: the one that goes on must not have read the
        rows it is judged on.
    rounds : trainings in a row that went on from a champion, this one too.
    """

    candidate: str
    version: int
    judged: Path
    rounds: int

    @property
    def tags(self) -> dict[str, int]:
        """What a version that comes of it keeps."""
        return {ROUNDS_TAG: self.rounds, BEGAN_TAG: self.version}


class _AnewError(Exception):
    """Why there is nothing to go on from."""


def begin(
    config: ExperimentConfig, registry: Registry, data: Prepared, lineage: dict[str, str]
) -> tuple[Begin | None, str]:
    """What to go on from, and what to say of it; None where the training begins anew."""
    try:
        start = _found(config, registry, data, lineage)
    except _AnewError as why:
        return None, f"training anew: {why}"
    return start, (
        f"going on from version {start.version}, {start.candidate}: training {start.rounds} of "
        f"{config.training.max_age} in a row that does"
    )


def _found(
    config: ExperimentConfig, registry: Registry, data: Prepared, lineage: dict[str, str]
) -> Begin:
    version = _version(config, registry, lineage)
    tags = version.tags
    candidate, rounds = tags.get("candidate", ""), int(tags.get(ROUNDS_TAG, 0)) + 1
    if candidate not in config.candidates:
        raise _AnewError(f"the champion was candidate {candidate!r}, which the config has no more")
    if JUDGED_TAG not in tags:
        raise _AnewError("the champion was not kept as it was before its own backtest")
    if rounds > config.training.max_age:
        raise _AnewError(
            f"{rounds - 1} trainings in a row have gone on from a champion "
            f"(training.max_age = {config.training.max_age})"
        )
    _refuse_other_settings(config, version, candidate)
    _refuse_drift(config, version, data)
    try:
        judged = registry.download_judged(version, home() / "cache" / "bundles")
    except GatecastError as error:
        raise _AnewError(str(error)) from None
    return Begin(candidate, int(version.version), judged, rounds)


def _version(config: ExperimentConfig, registry: Registry, lineage: dict[str, str]) -> ModelVersion:
    """The champion; where nothing has changed since the last version, what that one began from."""
    champion = registry.alias(config.name, CHAMPION)
    if champion is None:
        raise _AnewError("there is no champion yet")
    tags = registry.versions(config.name)[-1].tags
    same = all(tags.get(key) == lineage[key] for key in ("data_hash", "config_hash"))
    if same and BEGAN_TAG in tags:
        return registry.version(config.name, tags[BEGAN_TAG])
    return champion


def _refuse_other_settings(config: ExperimentConfig, version: ModelVersion, name: str) -> None:
    try:
        before = registered_config(f"{config.name}@{version.version}", uri=config.tracking.uri)
    except GatecastError as error:
        raise _AnewError(str(error)) from None
    if name not in before.candidates:
        raise _AnewError(f"the champion's config has no candidate {name!r}")
    then, now = (c.forecaster(name).model_dump(mode="json") for c in (before, config))
    changed = [key for key in now if now[key] != then.get(key)]
    if changed:
        raise _AnewError(f"the settings are others than the champion's: {', '.join(changed)}")


def _refuse_drift(config: ExperimentConfig, version: ModelVersion, data: Prepared) -> None:
    text = version.tags.get("profile")
    if text is None:
        return
    season = int(version.tags.get("season", 1))
    profile = panel_profile(data.panel, recent=max(config.horizon, season))
    moved, most = shift(profile, json.loads(text)), DRIFT_SHARE * config.gate.max_shift
    if moved > most:
        raise _AnewError(
            f"the data have moved by {_shown(moved)} since the champion was trained, more than "
            f"{most:g}, half of gate.max_shift"
        )


def _shown(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "more than can be told"
