"""The winner as challenger: registered, judged by the gate beside the champion, and promoted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from forecasting.bundle import sha256
from forecasting.errors import GatecastError
from forecasting.signing import SigningKey
from pipelines.config import ExperimentConfig
from pipelines.data.fingerprint import Fingerprint
from pipelines.data.prepare import Prepared
from pipelines.data.profile import panel_profile, shift
from pipelines.data.revision import compare
from pipelines.machine.state import home
from pipelines.registry.files import FINGERPRINT_FILE, FINGERPRINT_FOLDER, FINGERPRINT_TAG
from pipelines.registry.registry import NOBODY, SEASON_TAG, MeanwhileError, Registry
from pipelines.tracking.run import Run
from pipelines.training import pages
from pipelines.training.begin import BEGAN_TAG, ROUNDS_TAG
from pipelines.training.case import Before, Judged
from pipelines.training.evaluate import Evaluation, judge, load_predictor
from pipelines.training.gate import Check, Decision, decide
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


@dataclass(frozen=True)
class Candidacy:
    """What a winner comes before the gate with.

    Attributes
    ----------
    pipeline, run
        Runs of the whole pipeline and of the winner.
    candidate, final
        The winner as it was judged, and fitted on every row.
    champion
        The version in production; None when there is none.
    lineage
        Hashes and versions, kept as tags.
    accepted
        Why a person takes the data as they are, whatever they changed; None: nobody does.
    signer
        Signs what passes the gate; None: nobody does.
    others
        The candidates that did not win, each with its run.
    page
        Where the runs stand beside each other, as an address within MLflow's pages.
    """

    config: ExperimentConfig
    pipeline: Run
    run: Run
    candidate: Trained
    final: Trained
    evaluation: Evaluation
    data: Prepared
    champion: ModelVersion | None
    lineage: Mapping[str, Any]
    accepted: str | None = None
    signer: SigningKey | None = None
    others: Sequence[tuple[Run, Trained]] = ()
    page: str = ""

    @property
    def profile(self) -> dict[str, float]:
        """What the data look like of late: the reference of later challengers."""
        recent = max(self.config.horizon, self.evaluation.season)
        return panel_profile(self.data.panel, recent=recent)


class Registration(NamedTuple):
    """Where a candidacy ended: its version, what the gate said, whether it is champion.

    ``late`` : of a table that has not changed, that rows should have come by now; "": none should.
    """

    version: int
    decision: Decision | None
    promoted: bool
    late: str = ""


def register_and_judge(
    candidacy: Candidacy, registry: Registry, *, force: bool, promote: bool
) -> Registration:
    """Register the winner as challenger, ask the gate, and act on its answer."""
    name, champion = candidacy.config.name, candidacy.champion
    if candidacy.final.skipped and not force and candidacy.accepted is None:
        unchanged = _same_version(name, registry, candidacy.lineage)
        if unchanged is not None:
            is_champion = champion is not None and int(champion.version) == unchanged
            return Registration(unchanged, None, is_champion, _late(candidacy, registry))
    profile = candidacy.profile
    before = _beside_before(candidacy, registry)
    decision = _ask_gate(candidacy, candidacy.final, profile, before)
    version = _register(candidacy, registry, decision, profile)
    pages.log_decision((candidacy.pipeline, candidacy.run), decision)
    for run, other in candidacy.others:
        pages.log_decision((run,), _ask_gate(candidacy, other, profile, before), asked=False)
    if not decision.promote:
        registry.refuse(name, version, decision.reason)
    elif promote:
        beside = int(champion.version) if champion is not None else NOBODY
        try:
            registry.promote(
                name, version, reason=decision.reason, action="promoted", instead_of=beside
            )
        except MeanwhileError as error:
            decision = replace(decision, checks=(*decision.checks, _overtaken(beside, error)))
            registry.refuse(name, version, f"refused: {error}")
            pages.log_decision((candidacy.pipeline, candidacy.run), decision)
    return Registration(version, decision, decision.promote and promote)


def _overtaken(beside: int, error: MeanwhileError) -> Check:
    """What the gate says when another machine promoted while it judged."""
    was = f"version {beside}" if beside else "none"
    return Check("overtaken", "champion until now", "another", was, False, str(error))


def _beside_before(candidacy: Candidacy, registry: Registry) -> Before:
    """The data beside what the champion was trained on."""
    config, accepted = candidacy.config, candidacy.accepted
    try:
        path = registry.fingerprint(candidacy.champion) if candidacy.champion else None
        if path is None:
            return Before(accepted=accepted)
        revision = compare(
            Fingerprint.read(path),
            candidacy.data.panel,
            season=candidacy.evaluation.season,
            horizon=config.horizon,
            slack=config.gate.max_gap,
        )
    except GatecastError as error:
        return Before(problem=str(error), accepted=accepted)
    candidacy.pipeline.json(revision.facts(), "data/revision.json")
    return Before(revision, accepted=accepted)


def _late(candidacy: Candidacy, registry: Registry) -> str:
    """That series have fallen behind since the champion was trained; "" where few have.

    Or why that cannot be told.
    """
    before = _beside_before(candidacy, registry)
    if before.problem is not None:
        return f"whether it is late cannot be told: {before.problem}"
    revision = before.revision
    if revision is None or revision.stale.share <= candidacy.config.gate.max_stale:
        return ""
    stale = revision.stale
    return (
        f"{stale.count:,} of {stale.of:,} series have fallen behind, such as {stale.example!r}: "
        "their newest rows are late"
    )


def _keep_fingerprint(candidacy: Candidacy) -> str:
    """What the winner was trained on, as a file of its run; the file's hash."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FINGERPRINT_FILE
        Fingerprint.of(candidacy.data.panel).write(path)
        candidacy.run.file(path, FINGERPRINT_FOLDER)
        return sha256(path)


