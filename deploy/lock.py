"""Write requirements.lock: the versions of constraints.txt with the hashes of their files.

``python deploy/lock.py`` (``make lock`` runs it after it has written constraints.txt)

What the container image installs, and what that needs; asked of the package index by pip, for each
kind of machine that the image is built for. Two things stand there without a hash, because they
are not there: torch, of which every machine gets another build (CPU, or one of several CUDA
versions) from another index; and what only its CUDA builds bring. Build tools and tests are
installed from constraints.txt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK, CONSTRAINTS = ROOT / "requirements.lock", ROOT / "constraints.txt"
PYTHON = "3.11"  # of the image
MACHINES = ("x86_64", "aarch64")
# Kinds of wheels that run on the image's glibc 2.36.
WHEELS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24",
          "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010", "manylinux_2_5",
          "manylinux1", "linux")  # fmt: skip
APART = frozenset({"torch", "gatecast"})
HEAD = f"""\
# What the image installs, with hashes, but for torch, which comes from the index of its build:
# Python {PYTHON} on Linux, {", ".join(MACHINES)}. `make lock` writes it anew.
#   pip install --require-hashes --no-deps -r requirements.lock
"""


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Names and versions of constraints.txt."""
    lines = [line.partition("==") for line in text.splitlines() if "==" in line and line[0] != "#"]
    return {normal(name): version.strip() for name, _, version in lines}


def needed(root: str, extras: Iterable[str]) -> set[str]:
    """Every distribution that the project needs with its extras, as installed here."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[tuple[str, str]] = set()
    ahead = [(normal(root), extra) for extra in ("", *extras)]
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        if name == normal(root):
            # Not as it was installed, but as it stands.
            own = groups["optional-dependencies"].get(extra, []) if extra else []
            ahead += [
                (normal(one.name), inner)
                for one in map(Requirement, [*groups["dependencies"], *own])
                for inner in ("", *one.extras)
            ]
            continue
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            if name in APART or name.startswith(("nvidia-", "cuda-", "triton")):
                continue
            raise SystemExit(f"{name} is not installed here: run `make setup` first") from None
        for one in map(Requirement, wanted):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                ahead += [(normal(one.name), inner) for inner in ("", *one.extras)]
    return {name for name, _ in found} - {normal(root)}


def extras_of_the_image() -> list[str]:
    """The groups that the Dockerfile installs."""
    found = re.search(r"^ARG EXTRAS=(\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert found is not None
    return found[1].split(",")


def hashes(wanted: Mapping[str, str], machine: str) -> dict[str, str]:
    """SHA-256 of the file that pip takes for each distribution on a machine."""
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "asked.txt", Path(folder) / "report.json"
        asked.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--no-deps", "--only-binary=:all:", "--quiet", f"--python-version={PYTHON}"]
        command += [f"--platform={kind}_{machine}" for kind in WHEELS]
        command += ["--implementation=cp", f"--target={folder}/none", f"--report={report}"]
        subprocess.run([*command, "-r", str(asked)], check=True)
        found = json.loads(report.read_text())["install"]
    return {
        normal(one["metadata"]["name"]): one["download_info"]["archive_info"]["hashes"]["sha256"]
        for one in found
    }


def lock(wanted: Mapping[str, str], found: Iterable[Mapping[str, str]]) -> str:
    """The text of the file."""
    tables = list(found)
    lines = [HEAD]
    for name, version in sorted(wanted.items()):
        sums = sorted({table[name] for table in tables})
        ends = "".join(f" \\\n    --hash=sha256:{one}" for one in sums)
        lines.append(f"{name}=={version}{ends}\n")
    return "".join(lines)


def main() -> None:
    """Ask pip, and write the file."""
    known = pins(CONSTRAINTS.read_text())
    names = needed("gatecast", extras_of_the_image()) - APART
    missing = sorted(
        name for name in names - known.keys() if not name.startswith(("nvidia-", "cuda-", "triton"))
    )
    if missing:
        raise SystemExit(f"{', '.join(missing)}: no version in constraints.txt")
    wanted = {name: known[name] for name in names & known.keys()}
    text = lock(wanted, [hashes(wanted, machine) for machine in MACHINES])
    half = LOCK.with_suffix(".part")
    half.write_text(text)
    half.replace(LOCK)
    print(f"{LOCK.name}: {len(wanted)} distributions")


if __name__ == "__main__":
    main()
