"""Whether what was moved is what was there: everything is read again on both sides."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.bundle import sha256
from forecasting.errors import GatecastError
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from pipelines.machine.say import Progress
from pipelines.moving.models import models_of, versions_of
from pipelines.moving.places import Place
from pipelines.moving.renamed import Renamed
from pipelines.moving.runs import (
    FAILED,
    MLMODEL,
    RUNNING,
    VOID,
    Moved,
    files_of,
    pairs_of,
    points_of,
    scores_of,
)
from pipelines.registry.files import HASH_TAG, JUDGED, MODEL, bundle_digest, kept
from pipelines.registry.registry import CHAMPION

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SERIES = 3  # that a champion is asked for on both sides


class UnlikeError(GatecastError):
    """What was moved is not what was there."""


def unlike_runs(
    source: Place, target: Place, moved: Sequence[Moved], renamed: Renamed, progress: Progress
) -> Iterator[str]:
    """What runs of the target hold otherwise: parameters, histories, tags, data, files."""
    client, onto = source.opened(), target.opened()
    pairs = pairs_of(moved)
    for number, (one, run) in enumerate(pairs):
        models = [m for m in one.models if m.source_run_id == run.info.run_id]
        for what in _unlike_run(client, onto, run, models, renamed):
            yield f"run {run.info.run_id} ({run.info.run_name}): {what}"
        progress("verified runs", (number + 1) / len(pairs))


def unlike_models(source: Place, target: Place, renamed: Renamed) -> Iterator[str]:
    """What registered models of the target hold otherwise; a champion's forecasts, bit for bit."""
    client, onto = source.opened(), target.opened()
    theirs = models_of(onto)
    for name, model in models_of(client).items():
        other = theirs.get(name)
        if other is None:
            yield f"model {name}: it is not there"
            continue
        here, there = versions_of(client, name), versions_of(onto, name)
        if list(here) != list(there):
            yield f"model {name}: versions {list(there)} for {list(here)}"
            continue
        if _numbers(model.aliases) != _numbers(other.aliases):
            yield f"model {name}: aliases {other.aliases} for {model.aliases}"
        if renamed.tags(model.tags) != renamed.tags(other.tags):
            yield f"model {name}: its history or tags differ"
        wrong = {
            number: list(_unlike_version(client, onto, version, there[number], renamed))
            for number, version in here.items()
        }
        for number, differences in wrong.items():
            yield from (f"model {name}, version {number}: {what}" for what in differences)
        champion = int(model.aliases.get(CHAMPION, 0))
        comparable = champion and HASH_TAG in here[champion].tags and not wrong[champion]
        if comparable and not same_forecasts(client, onto, here[champion], there[champion]):
            yield f"model {name}: its champion forecasts otherwise"


def same_forecasts(
    source: MlflowClient, target: MlflowClient, one: ModelVersion, other: ModelVersion
) -> bool:
    """Whether two versions, fetched anew, answer a made-up panel alike in every bit."""
    answers = []
    for client, version in ((source, one), (target, other)):
        with tempfile.TemporaryDirectory() as scratch:
            bundle = kept(version, MODEL)
            assert bundle is not None
            folder = _fetched(client, bundle.source, scratch)
            predictor = Predictor.load(folder, threads=1, trusted=True)
            forecast = predictor.predict_panel(example_panel(predictor, SERIES))
            answers.append((forecast.mean, forecast.quantiles))
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*answers, strict=True))


def _unlike_run(
    source: MlflowClient,
    target: MlflowClient,
    run: MlflowRun,
    models: Sequence[LoggedModel],
    renamed: Renamed,
) -> Iterator[str]:
    other = target.get_run(renamed.ids[run.info.run_id])
    status = FAILED if run.info.status == RUNNING else run.info.status
    if (other.info.status, other.info.run_name) != (status, run.info.run_name):
        yield f"it is {other.info.status} {other.info.run_name!r}"
    if other.data.params != run.data.params:
        yield "its parameters differ"
    tags = renamed.tags(run.data.tags)
    if wrong := [key for key, text in tags.items() if other.data.tags.get(key) != text]:
        yield f"its tags {', '.join(wrong)} differ"
    here, there = points_of(source, run), points_of(target, other)
    if set(here) != set(there):
        yield f"{len(there):,} numbers of metrics for {len(here):,}"
    news = [target.get_logged_model(renamed.ids[model.model_id]) for model in models]
    if set(scores_of(models)) != set(scores_of(news)):
        yield "its logged models have other scores"
    if _inputs(run) != _inputs(other):
        yield "its data sets differ"
    source_sizes, sizes = _sizes(source, run.info.run_id), _sizes(target, other.info.run_id)
    if wrong := sorted(path for path, size in source_sizes.items() if sizes.get(path) != size):
        yield f"files {', '.join(wrong[:5])} are lacking or of another size"


def _unlike_version(
    source: MlflowClient,
    target: MlflowClient,
    version: ModelVersion,
    other: ModelVersion,
    renamed: Renamed,
) -> Iterator[str]:
    if renamed.tags(version.tags) != renamed.tags(other.tags):
        yield "its tags differ"
    if renamed.text(version.description or "") != (other.description or ""):
        yield "its description differs"
    if version.run_id is None:
        return
    if str(other.run_id) != renamed.ids.get(str(version.run_id)):
        yield f"it is of run {other.run_id}"
        return
    # Its bundles and what it was trained on: by content, fetched anew from the target's store.
    if _digests(source, str(version.run_id)) != _digests(target, str(other.run_id)):
        yield "files of its run have other content"
    for kind in (MODEL, JUDGED):
        bundle = kept(other, kind)
        if bundle is None:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            if bundle_digest(_fetched(target, bundle.source, scratch)) != bundle.digest:
                yield f"its {kind} has another hash than it was registered with"


def _fetched(client: MlflowClient, source: str, scratch: str) -> Path:
    """A folder of the store as it is there, whatever was fetched before."""
    from mlflow.artifacts import download_artifacts

    return Path(
        download_artifacts(
            artifact_uri=source, dst_path=scratch, tracking_uri=str(client.tracking_uri)
        )
    )


def _sizes(client: MlflowClient, run_id: str) -> dict[str, int]:
    return {p: size for p, size in files_of(client, run_id).items() if p not in VOID}


def _digests(client: MlflowClient, run_id: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        if not files_of(client, run_id):
            return {}
        root = Path(client.download_artifacts(run_id, "", scratch))
        files = {f.relative_to(root).as_posix(): f for f in root.rglob("*") if f.is_file()}
        return {
            path: sha256(file)
            for path, file in files.items()
            if path not in VOID and file.name != MLMODEL
        }


def _inputs(run: MlflowRun) -> set[tuple[Any, ...]]:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return {(one.dataset.name, one.dataset.digest, one.dataset.profile) for one in inputs}


def _numbers(aliases: dict[str, Any]) -> dict[str, int]:
    return {alias: int(version) for alias, version in aliases.items()}
