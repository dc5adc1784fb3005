"""Do a run again and say whether it comes out the same, or what differs.

On a CPU the same data, settings, seeds and versions give the same weights, bit for bit. So a run
is compared in that order, and what differs first is the reason for what differs later.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError, GatecastError
from forecasting.masking import HIDDEN, hide
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import Prepared, prepare
from pipelines.data.profile import panel_profile
from pipelines.machine.lineage import git_commit, hardware, versions
from pipelines.machine.say import Progress, Say, no_progress, silent
from pipelines.machine.state import home, locked
from pipelines.tracking.run import PARAM_LENGTH, flatten
from pipelines.tracking.store import brief, connect
from pipelines.training.begin import BEGAN_TAG
from pipelines.training.candidates import Making, need_training, split
from pipelines.training.trained import bundle_weights

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from forecasting.data.panel import Panel

UNKNOWN = "not recorded"
UNSET = "not set"
DECISIVE = ("config", "data")


@dataclass(frozen=True)
class Comparison:
    """One thing compared: what it was in the run, and what it is now.

    ``of_weights`` : whether it says that the same was learned.
    """

    what: str
    then: str
    now: str
    of_weights: bool = False

    @property
    def same(self) -> bool:
        """Whether nothing has changed."""
        return self.then == self.now


@dataclass(frozen=True)
class Reproduction:
    """How far a run could be repeated.

    Attributes
    ----------
    findings
        In the order of cause and effect.
    trained
        False when data or settings differ, so that training again would prove nothing.
    """

    run_id: str
    candidate: str
    findings: tuple[Comparison, ...]
    trained: bool

    @property
    def same(self) -> bool:
        """Whether the weights are the same, bit for bit."""
        weights = [f for f in self.findings if f.of_weights]
        return self.trained and bool(weights) and all(f.same for f in weights)

    @property
    def verdict(self) -> str:
        """One sentence."""
        differing = [f.what for f in self.findings if not f.same]
        if self.same:
            beside = f" (although the {', '.join(differing)} differ)" if differing else ""
            return f"run {self.run_id}, {self.candidate}: the same weights, bit for bit{beside}"
        first = "; ".join(
            f"{f.what}: then {f.then}, now {f.now}" for f in self.findings if not f.same
        )
        ending = "" if self.trained else "; so it was not trained again"
        return f"run {self.run_id}, {self.candidate}: not the same; {first}{ending}"

    def table(self) -> pd.DataFrame:
        """A row for each thing compared."""
        import pandas as pd

        rows = [[f.what, f.then, f.now, "yes" if f.same else "NO"] for f in self.findings]
        return pd.DataFrame(rows, columns=["what", "then", "now", "same"])


def reproduce(
    run_id: str,
    *,
    config: ExperimentConfig | None = None,
    uri: str | None = None,
    say: Say = silent,
    progress: Progress = no_progress,
) -> Reproduction:
    """Repeat a run of the training pipeline beside the original, and compare.

    Parameters
    ----------
    run_id
        Of the pipeline's run, which stands for its winner, or of one candidate's.
    config
        In the place of the one kept in the run, where that hides a password.

    Raises
    ------
    GatecastError
        No such run, or one that is not the pipeline's.
    """
    need_training()
    client = connect(uri or (config.tracking.uri if config is not None else None))
    run = _run(client, run_id)
    pipeline, candidate = _places(client, run)
    name = (candidate or pipeline).data.tags.get("candidate" if candidate else "winner")
    if name is None:
        raise GatecastError(
            f"run {run_id} ended before it had a winner; there is nothing to repeat"
        )
    candidate = candidate or _child(client, pipeline, name)
    config = config or _config(client, pipeline)
    if name not in config.candidates:
        raise ConfigError(f"the config has no candidate {name!r}, which the run trained")
    then = pipeline.data.tags
    if BEGAN_TAG in then:
        raise GatecastError(
            f"run {run_id} went on from version {then[BEGAN_TAG]} and cannot be repeated without "
            "it: reproduce the run of the last version that was trained anew"
        )
    say("reading the data")
    data = prepare(config)
    findings = [
        Comparison("config", then.get("config_hash", UNKNOWN), config.digest()),
        Comparison("data", then.get("data_hash", UNKNOWN), data.digest),
        Comparison("code", then.get("git_commit", UNKNOWN), git_commit() or UNKNOWN),
        Comparison("versions", then.get("versions", UNKNOWN), versions()),
        Comparison("hardware", then.get("hardware", UNKNOWN), hardware()),
    ]
    if not findings[1].same:
        findings[1:2] = [findings[1], *_what_moved(client, pipeline, data.panel)]
    if not findings[0].same:
        findings[0:1] = [findings[0], *_what_was_set(pipeline, config)]
    if any(not f.same for f in findings if f.what in DECISIVE):
        return Reproduction(run_id, name, tuple(findings), trained=False)
    finals = _children(client, candidate, "final")
    findings += _weights(config, name, data, candidate, finals, say, progress)
    return Reproduction(run_id, name, tuple(findings), trained=True)


def _weights(
    config: ExperimentConfig,
    name: str,
    data: Prepared,
    candidate: Run,
    finals: list[Run],
    say: Say,
    progress: Progress,
) -> list[Comparison]:
    """Train again in stages of its own, which are removed at the end."""
    scratch = config.model_copy(update={"name": f"{config.name}.reproduce"})
    with locked(f"train-{scratch.name}", wait=1.0):
        try:
            settings = config.forecaster(name, freq=data.panel.freq.alias)
            say(f"training {name} again")
            making = Making(scratch, force=True, progress=progress, say=say)
            again = making.candidate(name, settings, split(data, config))
            findings = [_compare("weights as judged", candidate, again.bundle)]
            if finals:
                say(f"training {name} again, on every row")
                final = making.on_every_row().final(again, data)
                findings.append(_compare("weights as served", finals[0], final.bundle))
            return findings
        finally:
            shutil.rmtree(home() / "stages" / scratch.name, ignore_errors=True)


def _compare(what: str, run: Run, bundle: Path) -> Comparison:
    then = run.data.tags.get("weights", UNKNOWN)
    return Comparison(what, then, bundle_weights(bundle), of_weights=True)


def _run(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise GatecastError(f"no run {run_id!r} in this store: {brief(error)}") from error


def _places(client: MlflowClient, run: Run) -> tuple[Run, Run | None]:
    """The pipeline's run and, where the given one is or belongs to a candidate, that one's."""
    candidate = None
    at = run
    while True:
        kind = at.data.tags.get("kind")
        if kind == "candidate":
            candidate = at
        if kind == "pipeline":
            return at, candidate
        parent = at.data.tags.get("mlflow.parentRunId")
        if parent is None:
            raise GatecastError(
                f"run {run.info.run_id} is none of the training pipeline's; `gatecast history "
                "NAME` and the pages of `gatecast ui` show those that are"
            )
        at = _run(client, parent)


def _children(client: MlflowClient, parent: Run, kind: str) -> list[Run]:
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.kind = '{kind}'"
    return list(client.search_runs([parent.info.experiment_id], query, max_results=1000))


def _child(client: MlflowClient, pipeline: Run, name: str) -> Run:
    children = [
        r for r in _children(client, pipeline, "candidate") if r.data.tags["candidate"] == name
    ]
    if not children:
        raise GatecastError(f"run {pipeline.info.run_id} has no child for its winner {name!r}")
    return children[0]


def _config(client: MlflowClient, pipeline: Run) -> ExperimentConfig:
    """The config kept in the run."""
    import yaml

    text = _text(client, pipeline, "config.yaml")
    if text is None:
        raise GatecastError(f"run {pipeline.info.run_id} kept no config.yaml; give --config")
    if HIDDEN in text:
        raise ConfigError(
            f"run {pipeline.info.run_id} kept its config without the password in it; give the "
            "file it came from: --config path/to/config.yaml"
        )
    return build_config(yaml.safe_load(text), origin=f"config of run {pipeline.info.run_id}")


def _text(client: MlflowClient, run: Run, path: str) -> str | None:
    from mlflow.exceptions import MlflowException

    scratch = home() / "cache" / "reproduce" / run.info.run_id
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        return Path(client.download_artifacts(run.info.run_id, path, str(scratch))).read_text()
    except (MlflowException, OSError):
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _what_was_set(pipeline: Run, config: ExperimentConfig) -> list[Comparison]:
    """Settings that differ; a newer Gatecast may have some that the run did not know."""
    then = pipeline.data.params
    if not then:
        return []
    now = {
        key: str(value)[:PARAM_LENGTH]
        for key, value in flatten(hide(config.deciding())).items()
        if value is not None
    }
    groups = {key.partition(".")[0] for key in config.deciding()}
    keys = sorted(now.keys() | {key for key in then if key.partition(".")[0] in groups})
    pairs = [Comparison(f"config: {k}", then.get(k, UNSET), now.get(k, UNSET)) for k in keys]
    return [pair for pair in pairs if not pair.same]


def _what_moved(client: MlflowClient, pipeline: Run, panel: Panel) -> list[Comparison]:
    """Sizes and typical level of the data, then and now: where to look for the difference."""
    text = _text(client, pipeline, "data/profile.json")
    if text is None:
        return []
    then: dict[str, Any] = json.loads(text)
    now = panel_profile(panel, recent=panel.freq.season * 2)
    pairs = [Comparison(f"data: {k}", f"{then[k]:.6g}", f"{now[k]:.6g}") for k in now if k in then]
    moved = [pair for pair in pairs if not pair.same]
    return moved or [replace(pairs[0], what="data: values", then="others", now="of the same size")]
