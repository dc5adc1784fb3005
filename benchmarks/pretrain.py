"""The networks that small panels start from: pretrained on the histories of M1 and M4.

GATECAST_DATA=../data python -m benchmarks.pretrain
GATECAST_DATA=../data python -m benchmarks.pretrain monthly --held 1 --out runs/starting-held

Reads the training parts of the sets in `SOURCES` and nothing else; no test part is opened for
training. ``--held 1`` leaves out one more horizon of every history: by such networks settings are
chosen, since those that are shipped have seen the rows that scores inside M1 and M4 are taken on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from scipy.spatial import cKDTree

from forecasting.bundle import sha256
from forecasting.config import ForecasterConfig
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from forecasting.forecaster import Forecaster
from forecasting.pretrained import weights
from forecasting.schema import Schema
from forecasting.training.defaults import MEDIAN_WEIGHT, SMAPE_WEIGHT
from pipelines.data.datasets import load, registry

Array = np.ndarray[Any, np.dtype[np.float64]]

# Weeks per month and per quarter, and what else is made of longer series, by kind: (from, rows).
WEEKS_PER_MONTH = 365.25 / 84.0
SOURCES = {
    "yearly": ("m4_yearly_sample", "m1_yearly"),
    "quarterly": ("m4_quarterly_sample", "m1_quarterly"),
    "monthly": ("m4_monthly_sample", "m1_monthly"),
    "weekly": ("m4_weekly",),
    "hourly": ("m4_hourly",),
}
AGGREGATED = {
    "yearly": (("monthly", 12.0), ("quarterly", 4.0)),
    "quarterly": (("monthly", 3.0), ("weekly", 3.0 * WEEKS_PER_MONTH)),
    "monthly": (("weekly", WEEKS_PER_MONTH),),
    "hourly": (),
}
ABOUT = {
    "what": "Networks that Gatecast begins small panels from (forecasting/pretrained).",
    "made by": "GATECAST_DATA=../data python -m benchmarks.pretrain (single-threaded CPU, seeded)",
    "data": "The training parts of the M1 sets and of the M4 samples named below, nothing else. "
    "Aggregates are made of the same parts; mixed series are weighted means of two or three.",
    "beware": "Scores inside the histories of M1 and M4 series flatter these weights, which have "
    "read those rows; official test parts were cut off before. Some M1 series are copies of one "
    "another at other times or frequencies: a series in which the test part of any set of the same "
    "kind occurs, up to a factor, is left out.",
    "licence": "M1: GPL-3 (Mcomp); M4: published by the organisers for free use, samples by way of "
    "functime (Apache-2.0) and pytsbe (BSD-3-Clause).",
}
# Shares of the series shown that are aggregated, mixed of two or three, and cut out of longer ones.
SHOWN, SHARE_AGGREGATED, SHARE_MIXED, SHARE_CUT = 12_000, 0.3, 0.25, 0.2
# A share of all is shown as it is, not in logs: levels that stand still are read so.
SHARE_PLAIN = 0.15


# A test part is recognised by so many of its first rows, and taken for the same within a share.
KEY, SAME = 6, 3e-3


@dataclass(frozen=True)
class Plan:
    """How one start is built and trained.

    Attributes
    ----------
    season, horizon : in steps of its frequency. model : settings of the network.
    read : recurrent steps it reads when it forecasts; it is trained on fewer, to save time.
    steps : of the optimiser. shortest : rows of the shortest series it is shown, but for real ones.
    """

    season: int
    horizon: int
    model: dict[str, Any]
    read: int
    steps: int = 2000
    shortest: int = 6


PLANS = {
    "yearly": Plan(1, 10, {"segment": 1, "window": 8, "scale_window": 8, "steps": 20}, read=40),
    "quarterly": Plan(4, 12, {"segment": 1, "window": 8, "scale_window": 8, "steps": 24}, read=80),
    "monthly": Plan(
        12, 24, {"segment": 3, "window": 24, "scale_window": 24, "steps": 16}, read=24, shortest=18
    ),
    "hourly": Plan(
        24, 48, {"segment": 24, "window": 168, "scale_window": 168, "steps": 14}, read=14,
        steps=1500, shortest=48,
    ),
}  # fmt: skip


def histories(kind: str, held: int) -> list[Array]:
    """Training parts of a kind's own sets, without the last ``held`` horizons of each."""
    found = []
    for name in SOURCES[kind]:
        (task,) = load(name)
        panel = task.train.truncate(held * task.horizon)
        found += [part for part in np.split(panel.y, panel.offsets[1:-1]) if len(part) > 2]
    return found


