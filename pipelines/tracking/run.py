"""One run in MLflow: settings, tags, metrics in batches, tables, pictures and files."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.masking import hide, masked

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

FLUSH_SECONDS = 3.0  # between writes of epoch metrics: live in the UI, and far under 3 % of time
AWAY_SECONDS = 60.0  # before a store that failed during training is asked again
METRICS_PER_BATCH = 1000  # MLflow's limit
PARAMS_PER_BATCH = 100  # MLflow's limit
PARAM_LENGTH = 6000  # MLflow's limit


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            out |= flatten(value, f"{name}.")
        else:
            out[name] = value
    return out


class Run:
    """One open run. Numbers of epochs are written beside the training, all else at once."""

    def __init__(self, client: MlflowClient, run_id: str, name: str, artifact_uri: str) -> None:
        self.client = client
        self.id = run_id
        self.name = name
        self.artifact_uri = artifact_uri
        self.seconds_logging = 0.0
        self.model_id: str | None = None
        self.judged_on: tuple[str, str] | None = None
        self._waiting: list[Any] = []
        self._guard = threading.Lock()
        self._sender: threading.Thread | None = None
        self._flushed = time.monotonic()
        self._away = False

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_logging += time.perf_counter() - began

    def params(self, values: Mapping[str, Any]) -> None:
        """Log nested settings as dotted parameters, without secrets."""
        from mlflow.entities import Param

        items = [
            Param(key, str(value)[:PARAM_LENGTH])
            for key, value in flatten(hide(values)).items()
            if value is not None
        ]
        with self._clocked():
            for first in range(0, len(items), PARAMS_PER_BATCH):
                self.client.log_batch(self.id, params=items[first : first + PARAMS_PER_BATCH])

    def tag(self, **tags: Any) -> None:
        """Set tags; a ``None`` is left out."""
        self.tags(tags)

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of any name, without secrets; a ``None`` is left out."""
        from mlflow.entities import RunTag

        items = [RunTag(k, str(v)[:8000]) for k, v in hide(tags).items() if v is not None]
        with self._clocked():
            self.client.log_batch(self.id, tags=items)

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Log one final number at once."""
        self.metrics({name: value}, step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log final numbers at once; those that are not finite are left out."""
        self._gather(values, step)
        self.flush()

    def scores(self, values: Mapping[str, float]) -> None:
        """Log final numbers of the run, and of its model on the data it was judged on."""
        self._gather(values, 0, of_model=True)
        self.flush()

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Keep the numbers of one epoch; they are written every few seconds, in another thread.

        A store that fails or hangs meanwhile costs no training: the numbers wait, and whatever is
        logged after it tells the error.
        """
        self._gather(values, step)
        if self._sender is not None and self._sender.is_alive():
            return
        pause = AWAY_SECONDS if self._away else FLUSH_SECONDS
        many = len(self._waiting) >= METRICS_PER_BATCH and not self._away
        if many or time.monotonic() - self._flushed > pause:
            self._sender = threading.Thread(target=self._try_to_send, daemon=True)
            self._sender.start()

    def curve(self, name: str, values: Iterable[float]) -> None:
        """Log a stepped metric, such as the error by horizon with step = horizon step."""
        for step, value in enumerate(values, start=1):
            self._gather({name: value}, step)
        self.flush()

    def _gather(self, values: Mapping[str, float], step: int, *, of_model: bool = False) -> None:
        import math

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        name_of, digest = self.judged_on or (None, None)
        model = (self.model_id, name_of, digest) if of_model and self.model_id else ()
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                with self._guard:
                    self._waiting.append(Metric(name, float(value), now, int(step), *model))

    def flush(self) -> None:
        """Write the gathered metrics."""
        if self._sender is not None:
            self._sender.join()
        self._send()

    def _try_to_send(self) -> None:
        with contextlib.suppress(Exception):
            self._send()

    def _send(self) -> None:
        self._away = True
        try:
            with self._clocked():
                while True:
                    with self._guard:
                        batch = self._waiting[:METRICS_PER_BATCH]
                    if not batch:
                        break
                    self.client.log_batch(self.id, metrics=batch)
                    # What came meanwhile stands behind it.
                    with self._guard:
                        del self._waiting[: len(batch)]
            self._away = False
        finally:
            self._flushed = time.monotonic()

    def figure(self, figure: Figure, path: str) -> None:
        """Log a figure as a picture."""
        with self._clocked():
            self.client.log_figure(self.id, figure, path)

    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a frame as a table the UI can open and filter; `path` ends in .json."""
        table = frame.copy()
        for column in table.columns:
            if table[column].dtype.kind not in "iufb":
                table[column] = table[column].astype(str)
        with self._clocked():
            self.client.log_table(self.id, table, path)

    def text(self, text: str, path: str) -> None:
        """Log a text as a file."""
        with self._clocked():
            self.client.log_text(self.id, text, path)

    def json(self, value: Any, path: str) -> None:
        """Log plain values as a JSON or YAML file, by the ending of `path`."""
        with self._clocked():
            self.client.log_dict(self.id, value, path)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Upload a file into a folder of the run; with None into its root."""
        with self._clocked():
            self.client.log_artifact(self.id, str(path), folder)

    def folder(self, path: Path, target: str) -> None:
        """Upload what a folder holds into the run's folder `target`."""
        with self._clocked():
            self.client.log_artifacts(self.id, str(path), target)

    def dataset(
        self, *, name: str, digest: str, source: str, profile: Mapping[str, Any], columns: Sequence
    ) -> None:
        """Log the data as an input of the run: name, digest, where from, schema and profile.

        Parameters
        ----------
        columns
            Pairs of column name and dtype name, as the UI shows them.
        """
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        self.judged_on = (name[:500], digest[:36])

        schema = {
            "mlflow_colspec": [
                {"type": _column_type(kind), "name": str(column), "required": True}
                for column, kind in columns
            ]
        }
        entity = Dataset(
            name=name[:500],
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"uri": masked(source)}),
            schema=json.dumps(schema),
            profile=json.dumps(dict(profile)),
        )
        tag = InputTag("mlflow.data.context", "training")
        with self._clocked():
            self.client.log_inputs(self.id, [DatasetInput(entity, [tag])])

    def model(self, experiment_id: str, params: Mapping[str, Any]) -> None:
        """Make a logged model of the run's name, of which `scores` are kept beside the run's."""
        from mlflow.entities import LoggedModelOutput

        texts = {
            k: str(v)[:PARAM_LENGTH] for k, v in flatten(hide(params)).items() if v is not None
        }
        with self._clocked():
            logged = self.client.create_logged_model(
                experiment_id, model_name(self.name), self.id, params=texts, model_type="forecaster"
            )
            self.model_id = logged.model_id
            self.client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, 0)])

    def end(self, status: str) -> None:
        """Close the run, and its model as ready or failed."""
        if self.model_id is not None:
            self.client.finalize_logged_model(
                self.model_id, "READY" if status == "FINISHED" else "FAILED"
            )
        self.client.set_terminated(self.id, status)


def model_name(text: str) -> str:
    """A name that a logged model may have: without signs that addresses and paths are made of."""
    return re.sub(r"[/:.%\"'\s]+", "-", text).strip("-")[:200]


def _column_type(kind: str) -> str:
    if kind.startswith("datetime"):
        return "datetime"
    return {"f": "double", "i": "long", "u": "long", "b": "boolean"}.get(kind[0], "string")
