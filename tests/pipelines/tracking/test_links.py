"""Addresses of MLflow's pages lead to the runs of the right experiment."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from forecasting.errors import ConfigError
from pipelines.tracking.links import FACE, experiment_of, runs_page
from pipelines.tracking.store import connect
from pipelines.tracking.tracker import Tracker


@pytest.mark.parametrize("server", ["http://127.0.0.1:5000", "https://mlflow.example.org/team/"])
def test_the_judged_runs_of_one_experiment_in_the_chart_view(server: str) -> None:
    found = urlsplit(runs_page(server, "7"))
    path, _, query = found.fragment.partition("?")
    assert f"{found.scheme}://{found.netloc}{found.path}" == f"{server.rstrip('/')}/"
    assert path == "/experiments/7/runs"
    assert {k: v for k, (v,) in parse_qs(query).items()} == FACE | {
        "compareRunsMode": "CHART",
        "orderByKey": "metrics.`mase`",
        "orderByAsc": "true",
        "searchFilter": "metrics.coverage_80 >= 0",
    }


def test_the_experiment_of_the_newest_run_or_the_one_that_is_named(state: Path) -> None:
    client = connect()
    assert experiment_of(client) is None
    for name in ("first", "second"):
        with Tracker.open(name, system_metrics=False).run("a run"):
            pass
    newest, named = experiment_of(client), experiment_of(client, "first")
    assert newest is not None
    assert named is not None
    assert (newest.name, named.name) == ("second", "first")
    with pytest.raises(ConfigError, match=r"no experiment 'frist'; it has: .*first"):
        experiment_of(client, "frist")
