"""What is registered: the settings it was trained with, and its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forecasting import bundle
from forecasting.errors import GatecastError
from forecasting.masking import HIDDEN
from pipelines.config import ExperimentConfig, build_config
from pipelines.config.file import read_yaml
from pipelines.machine.state import home
from pipelines.registry.registry import SEASON_TAG, Registry
from pipelines.tracking.store import connect, default_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from forecasting.prediction.predictor import Predictor


def load(registry: Registry, version: ModelVersion) -> Predictor:
    """The forecaster of a version: downloaded, checked against its hash, opened."""
    from forecasting.prediction.predictor import Predictor

    folder = registry.download(version, home() / "cache" / "bundles")
    return Predictor.load(folder, threads=1, trusted=True)


def season_of(registry: Registry, version: ModelVersion) -> int | None:
    """The season a version settled on, in steps; read from its bundle where no tag says it."""
    if SEASON_TAG in version.tags:
        return int(version.tags[SEASON_TAG])
    folder = registry.download(version, home() / "cache" / "bundles")
    return bundle.read(folder).config.season


def registered_config(name: str, *, uri: str | None = None) -> ExperimentConfig:
    """The experiment a registered model was trained by, as its pipeline run keeps it.

    Parameters
    ----------
    name
        ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``.
    """
    import tempfile

    from mlflow.artifacts import download_artifacts

    client = connect(uri)
    model, _, alias = name.partition("@")
    version = Registry(client).version(model, alias or None)
    run = version.tags.get("pipeline_run")
    if run is None:
        raise GatecastError(f"version {version.version} of {model!r} names no run: give the config")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = download_artifacts(
                run_id=run,
                artifact_path="config.yaml",
                dst_path=scratch,
                tracking_uri=client.tracking_uri,
            )
        except Exception as error:
            raise GatecastError(
                f"the config of {name!r} cannot be read from its run {run}: give the config file"
            ) from error
        values = read_yaml(Path(path))
    config = build_config(values, origin=f"config of {name}")
    # The run hides the password of its store; this client has it.
    where = config.tracking.replace(uri=uri or default_uri())
    return config.model_copy(update={"tracking": where})


def needs_password(config: ExperimentConfig) -> bool:
    """Whether the config came from a run, which keeps no password of what it reads."""
    return any(HIDDEN in (one or "") for one in (config.data.source, config.forecast.future))
