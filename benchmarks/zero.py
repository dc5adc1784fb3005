"""`gatecast-zero` as it is, beside seasonal naive, on public sets: by set and by frequency.

GATECAST_DATA=../data python -m benchmarks.zero --inside
GATECAST_DATA=../data python -m benchmarks.zero --weights runs/zero --report docs/zero.md
GATECAST_DATA=../data python -m benchmarks.zero nn5_daily m1_monthly --inside --told

``--inside`` asks at the end of the histories: settings are chosen by it, test parts untouched.
``--told`` gives the season of `public_sets.yaml`; else what stamps and values say is tried.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from forecasting.evaluation.baselines import naive_arrays
from forecasting.zero.predictor import FOLDER, WEIGHTS, Zero
from pipelines.benchmark.report import write_markdown
from pipelines.benchmark.scores import LEVELS, score_task, summary
from pipelines.data.datasets import Task, expand, inside, load

# The frequency that each set counts as.
FREQUENCIES = {
    "m4_yearly_sample": "Y", "m1_yearly": "Y", "m4_quarterly_sample": "Q", "m1_quarterly": "Q",
    "m4_monthly_sample": "M", "m1_monthly": "M", "m3_monthly": "M", "aus_retail": "M",
    "m4_weekly": "W", "orange_juice": "W", "nn5_daily": "D", "m4_hourly": "h", "etth1": "h",
    "vic_elec": "30min",
}  # fmt: skip
# Of sets with thousands of origins each so many-th one; and rows that are read, at most.
EVERY = {"etth1": 97, "vic_elec": 1}
ROWS = 32 * 32
BEGIN, END = "<!-- zero:begin -->", "<!-- zero:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=["all"])
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of weights and card")
    parser.add_argument("--inside", action="store_true", help="ask before the test parts")
    parser.add_argument("--told", action="store_true", help="give each set's season")
    parser.add_argument("--report", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    try:
        zero = Zero.load(options.weights)
        found = pd.DataFrame(
            rows(zero, expand(options.sets), told=options.told, before=options.inside)
        )
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    text = tables(found) + "\n" + lone(zero)
    print(text)
    if options.report:
        write_markdown(options.report, text, begin=BEGIN, end=END)
    return 0


def rows(
    zero: Zero, names: Iterable[str], *, told: bool, before: bool
) -> Iterable[dict[str, object]]:
    """Scores of each task, ours and those of seasonal naive."""
    read = set(zero.card.get("read", {}))
    for name in names:
        for whole in load(name):
            task = inside(whole) if before else whole
            season = task.about.season if told else None
            every = EVERY.get(name, 1)

            def ours(panel: Panel, task: Task = task, season: int | None = season) -> Forecast:
                return zero.predict_panel(panel, task.horizon, season=season, quantiles=LEVELS)

            scores = [
                summary(score_task(task, predict, context=context, every=every))
                for predict, context in ((ours, ROWS), (seasonal_naive(task), None))
            ]
            line = {
                "set": f"{name}, {task.horizon} ahead",
                "frequency": FREQUENCIES[name],
                "read": name in read,
                "MASE": scores[0]["mase"],
                "seasonal naive": scores[1]["mase"],
                "ratio": scores[0]["mase"] / scores[1]["mase"],
                "WQL ratio": scores[0]["wql"] / scores[1]["wql"],
                "80 % covers": 100 * scores[0]["coverage80"],
                "refused": int(scores[0]["refused"]),
            }
            print(line, file=sys.stderr, flush=True)
            yield line


def lone(zero: Zero, times: int = 50) -> str:
    """How much longer one series of a thousand hours takes where its season is looked for.

    Milliseconds go to the terminal: on a busy machine they say little.
    """
    y = np.random.default_rng(0).standard_normal(1_000).cumsum()
    ds = pd.date_range("2024-01-01", periods=len(y), freq="h")
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "x", "ds": ds, "y": y}), freq="h")
    clocks: dict[int | None, list[float]] = {1: [], None: []}
    for _ in range(times):
        for season, told in clocks.items():
            began = time.perf_counter()
            zero.predict_panel(panel, 24, season=season)
            told.append(1e3 * (time.perf_counter() - began))
    without, tried = (float(np.median(told)) for told in clocks.values())
    print(f"lone: {without:.1f} ms without a season, {tried:.1f} ms tried", file=sys.stderr)
    size = (zero.folder / WEIGHTS).stat().st_size / 1e6 if zero.folder else float("nan")
    return (
        f"A lone series of 1,000 hours, 24 ahead, median of {times}: to look for seasons and try "
        f"them takes {tried / without:.1f} times as long as to read it with none. "
        f"Weights: {size:.2f} MB.\n"
    )


def seasonal_naive(task: Task) -> Callable[[Panel], Forecast]:
    """The forecast to beat, with the season that the set is measured by."""

    def predict(panel: Panel) -> Forecast:
        season = task.about.measure_season
        found = naive_arrays(panel.y, panel.offsets, task.horizon, season, LEVELS)
        return found.of(panel, LEVELS)

    return predict


def tables(found: pd.DataFrame) -> str:
    """Every set, then geometric means by frequency and over all, of sets read and not read."""
    head = ["set", "read", "MASE", "seasonal naive", "ratio", "WQL ratio", "80 % covers"]
    lines = [head, ["---", "---", *["---:"] * 5]]
    for row in found.to_dict("records"):
        cells = [f"{row[k]:.3f}" for k in head[2:6]] + [f"{row[head[6]]:.0f} %"]
        lines.append([str(row["set"]), "its history" if row["read"] else "no", *cells])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    means = [["frequency", "sets not read", "MASE ratio", "WQL ratio"], ["---", *["---:"] * 3]]
    unread = found[~found["read"].astype(bool)]
    order = [f for f in dict.fromkeys(FREQUENCIES.values()) if f in set(unread["frequency"])]
    for name, part in [*((f, unread[unread["frequency"] == f]) for f in order), ("all", unread)]:
        if len(part):
            means.append([name, str(len(part)), _geometric(part["ratio"]),
                          _geometric(part["WQL ratio"])])  # fmt: skip
    return text + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in means) + "\n"


def _geometric(ratios: pd.Series) -> str:
    return f"{np.exp(np.log(ratios).mean()):.3f}"


if __name__ == "__main__":
    sys.exit(main())
