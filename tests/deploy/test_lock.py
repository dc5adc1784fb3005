"""The lock file: every version of the image with its hashes, none that is known to be unsafe."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy import lock

ROOT = Path(__file__).resolve().parents[2]
# Releases before these have holes that are known (pyproject.toml says so beside them).
SAFE = {"bentoml": "1.4.39", "torch": "2.10", "pytorch-lightning": "2.6.1"}


@pytest.fixture(scope="module")
def locked() -> dict[str, tuple[str, list[str]]]:
    """Name → version and hashes."""
    text = (ROOT / "requirements.lock").read_text()
    assert text.startswith(lock.HEAD)
    found = re.findall(
        r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.M
    )
    names = re.findall(r"^[^#\s].*", text, re.M)
    assert len(found) == len(names), "a line without a hash"
    return {name: (version, re.findall(r"[0-9a-f]{64}", sums)) for name, version, sums in found}


def test_it_locks_the_versions_of_the_constraints(
    locked: dict[str, tuple[str, list[str]]],
) -> None:
    known = lock.pins((ROOT / "constraints.txt").read_text())
    assert {name: version for name, (version, _) in locked.items()} == {
        name: known[name] for name in locked
    }, "run `make lock`"


def test_it_holds_all_that_the_image_needs_but_torch(
    locked: dict[str, tuple[str, list[str]]],
) -> None:
    needed = lock.needed("gatecast", lock.extras_of_the_image())
    lacking = {
        n for n in needed - locked.keys() if not n.startswith(("nvidia-", "cuda-", "triton"))
    }
    assert lacking <= lock.APART, "run `make lock`"
    assert "torch" in lacking
    assert {"cryptography", "mlflow", "bentoml", "prefect", "psycopg-binary"} <= locked.keys()


def test_a_platforms_wheel_has_a_hash_for_each_machine(
    locked: dict[str, tuple[str, list[str]]],
) -> None:
    assert all(1 <= len(sums) <= len(lock.MACHINES) for _, sums in locked.values())
    for name in ("numpy", "orjson", "cryptography", "onnxruntime"):
        assert len(locked[name][1]) == len(lock.MACHINES), name
    assert len(locked["mlflow"][1]) == 1


def test_the_text_of_the_file_is_sorted_and_says_each_hash_once() -> None:
    tables = [{"b": "1" * 64, "a": "2" * 64}, {"b": "1" * 64, "a": "0" * 64}]
    text = lock.lock({"b": "1.0", "a": "2.0"}, tables)
    assert text == lock.HEAD + (
        f"a==2.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'2' * 64}\n"
        f"b==1.0 \\\n    --hash=sha256:{'1' * 64}\n"
    )


def test_the_image_installs_by_hash_before_it_installs_torch() -> None:
    text = (ROOT / "Dockerfile").read_text()
    # Where torch is in, what it brought is there already and is not asked for its hash again.
    assert text.index("--require-hashes -c requirements.lock") < text.index("^torch==")
    assert f"FROM python:{lock.PYTHON}" in text


@pytest.mark.parametrize("name", SAFE)
def test_no_release_with_a_known_hole_can_be_installed(
    name: str, locked: dict[str, tuple[str, list[str]]]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {r.name: r for group in groups for r in map(Requirement, group)}[name]
    floor = SAFE[name]
    assert wanted.specifier.contains(f"{floor}.999" if floor.count(".") == 1 else floor)
    major, minor, patch = (*map(int, floor.split(".")), 0)[:3]
    before = f"{major}.{minor}.{patch - 1}" if patch else f"{major}.{minor - 1}.9"
    assert not wanted.specifier.contains(before), before
    pinned = lock.pins((ROOT / "constraints.txt").read_text())[name]
    assert wanted.specifier.contains(pinned)
    assert name == "torch" or locked[name][0] == pinned


def test_the_distribution_that_only_sounds_right_is_nowhere(
    locked: dict[str, tuple[str, list[str]]],
) -> None:
    known = lock.pins((ROOT / "constraints.txt").read_text())
    assert "lightning" not in known.keys() | locked.keys()
