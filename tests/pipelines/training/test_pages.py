"""MLflow's own pages in a real browser: runs side by side, curves, and the model's story.

With ``GATECAST_PICTURES=FOLDER`` the pages are also kept as the pictures of the docs; with
``GATECAST_PICTURES_HOME=.gatecast`` they show an experiment that was trained elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.config import ExperimentConfig
from pipelines.demo.processes import ui_command_line
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.links import runs_page
from pipelines.tracking.tracker import Tracker, open_tracker
from pipelines.training.session import Outcome
from tests.browser import Page, chromium, executable
from tests.pipelines.waiting import answers, until

PICTURES, OTHER_HOME = "GATECAST_PICTURES", "GATECAST_PICTURES_HOME"
START_SECONDS = 120.0
DRAWN_SECONDS = 60.0
# Charts below the view are drawn when it comes to them.
CHARTS_DRAWN = "document.querySelectorAll('.js-plotly-plot').length > 1"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(executable() is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def tracker(state: Path, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    """The small experiment's place in MLflow; or another's, for the pictures."""
    if OTHER_HOME not in os.environ:
        outcome: Outcome = request.getfixturevalue("outcome")
        make: Callable[..., ExperimentConfig] = request.getfixturevalue("experiment")
        assert outcome.promoted
        yield open_tracker(make())
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, os.environ[OTHER_HOME])
        name = os.environ.get("GATECAST_PICTURES_NAME", "m3-monthly")
        yield Tracker.open(name, system_metrics=False)


@pytest.fixture(scope="module")
def server(tracker: Tracker) -> Iterator[str]:
    """The address of MLflow's pages on the experiment's store, as `gatecast ui` starts them."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        ui_command_line("127.0.0.1", port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/health"), START_SECONDS, "MLflow's pages did not start")
        yield url
        process.terminate()


@pytest.fixture(scope="module")
def page(server: str) -> Iterator[Page]:
    with chromium(width=1600, height=1000) as tab:
        # MLflow remembers in the browser which of its faces to show, and opens its assistant once.
        tab.open(f"{server}/health")
        tab.wait("OK")
        for key, value in (
            ("mlflow.assistant.panelOpen_v1", False),
            ("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", True),
            ("mlflow.workflowType_v1", "machine_learning"),
        ):
            tab.run(f"localStorage.setItem({key!r}, JSON.stringify({json.dumps(value)}))")
        yield tab


def keep(page: Page, name: str) -> None:
    """The page as a picture of the docs, when they are asked for."""
    if PICTURES in os.environ:
        time.sleep(4)  # charts draw themselves after their text is there
        page.picture(Path(os.environ[PICTURES]) / f"{name}.png")


def models(tracker: Tracker) -> dict[str, str]:
    """Candidate or baseline → its run in the latest pipeline that trained."""
    runs = tracker.client.search_runs([tracker.experiment_id], order_by=["start_time DESC"])
    pipeline = next(r for r in runs if r.data.tags.get("kind") == "pipeline")
    return {
        run.data.tags["candidate"]: run.info.run_id
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == pipeline.info.run_id
        and run.data.tags.get("kind") in ("candidate", "baseline")
    }


def unfold(page: Page) -> None:
    """Open the latest pipeline's run, so that its candidates and baselines stand below it."""
    button = """(() => {
        const links = [...document.querySelectorAll('a')];
        const link = links.find(a => a.innerText.startsWith('train '));
        const button = link && link.closest('[role=gridcell]').querySelector('button');
        if (button) button.click();
        return Boolean(button);
    })()"""
    assert page.run(button), "the pipeline's run cannot be opened"


def down_to(page: Page, title: str) -> None:
    """Bring a section of charts into view: those below it are drawn only then."""
    move = f"""(() => {{
        const leaves = [...document.querySelectorAll('*')].filter(e => !e.children.length);
        const found = leaves.find(e => e.textContent.trim() === {title!r});
        if (found) found.scrollIntoView();
        return Boolean(found);
    }})()"""
    until(lambda: page.run(move), DRAWN_SECONDS, f"there is no section {title}")


