"""Addresses of MLflow's pages: where an experiment's runs stand side by side.

MLflow's own first page is that of prompts and traces, until a browser remembers another choice; the
addresses here ask for the one of trained models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from forecasting.errors import ConfigError

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

FACE = {"workflowType": "machine_learning"}
JUDGED = "metrics.coverage_80 >= 0"  # leaves out the runs of members, origins and pipelines
LISTED = 10


def runs_page(server: str, experiment_id: str | None = None) -> str:
    """The judged runs of an experiment in the chart view; without one, the list of experiments."""
    base = f"{server.rstrip('/')}/#/experiments"
    if experiment_id is None:
        return f"{base}?{urlencode(FACE)}"
    # Sorted by when they began, candidates would be folded away below their pipeline.
    order = {"orderByKey": "metrics.`mase`", "orderByAsc": "true"}
    view = FACE | order | {"compareRunsMode": "CHART", "searchFilter": JUDGED}
    return f"{base}/{experiment_id}/runs?{urlencode(view)}"


def runs_beside(experiment_id: str) -> str:
    """The same page from within MLflow's own pages, whatever address those have."""
    return runs_page("", experiment_id).removeprefix("/")


def experiment_of(client: MlflowClient, name: str | None = None) -> Experiment | None:
    """The experiment of that name; without a name that of the newest run, None where there is none.

    Raises
    ------
    ConfigError
        No experiment bears the name.
    """
    if name is not None:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            there = [e.name for e in client.search_experiments(max_results=LISTED)]
            raise ConfigError(f"MLflow has no experiment {name!r}; it has: {', '.join(there)}")
        return experiment
    ids = [e.experiment_id for e in client.search_experiments()]
    newest = client.search_runs(ids, max_results=1, order_by=["start_time DESC"])
    return client.get_experiment(newest[0].info.experiment_id) if newest else None
