"""What each choice is worth: one at a time undone, scored inside the histories.

GATECAST_DATA=../data python benchmarks/ablation.py m1_monthly m3_monthly
python benchmarks/ablation.py m1_monthly --report docs/accuracy.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from forecasting.errors import GatecastError
from pipelines.benchmark.benchmark import Row, run
from pipelines.benchmark.report import COLUMNS, write_markdown
from pipelines.config.file import merge

CHANGES = {
    "as chosen": {},
    "without classical forecasts": {"model": {"blend": 0.0}},
    "classical forecasts alone": {"model": {"blend": 1.0}},
    "deviations not divided by": {"model": {"spread": "none"}},
    "loss at the last origin only": {"training": {"origins": "last"}},
    "pinball loss alone": {"training": {"loss": {"mae": 0.0}}},
    "single steps, no segments": {"model": {"segment": 1}},
    "no linear skip": {"model": {"skip": False}},
    "weights not averaged": {"training": {"ema": 0.0}},
    "LSTM": {"model": {"cell": "lstm"}},
    "median of three, GRU and LSTM": {"training": {"members": 3, "cell_mix": ["gru", "lstm"]}},
}
COMMON = {"training": {"validation": "none", "threads": 1}}
BEGIN, END = "<!-- ablation:begin -->", "<!-- ablation:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--report", type=Path, help="write the table into this page")
    options = parser.parse_args()
    console = Console()
    try:
        rows = {name: _rows(name, console) for name in options.sets}
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = _table(rows)
    console.print(text, markup=False)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    return 0


def _rows(name: str, console: Console) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for label, change in CHANGES.items():
        report = run(
            [name], models=["chosen"], peer_names=[], settings=merge(COMMON, change), within=True
        )
        row = next(r for r in report.rows if r.kind == "ours")
        if found and row.config == found["as chosen"].config:
            continue
        found[label] = row
        console.print(f"{name}, {label}: {row.scores[row.metric]:.4f}", style="dim")
    return found


def _table(rows: dict[str, dict[str, Row]]) -> str:
    titles = ["change", *(f"{name}, {COLUMNS[_metric(r)][0]}" for name, r in rows.items())]
    lines = [titles, ["---", *["---:"] * len(rows)]]
    for label in CHANGES:
        cells = []
        for of_set in rows.values():
            base = of_set["as chosen"].scores[_metric(of_set)]
            row = of_set.get(label)
            if row is None:
                cells.append("")
                continue
            score = row.scores[row.metric]
            cells.append(f"{score:.3f} ({score / base - 1.0:+.1%})")
        lines.append([label, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _metric(rows: dict[str, Row]) -> str:
    return rows["as chosen"].metric


if __name__ == "__main__":
    sys.exit(main())
