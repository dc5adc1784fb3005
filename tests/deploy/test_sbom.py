"""The bill of materials: all that is installed, once, and the same bytes every time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from deploy import sbom

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sbom.bill(metadata.distributions())


def test_it_names_all_that_is_installed_once_with_its_version(document: dict[str, Any]) -> None:
    named = [part["name"] for part in document["components"]]
    assert named == sorted(set(named))
    installed = {sbom.normal(one.metadata["Name"]) for one in metadata.distributions()}
    assert set(named) == installed - {"gatecast"}
    for part in document["components"]:
        assert part["version"] == metadata.version(part["name"])
        assert re.fullmatch(r"pkg:pypi/[a-z0-9-]+@[\w.!%-]+", part["purl"])
    assert document["metadata"]["component"]["name"] == "gatecast"
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")


def test_what_depends_on_what_leads_to_parts_that_are_there(document: dict[str, Any]) -> None:
    refs = {part["bom-ref"] for part in document["components"]}
    refs.add(document["metadata"]["component"]["bom-ref"])
    depends = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert depends.keys() == refs
    assert all(need in refs for needs in depends.values() for need in needs)
    (mlflow,) = [ref for ref in refs if ref.startswith("pkg:pypi/mlflow@")]
    assert any(need.startswith("pkg:pypi/cryptography@") for need in depends[mlflow])


def test_a_licence_is_an_expression_or_a_name_and_no_text(document: dict[str, Any]) -> None:
    stated = [part["licenses"] for part in document["components"] if "licenses" in part]
    assert len(stated) > 0.9 * len(document["components"])
    for (one,) in stated:
        text = one.get("expression") or one["license"]["name"]
        assert "\n" not in text


@pytest.mark.slow
def test_the_same_environment_gives_the_same_bytes_and_tells_no_path(tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        command = [sys.executable, str(ROOT / "deploy" / "sbom.py"), str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["serialNumber"].startswith("urn:uuid:")
    assert str(ROOT) not in texts[0]
    assert sys.prefix not in texts[0]


def test_a_build_of_a_version_is_no_other_version() -> None:
    assert sbom.purl("Torch_Vision.x", "2.13.0+cpu") == "pkg:pypi/torch-vision-x@2.13.0%2Bcpu"
