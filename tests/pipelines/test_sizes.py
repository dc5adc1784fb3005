"""How long functions may be, and how much they may ask for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

LONGEST, MOST_PARAMETERS = 80, 8  # lines, parameters
# Commands take an option each; the benchmark's door takes what its command does.
EXCEPTED = {
    ("pipelines/commands/benchmark.py", "benchmark"),
    ("pipelines/commands/schedule.py", "by_flags_command"),
    ("pipelines/benchmark/benchmark.py", "run"),
}


def functions(root: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    files = [*(root / "pipelines").rglob("*.py"), *(root / "forecasting/evaluation").glob("*.py")]
    for file in sorted(files):
        name = file.relative_to(root).as_posix()
        if name.startswith("pipelines/ingestion/"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield name, node


def parameters(node: ast.FunctionDef) -> int:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in every)


def test_no_function_is_long_or_asks_for_much(root: Path) -> None:
    large = {
        (file, node.name)
        for file, node in functions(root)
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST or parameters(node) > MOST_PARAMETERS
    }
    assert large == EXCEPTED
