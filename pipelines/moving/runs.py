"""Runs with all they hold, from one store of MLflow to another.

A run is made with the id it had as a tag, filled, and only then ended: one that is RUNNING in the
target is half done and is gone on with, one that has ended is whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forecasting.errors import GatecastError
from forecasting.signing import SIGNATURE
from pipelines.machine.say import Progress, Say
from pipelines.moving.places import Place, paged
from pipelines.moving.renamed import MOVED_FROM, Renamed
from pipelines.registry.files import FOLDERS
from pipelines.tracking.run import METRICS_PER_BATCH, PARAMS_PER_BATCH
from pipelines.tracking.tracker import PROCESS_TAG, Tracker, has_died

if TYPE_CHECKING:
    from mlflow.entities import Experiment, LoggedModel, Metric
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

RUNNING, FAILED = "RUNNING", "FAILED"
MLMODEL = "MLmodel"  # names its run; nothing that has a hash does
# They say which run a bundle is of, and that is another one now.
VOID = frozenset(f"{folder}/{SIGNATURE}" for folder in FOLDERS.values())


@dataclass(frozen=True)
class Moved:
    """An experiment of the source, with its runs, oldest first."""

    experiment: Experiment
    runs: list[MlflowRun]
    models: list[LoggedModel]


def gathered(client: MlflowClient, needed: Sequence[str] = ()) -> list[Moved]:
    """All experiments that have runs.

    Parameters
    ----------
    needed : ids of runs that versions hold; they come although somebody deleted them.
    """
    experiments = {e.experiment_id: e for e in client.search_experiments()}
    runs = {i: all_runs(client, i) for i in experiments}
    there = {run.info.run_id for some in runs.values() for run in some}
    for run_id in dict.fromkeys(needed):
        if run_id not in there:
            run = client.get_run(run_id)
            own = run.info.experiment_id
            experiments.setdefault(own, client.get_experiment(own))
            runs.setdefault(own, []).append(run)
    moved = []
    for own, some in runs.items():
        if some:
            some.sort(key=lambda run: (run.info.start_time, run.info.run_id))
            ids = {run.info.run_id for run in some}
            models = [m for m in _all_models(client, own) if m.source_run_id in ids]
            moved.append(Moved(experiments[own], some, models))
    return moved


def refuse_running(moved: Sequence[Moved]) -> None:
    """A run that somebody still writes would come half.

    Raises
    ------
    GatecastError : naming it.
    """
    for one in moved:
        for run in one.runs:
            if run.info.status == RUNNING and not has_died(run.data.tags.get(PROCESS_TAG, "")):
                raise GatecastError(
                    f"run {run.info.run_id} ({run.info.run_name}) of {one.experiment.name!r} is "
                    "still under way: wait for it, and pause what is scheduled"
                )


def copy_runs(
    source: Place, target: Place, moved: Sequence[Moved], say: Say, progress: Progress
) -> tuple[Renamed, int]:
    """Copy what the target lacks; new names, and how many runs were written now."""
    renamed = Renamed()
    states: dict[str, str] = {}
    for one in moved:
        states |= _make(target, one, renamed)
    written, count = 0, sum(len(one.runs) for one in moved)
    client, onto = source.opened(), target.opened()
    for number, (one, run) in enumerate(pairs_of(moved)):
        new = renamed.ids[run.info.run_id]
        if states[run.info.run_id] == RUNNING:
            models = [m for m in one.models if m.source_run_id == run.info.run_id]
            _fill(client, onto, run, models, renamed)
            written += 1
        else:
            _retag(onto, new, run, renamed)
        progress("runs", (number + 1) / count)
    say(f"{count:,} runs, {written:,} of them copied now")
    return renamed, written


def pairs_of(moved: Sequence[Moved]) -> list[tuple[Moved, MlflowRun]]:
    """Every run with the experiment it is in."""
    return [(one, run) for one in moved for run in one.runs]


def counterparts(client: MlflowClient, experiment: str) -> dict[str, MlflowRun]:
    """Old id → run, of the runs of an experiment that came from elsewhere."""
    runs = all_runs(client, experiment, f"tags.`{MOVED_FROM}` != ''")
    return {run.data.tags[MOVED_FROM]: run for run in runs}


def all_runs(client: MlflowClient, experiment: str, only: str = "") -> list[MlflowRun]:
    """Every run of an experiment that was not deleted."""
    return paged(
        lambda token: client.search_runs(
            [experiment], only, order_by=["start_time ASC"], page_token=token
        )
    )


def files_of(client: MlflowClient, run_id: str, path: str | None = None) -> dict[str, int]:
    """Path → bytes of all files of a run."""
    sizes: dict[str, int] = {}
    for one in client.list_artifacts(run_id, path):
        if one.is_dir:
            sizes |= files_of(client, run_id, one.path)
        else:
            sizes[one.path] = int(one.file_size or 0)
    return sizes


def _make(target: Place, one: Moved, renamed: Renamed) -> dict[str, str]:
    """Runs and logged models of their own for those of an experiment; old id → state."""
    tracker = Tracker.open(one.experiment.name, uri=target.uri, artifacts=target.artifacts)
    client, own = tracker.client, tracker.experiment_id
    renamed.experiments[one.experiment.experiment_id] = own
    there = client.get_experiment(own).tags
    for key, text in one.experiment.tags.items():
        if key not in there:
            client.set_experiment_tag(own, key, text)
    states = {}
    copies = counterparts(client, own)
    for run in one.runs:
        old = run.info.run_id
        copy = copies.get(old)
        if copy is None:
            copy = client.create_run(
                own,
                start_time=run.info.start_time,
                run_name=run.info.run_name,
                tags={MOVED_FROM: old},
            )
        renamed.ids[old] = copy.info.run_id
        states[old] = copy.info.status
    models = {m.tags.get(MOVED_FROM): m.model_id for m in _all_models(client, own)}
    for model in one.models:
        if model.model_id not in models:
            made_model = client.create_logged_model(
                own,
                model.name,
                renamed.ids[str(model.source_run_id)],
                tags=model.tags | {MOVED_FROM: model.model_id},
                params=model.params,
                model_type=model.model_type,
            )
            models[model.model_id] = made_model.model_id
        renamed.ids[model.model_id] = models[model.model_id]
    return states


def _fill(
    source: MlflowClient,
    target: MlflowClient,
    run: MlflowRun,
    models: Sequence[LoggedModel],
    renamed: Renamed,
) -> None:
    """What a run holds, less what a move that was cut off has brought; then it is ended."""
    from mlflow.entities import Param

    new = renamed.ids[run.info.run_id]
    there = target.get_run(new)
    params = [Param(key, text) for key, text in run.data.params.items()]
    for some in _pieces(params, PARAMS_PER_BATCH):
        target.log_batch(new, params=some)
    lacking = _lacking(source, target, run, models, renamed)
    for points in _pieces(lacking, METRICS_PER_BATCH):
        target.log_batch(new, metrics=points)
    if run.inputs is not None and run.inputs.dataset_inputs:
        target.log_inputs(new, run.inputs.dataset_inputs)
    _outputs(target, there, run, models, renamed)
    _copy_files(source, target, run.info.run_id, new, renamed)
    _retag(target, new, run, renamed)
    status = FAILED if run.info.status == RUNNING else run.info.status
    target.set_terminated(new, status, run.info.end_time)


def points_of(client: MlflowClient, run: MlflowRun) -> dict[tuple[Any, ...], Metric]:
    """The whole history of every metric of a run, by what tells one number from another."""
    return {
        (one.key, one.step, one.timestamp, one.value): one
        for key in run.data.metrics
        for one in client.get_metric_history(run.info.run_id, key)
    }


def scores_of(models: Sequence[LoggedModel]) -> dict[tuple[Any, ...], Metric]:
    """The numbers of logged models in the same form, whatever data they are of."""
    return {
        (one.key, one.step, one.timestamp, one.value): one
        for model in models
        for one in model.metrics or ()
    }


def _lacking(
    source: MlflowClient,
    target: MlflowClient,
    run: MlflowRun,
    models: Sequence[LoggedModel],
    renamed: Renamed,
) -> list[Metric]:
    from mlflow.entities import Metric

    there = points_of(target, target.get_run(renamed.ids[run.info.run_id]))
    news = [target.get_logged_model(renamed.ids[m.model_id]) for m in models]
    scored, scores = scores_of(models), scores_of(news)
    lacking = []
    for key, one in points_of(source, run).items():
        judged = scored.get(key)
        if key not in there or (judged is not None and key not in scores):
            of_model: dict[str, Any] = {}
            if judged is not None and judged.model_id is not None:
                of_model = {
                    "model_id": renamed.ids[judged.model_id],
                    "dataset_name": judged.dataset_name,
                    "dataset_digest": judged.dataset_digest,
                }
            lacking.append(Metric(one.key, one.value, one.timestamp, one.step, **of_model))
    return lacking


def _outputs(
    target: MlflowClient,
    there: MlflowRun,
    run: MlflowRun,
    models: Sequence[LoggedModel],
    renamed: Renamed,
) -> None:
    """Tie logged models to their run, and close them."""
    from mlflow.entities import LoggedModelOutput

    ids = {one.model_id for one in there.outputs.model_outputs} if there.outputs else set()
    outputs = run.outputs.model_outputs if run.outputs else []
    lacking = [
        LoggedModelOutput(renamed.ids[one.model_id], one.step)
        for one in outputs
        if renamed.ids.get(one.model_id, one.model_id) not in ids and one.model_id in renamed.ids
    ]
    if lacking:
        target.log_outputs(there.info.run_id, lacking)
    for model in models:
        if model.status in ("READY", FAILED):
            ready = model.status == "READY"
            target.finalize_logged_model(
                renamed.ids[model.model_id], "READY" if ready else "FAILED"
            )


def _copy_files(
    source: MlflowClient, target: MlflowClient, old: str, new: str, renamed: Renamed
) -> None:
    there = files_of(target, new)
    sizes = files_of(source, old)
    lacking = {p for p, size in sizes.items() if p not in VOID and there.get(p) != size}
    if not lacking:
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(source.download_artifacts(old, "", scratch))
        for file in [file for file in root.rglob("*") if file.is_file()]:
            if file.relative_to(root).as_posix() not in lacking:
                file.unlink()
            elif file.name == MLMODEL:
                file.write_text(renamed.text(file.read_text(encoding="utf-8")), encoding="utf-8")
        target.log_artifacts(new, str(root))


def _retag(target: MlflowClient, new: str, run: MlflowRun, renamed: Renamed) -> None:
    from mlflow.entities import RunTag

    there = target.get_run(new).data.tags
    tags = renamed.tags(run.data.tags)
    lacking = [RunTag(key, text) for key, text in tags.items() if there.get(key) != text]
    for some in _pieces(lacking, PARAMS_PER_BATCH):
        target.log_batch(new, tags=some)


def _all_models(client: MlflowClient, experiment: str) -> list[LoggedModel]:
    return paged(lambda token: client.search_logged_models([experiment], page_token=token))


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
