"""The table of docs/reliability.md, from what the tests of faults found.

python -m tests.faults.report RESULTS [--report docs/reliability.md]

Exits with 1 where a row failed. Of a test that ran several times the last run counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.rows import ROWS

BEGIN, END = "<!-- make faults: begin -->", "<!-- make faults: end -->"


def newest(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """By row: the last result of each of its tests that say something."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        result = json.loads(line)
        found[result["row"], result["test"]] = result
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in found.values():
        if result["said"] or not result["passed"]:
            rows.setdefault(result["row"], []).append(result)
    return rows


def cell(results: Iterable[Mapping[str, Any]]) -> str:
    """What was measured, in a sentence for each test."""
    parts = []
    for result in results:
        text = result["said"] if result["passed"] else f"**failed**: {result['test']}"
        if result["missed"]:
            text += f"; **missed**: {', '.join(result['missed'])}"
        size = {"full": "full size", "quick": "quick size"}.get(
            result["size"], f"size {result['size']}"
        )
        parts.append(f"{text} ({size}, {result['seconds']:.0f} s, load {result['load']:.0f})")
    return "<br>".join(parts).replace("|", "/")


def table(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    """Markdown; a row without a result says so."""
    lines = ["| test | goal | measured | `ROWS=` |", "|---|---|---|---|"]
    for name, row in ROWS.items():
        measured = cell(rows[name]) if name in rows else "not run"
        lines.append(f"| {row.test} | {row.goal} | {measured} | `{name}` |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and write it into a page where one is named."""
    parser = argparse.ArgumentParser(description="The table of what was measured.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--report", type=Path, help="page whose marked part is rewritten")
    given = parser.parse_args(arguments)
    lines = given.results.read_text("utf-8").splitlines() if given.results.exists() else []
    rows = newest(lines)
    text = table(rows)
    print(text)
    if given.report:
        page = given.report.read_text("utf-8")
        head, tail = page.split(BEGIN)[0], page.split(END, 1)[1]
        given.report.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", "utf-8")
    return int(any(not result["passed"] for found in rows.values() for result in found))


if __name__ == "__main__":
    sys.exit(main())
