"""Small panels: pretrained starts beside networks from nothing and statistical forecasts.

GATECAST_DATA=../data python benchmarks/small_panels.py --report docs/accuracy.md
GATECAST_DATA=../data python benchmarks/small_panels.py aus_retail --sizes 1 10

Random subsets of public sets, scored at the end of the histories: what rules and starts were chosen
by. Only sets that the starts have not read are fair here, so those of M1 and M4 are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from forecasting.config import ForecasterConfig
from forecasting.errors import DataError, GatecastError
from forecasting.forecaster import Forecaster
from pipelines.benchmark import peers
from pipelines.benchmark.report import write_markdown
from pipelines.benchmark.scores import LEVELS, score_task, summary
from pipelines.benchmark.strangers import drawn
from pipelines.data.datasets import Task, inside, load

# Draws of subsets of each size: the smaller, the more are needed.
DRAWS: Mapping[int, int] = {1: 6, 10: 2, 50: 1, 150: 1}
BEGINNINGS = {
    "from nothing": "none",
    "start as it is": "shipped",
    "start tuned": "tuned",
    "chosen": None,
}
TRAINING: dict[str, Any] = {"threads": 1}
PEERS = (peers.NAIVE2, peers.AUTO_ETS, peers.AUTO_THETA)
BEGIN, END = "<!-- small:begin -->", "<!-- small:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=["m3_monthly", "aus_retail"])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(DRAWS))
    parser.add_argument("--report", type=Path, help="write the table into this page")
    options = parser.parse_args()
    console = Console()
    lines = []
    try:
        for name in options.sets:
            for size in options.sizes:
                lines.append(_row(name, size))
                console.print(*lines[-1], style="dim")
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    head = ["set", "series", *BEGINNINGS, *PEERS[1:], "chosen were"]
    table = [head, ["---", *["---:"] * (len(head) - 2), "---"], *lines]
    text = "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"
    console.print(text, markup=False)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    return 0


def _row(name: str, size: int) -> list[str]:
    """OWA of every way to forecast, over all draws of one size together."""
    if name.startswith(("m1", "m4")):
        raise DataError(f"the starts have read the histories of {name}: take another set")
    (whole,) = load(name)
    task = inside(whole)
    found: dict[str, list[pd.DataFrame]] = {}
    chosen: list[str] = []
    for draw in range(DRAWS.get(size, 1)):
        part = replace(task, full=task.full.select(drawn(task, size, draw)))
        for peer in PEERS:
            scores = peers.peer_scores(part, peer, cache=None).scores
            found.setdefault(peer, []).append(scores)
        for label, start in BEGINNINGS.items():
            scores, began = _ours(part, start)
            found.setdefault(label, []).append(scores)
            if start is None:
                chosen.append(began)
    tables = {label: pd.concat(parts) for label, parts in found.items()}
    owa = {k: summary(t, tables[peers.NAIVE2])["owa"] for k, t in tables.items()}
    least = min(owa.values())
    cells = [f"**{owa[k]:.3f}**" if owa[k] == least else f"{owa[k]:.3f}"
             for k in (*BEGINNINGS, *PEERS[1:])]  # fmt: skip
    draws = f"{size} × {len(chosen)}" if len(chosen) > 1 else str(size)
    return [name, draws, *cells, _counts(chosen)]


def _ours(task: Task, start: str | None) -> tuple[pd.DataFrame, str]:
    config = ForecasterConfig(horizon=task.horizon, season=task.about.season)
    settings = config.replace(training={**TRAINING, "start": start})
    forecaster = Forecaster.train(task.train, settings, device="cpu")
    scores = score_task(
        task,
        lambda panel: forecaster.predict_panel(panel, quantiles=LEVELS),
        context=forecaster.context,
    )
    return scores, forecaster.config.training.start or "none"


def _counts(chosen: Sequence[str]) -> str:
    names = {"none": "from nothing", "shipped": "as it is", "tuned": "tuned"}
    return ", ".join(f"{names[k]} {chosen.count(k)}" for k in names if k in chosen)


if __name__ == "__main__":
    sys.exit(main())
