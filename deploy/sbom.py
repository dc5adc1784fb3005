"""Write what is installed as a bill of materials: CycloneDX 1.6 in JSON.

``python deploy/sbom.py [FILE]`` (``make sbom`` runs it; without a file it prints)

Every distribution that this Python finds, with its version, its licence as it states it, and what
it needs of the others. The same environment gives the same bytes: there is no time in it.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterable
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

SUBJECT = "gatecast"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:gatecast:sbom")
LICENCE_LENGTH = 100  # longer ones are a licence's text, not its name


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(name: str, version: str) -> str:
    """Package URL. A local part (``+cpu``) names the build and is no version of the index."""
    return f"pkg:pypi/{normal(name)}@{version.replace('+', '%2B')}"


def bill(distributions: Iterable[Distribution]) -> dict[str, Any]:
    """The document of these distributions; of one that is found twice the first, as Python does."""
    found: dict[str, Distribution] = {}
    for one in distributions:
        found.setdefault(normal(one.metadata["Name"]), one)
    refs = {name: purl(name, one.version) for name, one in found.items()}
    parts = {name: _component(name, one) for name, one in sorted(found.items())}
    depends = [
        {"ref": refs[name], "dependsOn": sorted(refs[need] for need in _needs(one) & refs.keys())}
        for name, one in sorted(found.items())
    ]
    body: dict[str, Any] = {
        "metadata": {
            "component": {**parts.get(SUBJECT, {"name": SUBJECT}), "type": "application"},
            "properties": [
                {"name": "python", "value": ".".join(map(str, sys.version_info[:3]))},
                {"name": "platform", "value": sys.platform},
            ],
        },
        "components": [part for name, part in parts.items() if name != SUBJECT],
        "dependencies": depends,
    }
    serial = uuid.uuid5(NAMESPACE, json.dumps(body, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **body,
    }


def _component(name: str, one: Distribution) -> dict[str, Any]:
    ref = purl(name, one.version)
    part: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": name,
        "version": one.version,
        "purl": ref,
    }
    licence = _licence(one)
    if licence is not None:
        part["licenses"] = [licence]
    return part


def _licence(one: Distribution) -> dict[str, Any] | None:
    """As a distribution states it: an SPDX expression, else a name, else its classifiers."""
    expression = one.metadata.get("License-Expression")
    if expression:
        return {"expression": expression}
    name = (one.metadata.get("License") or "").strip()
    if not name or len(name) > LICENCE_LENGTH or "\n" in name:
        kinds = one.metadata.get_all("Classifier") or []
        named = [kind.rpartition(" :: ")[2] for kind in kinds if kind.startswith("License :: ")]
        name = " or ".join(named)
    return {"license": {"name": name}} if name and name != "UNKNOWN" else None


def _needs(one: Distribution) -> set[str]:
    """Names of what a distribution needs here, without its extras."""
    needs = set()
    for text in one.requires or []:
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            needs.add(normal(need.name))
    return needs


def main() -> None:
    """Write or print the document of this environment."""
    text = json.dumps(bill(metadata.distributions()), indent=1, ensure_ascii=False) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
        print(f"{sys.argv[1]}: {text.count('bom-ref')} distributions")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
