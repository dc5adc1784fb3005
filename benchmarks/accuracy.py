"""Accuracy on public sets, beside peers and published figures: ``gatecast benchmark`` as a script.

GATECAST_DATA=../data python benchmarks/accuracy.py m4_hourly m3_monthly
python benchmarks/accuracy.py all --report docs/accuracy.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from forecasting.errors import GatecastError
from pipelines.benchmark import CACHE, MODELS, RESULTS, Report, run
from pipelines.benchmark_report import markdown, terminal_tables, write_markdown
from pipelines.config import override
from pipelines.datasets import expand, registry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", help=f"all, or of: {', '.join(registry())}")
    parser.add_argument("--models", default=",".join(MODELS), help="of: " + ", ".join(MODELS))
    parser.add_argument("--peers", help="comma-separated; default: all that make sense")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="a forecaster setting for every model, e.g. training.members=3",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fresh", action="store_true", help="score the peers anew")
    parser.add_argument("--report", type=Path, help="write all results so far into this page")
    options = parser.parse_args()
    console = Console()
    try:
        if options.sets:
            report = run(
                expand(options.sets),
                models=[m for m in options.models.split(",") if m],
                peer_names=options.peers.split(",") if options.peers is not None else None,
                settings=override({}, options.changes),
                cache=None if options.fresh else CACHE,
                device=options.device,
                say=lambda line: console.print(line, style="dim"),
            )
            for table in terminal_tables(report):
                console.print(table)
            console.print(f"{report.machine}; {report.versions}")
            console.print(f"written to {report.save(RESULTS)}")
        if options.report:
            found = [Report.read(path) for path in sorted(RESULTS.glob("*.json"))]
            write_markdown(options.report, markdown(found))
            console.print(f"written to {options.report}")
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
