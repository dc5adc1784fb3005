"""Intervals of small panels: how often the 80 and 95 % intervals hold on 1, 10 and 50 series.

GATECAST_DATA=../data python -m benchmarks.intervals --report docs/accuracy.md
python -m benchmarks.intervals m1_yearly --sizes 1 10 --draws 2
python -m benchmarks.intervals --brief

Series are drawn anew from public sets, `Forecaster` is trained on their histories with nothing said
but the horizon, and their test parts are forecast from the first origin. Beside the intervals as
they come stand those of the same networks corrected by held-back origins alone, as before errors
all along the history were looked at. *Loss* is the pinball loss over all trained levels, as a ratio
of the two: a mean over a set's draws, and a geometric mean over sets.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.selection import judging
from forecasting.training import fit
from pipelines.benchmark.report import write_markdown
from pipelines.data.datasets import DATA_VARIABLE, Task, load

BEGIN, END = "<!-- intervals:begin -->", "<!-- intervals:end -->"
SETS = ("m1_yearly", "m1_quarterly", "m1_monthly", "m3_monthly", "m4_weekly", "nn5_daily")
SIZES, DRAWS = (1, 10, 50), (5, 2, 1)


class Score(NamedTuple):
    """Of one panel: shares within the 80 and 95 % intervals, and the mean pinball loss."""

    within_80: float
    within_95: float
    loss: float


def drawn(task: Task, size: int, draw: int) -> Panel:
    """So many series of a set."""
    rng = np.random.default_rng([size, draw, len(task.name)])
    return task.full.select(np.sort(rng.choice(len(task.full), size, replace=False)))


def score(forecaster: Forecaster, known: Panel, actual: Array) -> Score:
    """Of forecasts from the end of ``known`` beside what came, [n, H]."""
    levels = np.array(forecaster.config.model.quantile_levels)
    values = forecaster.predict_panel(known, quantiles=levels.tolist()).quantiles
    seen = np.isfinite(actual)

    def within(tau: float) -> float:
        low, high = (values[..., int(np.abs(levels - t).argmin())] for t in (tau, 1.0 - tau))
        return float(((low <= actual) & (actual <= high))[seen].mean())

    error = (actual[..., None] - values)[seen]
    loss = np.maximum(levels * error, (levels - 1.0) * error).mean()
    return Score(within(0.1), within(0.025), float(loss))


def both(task: Task, size: int, draw: int, steps: int | None = None) -> tuple[Score, Score]:
    """As it comes, and corrected by held-back origins alone."""
    panel = drawn(task, size, draw)
    back = int(task.origins[0])
    train, known = panel.truncate(task.train_back), panel.truncate(back)
    values: dict[str, Any] = {"horizon": task.horizon, "freq": train.freq.alias}
    if steps is not None:
        values["training"] = {"max_steps": steps}
    config = ForecasterConfig.parse(values)
    # The correction of held-back origins, where it was drawn to the errors of all the history;
    # where nothing was held back there was none.
    alone_corrected: list[Array | None] = []
    mixed, rolled = judging.beside, judging.rolled_widening

    def remembered(held: Array | None, *rest: Any) -> Array | None:
        alone_corrected.append(held)
        return mixed(held, *rest)

    def unheld(*asked: Any) -> Array | None:
        alone_corrected.append(None)
        return rolled(*asked)

    with patch.object(judging, "beside", remembered), patch.object(fit, "rolled_widening", unheld):
        forecaster = Forecaster.train(train, config, device="cpu")
    actual = panel.after(back, task.horizon)
    alone = copy(forecaster)
    if alone_corrected:
        alone.correction = alone_corrected[-1]
    return score(forecaster, known, actual), score(alone, known, actual)


def measured(
    sets: Sequence[str], sizes: Sequence[int], draws: Sequence[int], steps: int | None = None
) -> Iterator[list[str]]:
    """Rows of the table."""
    for size, times in zip(sizes, draws, strict=True):
        ratios: list[float] = []
        cells: dict[str, list[tuple[Score, Score]]] = defaultdict(list)
        for name in sets:
            for task in load(name):
                if size <= len(task.full):
                    cells[name] += [both(task, size, draw, steps) for draw in range(times)]
        for name, pairs in cells.items():
            now, before = (
                [float(np.mean([pair[k][column] for pair in pairs])) for column in range(3)]
                for k in range(2)
            )
            ratios.append(now[2] / before[2])
            shares = [f"{one:.0%}" for one in (now[0], before[0], now[1], before[1])]
            yield [str(size), name, str(len(pairs)), *shares, f"{ratios[-1]:.2f}"]
        if len(ratios) > 1:
            mean = float(np.exp(np.mean(np.log(ratios))))
            shares = [
                f"{np.mean([np.mean([p[k][c] for p in pairs]) for pairs in cells.values()]):.0%}"
                for c in (0, 1) for k in (0, 1)
            ]  # fmt: skip
            yield [str(size), "**all**", "", *shares, f"**{mean:.2f}**"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help="public sets [%(default)s]")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--draws", nargs="+", type=int, default=list(DRAWS))
    parser.add_argument("--brief", action="store_true", help="one series of the set M3, two steps")
    parser.add_argument("--report", type=Path, help="page whose marked part is rewritten")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.brief:
        given.sets, given.sizes, given.draws = ["m3_monthly"], [1], [1]
    if not given.brief and DATA_VARIABLE not in os.environ:
        parser.error(f"set {DATA_VARIABLE} to the folder of the public sets")
    draws = given.draws * len(given.sizes) if len(given.draws) == 1 else given.draws
    head = "series | set | panels | in 80 % | by held-back origins alone | in 95 % | alone | loss"
    text = [f"| {head} |", "|---:|---|---:|---:|---:|---:|---:|---:|"]
    console = Console(stderr=True)
    for row in measured(given.sets, given.sizes, draws, 2 if given.brief else None):
        text.append(f"| {' | '.join(row)} |")
        console.print(text[-1], markup=False, highlight=False)
    print("\n".join(text))
    if given.report:
        write_markdown(given.report, "\n".join(text) + "\n", begin=BEGIN, end=END)


if __name__ == "__main__":
    main()
