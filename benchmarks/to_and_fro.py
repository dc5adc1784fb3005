"""How a table travels through the files of `forecasting/` in one fit: those entered, and returns.

``python -m benchmarks.to_and_fro`` traces ``Forecaster.fit`` on twelve monthly series. Of every
pair of functions in two files the first call counts and no later one, in the order in which they
come: *entered* is how many files are called into, *returns* how many of these calls lead into a
file that was called into before and had been left. It also counts how often some work is done. With
another tree's folder on PYTHONPATH it traces that one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

# Work that should be done once for each held-back origin, by name of function.
WORK = ("truncate", "mase_scale", "theta", "forward", "assemble", "__init__ of Engine")


class Trace:
    """First calls between functions of different files, and how often some work was done."""

    def __init__(self, package: Path) -> None:
        self.package = str(package)
        self.edges: dict[tuple[str, str], str] = {}
        self.work: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        del argument
        if event != "call" or not frame.f_code.co_filename.startswith(self.package):
            return
        code = frame.f_code
        if code.co_name in WORK:
            self.work[code.co_name] += 1
        if code.co_qualname == "Engine.__init__":
            self.work["__init__ of Engine"] += 1
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(self.package):
            caller = caller.f_back
        if caller is None or caller.f_code.co_filename == code.co_filename:
            return
        pair = (self._name(caller), self._name(frame))
        self.edges.setdefault(pair, self._file(frame))

    def _file(self, frame: FrameType) -> str:
        return frame.f_code.co_filename.removeprefix(self.package).lstrip("/")

    def _name(self, frame: FrameType) -> str:
        return f"{self._file(frame)}:{frame.f_code.co_qualname}"

    def counts(self) -> dict[str, Any]:
        """Files entered, returns in all and by file, and the work done."""
        seen: set[str] = set()
        returns: Counter[str] = Counter()
        last = ""
        for file in self.edges.values():
            if file in seen and file != last:
                returns[file] += 1
            seen.add(file)
            last = file
        return {
            "entered": len(seen),
            "returns": returns.total(),
            "most": dict(returns.most_common(5)),
            "work": dict(sorted(self.work.items())),
        }


def monthly(series: int = 12, rows: int = 150) -> pd.DataFrame:
    """A long table of seasonal series with noise."""
    stamps, steps = pd.date_range("2010-01-01", periods=rows, freq="MS"), np.arange(rows)
    parts = []
    for i in range(series):
        noise = np.random.default_rng(i).normal(size=rows)
        y = 100 + 10 * np.sin(steps / 2 + i) + noise
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": y}))
    return pd.concat(parts)


def trace(steps: int, series: int = 12) -> dict[str, Any]:
    """The counts of one fit of so many training steps."""
    import forecasting
    from forecasting import Forecaster

    table = monthly(series)
    settings: Any = {"training": {"max_steps": steps, "threads": 1}}
    # What is imported and cached on the way is no part of it.
    Forecaster.fit(table, horizon=6, config=settings, device="cpu")
    tracer = Trace(Path(str(forecasting.__file__)).parent)
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    try:
        Forecaster.fit(table, horizon=6, config=settings, device="cpu")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return tracer.counts()


def main() -> None:
    """Trace, and print the counts as JSON."""
    parser = argparse.ArgumentParser(description="the to and fro of one fit")
    parser.add_argument("--steps", type=int, default=30, help="training steps")
    parser.add_argument("--series", type=int, default=12)
    asked = parser.parse_args()
    print(json.dumps(trace(asked.steps, asked.series), indent=1))


if __name__ == "__main__":
    main()
