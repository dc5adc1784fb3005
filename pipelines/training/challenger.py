"""The winner as challenger: registered, judged by the gate beside the champion, and promoted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from forecasting.errors import GatecastError
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared
from pipelines.data.profile import shift
from pipelines.machine.state import home
from pipelines.registry.registry import SEASON_TAG, Registry
from pipelines.tracking.run import Run
from pipelines.training import pages
from pipelines.training.evaluate import Evaluation, judge, load_predictor
from pipelines.training.gate import Decision, Judged, decide
from pipelines.training.trained import Trained

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.prediction.predictor import Predictor


def champion_predictor(
    registry: Registry, champion: ModelVersion | None
) -> tuple[Predictor | None, str | None]:
    """The champion as it was judged; or why there is one that cannot be loaded.

    The champion that serves has seen every row of its time, and so perhaps rows it would be
    judged on here. Its twin from before its own backtest has not.
    """
    if champion is None:
        return None, None
    try:
        folder = registry.download_judged(champion, home() / "cache" / "bundles")
        return load_predictor(folder), None
    except GatecastError as error:
        return None, str(error)


def register_and_judge(
    config: ExperimentConfig,
    registry: Registry,
    parent: Run,
    run: Run,
    judged: Trained,
    final: Trained,
    evaluation: Evaluation,
    data: Prepared,
    *,
    champion: ModelVersion | None,
    lineage: Mapping[str, Any],
    profile: dict[str, float],
    force: bool,
    promote: bool,
) -> tuple[int | None, Decision | None, bool]:
    """Register the winner as challenger, ask the gate, and act on its answer."""
    unchanged = _same_version(config, registry, lineage) if final.skipped and not force else None
    if unchanged is not None:
        is_champion = champion is not None and int(champion.version) == unchanged
        return unchanged, None, is_champion
    reference = _profile_of(champion)
    decision = decide(
        judge(evaluation, judged.name, config, bundle=final.bundle),
        _judged_champion(evaluation, config, champion),
        judge(evaluation, "seasonal_naive", config),
        config.gate,
        segments=evaluation.segments(data.panel, config.gate.segment),
        drift=shift(profile, reference) if reference else None,
        champion_problem=evaluation.champion_problem,
    )
    scores = evaluation.scores_of(judged.name)
    version = registry.register(
        config.name,
        run,
        final.bundle,
        judged=judged.bundle,
        tags={
            **{k: lineage[k] for k in ("data_hash", "config_hash", "git_commit", "hardware")},
            "candidate": judged.name,
            "scores": json.dumps({k: round(v, 6) for k, v in scores.items()}),
            "horizon": config.horizon,
            "freq": data.panel.freq.alias,
            SEASON_TAG: evaluation.season,
            "profile": json.dumps(profile),
            "pipeline_run": parent.id,
            "gate": "passed" if decision.promote else "refused",
        },
        description=pages.version_description(config, final, evaluation, decision, data),
        example=pages.input_example(data.panel),
    )
    pages.log_decision(parent, run, decision)
    if not decision.promote:
        registry.refuse(config.name, version, decision.reason)
        return version, decision, False
    if promote:
        registry.promote(config.name, version, reason=decision.reason, action="promoted")
    return version, decision, promote


def _judged_champion(
    evaluation: Evaluation, config: ExperimentConfig, champion: ModelVersion | None
) -> Judged | None:
    if champion is None or not evaluation.has_champion:
        return None
    return judge(evaluation, "champion", config)


def _profile_of(version: ModelVersion | None) -> dict[str, float] | None:
    text = version.tags.get("profile") if version is not None else None
    return json.loads(text) if text else None


def _same_version(
    config: ExperimentConfig, registry: Registry, lineage: Mapping[str, Any]
) -> int | None:
    """The latest version, when it came from the same data and config."""
    versions = registry.versions(config.name)
    if not versions:
        return None
    tags = versions[-1].tags
    same = all(tags.get(key) == lineage[key] for key in ("data_hash", "config_hash"))
    return int(versions[-1].version) if same and "bundle_sha256" in tags else None
