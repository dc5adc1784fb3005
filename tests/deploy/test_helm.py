"""The Helm chart, rendered, held against Kubernetes' schemas, the Compose file and the code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.settings import PREFIX, ServingSettings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "gatecast"
CONFIG = "name: sales\nhorizon: 3\n"
EVERYTHING: dict[str, Any] = {
    "images": {"pullSecrets": ["registry"]},
    "serving": {"ingress": {"enabled": True}, "env": {"GATECAST_HOSTS": "forecasts.example.org"}},
    "configs": {"sales.yaml": CONFIG},
    "tables": "tables",
    "jobs": {
        "watch": {
            "command": "monitor",
            "config": "sales.yaml",
            "schedule": "45 4 * * *",
            "resources": {"limits": {"nvidia.com/gpu": 1}},
        }
    },
}
KUBERNETES = ("1.29", "1.33")


def render(values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    charts = pytest.importorskip(
        "helm_python.chart", reason="`make stack` installs helm-python-sdk, Helm as a library"
    )
    files = charts.Chart.load(CHART).render(values or {}, name="fc", namespace="forecasts")
    return [d for text in files.values() for d in yaml.safe_load_all(text) if d]


def of(kind: str, documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (d for d in documents if d["kind"] == kind)


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [d["spec"]["template"]["spec"] for d in of("Deployment", documents)]
    jobs = (d["spec"]["jobTemplate"]["spec"]["template"]["spec"] for d in of("CronJob", documents))
    return [*found, *jobs]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it comes", "everything"])
def test_kubernetes_takes_what_is_rendered(values: dict[str, Any], version: str) -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="`make stack` installs kubernetes-validate"
    )
    documents = render(values)
    assert {d["kind"] for d in documents} >= {
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "CronJob",
        "NetworkPolicy", "ConfigMap",
    }  # fmt: skip
    for document in documents:
        validator.validate(document, version, strict=True)
    names = [(d["kind"], d["metadata"]["name"]) for d in documents]
    assert len(set(names)) == len(names)
    documents[0]["spec"]["replics"] = 3
    with pytest.raises(validator.ValidationError):
        validator.validate(documents[0], version, strict=True)


def test_the_chart_passes_helms_linter_and_has_the_projects_version() -> None:
    charts = pytest.importorskip("helm_python.chart", reason="`make stack` installs Helm")
    report = charts.lint(CHART, EVERYTHING, strict=True)
    worst = [m for m in report["messages"] if m["severity"] >= 2]
    assert (worst, report["errors"]) == ([], [])
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert {about["version"], about["appVersion"]} == {version[1]}


@pytest.mark.parametrize(
    "values",
    [
        {"serving": {"models": []}},
        {"serving": {"replica": 3}},
        {"jobs": {"train": {"command": "tran"}}},
        {"images": {"serving": "gatecast"}},
        {"tracking": {"uri": "http://me:secret@mlflow:5000"}},
    ],
    ids=str,
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any]) -> None:
    charts = pytest.importorskip("helm_python.chart", reason="`make stack` installs Helm")
    errors = pytest.importorskip("helm_python.errors")
    chart = charts.Chart.load(CHART)
    with pytest.raises(errors.HelmError):
        chart.validate_schema(chart.merge_values(values))


def test_pods_have_few_rights_and_keep_nothing() -> None:
    for pod in pods(render(EVERYTHING)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        kept = [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
        # Tables of the user's, where they are files; and then to read only.
        assert all(v["persistentVolumeClaim"]["readOnly"] for v in kept)
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
    (serving,) = of("Deployment", render())
    volumes = serving["spec"]["template"]["spec"]["volumes"]
    assert [v["name"] for v in volumes if "emptyDir" not in v] == ["secrets"]


def test_no_secret_stands_in_a_manifest_and_each_that_is_named_is_mounted() -> None:
    for pod in pods(render(EVERYTHING)):
        (container,) = pod["containers"]
        items = {i["path"] for v in pod["volumes"] for i in v.get("secret", {}).get("items", ())}
        named = {
            Path(entry["value"]).name: entry["name"]
            for entry in container["env"]
            if entry["name"].endswith("_FILE")
        }
        assert set(named) == items
        for entry in container["env"]:
            if re.search("PASSWORD|SECRET|API_KEY|LOCKS", entry["name"]):
                assert entry["value"].startswith("/run/secrets/")


def test_settings_of_the_service_are_settings_it_has() -> None:
    (serving,) = of("Deployment", render())
    (container,) = serving["spec"]["template"]["spec"]["containers"]
    given = {
        e["name"].removesuffix("_FILE"): "k" * 40 if e["name"].endswith("_FILE") else e["value"]
        for e in container["env"]
    }
    names = {name.removeprefix(PREFIX).lower() for name in given if name.startswith(PREFIX)}
    assert names <= set(ServingSettings.model_fields)
    settings = ServingSettings.read(given, host="0.0.0.0")
    assert settings.models == ("m3-monthly",)
    (peers,) = settings.peers
    services = {d["metadata"]["name"]: d["spec"] for d in of("Service", render())}
    headless = services[peers.partition(":")[0]]
    assert headless["clusterIP"] == "None"
    labels = serving["spec"]["template"]["metadata"]["labels"]
    assert all(spec["selector"].items() <= labels.items() for spec in services.values())
    assert f"--port={peers.partition(':')[2]}" in container["args"]


def test_probes_ask_paths_of_the_service_and_stopping_leaves_time() -> None:
    from serving.__main__ import GRACE_SECONDS
    from serving.routes.table import ROUTES

    (serving,) = of("Deployment", render())
    spec = serving["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    paths = {route.path for route in ROUTES}
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")]
    assert probes == ["/readyz", "/readyz"]
    # What cannot answer because a model is missing is not killed for it.
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert {"/readyz", "/livez"} <= paths
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= pause + GRACE_SECONDS
    (budget,) = of("PodDisruptionBudget", render())
    (scaler,) = of("HorizontalPodAutoscaler", render())
    assert budget["spec"]["maxUnavailable"] < scaler["spec"]["minReplicas"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == serving["metadata"]["name"]


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 0), (2, 2), (1, 1)])
def test_a_refusal_is_no_failure_and_a_bad_config_is_not_tried_again(
    tmp_path: Path, code: int, ends: int
) -> None:
    (job,) = of("CronJob", render())
    spec = job["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    config = f"{places['configs']}/m3-monthly.yaml"
    program = tmp_path / "gatecast"
    program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    program.chmod(0o755)
    run = subprocess.run(
        container["args"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (ends, f"train {config}\n")
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_a_config_arrives_as_it_was_written() -> None:
    documents = render(EVERYTHING)
    (configs,) = of("ConfigMap", documents)
    assert configs["data"]["sales.yaml"].rstrip("\n") + "\n" == CONFIG
    jobs = {d["metadata"]["name"]: d for d in of("CronJob", documents)}
    assert set(jobs) == {"fc-train", "fc-watch"}
    spec = jobs["fc-watch"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = (v for v in spec["volumes"] if v["name"] == "configs")
    assert volume["configMap"]["name"] == configs["metadata"]["name"]
    assert not list(of("ConfigMap", render({"existingConfigs": "mine"})))