def test_parts(kind: str) -> list[Array]:
    """Official test parts of a kind's own sets; those that stand still are nobody's."""
    found = []
    for name in SOURCES[kind]:
        (task,) = load(name)
        found += list(task.full.y[task.full.offsets[1:, None] + np.arange(-task.horizon, 0)])
    return [y for y in found if y.min() > 0 and np.ptp(y[:KEY]) > 1e-3 * y.mean()]


def without_copies(pool: list[Array], parts: list[Array]) -> list[Array]:
    """The series of a pool in which no one of the parts occurs, up to a factor and rounding."""
    keys = np.stack([y[:KEY] / y[:KEY].mean() for y in parts])
    tree, kept = cKDTree(keys), []
    for y in pool:
        if len(y) < KEY:
            kept.append(y)
            continue
        windows = np.lib.stride_tricks.sliding_window_view(y, KEY)
        near = tree.query_ball_point(windows / windows.mean(axis=1, keepdims=True), SAME, p=np.inf)
        if not any(_goes_on(y[at:], parts[k]) for at, some in enumerate(near) for k in some):
            kept.append(y)
    return kept


def _goes_on(y: Array, part: Array) -> bool:
    """Whether a series begins with a part, as far as it goes."""
    rows = min(len(y), len(part))
    y, part = y[:rows] / y[:rows].mean(), part[:rows] / part[:rows].mean()
    return bool(np.abs(y - part).max() < SAME)


def aggregated(y: Array, rows: float, phase: int) -> Array:
    """Means over spans of ``rows``, whole ones only, the last ending ``phase`` rows before y's."""
    y = y[: len(y) - phase]
    count = int(len(y) // rows)
    ends = len(y) - np.round(np.arange(count, -1, -1) * rows).astype(np.int64)
    total = np.concatenate([[0.0], np.cumsum(y)])
    return np.asarray(np.diff(total[ends]) / np.diff(ends))


def mixed(parts: list[Array], weights: Array) -> Array:
    """A weighted mean of standardised logs, with the weighted mean of their spreads."""
    rows = min(len(p) for p in parts)
    logs = np.stack([np.log(p[-rows:]) for p in parts])
    centre = logs.mean(axis=1, keepdims=True)
    spread = np.abs(logs - centre).mean(axis=1, keepdims=True)
    shape = (logs - centre) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.exp(weights @ shape * float(weights @ spread[:, 0])))


