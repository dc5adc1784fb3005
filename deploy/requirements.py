"""Print what groups of pyproject.toml need, for pip: ``deploy/requirements.py serve,traces``.

The image installs these before it holds the code, so that a change of the code fetches none of them
again, and with the hashes of requirements.lock, which pip takes for a list of names but not for a
folder. Packages that are named after ``--without`` are left out: torch comes from another index.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PROJECT = Path("pyproject.toml")


def wanted(project: dict[str, Any], groups: Iterable[str]) -> list[str]:
    """The requirements of the project and of its groups, and of the groups that these name.

    Raises
    ------
    SystemExit
        A group that there is not.
    """
    own, known = project["name"], project.get("optional-dependencies", {})
    found: dict[str, None] = dict.fromkeys(project["dependencies"])
    ahead, seen = list(groups), set[str]()
    while ahead:
        group = ahead.pop()
        if group in seen:
            continue
        seen.add(group)
        if group not in known:
            raise SystemExit(f"pyproject.toml has no group {group!r}; it has: {', '.join(known)}")
        for line in known[group]:
            one = Requirement(line)
            if one.name == own:
                ahead += one.extras
            else:
                found[line] = None
    return list(found)


def main(arguments: list[str]) -> None:
    """Print one requirement a line."""
    groups, _, apart = " ".join(arguments).partition("--without")
    project = tomllib.loads(PROJECT.read_text())["project"]
    for line in wanted(project, groups.replace(",", " ").split()):
        if Requirement(line).name not in apart.split():
            print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
