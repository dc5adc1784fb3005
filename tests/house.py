"""The rules of the house that import-linter cannot hold, each as a function of a tree's root.

A rule returns what breaks it, one line each that begins with the place; none means that it holds.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

PACKAGES = ("forecasting", "pipelines", "serving")
FILES_IN_A_FOLDER = 15  # modules, without __init__.py
FUNCTION_LINES = 80
FUNCTION_PARAMETERS = 8  # without self and cls
# What is slow to load, or not always there: may be imported where it is used.
DEFERRED = ("pandas", "scipy", "matplotlib", "onnxruntime", "polars", "pyarrow", "statsforecast")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lent_names_are_what_they_say(root: Path, packages: tuple[str, ...] = PACKAGES) -> Iterator[str]:
    """Every name in an `__all__` is lent out, and is what its import for the type checker says."""
    for file, tree in _sources(root, packages):
        if not (lent := _lent(tree)):
            continue
        module = importlib.import_module(_module(root, file))
        homes = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            for alias in node.names
        }
        for name in lent:
            place = f"{module.__name__}.{name}"
            try:
                value = getattr(module, name)
            except AttributeError:
                yield f"{place}: in __all__, and not there"
                continue
            if name in homes:
                home, original = homes[name]
                if value is not getattr(importlib.import_module(home), original):
                    yield f"{place}: is not {home}.{original}, as the type checker is told"
            if isinstance(value, ModuleType):
                yield f"{place}: is a module"


def lent_names_are_no_modules(root: Path) -> Iterator[str]:
    """No package lends out a name that one of its modules bears: the module would win."""
    for file, tree in _sources(root):
        if file.name != "__init__.py":
            continue
        modules = {path.stem for path in file.parent.iterdir() if _is_module(path)}
        for name in sorted(modules & set(_lent(tree))):
            yield f"{_module(root, file)}.{name}: a module has that name"


def only_faces_hold_code(root: Path) -> Iterator[str]:
    """An `__init__.py` with more than a docstring, as a package's face has."""
    for file, tree in _sources(root):
        if file.name == "__init__.py" and tree.body[bool(ast.get_docstring(tree)) :]:
            yield _module(root, file)


def folders_are_small(root: Path) -> Iterator[str]:
    """A folder of the product or its tests with more modules than one can keep in mind."""
    folders = {file.parent for top in (*PACKAGES, "tests") for file in (root / top).rglob("*.py")}
    for folder in sorted(folders):
        count = sum(file.name != "__init__.py" for file in folder.glob("*.py"))
        if count > FILES_IN_A_FOLDER:
            yield f"{folder.relative_to(root)}: {count} files, more than {FILES_IN_A_FOLDER}"


def tests_mirror_the_tree(root: Path) -> Iterator[str]:
    """A test file whose folder, or whose module, is none of the product."""
    for package in PACKAGES:
        for file in sorted((root / "tests" / package).rglob("test_*.py")):
            shown = file.relative_to(root / "tests")
            room, subject = root / shown.parent, file.stem.removeprefix("test_")
            if not (_is_module(room / f"{subject}.py") or _is_module(room / subject)):
                yield shown.as_posix()


def functions_are_short(root: Path) -> Iterator[str]:
    """A function too long to be read at once, or with too many parameters to be called safely."""
    for file, tree in _sources(root):
        for function in _functions(tree):
            place = f"{_module(root, file)}.{function.name}"
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{place}: {lines} lines, more than {FUNCTION_LINES}"
            count = _parameters(function)
            if count > FUNCTION_PARAMETERS:
                yield f"{place}: {count} parameters, more than {FUNCTION_PARAMETERS}"


def private_names_stay_at_home(root: Path) -> Iterator[str]:
    """A private name imported from another module of the product."""
    for file, tree in _sources(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and _ours(node.module):
                for alias in node.names:
                    if alias.name.startswith("_"):
                        yield f"{_module(root, file)}: {node.module}.{alias.name}"


def imports_stand_on_top(root: Path) -> Iterator[str]:
    """An import inside a function of `forecasting`, but for what is slow to load."""
    for file, tree in _sources(root, ("forecasting",)):
        for function in _functions(tree):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                else:
                    continue
                for name in names:
                    if name.split(".")[0] not in DEFERRED:
                        yield f"{_module(root, file)}.{function.name}: {name}"


def _sources(root: Path, packages: tuple[str, ...] = PACKAGES) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def _module(root: Path, file: Path) -> str:
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _is_module(path: Path) -> bool:
    if path.suffix == ".py":
        return path.is_file() and path.name != "__init__.py"
    return (path / "__init__.py").is_file()


def _ours(module: str | None) -> bool:
    return (module or "").split(".")[0] in PACKAGES


def _lent(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _parameters(function: Function) -> int:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    extra = sum(a is not None for a in (given.vararg, given.kwarg))
    return len(names) + extra - (names[:1] in (["self"], ["cls"]))
