"""MLflow as the memory: one experiment per data set, a run per candidate.

Runs are written through an explicit client; nothing here depends on MLflow's active run, so
that two pipelines in one process cannot write into each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import GatecastError
from forecasting.masking import hide, masked
from pipelines.config import ExperimentConfig
from pipelines.machine.databases import with_driver
from pipelines.machine.state import home, locked
from pipelines.tracking.run import Run
from pipelines.tracking.store import (
    brief,
    connect,
    default_uri,
    on_a_server,
    store_errors,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SYSTEM_METRICS_SECONDS = 5.0
# Which of its two faces the UI shows: that of trained models, not that of prompts and traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
PROCESS_TAG = "gatecast.process"


@dataclass
class Tracker:
    """An experiment that runs are opened in."""

    client: MlflowClient
    uri: str
    experiment_id: str
    experiment: str
    system_metrics: bool = True

    @classmethod
    def open(
        cls,
        experiment: str,
        *,
        uri: str | None = None,
        artifacts: str | None = None,
        system_metrics: bool = True,
    ) -> Tracker:
        """Find or make an experiment.

        Parameters
        ----------
        artifacts
            Root folder or URI of a new experiment's artifacts. Default for a local database:
            ``.gatecast/artifacts``; for a server: what the server says.
        """
        uri = with_driver(uri or default_uri())
        client = connect(uri)
        # A folder for the artifacts may be one that cannot be named: ``~nobody``, a loop of links.
        errors: tuple[type[Exception], ...] = (*store_errors(), OSError, RuntimeError)
        try:
            record = client.get_experiment_by_name(experiment)
            if record is None:
                with locked(f"experiment-{experiment}"):
                    record = client.get_experiment_by_name(experiment)
                    if record is None:
                        location = _artifact_root(uri, artifacts, experiment)
                        identity = client.create_experiment(experiment, location, EXPERIMENT_TAGS)
                        record = client.get_experiment(identity)
            if record.lifecycle_stage == "deleted":
                client.restore_experiment(record.experiment_id)
        except errors as error:
            raise GatecastError(
                f"cannot open the experiment {experiment!r} in {masked(uri)}: {brief(error)}"
            ) from error
        return cls(client, uri, record.experiment_id, experiment, system_metrics)

    @contextmanager
    def run(
        self,
        name: str,
        *,
        tags: Mapping[str, Any] | None = None,
        parent: Run | None = None,
        monitor: bool = False,
    ) -> Iterator[Run]:
        """A run that is closed as FINISHED, or as FAILED or KILLED with the error as a tag."""
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        public = hide(dict(tags or {}))
        all_tags = {key: str(value) for key, value in public.items() if value is not None}
        all_tags.setdefault(PROCESS_TAG, process_tag())
        if parent is not None:
            all_tags[MLFLOW_PARENT_RUN_ID] = parent.id
        try:
            created = self.client.create_run(self.experiment_id, run_name=name, tags=all_tags)
        except store_errors() as error:
            raise self._told(error) from error
        run = Run(self.client, created.info.run_id, name, created.info.artifact_uri)
        system = self._system_monitor(run.id) if monitor and self.system_metrics else None
        began = time.monotonic()
        try:
            yield run
            run.flush()
            run.metric("seconds_total", time.monotonic() - began)
            run.end("FINISHED")
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED"
            # The store itself may be what failed: the first error must not be lost to a second.
            with contextlib.suppress(Exception):
                run.flush()
                run.tag(error=f"{type(error).__name__}: {brief(error)}")
                run.end(status)
            if (plain_error := self._told(error)) is not error:
                raise plain_error from error
            raise
        finally:
            if system is not None:
                # Numbers of the machine on the side: they end no run.
                with contextlib.suppress(Exception):
                    system.finish()

    def _told(self, error: BaseException) -> BaseException:
        """An error of the store in one clear line; any other as it is."""
        if not isinstance(error, store_errors()):
            return error
        return GatecastError(
            f"the MLflow store {masked(self.uri)} failed during the run: {brief(error)}; "
            "finished stages are kept: run it again once the store answers"
        )

    def _system_monitor(self, run_id: str) -> Any:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        monitor = SystemMetricsMonitor(
            run_id, sampling_interval=SYSTEM_METRICS_SECONDS, tracking_uri=self.uri
        )
        monitor.start()
        return monitor

    def close_abandoned(self) -> int:
        """Mark as FAILED the runs this machine left RUNNING when their process died."""
        closed = 0
        for run in self.client.search_runs(
            [self.experiment_id], "attributes.status = 'RUNNING'", max_results=200
        ):
            if has_died(run.data.tags.get(PROCESS_TAG, "")):
                self.client.set_tag(run.info.run_id, "error", "the process died")
                self.client.set_terminated(run.info.run_id, "FAILED")
                closed += 1
        return closed


def process_tag() -> str:
    """Who writes a run, so that a later run can tell that the writer died."""
    return f"{platform.node()}:{os.getpid()}"


def has_died(process: str) -> bool:
    """Whether a process of this machine, by its `process_tag`, runs no more; of others unknown."""
    host, _, pid = process.rpartition(":")
    return host == platform.node() and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _artifact_root(uri: str, root: str | None, experiment: str) -> str | None:
    if root is None:
        root = os.environ.get("GATECAST_ARTIFACTS")
    if root is None:
        if on_a_server(uri):
            return None
        root = str(home() / "artifacts")
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in experiment)
    if "://" in root:
        return f"{root.rstrip('/')}/{safe}"
    return (Path(root).expanduser().resolve() / safe).as_uri()


def open_tracker(config: ExperimentConfig, *, system_metrics: bool | None = None) -> Tracker:
    """The experiment's place in MLflow.

    ``system_metrics`` : whether runs also watch the machine; None: as the config says.
    """
    if system_metrics is None:
        system_metrics = config.tracking.system_metrics
    return Tracker.open(
        config.tracking.experiment or config.name,
        uri=config.tracking.uri,
        artifacts=config.tracking.artifacts,
        system_metrics=system_metrics,
    )
