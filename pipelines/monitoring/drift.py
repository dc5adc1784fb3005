"""Has something changed? Tests of data and of accuracy whose false alarms are counted beforehand.

Time is cut into blocks of equal length; the newest block is held against the earlier ones. A
block, not a row, is what is compared: within a block neighbours depend on each other as they
like, and a block holds whole seasons. What is tested are the *changes* from block to block, so
that a trend or a random walk, which change all the time, are no drift. For each test

    t = (newest - mean of the earlier) / (deviation of the earlier * sqrt(1 + 1 / n))

is compared with Student's t (the prediction interval of one further observation). It gets half
of the n - 1 degrees of freedom that normal blocks would have: blocks of errors are skewed and have
heavy tails, and a rate of one in hundreds is decided in the tails. The chance of any alarm in one
check is shared out equally among all tests made (Bonferroni), so it stays under the rate that was
asked for however the tests depend on each other.
`tests/pipelines/monitoring/test_drift.py` holds that by simulation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from pipelines.monitoring.finding import Finding, SeriesFinding

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


# error, bias, coverage; level, spread; single series: each gets as much of the rate
TESTS = 6
FREEDOM = 0.5  # share of the degrees of freedom that tests of all series together get
FEWEST_COVERED = 5  # series from which on coverage is tested: of few it jumps between 0 and 1
FEWEST_BLOCKS = 5  # earlier blocks; with fewer no test can tell a change from chance
MOST_BLOCKS = 48  # earlier blocks looked at: what lies further back is another world
WANTED_BLOCKS = 10  # a longer season is taken only if it leaves as many
PRIOR_DF = 4.0  # weight, in blocks, of the typical spread of all series in that of one
FEWEST_POOLED = 400  # values from which the tail of a single series' changes is estimated
TAIL_SHARE = 0.1
SMALLEST_SHAPE = 0.1  # of the tail: never lighter than this, as the sample cannot rule it out
FLAT = 1e-3  # spread of a flat series, as a share of its level
EXACT = 1e-9


def newest_against_earlier(
    blocks: Array, key: str, allowed: float, *, sides: str = "both", least: float = 0.0
) -> Finding:
    """Is the newest block one of the others?

    Parameters
    ----------
    blocks : [B]
        The newest first; NaN where a block is empty.
    key
        Of what is asked, in `QUESTIONS`.
    sides
        ``both``, ``upper`` (only more is an alarm).
    least
        Deviation the blocks are believed to have at least.
    """
    from scipy.special import stdtr, stdtrit

    earlier = blocks[1 : MOST_BLOCKS + 1]
    earlier = earlier[np.isfinite(earlier)]
    n, now = len(earlier), float(blocks[0]) if len(blocks) else np.nan
    nothing = Finding(key, now, np.nan, np.nan, np.nan, allowed, n, blocks)
    if n < FEWEST_BLOCKS or not np.isfinite(now):
        return nothing
    centre = float(earlier.mean())
    floor = max(least, EXACT * max(abs(centre), EXACT))
    width = max(float(earlier.std(ddof=1)), floor) * np.sqrt(1.0 + 1.0 / n)
    t = (now - centre) / width
    both = sides == "both"
    freedom = max(FREEDOM * (n - 1), 2.0)
    p = float(2.0 * stdtr(freedom, -abs(t)) if both else stdtr(freedom, -t))
    reach = float(stdtrit(freedom, 1.0 - allowed / (2.0 if both else 1.0))) * width
    low = centre - reach if both else -np.inf
    return Finding(key, now, low, centre + reach, p, allowed, n, blocks)


def block_length(panel: Panel, recent: int, season: int | None = None) -> int:
    """Rows of a block: at least `recent`, in whole seasons, the longest season that history bears.

    Blocks that hold whole seasons have no seasonal pattern among themselves. ``season`` is the
    model's, in steps; None takes the one that stamps say.
    """
    main = season or panel.freq.season
    lengths = panel.lengths
    typical = int(np.median(lengths)) if len(lengths) else 0
    best = max(recent, 2)
    for steps in sorted({main, *panel.freq.seasons}):
        whole = steps * -(-recent // steps)
        if steps > 1 and (whole * (WANTED_BLOCKS + 3) <= typical or steps == main):
            best = max(whole, 2)
    return best


@dataclass(frozen=True)
class Changes:
    """Changes from block to block of every series, the newest first.

    Attributes
    ----------
    level : [N, B]
        Difference of the means of a block and the one before, in units of the mean absolute
        change from row to row over the two blocks before.
    spread : [N, B]
        ``ln`` of the ratio of the mean absolute changes from row to row.
    missing : [N]
        Share of the newest block without a value.
    """

    level: Array
    spread: Array
    missing: Array


def changes(panel: Panel, length: int) -> Changes:
    """Changes of level and spread of each series, in blocks counted from its end."""
    count = MOST_BLOCKS + 3
    panel = panel.tail(count * length)
    series = panel.series
    back = panel.offsets[1:][series] - 1 - np.arange(panel.rows)
    cell = series * count + back // length
    mean = _cells(panel.y, cell, len(panel), count, length)
    step = np.abs(np.diff(panel.y, prepend=np.nan))
    step[panel.offsets[:-1]] = np.nan
    spread = _cells(step, cell, len(panel), count, length)
    spread = np.maximum(spread, FLAT * np.abs(mean) + EXACT)
    # The scale of a change is what came before it, so that the newest block cannot hide itself.
    before = (spread[:, 1:-1] + spread[:, 2:]) / 2.0
    absent = np.bincount(series, weights=np.isnan(panel.y) & (back < length), minlength=len(panel))
    return Changes(
        level=(mean[:, :-2] - mean[:, 1:-1]) / before,
        spread=np.log(spread[:, :-2] / spread[:, 1:-1]),
        missing=absent / np.maximum(np.minimum(panel.lengths, length), 1),
    )


def _cells(values: Array, cell: Array, series: int, count: int, length: int) -> Array:
    """[N, B] means; NaN where less than half of a block is known."""
    known = np.isfinite(values)
    size = series * count
    number = np.bincount(cell[known], minlength=size)
    total = np.bincount(cell[known], weights=values[known], minlength=size)
    out = np.full(size, np.nan)
    np.divide(total, number, out=out, where=number >= max(length / 2.0 - 1.0, 1.0))
    return out.reshape(series, count)


def data_findings(moved: Changes, allowed: float) -> list[Finding]:
    """All series together: has the typical level, or spread, changed as it never did?"""
    return [
        newest_against_earlier(_typical(moved.level), "level", allowed),
        newest_against_earlier(_typical(moved.spread), "spread", allowed),
    ]


def _typical(values: Array) -> Array:
    """[B] medians over series; NaN for blocks that few series have."""
    known = np.isfinite(values)
    enough = known.sum(axis=0) >= max(0.5 * known[:, 0].sum(), 1)
    out = np.full(values.shape[1], np.nan)
    for block in np.flatnonzero(enough):
        out[block] = np.median(values[known[:, block], block])
    return out


def series_findings(
    ids: Sequence[str] | Array, kinds: Mapping[str, Array], allowed: float
) -> list[SeriesFinding]:
    """The series that changed as hardly any series ever did; most striking first.

    Parameters
    ----------
    kinds
        Per kind of change [N, B], the newest block first; of ``error`` only more is named.
    allowed
        The chance that any series at all is named when none has changed.
    """
    names = np.asarray(ids, dtype=object)
    scored = {kind: _studentised(values) for kind, values in kinds.items()}
    tests = sum(int(np.isfinite(score).sum()) for score, _, _ in scored.values())
    out: list[SeriesFinding] = []
    for kind, (score, pool, freedom) in scored.items():
        p = tail_chance(np.abs(score), np.abs(pool), freedom)
        rare = p < allowed / max(tests, 1)
        if kind == "error":
            rare &= score > 0
        for i in np.flatnonzero(rare):
            change = float(kinds[kind][i, 0])
            out.append(SeriesFinding(str(names[i]), kind, change, float(score[i]), float(p[i])))
    return sorted(out, key=lambda f: (f.p, -abs(f.score)))


def _studentised(values: Array) -> tuple[Array, Array, Array]:
    """The newest change of each series against its earlier ones, and the same of those.

    Returns
    -------
    score : [N] of the newest, NaN where history is too short. pool : [K] scores of earlier
    blocks, each against the others. freedom : [N] degrees of freedom.
    """
    earlier = values[:, 1 : MOST_BLOCKS + 1]
    known = np.isfinite(earlier)
    n = known.sum(axis=1)
    x = np.where(known, earlier, 0.0)
    centre = np.divide(x.sum(axis=1), n, out=np.zeros(len(n)), where=n > 0)
    x = np.where(known, earlier - centre[:, None], 0.0)
    squares = np.square(x)
    total = squares.sum(axis=1)
    usable = n >= FEWEST_BLOCKS
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = total / (n - 1)
        typical = float(np.median(variance[usable])) if usable.any() else 0.0
        freedom = n - 1 + PRIOR_DF
        shrunk = (PRIOR_DF * typical + (n - 1) * variance) / freedom
        score = (values[:, 0] - centre) / np.sqrt(np.maximum(shrunk, EXACT) * (1.0 + 1.0 / n))
        # Each earlier block against the others: mean and variance without it, in closed form.
        m = (n - 1)[:, None]
        others = -x / m
        rest = (total[:, None] - squares - m * np.square(others)) / (m - 1)
        variance_without = (PRIOR_DF * typical + (m - 1) * rest) / (m - 1 + PRIOR_DF)
        pool = (x - others) / np.sqrt(np.maximum(variance_without, EXACT) * (1.0 + 1.0 / m))
    return np.where(usable, score, np.nan), pool[known & usable[:, None]], freedom


def tail_chance(score: Array, pool: Array, freedom: Array) -> Array:
    """[N] chance of a score as large when nothing has changed; 1 where there is no score.

    Within what was seen the share of earlier scores as large; beyond it a generalised Pareto
    tail fitted to the largest of them by probability-weighted moments (Hosking & Wallis, 1987).
    Student's t where there are too few to fit a tail to.
    """
    from scipy.special import stdtr

    if len(pool) < FEWEST_POOLED:
        chance = 2.0 * stdtr(freedom - PRIOR_DF, -score)
        return np.where(np.isfinite(score), chance, 1.0)
    ranked = np.sort(pool)
    over = np.maximum(len(ranked) - np.searchsorted(ranked, score, side="left"), 1)
    chance = np.asarray((over + 1.0) / (len(ranked) + 1.0))
    edge = float(np.quantile(ranked, 1.0 - TAIL_SHARE))
    excess = ranked[ranked > edge] - edge
    shape, scale = _pareto(excess)
    beyond = np.maximum(score - edge, 0.0)
    tail = len(excess) / len(ranked) * (1.0 + shape * beyond / scale) ** (-1.0 / shape)
    chance = np.where(score > edge, tail, chance)
    return np.where(np.isfinite(score), chance, 1.0)


def _pareto(excess: Array) -> tuple[float, float]:
    """Shape (heavier when larger) and scale of a generalised Pareto distribution."""
    n = len(excess)
    mean = float(excess.mean())
    weights = 1.0 - (np.arange(1, n + 1) - 0.35) / n
    weighted = float((weights * excess).mean())
    # Upwards from the smallest shape only: a tail taken for lighter than it is rings falsely.
    shape = 2.0 - mean / max(mean - 2.0 * weighted, EXACT)
    shape = float(np.clip(shape, SMALLEST_SHAPE, 0.9))
    return shape, max(mean * (1.0 - shape), EXACT)


@dataclass(frozen=True)
class Accuracy:
    """How forecasts did, by series and block, the newest block first; NaN where there are none.

    Attributes
    ----------
    error : [N, B]
        ``ln`` of the mean absolute error relative to what is usual at the same horizon steps.
    bias : [N, B]
        Mean signed error in units of the series' scale.
    inside : [N, B]
        Share of actuals within the interval.
    """

    error: Array
    bias: Array
    inside: Array

    def without(self, series: Array) -> Accuracy:
        """With some series blanked, by position."""
        parts = [part.copy() for part in (self.error, self.bias, self.inside)]
        for part in parts:
            part[series] = np.nan
        return Accuracy(*parts)


def accuracy(
    series: Array, block: Array, step: Array, signed: Array, inside: Array, count: int
) -> Accuracy:
    """Forecast rows gathered by series and block.

    Parameters
    ----------
    series, block, step : [R]
        Position of the series, block of the stamp (0 the newest), horizon step from 1.
    signed : [R]
        Forecast minus actual in units of the series' scale.
    inside : [R]
        1 where what happened lay in the interval, 0 where not, NaN where there is none.
    count
        Series in all.
    """
    # Errors grow with the step; blocks that hold more far steps than others must not look worse.
    error = np.abs(signed)
    relative = error / _by_step(step, error, block > 0)[step]
    blocks = min(int(block.max(initial=0)), MOST_BLOCKS) + 1
    recent = block < blocks
    cell = (series * blocks + block)[recent]

    def mean(values: Array) -> Array:
        return _means(values[recent], cell, count * blocks).reshape(count, blocks)

    return Accuracy(np.log(np.maximum(mean(relative), EXACT)), mean(signed), mean(inside))


def accuracy_findings(quality: Accuracy, allowed: float) -> list[Finding]:
    """Do newest forecasts err more, or more to one side, or cover less or more, than earlier ones?

    Of error and bias the typical series is looked at, each against its own past.
    """
    earlier = quality.error[:, 1:]
    usual = _means(
        earlier.ravel(), np.repeat(np.arange(len(earlier)), earlier.shape[1]), len(earlier)
    )
    return [
        newest_against_earlier(
            _typical(quality.error - usual[:, None]), "error", allowed, sides="upper"
        ),
        newest_against_earlier(_typical(quality.bias), "bias", allowed),
        _coverage(quality.inside, allowed),
    ]


def _coverage(inside: Array, allowed: float) -> Finding:
    """Share of actuals within the interval, all series together."""
    columns = np.tile(np.arange(inside.shape[1]), len(inside))
    blocks = _means(inside.ravel(), columns, inside.shape[1])
    series = int(np.isfinite(inside[:, 0]).sum()) if inside.shape[1] else 0
    if series < FEWEST_COVERED:
        return Finding("coverage", float(blocks[0]), np.nan, np.nan, np.nan, allowed, 0, blocks)
    usual = float(np.nanmean(blocks[1:])) if np.isfinite(blocks[1:]).any() else 0.5
    least = np.sqrt(usual * (1.0 - usual) / (4.0 * series))
    return newest_against_earlier(blocks, "coverage", allowed, least=least)


def _by_step(step: Array, values: Array, chosen: Array) -> Array:
    """Mean by step over the chosen rows; 1 where there is none."""
    out = _means(values[chosen], step[chosen], int(step.max(initial=0)) + 1)
    return np.where(out > 0, out, 1.0)


def _means(values: Array, cell: Array, size: int) -> Array:
    """Mean by cell; NaN for an empty one."""
    known = np.isfinite(values)
    number = np.bincount(cell[known], minlength=size)
    total = np.bincount(cell[known], weights=values[known], minlength=size)
    out = np.full(size, np.nan)
    np.divide(total, number, out=out, where=number > 0)
    return out
