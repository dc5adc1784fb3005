"""Every code that an answer, a report or an error can hold has an entry, and no entry is left."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from forecasting import errors
from pipelines.ingestion.report.words import WORDS
from pipelines.terminal.codes import KINDS, codes, entries, nearest
from tests.house import PACKAGES

# Where a code stands in a call, by the name that is called.
PLACES = {"RequestError": 1, "SeriesProblem": 1, "SignatureError": 0, "_refuse": 1, "_refusal": 1}
# Codes that a call gets by a variable, where that variable is set.
NAMED = {"code", "CODE"}


@cache
def nodes(file: Path) -> list[ast.AST]:
    """Everything that stands in a file."""
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def calls(root: Path, *folders: str) -> Iterator[tuple[Path, str, ast.Call]]:
    for folder in folders or PACKAGES:
        for file in sorted((root / folder).rglob("*.py")):
            for node in nodes(file):
                if isinstance(node, ast.Call):
                    called = node.func
                    name = called.id if isinstance(called, ast.Name) else ""
                    yield file, name or getattr(called, "attr", ""), node


def texts(node: ast.expr) -> list[str]:
    """Constant texts that an expression can be, those that may be codes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if re.fullmatch("[a-z_]+", node.value) else []
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    return []


def assigned(root: Path) -> set[str]:
    """Texts that a variable called `code` is set to."""
    found: set[str] = set()
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            for node in nodes(file):
                if not isinstance(node, ast.Assign):
                    continue
                for target in node.targets:
                    names = target.elts if isinstance(target, ast.Tuple) else [target]
                    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                    for name, value in zip(names, values, strict=False):
                        if isinstance(name, ast.Name) and name.id in NAMED:
                            found |= set(texts(value))
    return found


def used(root: Path) -> set[str]:
    """All codes that stand in the sources."""
    found = assigned(root) | set(WORDS)
    for file, name, node in calls(root):
        place = PLACES.get(name)
        if name in ("add", "_note", "note") and len(node.args) >= 2:
            serves = file.is_relative_to(root / "serving")
            ingests = file.is_relative_to(root / "pipelines" / "ingestion")
            place = 1 if serves and name != "note" else 0 if ingests and name == "note" else None
        if place is not None and len(node.args) > place:
            found |= set(texts(node.args[place]))
        for keyword in node.keywords:
            if keyword.arg == "code":
                found |= set(texts(keyword.value))
    return found


def test_no_code_lacks_an_entry(root: Path) -> None:
    found = used(root)
    assert len(found) > 80
    assert sorted(found - {one.code for one in codes()}) == []


def test_every_class_of_errors_has_an_entry() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    for kind in classes:
        if issubclass(kind, errors.GatecastError):
            name = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")
            assert entries(name), name


def test_no_entry_tells_of_a_code_that_is_gone(root: Path) -> None:
    written = "".join(
        file.read_text(encoding="utf-8")
        for package in PACKAGES
        for file in (root / package).rglob("*.py")
    )
    own = {one.code for one in codes() if one.kind == "command"}
    gone = [one.code for one in codes() if one.code not in own and f'"{one.code}"' not in written]
    assert gone == []


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    for one in codes():
        assert one.kind in KINDS
        for text in (one.means, one.cure):
            assert text[0].isupper() or text[0] == "`", one
            assert text[-1] in ".`)?", one
            assert text.count("`") % 2 == 0, one


@pytest.mark.parametrize(
    ("code", "hint"), [("spik", "; did you mean spike?"), ("qqqqq", "")], ids=["near", "far"]
)
def test_a_misspelt_code_is_answered_by_the_one_that_is_meant(code: str, hint: str) -> None:
    assert nearest(code) == hint
