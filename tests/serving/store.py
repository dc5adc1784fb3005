"""A registry in a temporary SQLite store, written the way the pipelines write theirs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from forecasting.signing import SigningKey


class Store:
    """Registers bundles and moves aliases."""

    def __init__(self, home: Path) -> None:
        from mlflow.tracking import MlflowClient

        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.uri = f"sqlite:///{home / 'mlflow.db'}"
        self.client = MlflowClient(self.uri, self.uri)
        self.experiment = self.client.create_experiment(
            "serving", artifact_location=(home / "artifacts").as_uri()
        )

    def register(
        self,
        name: str,
        bundle: Path,
        *,
        alias: str | None = "champion",
        finished: bool = True,
        signer: SigningKey | None = None,
    ) -> int:
        """A new version of a model, by default at once the champion."""
        from mlflow.exceptions import MlflowException

        run = self.client.create_run(self.experiment)
        self.client.log_artifacts(run.info.run_id, str(bundle), "model")
        with_model = self._mlmodel(run.info.run_id)
        self.client.log_artifact(run.info.run_id, str(with_model), "model")
        with contextlib.suppress(MlflowException):
            self.client.create_registered_model(name)
        digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
        tags: dict[str, Any] = {
            "data_hash": "d" * 64,
            "config_hash": "c" * 64,
            "git_commit": "a" * 40,
            "scores": json.dumps({"mase": 0.8}),
        }
        made = self.client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            tags=tags,
        )
        if signer is not None:
            subject = {"kind": "model", "model": name, "version": int(made.version)}
            file = signer.sign(bundle, self.home, run=run.info.run_id, **subject)
            self.client.log_artifact(run.info.run_id, str(file), "model")
        if finished:
            self.client.set_model_version_tag(name, made.version, "bundle_sha256", digest)
        if alias:
            self.alias(name, int(made.version), alias)
        return int(made.version)

    def alias(self, name: str, version: int, alias: str = "champion") -> None:
        """Move an alias."""
        self.client.set_registered_model_alias(name, alias, str(version))

    def _mlmodel(self, run_id: str) -> Path:
        import mlflow.pyfunc
        from mlflow.models import Model

        model = Model(run_id=run_id, artifact_path="model")
        mlflow.pyfunc.add_to_model(model, loader_module="serving.pyfunc")
        path = self.home / "MLmodel"
        model.save(str(path))
        return path
