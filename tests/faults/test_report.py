"""The table says what was found, and every row of it has a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.faults.report import BEGIN, END, cell, main, newest, table
from tests.faults.rows import ROWS


def result(row: str, test: str = "t", **change: Any) -> dict[str, Any]:
    base = {"row": row, "test": test, "size": "0.1", "passed": True, "said": "all well",
            "missed": [], "figures": {}, "seconds": 3.0, "load": 1.0}  # fmt: skip
    return {**base, **change}


def test_every_row_has_a_test(root: Path) -> None:
    texts = [path.read_text() for path in (root / "tests" / "faults").rglob("test_*.py")]
    marked = {name for text in texts for name in re.findall(r'mark\.fault\("(\w+)"\)', text)}
    assert marked == set(ROWS)


def test_the_last_run_counts_and_failures_and_misses_are_told() -> None:
    lines = [
        json.dumps(result("fuzz", passed=False)),
        json.dumps(result("fuzz")),
        json.dumps(result("flips", passed=False, test="flipping")),
        json.dumps(result("soak", missed=["p99"])),
    ]
    rows = newest(lines)
    text = table(rows)
    assert cell(rows["fuzz"]) == "all well (size 0.1, 3 s, load 1)"
    assert "**failed**: flipping" in text
    assert "**missed**: p99" in text
    assert text.count("not run") == len(ROWS) - 3


def test_a_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results.jsonl"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    results.write_text(json.dumps(result("fuzz")) + "\n")
    assert main([str(results), "--report", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    results.write_text(json.dumps(result("fuzz", passed=False)) + "\n")
    assert main([str(results)]) == 1