def _ask_gate(
    candidacy: Candidacy, trained: Trained, profile: dict[str, float], before: Before
) -> Decision:
    config, evaluation = candidacy.config, candidacy.evaluation
    reference = _profile_of(candidacy.champion)
    return decide(
        judge(evaluation, trained.name, config, bundle=trained.bundle),
        _judged_champion(evaluation, config, candidacy.champion),
        judge(evaluation, "seasonal_naive", config),
        config.gate,
        segments=evaluation.segments(candidacy.data.panel, config.gate.segment),
        drift=shift(profile, reference) if reference else None,
        champion_problem=evaluation.champion_problem,
        before=before,
    )


def _register(
    candidacy: Candidacy, registry: Registry, decision: Decision, profile: dict[str, float]
) -> int:
    config, evaluation, panel = candidacy.config, candidacy.evaluation, candidacy.data.panel
    scores = evaluation.scores_of(candidacy.candidate.name)
    keys = ("data_hash", "config_hash", "git_commit", "hardware")
    began = {key: candidacy.lineage.get(key) for key in (ROUNDS_TAG, BEGAN_TAG)}
    return registry.register(
        config.name,
        candidacy.run,
        candidacy.final.bundle,
        judged=candidacy.candidate.bundle,
        tags={
            **{key: candidacy.lineage[key] for key in keys},
            **began,
            "candidate": candidacy.candidate.name,
            "scores": json.dumps({k: round(v, 6) for k, v in scores.items()}),
            "horizon": config.horizon,
            "freq": panel.freq.alias,
            SEASON_TAG: evaluation.season,
            FINGERPRINT_TAG: _keep_fingerprint(candidacy),
            "profile": json.dumps(profile),
            "pipeline_run": candidacy.pipeline.id,
            "gate": "passed" if decision.promote else "refused",
        },
        description=pages.version_description(
            config, candidacy.final, evaluation, decision, candidacy.data, candidacy.page
        ),
        example=pages.input_example(panel),
        # What the gate refused stays unsigned: who moves an alias cannot bring it into production.
        signer=candidacy.signer if decision.promote else None,
    )


def _judged_champion(
    evaluation: Evaluation, config: ExperimentConfig, champion: ModelVersion | None
) -> Judged | None:
    if champion is None or not evaluation.has_champion:
        return None
    return judge(evaluation, "champion", config)


def _profile_of(version: ModelVersion | None) -> dict[str, float] | None:
    text = version.tags.get("profile") if version is not None else None
    return json.loads(text) if text else None


def _same_version(name: str, registry: Registry, lineage: Mapping[str, Any]) -> int | None:
    """The latest version, when it came from the same data and config."""
    versions = registry.versions(name)
    if not versions:
        return None
    tags = versions[-1].tags
    same = all(tags.get(key) == lineage[key] for key in ("data_hash", "config_hash"))
    return int(versions[-1].version) if same and "bundle_sha256" in tags else None