def test_networks_and_baselines_stand_in_one_table_and_share_their_charts(
    page: Page, server: str, tracker: Tracker
) -> None:
    names = models(tracker)
    assert {"gru", "lstm", "seasonal_naive"} <= set(names)
    judged = urllib.parse.quote("metrics.coverage_80 >= 0")  # a filter that leaves out the rest
    address = f"{server}/#/experiments/{tracker.experiment_id}/runs?searchFilter={judged}"
    page.open(address)
    page.wait("Run Name", "train 2")
    unfold(page)
    page.wait("seasonal_naive", "gru · gru", "lstm · lstm")
    page.open(f"{address}&compareRunsMode=CHART")
    shown = page.wait("gru · gru", "horizon/smape", "seasonal_naive (horizon/smape)")
    drawn = CHARTS_DRAWN
    until(lambda: page.run(drawn), DRAWN_SECONDS, "no charts were drawn")
    assert "lstm · lstm" in shown
    keep(page, "mlflow-charts")
    down_to(page, "Model metrics")
    page.wait("coverage_80")


def test_a_browser_that_was_never_there_sees_the_charts_at_once(
    server: str, tracker: Tracker
) -> None:
    with chromium(width=1600, height=1000) as tab:  # it remembers nothing, least of all a choice
        tab.open(runs_page(server, tracker.experiment_id))
        tab.wait("Model training", "seasonal_naive", "horizon/smape")
        drawn = CHARTS_DRAWN
        until(lambda: tab.run(drawn), DRAWN_SECONDS, "no charts were drawn")
        down_to(tab, "Model metrics")
        tab.wait("coverage_80")


def test_runs_compare_side_by_side_with_the_same_metrics(
    page: Page, server: str, tracker: Tracker
) -> None:
    chosen = list(models(tracker).values())
    runs = urllib.parse.quote(json.dumps(chosen))
    experiments = urllib.parse.quote(json.dumps([tracker.experiment_id]))
    page.open(f"{server}/#/compare-runs?runs={runs}&experiments={experiments}")
    shown = page.wait("Parallel Coordinates Plot", "smape", "coverage_80")
    assert f"Comparing {len(chosen)} Runs" in shown
    keep(page, "mlflow-compare")


def test_the_error_by_horizon_step_is_a_curve(page: Page, server: str, tracker: Tracker) -> None:
    run = models(tracker)["gru"]
    page.open(f"{server}/#/experiments/{tracker.experiment_id}/runs/{run}/model-metrics")
    page.wait("horizon/smape")
    drawn = "document.querySelectorAll('.js-plotly-plot').length > 2"
    until(lambda: page.run(drawn), DRAWN_SECONDS, "no chart was drawn")
    keep(page, "mlflow-curves")


def test_the_pictures_of_a_run_are_there(page: Page, server: str, tracker: Tracker) -> None:
    run = models(tracker)["gru"]
    base = f"{server}/#/experiments/{tracker.experiment_id}/runs/{run}/artifacts"
    page.open(f"{base}/fans.png")
    page.wait("fans.png")
    wide = "[...document.querySelectorAll('img')].some(i => i.naturalWidth > 300)"
    until(lambda: page.run(wide), DRAWN_SECONDS, "the fan charts were not shown")


def test_the_models_page_names_the_champion_and_why(
    page: Page, server: str, tracker: Tracker
) -> None:
    name = tracker.experiment
    champion = Registry(tracker.client).version(name, CHAMPION)
    page.open(f"{server}/#/models/{name}")
    page.wait("champion", "promoted")
    keep(page, "mlflow-model")
    page.open(f"{server}/#/models/{name}/versions/{champion.version}")
    shown = page.wait("champion", "The gate", "seasonal_naive", "in 80 %")
    assert "passed: " in shown
    keep(page, "mlflow-version")
