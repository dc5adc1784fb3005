"""Accuracy on public sets, beside peers and published figures: ``gatecast benchmark`` as a script.

GATECAST_DATA=../data python benchmarks/accuracy.py m4_hourly m3_monthly
python benchmarks/accuracy.py all --report docs/accuracy.md
"""

from __future__ import annotations

import sys

import typer

from forecasting.errors import GatecastError
from pipelines.commands.benchmark import register

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    register(app)
    try:
        app()
    except GatecastError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
