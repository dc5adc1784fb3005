"""cron and Kubernetes as clocks: their files parse, and their line works where they run it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import typer
import yaml

from pipelines import cli
from pipelines.config import ExperimentConfig
from pipelines.scheduling.times import schedule_of, upcoming

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "pipelines.md").read_text()
CRONJOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "cronjob.yaml").read_text())
POD = CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(MOUNTED,) = [m["mountPath"] for m in CONTAINER["volumeMounts"] if m["name"] == "configs"]
CRON_BLOCK = re.findall(r"```cron\n(.*?)```", PAGE, re.DOTALL)[0]
(CRON_LINE,) = [line for line in CRON_BLOCK.splitlines() if not line.startswith("#")]
CRON_COMMAND = CRON_LINE.split(None, 5)[5]
# What cron gives a job, and no more.
BARE = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}


def commands() -> dict[str, str]:
    shell, flag, line = CONTAINER["command"]
    assert (shell, flag) == ("sh", "-c")
    return {"cron": CRON_COMMAND, "kubernetes": line}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as the operator has it: an environment and configs."""
    (tmp_path / "configs").mkdir()
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    script = scripts / "gatecast"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipelines.cli "$@"\n')
    script.chmod(0o755)
    return tmp_path


def call(place: Path, line: str, folder: Path, state: Path) -> subprocess.CompletedProcess[str]:
    line = line.replace("/srv/forecasts", str(place)).replace(MOUNTED, str(place / "configs"))
    path = f"{place / '.venv' / 'bin'}:{BARE['PATH']}"
    environment = {**BARE, "HOME": str(place), "PATH": path, "GATECAST_HOME": str(state)}
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_times_are_times() -> None:
    spec = CRONJOB["spec"]
    for cron, zone in (
        (" ".join(CRON_LINE.split()[:5]), "Etc/UTC"),
        (spec["schedule"], spec["timeZone"]),
    ):
        (when,) = upcoming(schedule_of(cron, None, zone), 1)
        assert when.astimezone(ZoneInfo(zone)).hour == 3


def test_kubernetes_overlaps_nothing_and_keeps_the_state() -> None:
    spec = CRONJOB["spec"]
    assert (CRONJOB["apiVersion"], CRONJOB["kind"]) == ("batch/v1", "CronJob")
    assert spec["concurrencyPolicy"] == "Forbid"
    assert POD["restartPolicy"] in ("Never", "OnFailure")
    mounted = {m["name"] for m in CONTAINER["volumeMounts"]}
    assert mounted == {v["name"] for v in POD["volumes"]}
    dockerfile = (ROOT / "Dockerfile").read_text()
    (home,) = re.findall(r"GATECAST_HOME=(\S+)", dockerfile)
    assert home in {m["mountPath"] for m in CONTAINER["volumeMounts"]}
    (user,) = re.findall(r"--uid (\d+)", dockerfile)
    assert POD["securityContext"]["runAsUser"] == int(user)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert CONTAINER["image"] == compose["services"]["trainer"]["image"]


def test_the_files_that_the_page_applies_exist() -> None:
    for path in re.findall(r"kubectl apply -f (\S+)", PAGE):
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("clock", list(commands()))
def test_the_line_names_a_command_that_exists(clock: str) -> None:
    words = commands()[clock].split()
    at = next(k for k, word in enumerate(words) if word.endswith("gatecast"))
    app = typer.main.get_command(cli.build())
    assert words[at + 1] in app.commands  # type: ignore[attr-defined]


def test_both_run_the_same_line() -> None:
    plain = {c.partition("&& ")[2] or c for c in commands().values()}
    plain = {re.sub(r"\S*/(?=gatecast|configs/)", "", c) for c in plain}
    assert plain == {"gatecast train configs/x.yaml || [ $? -eq 3 ]"}


@pytest.mark.slow
def test_a_refusal_is_no_failure_and_late_data_are(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    experiment: Callable[..., ExperimentConfig],
    state: Path,
) -> None:
    config = experiment(
        candidates={"gru": {"model": {"cell": "gru"}, "training": {"max_steps": 5}}},
        gate={"coverage": [0.999, 1.0]},
    )
    path = place / "configs" / "x.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    line = CRON_COMMAND
    refused = call(place, line, elsewhere, state)
    assert refused.returncode == 0, refused.stdout + refused.stderr
    assert "The gate refused it" in refused.stdout
    broken = config.model_copy(update={"data": config.data.replace(source=str(place / "no.csv"))})
    path.write_text(yaml.safe_dump(broken.model_dump(mode="json", exclude_unset=True)))
    late = call(place, line, elsewhere, state)
    assert late.returncode != 0
    assert "no.csv" in late.stderr
    assert list(elsewhere.iterdir()) == []
    gone = line.replace("/srv/forecasts", "/srv/nowhere")
    assert call(place, gone, elsewhere, state).returncode != 0