def corpus(kind: str, held: int, seed: int) -> tuple[Panel, dict[str, int]]:
    """The panel a start is trained on, and how many series of each sort are in it."""
    plan, draw = PLANS[kind], np.random.default_rng(seed)
    real = [y for y in histories(kind, held) if y.min() > 0]
    made = []
    for source, rows in AGGREGATED[kind]:
        for y in histories(source, held):
            phases = range(0, int(rows), max(int(rows) // 4, 1))
            made += [aggregated(y, rows, p) for p in phases]
            if rows == int(rows):
                # What is read off at the end of a quarter, as interest rates are.
                made += [y[::-1][p :: int(rows)][::-1] for p in phases]
    made = [y for y in made if len(y) > plan.shortest and y.min() > 0]
    parts, before = test_parts(kind), len(real) + len(made)
    real, made = without_copies(real, parts), without_copies(made, parts)
    copies = before - len(real) - len(made)
    counts = {
        "aggregated": int(SHOWN * SHARE_AGGREGATED) if made else 0,
        "mixed": int(SHOWN * SHARE_MIXED),
        "cut": int(SHOWN * SHARE_CUT),
    }
    counts["whole"] = SHOWN - sum(counts.values())
    pool = real + made
    shown = [real[i] for i in draw.permutation(np.resize(np.arange(len(real)), counts["whole"]))]
    shown += [made[i] for i in draw.integers(len(made) or 1, size=counts["aggregated"])]
    long = [y for y in pool if len(y) > plan.shortest]
    for _ in range(counts["mixed"]):
        some = [long[i] for i in draw.integers(len(long), size=int(draw.integers(2, 4)))]
        shown.append(mixed(some, draw.dirichlet(np.full(len(some), 1.5))))
    for _ in range(counts["cut"]):
        y = long[int(draw.integers(len(long)))]
        length = int(draw.integers(plan.shortest, len(y) + 1))
        length = min(length, 12 * plan.shortest)
        begin = int(draw.integers(len(y) - length + 1))
        shown.append(y[begin : begin + length])
    plain = draw.random(len(shown)) < SHARE_PLAIN
    # Read in logs, the exponential of a series is the series itself.
    shown = [np.exp(y / np.abs(y).mean()) if p and y.max() < 50 * y.mean() else y / y.mean()
             for y, p in zip(shown, plain, strict=True)]  # fmt: skip
    read = {"histories": len(real), "rows": sum(map(len, real)), "left out as copies": copies}
    return _panel(shown), {**counts, **read}


def _panel(series: list[Array]) -> Panel:
    lengths = np.array([len(y) for y in series])
    total = int(lengths.sum())
    return Panel(
        ids=np.arange(len(series)).astype(str).astype(object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=np.concatenate(series),
        start=np.ones(len(series), np.int64),
        freq=Frequency.parse("step"),
        tz=None,
        schema=Schema(),
        past=np.empty((total, 0)),
        future=np.empty((total, 0)),
        horizon=None,
        static=np.empty((len(series), 0)),
    )


def settings(kind: str, members: int, steps: int | None, seed: int) -> ForecasterConfig:
    """The whole configuration of a start, nothing left open."""
    plan = PLANS[kind]
    return ForecasterConfig(horizon=plan.horizon, freq="step", season=plan.season).replace(
        model={
            "hidden_size": 64, "decoder_size": 64, "layers": 2, "dropout": 0.1, "lags": (),
            "calendar": False, "cycle": 0, "transform": "log", "level": "mean", "spread": "mad",
            "blend": 0.0,
            **plan.model,
        },
        training={
            "max_steps": steps or plan.steps, "batch_size": 64, "epoch_steps": 250, "seed": seed,
            "loss": {"pinball": 1.0, "mae": MEDIAN_WEIGHT, "smape": SMAPE_WEIGHT},
            "members": members, "cell_mix": ("gru", "lstm"), "validation": "none",
            "threads": 1, "ema": 0.995,
            "weight_decay": 1e-4, "noise": 0.0,
        },
        calibrate=False,
    )  # fmt: skip


def pretrain(
    kind: str, out: Path, *, held: int, members: int, steps: int | None, seed: int
) -> None:
    """Train one start and write its weights and its entry of the card."""
    began = time.perf_counter()
    panel, counts = corpus(kind, held, seed)
    config = settings(kind, members, steps, seed)
    print(f"{kind}: {counts}", flush=True)

    def say(row: dict[str, Any]) -> None:
        where = f"{kind}, member {row['member'] + 1}, step {row['step']} of {row['of']}"
        seconds = time.perf_counter() - began
        print(f"{where}: {row['train_loss']:.4f}, {seconds:.0f} s", flush=True)

    networks = Forecaster.train(panel, config, on_epoch=say, device="cpu").networks
    out.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{m}.{name}": value.detach().half().contiguous()
        for m, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
    save_file(tensors, out / f"{kind}.safetensors")
    card = json.loads((out / weights.CARD).read_text()) if (out / weights.CARD).is_file() else {}
    card = {"about": ABOUT, "starts": card.get("starts", {})}
    card["starts"][kind] = {
        "sha256": sha256(out / f"{kind}.safetensors"),
        "config": config.replace(model={"steps": PLANS[kind].read}).model_dump(mode="json"),
        "cells": [n.config.model.cell for n in networks],
        "data": {
            name: {"files": {f: d for f, d in registry()[name].files.items() if "test" not in f},
                   "cut off": f"the official test part and {held} horizons before it"}
            for name in SOURCES[kind]
        },
        "aggregated from": [source for source, _ in AGGREGATED[kind]],
        "shown": counts,
        "seed": seed,
        "held": held,
    }  # fmt: skip
    (out / weights.CARD).write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    print(f"{kind}: {time.perf_counter() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(PLANS)}")
    parser.add_argument("--out", type=Path, default=weights.FOLDER)
    parser.add_argument("--held", type=int, default=0, help="horizons left out before the test")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        for kind in options.kinds or PLANS:
            pretrain(
                kind, options.out, held=options.held, members=options.members,
                steps=options.steps, seed=options.seed,
            )  # fmt: skip
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
