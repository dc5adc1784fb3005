"""What `gatecast-zero` is shown, batch by batch: made series, and histories of some public sets.

A batch is a function of the plan and its number alone: training that was broken off goes on with
the very batches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from benchmarks import zero_series
from benchmarks.pretrain import without_copies
from forecasting.arrays import Array, Float
from forecasting.zero.patches import AHEAD, WIDTH, patch_length, read
from pipelines.data.datasets import Task, load, registry

# What a network takes, in the order of `Patches.inputs`.
INPUTS = ("x", "seen", "lag", "lag_seen", "trend", "place", "zero", "positive")
# Sets whose histories may be read, and the seasons that their series are shown with.
READ: dict[str, tuple[int, ...]] = {
    "m4_hourly": (24, 24, 24, 168),
    "m4_weekly": (52, 1),
    "m4_yearly_sample": (1,),
    "m4_monthly_sample": (12,),
    "m4_quarterly_sample": (4,),
}
# How often a series comes from each; longer series have more to say.
SHARES = {
    "m4_hourly": 0.3, "m4_weekly": 0.25, "m4_yearly_sample": 0.15, "m4_monthly_sample": 0.2,
    "m4_quarterly_sample": 0.1,
}  # fmt: skip
# Patches in a batch's windows, and how often: many series are short.
WINDOWS = {4: 0.2, 8: 0.2, 16: 0.2, 32: 0.4}
# Shares of windows with a season that is not told, and with a wrong one.
UNTOLD, WRONG = 0.08, 0.04
# Share of those with a season that a longer one may lie around, of which that is told too.
AROUND = 0.6
SHORTER, MIXED, POOLED = 0.3, 0.4, 0.4
MOST_POOLED = 12
# Sets of which means over some steps are series of another rate.
LONG = ("m4_hourly", "m4_weekly", "m4_monthly_sample")


@dataclass(frozen=True)
class Plan:
    """What is shown.

    Attributes
    ----------
    sets : public sets whose histories are read; none for made series alone. real : their share.
    patches : in a batch, so many windows as they make. held : horizons left out of the end of each
        history, beside the test part.
    """

    sets: tuple[str, ...] = tuple(READ)
    real: float = 0.5
    patches: int = 2048
    held: int = 0
    seed: int = 0


class Corpus:
    """Batches by their number.

    Raises
    ------
    DataError : a set is missing or altered.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: dict[str, dict[str, int]] = {}
        self.histories: dict[str, list[Float]] = {}
        for name in plan.sets:
            whole = _histories(load(name)[0], plan.held)
            positive = [y for y in whole if np.nanmin(y) > 0]
            kept = without_copies(positive, _test_parts(name))
            self.counts[name] = {
                "series": len(kept),
                "rows": sum(map(len, kept)),
                "left out as copies": len(positive) - len(kept),
            }
            self.histories[name] = [y for y in kept if len(y) >= 8]

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, number: int) -> dict[str, Array]:
        """Batch ``number``: `Patches.inputs` by name, and targets in the same units.

        ``y`` [N, T, AHEAD * WIDTH] float32 and ``y_seen``: what comes after each patch.
        """
        draw = np.random.default_rng([self.plan.seed, number])
        patches = int(draw.choice(list(WINDOWS), p=list(WINDOWS.values())))
        count = max(self.plan.patches // patches, 1)
        rows = (patches + AHEAD) * WIDTH
        real = int(draw.binomial(count, self.plan.real)) if self.histories else 0
        season = zero_series.seasons(draw, count - real, rows)
        made = zero_series.series(draw, season, rows)
        read_, read_season = self._real(draw, real, rows)
        y, season = np.concatenate([made, read_]), np.concatenate([season, read_season])
        y = zero_series.damaged(draw, y)
        _shorten(draw, y)
        return _batch(draw, y, _told(draw, season, rows), patches)

    def _real(self, draw: Generator, count: int, rows: int) -> tuple[Float, Array]:
        """Windows of histories and of mixtures, each ending anywhere: [count, rows], [count]."""
        out, seasons = np.full((count, rows), np.nan), np.ones(count, np.int64)
        names = list(self.histories)
        share = np.array([SHARES[name] for name in names])
        for i in range(count):
            name = names[draw.choice(len(names), p=share / share.sum())]
            season = int(draw.choice(READ[name]))
            pooled = 1
            if name in LONG and draw.random() < POOLED:
                pooled = int(draw.integers(2, MOST_POOLED + 1))
            how_many = int(draw.integers(2, 4)) if draw.random() < MIXED else 1
            parts = [self._window(draw, name, rows, pooled) for _ in range(how_many)]
            y = _mixed(draw, parts)
            seasons[i] = season // pooled if season % pooled == 0 else 1
            end = rows
            if len(y) < rows:
                # What is short ends among the steps that the last patch is asked for.
                most = AHEAD * patch_length(int(seasons[i]))
                end -= max(most - int(draw.integers(1, max(len(y) - 4, 2))), 0)
            y = y[-end:]
            out[i, end - len(y) : end] = y
        return out, seasons

    def _window(self, draw: Generator, name: str, rows: int, pooled: int) -> Float:
        """Some rows of one history, or means (or each ``pooled``-th) of them."""
        histories = self.histories[name]
        y = histories[int(draw.integers(len(histories)))]
        # The ends of histories are where forecasts are asked: a share of windows goes up to them.
        least = min(8 * pooled, len(y))
        end = len(y) if draw.random() < 0.3 else int(draw.integers(least, len(y) + 1))
        y = y[max(end - rows * pooled, 0) : end]
        if pooled > 1 and len(y) >= pooled:
            whole = len(y) // pooled * pooled
            table = y[len(y) - whole :].reshape(-1, pooled)
            y = table.mean(axis=1) if draw.random() < 0.5 else table[:, -1]
        return y


def _mixed(draw: Generator, parts: list[Float]) -> Float:
    """A weighted mean of series of the same kind, in the units of the first."""
    if len(parts) == 1:
        return parts[0]
    rows = min(len(y) for y in parts)
    stack = np.stack([y[len(y) - rows :] for y in parts])
    if draw.random() < 0.5:
        # Means of logs, where all are positive: growth stays growth.
        stack = np.log(stack)
    centre = stack.mean(axis=1, keepdims=True)
    spread = np.abs(stack - centre).mean(axis=1, keepdims=True)
    weights = draw.dirichlet(np.full(len(parts), 1.5))
    shape = (stack - centre) / np.where(spread > 0, spread, 1.0)
    return np.asarray(centre[0] + spread[0] * (weights @ shape))


def _shorten(draw: Generator, y: Float) -> None:
    """Let some windows begin late: in place, some rows and what is forecast remain."""
    rows = y.shape[1]
    for i in np.flatnonzero(draw.random(len(y)) < SHORTER):
        kept = int(np.exp(draw.uniform(np.log(8 + AHEAD * WIDTH), np.log(rows))))
        y[i, : rows - kept] = np.nan


def _told(draw: Generator, season: Array, rows: int) -> Array:
    """[N, 2] the seasons that windows are read by: their own, and one that may lie around it."""
    luck = draw.random(len(season))
    told = np.where(luck < UNTOLD, 1, season)
    told = np.where(luck > 1.0 - WRONG, zero_series.seasons(draw, len(season), 400), told)
    around = np.array([zero_series.AROUND.get(int(s), 1) for s in told])
    known = (draw.random(len(season)) < AROUND) & (around < rows)
    return np.stack([told, np.where(known, around, 1)], axis=1)


def _batch(draw: Generator, y: Float, season: Array, patches: int) -> dict[str, Array]:
    """Windows [N, (T + AHEAD) * WIDTH] as patches, some of them hidden, and what follows each."""
    parts: list[dict[str, Array]] = []
    lengths = np.array([patch_length(int(s)) for s in season[:, 0]])
    for length in np.unique(lengths):
        some = lengths == length
        rows = (patches + AHEAD) * int(length)
        begin = y.shape[1] - rows
        points, target = y[some, begin:], y[some, begin:].copy()
        shown = points[:, : patches * length].copy()
        shown[_hidden(draw, len(points), patches, int(length))] = np.nan
        read_ = read(shown, season[some], int(length))
        ahead = (target - read_.centre[:, None]) / read_.unit[:, None]
        after = np.full((len(points), patches, AHEAD, WIDTH), np.nan, np.float32)
        for k in range(AHEAD):
            part = ahead[:, (k + 1) * length : (k + 1 + patches) * length]
            after[:, :, k, :length] = part.reshape(len(points), patches, length)
        after = after.reshape(len(points), patches, AHEAD * WIDTH)
        known = np.isfinite(after)
        parts.append(
            {
                **dict(zip(INPUTS, read_.inputs, strict=True)),
                "y": np.where(known, after, 0.0).astype(np.float32),
                "y_seen": known.astype(np.float32),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _hidden(draw: Generator, count: int, patches: int, length: int) -> Array:
    """[N, T * length] whether a step is hidden: runs of whole patches, as long horizons are."""
    share = draw.uniform(0.0, 0.5, count) * (draw.random(count) < 0.6)
    hidden = np.zeros((count, patches), bool)
    for i in np.flatnonzero(share * patches >= 1.0):
        left = int(share[i] * patches)
        while left > 0:
            run = int(draw.integers(1, left + 1))
            begin = int(draw.integers(1, patches))
            hidden[i, begin : begin + run] = True
            left -= run
    return np.repeat(hidden, length, axis=1)


def _histories(task: Task, held: int) -> list[Float]:
    panel = task.train.truncate(held * task.horizon)
    return [part for part in np.split(panel.y, panel.offsets[1:-1]) if len(part) > 2]


def _test_parts(like: str) -> list[Float]:
    """What a history that is read may not hold, up to a factor: test parts of the same kind."""
    kind = like.split("_")[1]
    found: list[Float] = []
    for name in registry():
        if name.startswith(("m1_", "m3_", "m4_")) and name.split("_")[1] == kind:
            (task,) = load(name)
            ends = task.full.offsets[1:, None] + np.arange(-task.horizon, 0)
            found += list(task.full.y[ends])
    return [y for y in found if y.min() > 0 and np.ptp(y[:6]) > 1e-3 * y.mean()]


def unread(sets: Sequence[str]) -> list[str]:
    """Public sets that a network which read ``sets`` has not."""
    return [name for name in registry() if name not in sets]
