"""Prometheus' rules, Alertmanager's routes, Grafana's board, by their programs and the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Histogram

from serving.running.metrics import Metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/boards/gatecast.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
COLUMNS = 24  # of Grafana's grid


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return found


def expressions() -> list[str]:
    board = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return board + [rule["expr"] for rule in RULES]


def samples() -> dict[str, set[str]]:
    """Names of the service's samples, each with the labels that it has."""
    found: dict[str, set[str]] = {}
    metrics = vars(Metrics())
    for metric in [*metrics.values(), metrics["stage"]["read"]]:
        if not hasattr(metric, "describe"):
            continue
        for family in metric.describe():
            labels = set(metric._labelnames)
            plain = [family.name]
            if isinstance(metric, Histogram):
                plain = [f"{family.name}_{part}" for part in ("sum", "count")]
                found[f"{family.name}_bucket"] = labels | {"le"}
            elif family.type == "counter":
                plain = [f"{family.name}_total"]
            found |= dict.fromkeys(plain, labels)
    return found | {f"gatecast_stage_seconds_{part}": {"stage"} for part in ("sum", "count")}


@pytest.mark.parametrize("expression", expressions())
def test_what_is_drawn_or_rung_for_is_a_metric_of_the_service(expression: str) -> None:
    known = samples()
    names = re.findall(r"\b(gatecast_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert names
    for name, selector in names:
        if name == "up":
            continue
        assert name in known, name
        asked = set(re.findall(r"(\w+)\s*[=!]~?", selector))
        assert asked <= known[name] | {"instance", "job"}, (name, asked)
    # What is grouped by is a label of something in it, or the scrape's.
    grouped = {
        label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression)
        for label in labels.split(",")
    }  # fmt: skip
    labels = set().union(*(known.get(name, set()) for name, _ in names))
    assert grouped <= labels | {"instance", "job"}


def test_the_board_shows_what_an_operator_asks_first() -> None:
    shown = " ".join(expressions()[: -len(RULES)])
    for name in (
        "request_seconds_bucket", "errors_total", "model_created_seconds", "registry_seen_seconds",
        "model_drift", "requests_under_way",
    ):  # fmt: skip
        assert f"gatecast_{name}" in shown


def test_the_board_is_whole_and_its_panels_lie_beside_each_other() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "time", "templating"} <= set(BOARD)
    sources = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        assert panel["datasource"]["uid"] == sources["datasources"][0]["uid"]
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_alarm_says_how_urgent_it_is_and_the_page_says_what_to_do() -> None:
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in page, rule["alert"]


@pytest.mark.parametrize(
    "words",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules.test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_agrees(words: list[str]) -> None:
    run = subprocess.run(
        [program("promtool"), *words],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_alertmanager_agrees(tmp_path: Path) -> None:
    amtool = program("amtool")
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    # Debian's version is older than addresses from files; the image's is not.
    given = text.replace("url_file: /run/secrets/alert_url", "url: http://127.0.0.1:9/")
    assert given != text
    (tmp_path / "alertmanager.yml").write_text(given)
    run = subprocess.run(
        [amtool, "check-config", str(tmp_path / "alertmanager.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_alarms_that_silence_each_other_exist() -> None:
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    names = {rule["alert"] for rule in RULES}
    assert set(re.findall(r'alertname="(\w+)"', text)) <= names
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in scraped["scrape_configs"]
    }
    assert set(re.findall(r'job="(\w+)"', str(expressions()))) <= set(jobs)
    assert [target.split(":")[0] for target in jobs["gatecast"]] == ["service-a", "service-b"]
    assert {"service-a", "service-b", "alertmanager"} <= set(compose)
