"""What stands in docker-compose.yml and the Dockerfile must exist, and hold no secret."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from pipelines import cli
from pipelines.commands.schedule import BY_FLAGS
from serving.settings import PREFIX, ServingSettings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY|AUTH_STRING")
VARIABLE = re.compile(r"\$\{(\w+)(:?[-?])?([^}]*)\}")

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}


def words(value: str | list[str]) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]


def options(command: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in command if word.startswith("-")}


def option(command: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in command if word.startswith(f"{name}="))


def test_the_usual_services_start_and_the_clock_only_when_asked_for() -> None:
    always = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert always == {"postgres", "mlflow", "service"}
    assert {n for n, s in SERVICES.items() if s.get("profiles") == ["schedule"]} == {
        "prefect",
        "worker",
    }


def test_no_secret_stands_in_the_file_and_none_has_a_default() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"://[^/@]*:[^$/@][^/@]*@", str(value)), (name, key)
            if SECRET_NAME.search(key):
                assert re.search(r"\$\{\w+:\?", str(value)), (name, key)
    for variable, operator, default in VARIABLE.findall(COMPOSE.read_text()):
        if SECRET_NAME.search(variable):
            assert operator == ":?", variable
            assert "deploy/secrets.sh" in default


def test_the_secrets_asked_for_are_those_that_are_made() -> None:
    made = subprocess.run(
        ["sh", str(ROOT / "deploy" / "secrets.sh")], capture_output=True, text=True, check=True
    ).stdout
    pairs = dict(line.split("=", 1) for line in made.splitlines())
    asked = {v for v, operator, _ in VARIABLE.findall(COMPOSE.read_text()) if operator == ":?"}
    assert set(pairs) == asked
    # They become parts of URLs.
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", value) for value in pairs.values())
    assert len(set(pairs.values())) == len(pairs)


def test_every_image_is_pinned_by_a_tag_with_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert [image for image in images if not re.search(r":\d+\.\d+", image)] == []


def test_our_image_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in OWN.values()} == {f"gatecast:{version}"}


def test_ports_are_published_on_the_loopback_address_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_volumes_are_named_and_mounted_files_exist() -> None:
    declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = VARIABLE.sub(lambda found: found[3], volume).split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
            else:
                used.add(source)
    assert used == declared


def test_what_serves_has_a_health_check_and_others_wait_for_it() -> None:
    for name in ("postgres", "mlflow", "service", "prefect"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
        if name in OWN:
            assert SERVICES[name]["environment"]["UP"].startswith("http://127.0.0.1:")
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[other]


def test_our_containers_have_no_rights_to_give_up() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M)[-1] == "gatecast"
    for service in OWN.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_mlflow_accepts_the_hosts_by_which_it_is_called() -> None:
    command = words(SERVICES["mlflow"]["command"])
    allowed = option(command, "--allowed-hosts").split(",")
    called = {
        urlsplit(value).netloc
        for service in SERVICES.values()
        for key, value in service.get("environment", {}).items()
        if key == "MLFLOW_TRACKING_URI"
    }
    assert called <= set(allowed)
    assert "127.0.0.1:5000" in allowed
    # Ten processes and a hole fewer.
    assert SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_settings_of_the_service_are_settings_it_has() -> None:
    names = [
        key.removeprefix(PREFIX).lower()
        for key in SERVICES["service"]["environment"]
        if key.startswith(PREFIX)
    ]
    assert names
    assert set(names) <= set(ServingSettings.model_fields)
    given = {
        key: VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else "k" * 40, str(value))
        for key, value in SERVICES["service"]["environment"].items()
    }
    # The command listens on every address of its container.
    command = words(SERVICES["service"]["command"])
    settings = ServingSettings.read(given, host=option(command, "--host"))
    assert settings.protected
    assert settings.tracking_uri == "http://mlflow:5000"


def _commands() -> list[list[str]]:
    found = [words(service["command"]) for service in SERVICES.values() if "command" in service]
    found.append(json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)[-1]))
    page = (ROOT / "deploy" / "README.md").read_text().replace("\\\n", " ")
    found += [words(line) for line in re.findall(r"compose run --rm cli (.*)", page)]
    return found


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_every_command_exists_with_its_options(command: list[str]) -> None:
    program, *rest = command
    if program == "gatecast":
        app = typer.main.get_command(cli.build())
        if rest[:1] == ["--help"]:
            return
        sub = app.commands[rest[0]]  # type: ignore[attr-defined]
        if hasattr(sub, "commands"):
            sub = sub.commands[rest[1] if rest[1] in sub.commands else BY_FLAGS]
        known = {name for parameter in sub.params for name in parameter.opts}
    elif program == "mlflow":
        from mlflow.cli import server

        assert rest[0] == "server"
        known = {name for parameter in server.params for name in parameter.opts}
    elif program == "prefect":
        pytest.importorskip("prefect")
        from prefect.cli.server import start

        assert rest[:2] == ["server", "start"]
        known = {f"--{name}".replace("_", "-") for name in inspect.signature(start).parameters}
    else:
        assert [program, *rest[:2]] == ["python", "-m", "serving"]
        text = (ROOT / "serving" / "__main__.py").read_text()
        known = {name for name in options(rest) if f'"{name}"' in text} | {"-m"}
    assert options(rest) <= known


def test_the_image_is_built_from_what_is_there() -> None:
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for name in line.split()[:-1]
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in copied if f"!{name}" not in kept] == []
    steps = re.findall(r"pip install(?:[^\n]*\\\n)*[^\n]*", DOCKERFILE)
    pinned = ("-c constraints.txt", "--require-hashes --no-deps -r requirements.lock")
    assert len(steps) == 3
    assert [step for step in steps if not any(pin in step for pin in pinned)] == []
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.M)


def test_the_image_installs_groups_that_exist() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = re.findall(r"^ARG EXTRAS=(\S+)", DOCKERFILE, re.M)[0].split(",")
    assert set(wanted) <= set(groups["optional-dependencies"])
    # PostgreSQL's driver as the URL names it.
    assert "postgres" in wanted


def test_docker_compose_agrees() -> None:
    docker = shutil.which("docker") or "docker"
    try:
        subprocess.run([docker, "compose", "version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no docker compose on this machine")
    secrets = dict.fromkeys(("POSTGRES_PASSWORD", "PREFECT_PASSWORD", "GATECAST_API_KEY"), "x")
    result = subprocess.run(
        [docker, "compose", "--file", str(COMPOSE), "--profile", "*", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | secrets,
    )
    assert result.returncode == 0, result.stderr
