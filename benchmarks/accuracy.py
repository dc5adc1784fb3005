"""Accuracy on public sets, beside peers and published figures: ``gatecast benchmark`` as a script.

GATECAST_DATA=../data python benchmarks/accuracy.py m4_hourly m3_monthly
python benchmarks/accuracy.py all --report docs/accuracy.md
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark")
    main()
